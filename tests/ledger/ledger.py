#!/usr/bin/env python3
"""Breaks the program in every way that can be had here and looks whether a request was carried out twice.

    ledger.py [--full] [--only PART,...] [--sabotaged DIRECTORY] PROGRAM SHIM SOURCE

    callers (asyncio, in here) -> PROGRAM, killed, stopped, starved -> stand-in for the API (a process of its own)
                                      |                                  writes down each request before it answers
                                      +-> SQLite file or PostgreSQL, read in here once the program has ended

Each caller makes up a key, sends a request, and repeats it with the same key until it knows what became of it,
whatever goes wrong. After each run these must hold, or the run has failed:

  I1  no key was carried out twice
  I2  each replay is the stand-in's answer, byte for byte
  I3  nothing was replayed that was not carried out
  I4  a key that is released or absent is carried out when it is sent once more
  I5  at most as many are unknown as were under way at a kill, plus those whose connection the stand-in broke
  I6  whatever was carried out has a record that is older than its first byte

A harness that finds nothing proves nothing, so the same runs are made with programs that are wrong on purpose
(see SABOTAGE): there doubles have to be found.
"""
import argparse
import asyncio
import collections
import concurrent.futures
import ctypes
import hashlib
import json
import mmap
import os
import pathlib
import random
import shutil
import signal
import socket
import sqlite3
import struct
import subprocess
import sys
import tempfile
import time
import uuid

HERE = pathlib.Path(__file__).resolve().parent
SOON_S = 60
DEFINITE = range(200, 500)


def die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def say(*words):
    print(*words, flush=True)


class Violation(Exception):
    """An invariant does not hold, or the program did what it must not."""


# --- the stand-in: `ledger.py --stand-in PORT LOG` ---

async def read_message(reader):
    """Start line, fields, body; None at the end of the connection."""
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    fields = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if colon:
            fields[name.lower()] = value.strip()
    body = b""
    if "content-length" in fields:
        body = await reader.readexactly(int(fields["content-length"]))
    elif fields.get("transfer-encoding", "") == "chunked":
        while size := int((await reader.readline()).split(b";")[0], 16):
            body += await reader.readexactly(size)
            await reader.readexactly(2)
        await reader.readline()
    elif lines[0].startswith("HTTP/1.1") and not lines[0].split(" ")[1] in ("204", "304"):
        body = await reader.read()
    return lines[0], fields, body


class StandIn:
    """What it does with a request follows from the letter that the key begins with: see ANSWERS."""

    def __init__(self, log):
        self.log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self.refused = set()

    def write_down(self, **what):
        os.write(self.log, (json.dumps(what) + "\n").encode())

    async def answer(self, writer, status, body, more=""):
        head = f"HTTP/1.1 {status} S\r\nContent-Type: application/json\r\nETag: \"e\xe9\"\r\n{more}Content-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode("latin-1") + body)
        await writer.drain()

    async def serve(self, reader, writer):
        try:
            while await reader.read(0) == b"":
                first = await reader.readexactly(1)
                at_ms = time.time() * 1000
                reader._buffer[:0] = first  # pylint: disable=protected-access  # put back
                start, fields, body = await read_message(reader)
                if not await self.one(start, fields, body, at_ms, writer):
                    break
        except (asyncio.IncompleteReadError, ConnectionError, ValueError):
            pass
        writer.close()

    async def one(self, start, fields, body, at_ms, writer):
        if "/token" in start:
            await self.answer(writer, 200, b'{"access_token":"t","token_type":"Bearer","expires_in":3600}')
            return True
        key = fields.get("idempotency-key", "").strip('"')
        mode = key[:1]
        if mode == "r" and key not in self.refused:  # proves that nothing was done
            self.refused.add(key)
            await self.answer(writer, 429, b"{}", "Retry-After: 1\r\n")
            return True
        answer = json.dumps({"id": str(uuid.uuid4()), "echo": hashlib.sha256(body).hexdigest()}).encode()
        if mode == "b":
            answer += b" " * (300 * 1024)
        status = {"e": 500, "g": 502, "f": 404}.get(mode, 201)
        self.write_down(key=key, at_ms=at_ms, status=status, body=hashlib.sha256(answer).hexdigest())
        if mode == "s":
            await asyncio.sleep(0.4)
        elif random.random() < 0.5:
            await asyncio.sleep(random.random() * 0.02)
        if mode == "c":
            return False
        if mode == "h":
            writer.write(b"HTTP/1.1 201 S\r\nContent-Length: 100\r\n\r\n{")
            await writer.drain()
            return False
        await self.answer(writer, status, answer)
        return True


async def stand_in(port, log):
    one = StandIn(log)
    server = await asyncio.start_server(one.serve, "127.0.0.1", port, limit=1 << 20, backlog=1024)
    say("ready")
    await server.serve_forever()


AMBIGUOUS = "echg"  # executed, and the program cannot know: 5xx, closed, cut after the head
# Nothing is written to its log but what a commit waits for.
SERVER = ("max_connections=60", "wal_writer_delay=10s")

# --- processes ---


def free_port():
    """Where there are any, one of those that the kernel gives to no connection."""
    text = pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii")
    low, high = map(int, text.split())
    free = [*range(10000, low), *range(high + 1, 65536)]
    while True:
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", random.choice(free) if len(free) >= 1000 else 0))
                return s.getsockname()[1]
            except OSError:
                continue


class Process:
    def __init__(self, command, log, **options):
        with open(log, "ab") as out:
            # pylint: disable=consider-using-with,subprocess-popen-preexec-fn
            self.process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                            preexec_fn=die_with_parent, **options)
        self.log = pathlib.Path(log)

    def ended(self):
        return self.process.poll() is not None

    def kill(self, how=signal.SIGKILL):
        if not self.ended():
            self.process.send_signal(how)

    def wait(self, seconds=SOON_S):
        return self.process.wait(seconds)


class Postgres:
    def __init__(self, directory, *settings):
        self.directory = directory
        self.port = free_port()
        self.server = None
        self.start(*settings)

    def start(self, *settings):
        self.server = Process([HERE / "postgres.sh", self.directory / "data", str(self.port), *settings],
                              self.directory / "postgres.log")
        end = time.monotonic() + SOON_S
        while self.may("SELECT 1") is None:
            if self.server.ended() or time.monotonic() > end:
                raise RuntimeError(f"PostgreSQL does not start:\n{self.server.log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.05)

    def may(self, sql, database="postgres"):
        done = subprocess.run(["psql", "-X", "-A", "-t", "-q", "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres",
                               "-d", database, "-c", sql], capture_output=True, check=False, timeout=SOON_S)
        return done.stdout.decode().strip() if done.returncode == 0 else None

    def ask(self, sql, database="postgres"):
        answer = self.may(sql, database)
        if answer is None:
            raise RuntimeError(f"PostgreSQL does not answer {sql}")
        return answer

    def stop(self, how=signal.SIGINT):
        self.server.kill(how)
        self.server.wait()


def copy_cluster(server, data):
    """A standby of it, which follows once it is started."""
    program = next(pathlib.Path("/usr/lib/postgresql").glob("*/bin/pg_basebackup"), "pg_basebackup")
    subprocess.run([program, "-h", "127.0.0.1", "-p", str(server.port), "-U", "postgres", "-D", data, "-R", "-X", "stream",
                    "--checkpoint=fast", "--no-sync"], check=True, capture_output=True)
    owner = (server.directory / "data").stat()
    for file in [data, *data.rglob("*")]:
        os.chown(file, owner.st_uid, owner.st_gid, follow_symlinks=False)


COLUMNS = "id, scope, idem_key, state, cause, claimed_ms, status"
Entry = collections.namedtuple("Entry", COLUMNS.replace(",", ""))
IN_FLIGHT, ANSWERED, UNKNOWN, RELEASED = range(4)


class Sqlite:
    """A store in a file."""
    kind = "sqlite"

    def __init__(self, directory):
        self.directory = directory / "store"
        self.directory.mkdir(mode=0o700)
        self.file = self.directory / "ledger.db"
        self.url = f"sqlite:{self.file}"

    def let_leases_pass(self, proxies):
        pass

    def entries(self):
        """Of a copy, so that nothing is changed by looking."""
        with tempfile.TemporaryDirectory() as copy:
            for name in "ledger.db", "ledger.db-wal":
                if (self.directory / name).exists():
                    shutil.copy(self.directory / name, copy)
            return read_sqlite(pathlib.Path(copy) / "ledger.db")


def read_sqlite(file):
    with sqlite3.connect(file) as db:
        return [Entry(*row) for row in db.execute(f"SELECT {COLUMNS} FROM ledger_entry")]


class PostgresStore:
    """A store in a database of its own."""
    kind = "postgresql"

    def __init__(self, server):
        self.server = server
        self.database = "l" + uuid.uuid4().hex[:12]
        server.ask(f"CREATE DATABASE {self.database}")
        self.url = f"postgresql://postgres@127.0.0.1:{server.port}/{self.database}"
        self.file = ""

    def let_leases_pass(self, proxies):
        """What minutes would bring: whoever starts then finds claims whose owners are gone."""
        for p in proxies:
            p.stop()
        self.server.ask("UPDATE ledger_entry SET lease_ms = lease_ms - 600000 WHERE state = 0", self.database)
        for p in proxies:
            p.must_start()

    def entries(self):
        rows = self.server.ask(f"SELECT coalesce(json_agg(json_build_array({COLUMNS})), '[]') FROM ledger_entry", self.database)
        return [Entry(*row) for row in json.loads(rows)]


class Proxy:
    """The program. `at`, `journal`, `clock`: for the shim."""

    def __init__(self, world, name="proxy", program=None):
        self.world, self.name = world, name
        self.port = free_port()
        self.program = program or world.program
        self.process = None
        self.starts = 0
        # Not beside the store: the sandbox allows what lies beside the configuration.
        self.config = world.directory / "config" / f"{name}.ini"
        self.config.parent.mkdir(mode=0o700, exist_ok=True)
        self.log = world.directory / f"{name}.log"

    def write_config(self, more=""):
        store = f"store = {self.world.store.url}\n{self.world.ledger_settings}" if self.world.store else ""
        self.config.write_text(
            f"[listen]\naddress = 127.0.0.1:{self.port}\n"
            f"[upstream]\nbase_url = http://127.0.0.1:{self.world.upstream}/v0\nallow_plaintext = yes\n"
            "response_timeout = 5s\nconnect_timeout = 2s\n"
            "[token]\nclient_id = i\nclient_secret = s\n[admin]\naddress = off\n"
            "[process]\nworkers = 2\ndrain_timeout = 6s\ndrain_delay = 0s\n"
            f"[ledger]\n{store}{more}", encoding="utf-8")
        self.config.chmod(0o600)

    def start(self, wait=True, **shim):
        self.write_config()
        self.starts += 1
        environment = {"PATH": os.environ["PATH"]}
        if shim or self.world.always_shim:
            environment |= {"LD_PRELOAD": str(self.world.shim), "LEDGER_STORE": str(self.world.store.file),
                            "LEDGER_UPSTREAM": str(self.world.upstream), "LEDGER_LISTEN": str(self.port)}
            environment |= {f"LEDGER_{name.upper()}": str(value) for name, value in shim.items()}
        self.from_byte = self.log.stat().st_size if self.log.exists() else 0
        self.process = Process([self.program, "--config", self.config], self.log, env=environment)
        return self.wait_ready() if wait else None

    def said(self):
        with open(self.log, "rb") as f:
            f.seek(self.from_byte)
            return f.read().decode(errors="replace")

    def wait_ready(self):
        """False: it has ended."""
        end = time.monotonic() + SOON_S
        while "event=ready" not in self.said():
            if self.process.ended():
                return False
            if time.monotonic() > end:
                raise Violation(f"{self.name} does not become ready:\n{self.said()[-3000:]}")
            time.sleep(0.005)
        return True

    def must_start(self, **shim):
        if not self.start(**shim):
            raise Violation(f"{self.name} does not start:\n{self.said()[-3000:]}")

    def stop(self):
        """In good order."""
        if self.process is None or self.process.ended():
            return
        self.process.kill(signal.SIGTERM)
        end = time.monotonic() + SOON_S
        while not self.process.ended():
            if time.monotonic() > end:
                raise Violation(f"{self.name} does not end:\n{self.said()[-3000:]}")
            if self.is_stopped():
                self.process.kill(signal.SIGCONT)
            time.sleep(0.005)
        code = self.process.wait()
        if code != 0:
            raise Violation(f"{self.name} ended with {code}:\n{self.said()[-3000:]}")

    def is_stopped(self):
        """By the shim."""
        stat = pathlib.Path(f"/proc/{self.process.process.pid}/stat").read_text(encoding="ascii")
        return stat.rpartition(")")[2].split()[0] in "Tt"

    def kill(self):
        self.process.kill()
        self.process.wait()


class World:
    """A stand-in, a store, proxies on it, and what callers were told."""

    def __init__(self, program, shim, directory, store=None, ledger_settings=""):
        self.program, self.shim, self.directory, self.store = program, shim, directory, store
        self.ledger_settings = ledger_settings
        self.always_shim = False
        self.upstream = free_port()
        self.executions_file = directory / "executions"
        self.executions_file.touch()
        self.origin = Process([sys.executable, "-B", __file__, "--stand-in", str(self.upstream), self.executions_file],
                              directory / "origin.log")
        end = time.monotonic() + SOON_S
        while "ready" not in self.origin.log.read_text(encoding="utf-8", errors="replace"):
            if self.origin.ended() or time.monotonic() > end:
                raise RuntimeError("the stand-in does not start")
            time.sleep(0.01)
        self.proxies = [Proxy(self)]
        self.answers = collections.defaultdict(list)  # key: (status, body, replayed, problem)
        self.under_way = 0
        self.at_kills = 0
        if store:
            self.proxies[0].write_config()
            done = subprocess.run([program, "ledger", "init", "--config", self.proxies[0].config], capture_output=True, check=False)
            if done.returncode != 0:
                raise RuntimeError(f"ledger init: {done.stdout.decode()}{done.stderr.decode()}")

    def end(self):
        for p in self.proxies:
            if p.process and not p.process.ended():
                p.kill()
        self.origin.kill()
        self.origin.wait()

    async def stand_in_has_read(self):
        """Until what has reached the stand-in by now is written down: it takes what is there in turn, so that it has
        done so when it has answered two requests that came later."""
        for _ in range(2):
            async with asyncio.timeout(SOON_S):
                reader, writer = await asyncio.open_connection("127.0.0.1", self.upstream)
                writer.write(b"POST /v0/token HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
                await read_message(reader)
                writer.close()

    def executions(self):
        return [json.loads(line) for line in self.executions_file.read_text(encoding="ascii").splitlines()]

    # --- callers ---

    async def send(self, proxy, key, body, seconds):
        """One try: (status, fields, body), or None when no answer came."""
        writer = None
        self.under_way += 1
        try:
            async with asyncio.timeout(seconds):
                reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port, limit=1 << 20)
                writer.write(f"POST /v0/methods/m/execute HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                             f"Idempotency-Key: {key}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
                start, fields, answer = await read_message(reader)
                return int(start.split(" ")[1]), fields, answer
        except (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError):
            return None
        finally:
            self.under_way -= 1
            if writer:
                writer.close()

    def take_down(self, key, got):
        status, fields, body = got
        problem = ""
        if fields.get("content-type", "") == "application/problem+json":
            problem = json.loads(body)["type"].rpartition(":")[2]
        self.answers[key].append((status, hashlib.sha256(body).hexdigest(), "idempotent-replayed" in fields, problem))
        return problem

    async def persist(self, proxies, key, tries=400, seconds=3.0):
        """A caller who repeats until it knows. Returns what the last answer was: a status, or a problem's name."""
        body = json.dumps({"params": {"to": "0x0", "amount": key}}).encode()
        in_flight = 0
        for i in range(tries):
            got = await self.send(proxies[i % len(proxies)] if len(proxies) > 1 else proxies[0], key, body, seconds)
            if got:
                problem = self.take_down(key, got)
                if not problem and got[0] in DEFINITE and got[0] != 429:
                    return got[0]
                if problem in ("idempotency-outcome-unknown", "idempotency-answer-not-kept", "idempotency-key-reused"):
                    return problem
                in_flight = in_flight + 1 if problem == "idempotency-in-flight" else 0
                if in_flight == 30 and self.store.kind == "postgresql":
                    return problem  # its owner is gone, and its lease lasts for more than a minute
                if problem and got[0] == 400:
                    raise Violation(f"{key}: {problem}")
            await asyncio.sleep(random.random() * 0.02 if got is None else 0.02 + random.random() * 0.05)
        return None

    async def crowd(self, size, stop, modes, proxies=None):
        """So many callers, each with one key after another, until stop() says so."""
        async def one():
            while not stop():
                await self.persist(proxies or self.proxies, random.choice(modes) + "-" + uuid.uuid4().hex)
        await asyncio.gather(*(one() for _ in range(size)))

    # --- what must hold ---

    def audit(self, once_more=True, exact=True):
        """The invariants; returns counts. With `once_more` the first proxy has to run."""
        faults = []
        if once_more and self.store:
            self.store.let_leases_pass(self.proxies)
        if once_more:
            asyncio.run(self.repeat_all())
            for p in self.proxies:
                p.stop()
        executions = self.executions()
        entries = self.store.entries() if self.store else []
        by_key = collections.defaultdict(list)
        for e in entries:
            by_key[e.idem_key].append(e)
        count = collections.Counter(e["key"] for e in executions)
        first = {e["key"]: e for e in reversed(executions)}
        doubles = {k: n for k, n in count.items() if n > 1}
        for key, n in doubles.items():
            faults.append(f"I1: {key} was carried out {n} times: {by_key[key]} {self.answers[key]}")
        for key, answers in self.answers.items():
            for status, digest, replayed, problem in answers:
                if not replayed:
                    continue
                if key not in first:
                    faults.append(f"I3: {key} was replayed and never carried out: {by_key[key]} {answers}")
                elif problem or status != first[key]["status"] or digest != first[key]["body"]:
                    faults.append(f"I2: {key} was replayed as {status} {digest} {problem}, its answer was {first[key]}")
        known = set(count)
        if once_more:
            for key in self.answers:
                states = {e.state for e in by_key[key]}
                if key not in known and states <= {RELEASED}:
                    faults.append(f"I4: {key} is free and was not carried out when sent once more: {by_key[key]} {self.answers[key]}")
        unknown = [e for e in entries if e.state == UNKNOWN]
        broken = sum(1 for e in unknown if e.idem_key and e.idem_key[0] in AMBIGUOUS)
        if exact and self.store and len(unknown) - broken > self.at_kills:
            faults.append(f"I5: {len(unknown)} are unknown, of which {broken} broken, and {self.at_kills} were under way at kills")
        for e in executions if self.store else []:
            records = [r for r in by_key[e["key"]] if r.claimed_ms <= e["at_ms"] + 1]
            if not records:
                faults.append(f"I6: {e['key']} was carried out without a record before: {by_key[e['key']]}")
        if faults:
            raise Violation(f"{len(faults)} violations ({len(doubles)} doubles):\n" + "\n".join(faults[:12]))
        return {"keys": len(self.answers), "executions": len(executions), "unknown": len(unknown), "of these broken": broken,
                "replays": sum(r for a in self.answers.values() for _, _, r, _ in a), "under way at kills": self.at_kills}

    async def repeat_all(self):
        keys = list(self.answers)
        places = asyncio.Semaphore(32)

        async def one(key):
            async with places:
                await self.persist(self.proxies[:1], key, tries=600)
        await asyncio.gather(*(one(k) for k in keys))


# --- the parts ---

MODES = "nnnnnnnnssfrbecgh"


class Harness:
    def __init__(self, arguments, directory):
        self.program, self.shim, self.source = arguments.program, arguments.shim, arguments.source
        self.full = arguments.full
        self.directory = directory
        self.postgres = None
        # What a thread has started ends with it, so PostgreSQL is started by one that lasts.
        self.hand = concurrent.futures.ThreadPoolExecutor(1)
        self.results = []

    def scale(self, short, full):
        return full if self.full else short

    def need_postgres(self):
        if self.postgres is None:
            directory = self.directory / "postgres"
            directory.mkdir(mode=0o711)
            self.directory.chmod(0o711)
            self.postgres = self.hand.submit(Postgres, directory, *SERVER).result()
        return self.postgres

    def world(self, kind="sqlite", program=None, ledger_settings=""):
        directory = pathlib.Path(tempfile.mkdtemp(prefix="w", dir=self.directory))
        directory.chmod(0o711)
        store = Sqlite(directory) if kind == "sqlite" else PostgresStore(self.need_postgres()) if kind == "postgresql" else None
        return World(program or self.program, self.shim, directory, store, ledger_settings)

    def run(self, name, function, *arguments):
        began = time.monotonic()
        try:
            result = function(*arguments)
            self.results.append((name, True))
            say(f"ok      {name}: {result} ({time.monotonic() - began:.0f} s)")
        except Violation as violation:
            self.results.append((name, False))
            say(f"FAILED  {name}: {violation} ({time.monotonic() - began:.0f} s)")

    # kill -9 at random

    def kills(self, kind, kills, callers=64, program=None, modes=MODES):
        w = self.world(kind, program)
        try:
            w.proxies[0].must_start()
            asyncio.run(self.kill_often(w, kills, callers, modes))
            return w.audit(exact=w.store is not None)
        finally:
            w.end()

    async def kill_often(self, w, kills, callers, modes):
        done = False
        proxy = w.proxies[0]

        async def killer():
            nonlocal done
            try:
                for _ in range(kills):
                    await asyncio.sleep(random.choice((0.02, 0.1, 0.2)) * random.random() + 0.01)
                    w.at_kills += w.under_way
                    proxy.process.kill()
                    proxy.process.wait()
                    proxy.start(wait=False)
                    while not await asyncio.to_thread(proxy.wait_ready):
                        raise Violation(f"does not start again:\n{proxy.said()[-3000:]}")
            finally:
                done = True
        await asyncio.gather(w.crowd(callers, lambda: done, modes), killer())

    # crash points

    POINTS = [f"{call}:{when}" for call in ("write", "fsync", "connect", "up", "answer", "down", "request")
              for when in ("before", "after")]

    def crash_points(self, rounds):
        w = self.world()
        reached = collections.Counter()
        try:
            for _ in range(rounds):
                for point in self.POINTS:
                    # The first of these calls come while it starts, or fetches its token.
                    at = random.randrange(1, 40)
                    while not self.crash_at(w, f"{point}:{at}:kill"):
                        if at == 1:
                            raise Violation(f"{point} is never reached")
                        at //= 2
                    reached[point] += 1
            w.proxies[0].must_start()
            counts = w.audit()
        finally:
            w.end()
        return counts | {"crashes": sum(reached.values())}

    def crash_at(self, w, at):
        proxy = w.proxies[0]
        if not proxy.start(at=at):
            return True
        w.at_kills += 8

        async def some():
            await asyncio.gather(*(w.persist([proxy], random.choice("nnnnrf") + "-" + uuid.uuid4().hex, tries=3, seconds=10)
                                   for _ in range(8)))
        asyncio.run(some())
        crashed = proxy.process.ended()
        proxy.kill()
        return crashed

    # the power is cut

    def power_cuts(self, images, program=None, keys=400):
        w = self.world(program=program)
        journal = w.directory / "journal"
        before = {n: (w.store.directory / n).read_bytes() if (w.store.directory / n).exists() else b""
                  for n in ("ledger.db", "ledger.db-wal")}
        try:
            w.proxies[0].must_start(journal=journal)

            async def all_keys():
                places = asyncio.Semaphore(16)

                async def one():
                    async with places:
                        await w.persist(w.proxies, random.choice("nnnnfb") + "-" + uuid.uuid4().hex)
                await asyncio.gather(*(one() for _ in range(keys)))
            asyncio.run(all_keys())
            w.proxies[0].stop()
        finally:
            w.end()
        return self.cut(journal.read_bytes(), before, images)

    def cut(self, journal, before, images):
        steps = list(read_journal(journal))
        sent_at = [i for i, s in enumerate(steps) if s[0] == "K"]
        if len(sent_at) < 50:
            raise Violation(f"only {len(sent_at)} keys were sent")
        lost = 0
        for _ in range(images):
            # Just behind a sending is where a loss would be one that counts.
            until = random.choice(sent_at) + random.choice((1, 1, 2, 3)) if random.random() < 0.7 else random.randrange(len(steps))
            lost += self.try_image(steps[:until], before)
        if lost:
            raise Violation(f"{lost} claims were lost that had been sent, in {images} images")
        return {"images": images, "writes": sum(s[0] == "W" for s in steps), "syncs": sum(s[0] == "S" for s in steps),
                "keys sent": len(sent_at), "lost": 0}

    def try_image(self, steps, before):
        sent = {s[3].decode().strip('"') for s in steps if s[0] == "K"}
        disk = {"d": Disk(before["ledger.db"]), "w": Disk(before["ledger.db-wal"])}
        for kind, file, offset, data in steps:
            if file in disk:
                disk[file].step(kind, offset, data)
        with tempfile.TemporaryDirectory(dir=self.directory) as at:
            file = pathlib.Path(at) / "ledger.db"
            file.write_bytes(disk["d"].after_power_cut())
            (pathlib.Path(at) / "ledger.db-wal").write_bytes(disk["w"].after_power_cut())
            try:
                there = {e.idem_key for e in read_sqlite(file)}
            except sqlite3.DatabaseError:
                there = set()
        return len(sent - there)

    # stopped between its claim and its sending

    def stops(self, rounds):
        w = self.world()
        w.always_shim = True
        clock = w.directory / "clock"
        clock.write_bytes(struct.pack("qq", 0, 0))
        ahead = 0
        stopped = []
        try:
            with open(clock, "r+b") as f, mmap.mmap(f.fileno(), 16) as view:
                for _ in range(rounds):
                    proxy = w.proxies[0]
                    if not proxy.start(at=f"fsync:after:{random.randrange(4, 20)}:stop", clock=clock, wait=False) and \
                            not self.wait_ready_or_stopped(proxy):
                        raise Violation(proxy.said())
                    ahead += 3_600_000
                    stopped.append(asyncio.run(self.stop_once(w, view, ahead)))
                    proxy.process.kill(signal.SIGCONT)
                    proxy.stop()
            late = dict(s for s in stopped if s)
            entries = {e.idem_key: e for e in w.store.entries() if e.idem_key in late}
            for e in w.executions():
                # One that was claimed only after the program went on had all its time before it.
                if e["key"] in late and entries[e["key"]].claimed_ms <= late[e["key"]]:
                    raise Violation(f"{e['key']} was sent an hour after it was claimed: {entries[e['key']]}")
            w.proxies[0].must_start(clock=clock)
            behind = sum(e.claimed_ms <= late[k] for k, e in entries.items())
            return w.audit() | {"stopped between claim and sending": behind}
        finally:
            w.end()

    def wait_ready_or_stopped(self, proxy):
        end = time.monotonic() + SOON_S
        while "event=ready" not in proxy.said() and time.monotonic() < end:
            if proxy.process.ended():
                return False
            if proxy.is_stopped():
                proxy.process.kill(signal.SIGCONT)
            time.sleep(0.005)
        return True

    async def stop_once(self, w, view, ahead):
        """Sends one request after another until the program has stopped. Returns a key that had not left by then,
        and when that was; or None."""
        proxy = w.proxies[0]
        for _ in range(40):  # each of them has a commit at least
            key = "n-" + uuid.uuid4().hex
            caller = asyncio.create_task(w.persist([proxy], key, tries=1, seconds=10))
            while not caller.done() and not proxy.is_stopped():
                await asyncio.sleep(0.002)
            if not caller.done():
                break
        else:
            return None  # it stopped at its start already
        stopped_ms = time.time() * 1000
        await w.stand_in_has_read()
        sent = key in {e["key"] for e in w.executions()}
        view[8:16] = struct.pack("q", ahead)  # longer than the guard allows
        proxy.process.kill(signal.SIGCONT)
        await caller
        return None if sent else (key, stopped_ms)

    # the disk fails

    def disk_fails(self, calls):
        w = self.world()
        failed = 0
        try:
            for n in calls:
                call, error = random.choice((("write", 28), ("write", 5), ("fsync", 5), ("fsync", 28)))
                proxy = w.proxies[0]
                if proxy.start(at=f"{call}:before:{n}:{error}{random.choice(('', ':all'))}"):
                    async def some(p=proxy, size=6 + n // 4):  # so many that this call comes
                        await asyncio.gather(*(w.persist([p], "n-" + uuid.uuid4().hex, tries=2, seconds=4) for _ in range(size)))
                    asyncio.run(some())
                    w.at_kills += 6 + n // 4
                    proxy.process.kill(signal.SIGTERM)
                code = proxy.process.wait()
                if code not in (0, 1):
                    raise Violation(f"ended with {code} after error {error} of {call} number {n}:\n{proxy.said()[-3000:]}")
                failed += "ledger_down" in proxy.said() or code == 1
            w.proxies[0].must_start()
            return w.audit() | {"failed": failed}
        finally:
            w.end()

    # two proxies on one PostgreSQL

    def replicas(self, keys, times=5):
        w = self.world("postgresql")
        w.proxies.append(Proxy(w, "other"))
        try:
            for p in w.proxies:
                p.must_start()

            async def all_keys():
                places = asyncio.Semaphore(12)

                async def one():
                    key = "n-" + uuid.uuid4().hex
                    async with places:
                        await asyncio.gather(*(w.persist(random.sample(w.proxies, 2), key, seconds=20) for _ in range(times)))
                await asyncio.gather(*(one() for _ in range(keys)))
            asyncio.run(all_keys())
            counts = w.audit(once_more=False)
            if counts["executions"] != keys:
                raise Violation(f"{keys} keys were carried out {counts['executions']} times")
            return counts
        finally:
            w.end()

    # PostgreSQL fails

    def postgres_fails(self, rounds, how, program=None):
        w = self.world("postgresql", program)
        try:
            w.proxies[0].must_start()
            done = False

            async def breaker():
                nonlocal done
                try:
                    for _ in range(rounds):
                        await self.busy(w)
                        await asyncio.sleep(random.random() * 0.3)
                        w.at_kills += w.under_way
                        await asyncio.get_running_loop().run_in_executor(self.hand, how, w)
                finally:
                    done = True

            async def both():
                await asyncio.gather(w.crowd(32, lambda: done, "nnnnnnsf"), breaker())
            asyncio.run(both())
            return w.audit()
        finally:
            w.end()

    @staticmethod
    async def busy(w):
        """Waits until a dozen more requests have been carried out."""
        before = w.executions_file.stat().st_size
        end = time.monotonic() + SOON_S
        while w.executions_file.stat().st_size < before + 2000 and time.monotonic() < end:
            await asyncio.sleep(0.02)

    def server_dies(self, _):
        self.postgres.stop(signal.SIGQUIT)
        self.postgres.start(*SERVER)

    def backends_die(self, w):
        self.postgres.may("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'oneshot-proxy' "
                          f"AND datname = '{w.store.database}'")

    # a synchronous standby takes over

    def promotions(self, rounds):
        total = collections.Counter()
        for _ in range(rounds):
            for name, count in self.promotion().items():
                total[name] += count
        return dict(total)

    def promotion(self):
        at = pathlib.Path(tempfile.mkdtemp(prefix="p", dir=self.directory))
        self.directory.chmod(0o711)
        for directory in at, at / "first", at / "second":
            directory.mkdir(exist_ok=True)
            directory.chmod(0o711)
        first = self.hand.submit(Postgres, at / "first", "wal_level=replica").result()
        copy_cluster(first, at / "second" / "data")
        second = self.hand.submit(Postgres, at / "second").result()
        store = PostgresStore(first)
        store.url = f"postgresql://postgres@127.0.0.1:{first.port},127.0.0.1:{second.port}/{store.database}"
        directory = pathlib.Path(tempfile.mkdtemp(prefix="w", dir=self.directory))
        w = World(self.program, self.shim, directory, store)
        try:
            first.ask("ALTER SYSTEM SET synchronous_standby_names = '*'")
            first.ask("SELECT pg_reload_conf()")
            w.proxies[0].must_start()
            asyncio.run(self.take_over(w, first, second))
            store.server = second
            return w.audit()
        finally:
            w.end()
            first.stop(signal.SIGQUIT)
            second.stop(signal.SIGQUIT)

    async def take_over(self, w, first, second):
        done = False

        async def power_goes():
            nonlocal done
            try:
                await asyncio.sleep(0.5 + random.random())
                w.at_kills += w.under_way
                await asyncio.to_thread(first.stop, signal.SIGQUIT)
                await asyncio.to_thread(second.ask, "SELECT pg_promote()")
                await asyncio.sleep(1)
            finally:
                done = True
        await asyncio.gather(w.crowd(16, lambda: done, "nnnnsf"), power_goes())

    # bytes of the store are flipped

    def flips(self, rounds):
        w = self.world()
        refused = forgotten = 0
        try:
            w.proxies[0].must_start()

            async def some(keys):
                await asyncio.gather(*(w.persist(w.proxies, k, tries=30) for k in keys))
            keys = [random.choice("nf") + "-" + uuid.uuid4().hex for _ in range(60)]
            asyncio.run(some(keys))
            w.proxies[0].kill()
            saved = {f.name: f.read_bytes() for f in w.store.directory.iterdir() if f.is_file()}
            before = len(w.executions())
            for _ in range(rounds):
                for name, data in saved.items():
                    (w.store.directory / name).write_bytes(data)
                name = random.choice([n for n in saved if n in ("ledger.db", "ledger.db-wal") and saved[n]])
                data = bytearray(saved[name])
                data[random.randrange(len(data))] ^= 1 << random.randrange(8)
                (w.store.directory / name).write_bytes(data)
                if w.proxies[0].start():
                    asyncio.run(some(random.sample(keys, 12)))
                    w.proxies[0].kill()
                elif w.proxies[0].process.wait() == 1:
                    refused += 1
                else:
                    raise Violation(f"ended by {w.proxies[0].process.wait()}:\n{w.proxies[0].said()[-3000:]}")
                now = len(w.executions())
                forgotten += now > before
                before = now
            result = {"flips": rounds, "refused at start": refused, "claims forgotten": forgotten}
            if forgotten:
                raise Violation(f"{result}: keys that had been carried out were carried out again")
            return result
        finally:
            w.end()

    # the wall clock jumps

    def clock_jumps(self, rounds):
        w = self.world(ledger_settings="keep_answers = 1d\nkeep_keys = 1d\n")
        w.always_shim = True
        clock = w.directory / "clock"
        clock.write_bytes(struct.pack("qq", 0, 0))
        try:
            with open(clock, "r+b") as f, mmap.mmap(f.fileno(), 16) as view:
                w.proxies[0].must_start(clock=clock)
                keys = []
                for i in range(rounds):
                    view[0:8] = struct.pack("q", random.choice((-1, 1)) * random.randrange(10 * 365 * 86_400_000))
                    keys.append("n-" + uuid.uuid4().hex)

                    async def some():
                        for k in random.sample(keys, min(len(keys), 6)) + keys[-1:]:
                            await w.persist(w.proxies, k, tries=30)
                    asyncio.run(some())
                    if i % 10 == 9:
                        w.at_kills += 1
                        w.proxies[0].kill()
                        w.proxies[0].must_start(clock=clock)
                view[0:8] = struct.pack("q", 0)
            count = collections.Counter(e["key"] for e in w.executions())
            if set(count.values()) != {1} or len(count) != len(keys):
                raise Violation(f"of {len(keys)} keys these were not carried out once: {[k for k in keys if count[k] != 1]}")
            return {"keys": len(keys), "executions": sum(count.values())}
        finally:
            w.end()

    # programs that are wrong on purpose

    def control(self, name, function, *arguments):
        """Has to find doubles."""
        began = time.monotonic()
        try:
            result = function(*arguments)
            self.results.append((name, False))
            say(f"FAILED  {name}: nothing was found, so the harness proves nothing: {result} ({time.monotonic() - began:.0f} s)")
        except Violation as violation:
            text = str(violation)
            found = "I1:" in text or "lost that had been sent" in text
            self.results.append((name, found))
            say(f"{'ok     ' if found else 'FAILED '} {name}: found, as it must be: {text.splitlines()[0]} ({time.monotonic() - began:.0f} s)")


class Disk:
    """A file as the disk has it: what was synced is there; of what was written since, any part may be."""
    SECTOR = 512

    def __init__(self, data):
        self.safe = bytearray(data)
        self.pending = []

    def step(self, kind, offset, data):
        if kind == "S":
            for p in self.pending:
                self.apply(self.safe, *p)
            self.pending = []
        else:
            self.pending.append((kind, offset, data))

    @staticmethod
    def apply(to, kind, offset, data):
        if kind == "T":
            del to[offset:]
            to.extend(bytes(offset - len(to)))
        else:
            if len(to) < offset + len(data):
                to.extend(bytes(offset + len(data) - len(to)))
            to[offset:offset + len(data)] = data

    def after_power_cut(self):
        image = bytearray(self.safe)
        how = random.randrange(3)  # none of it, any writes, or any sectors of them
        for kind, offset, data in self.pending:
            if how == 0 or random.random() < 0.5:
                continue
            if kind == "T" or how == 1:
                self.apply(image, kind, offset, data)
                continue
            for at in range(0, len(data), self.SECTOR):
                if random.random() < 0.5:
                    self.apply(image, "W", offset + at, data[at:at + self.SECTOR])
        return bytes(image)


def read_journal(journal):
    at = 0
    while at + 18 <= len(journal):
        kind, file = chr(journal[at]), chr(journal[at + 1])
        offset, length = struct.unpack_from("QQ", journal, at + 2)
        at += 18
        data = b"" if kind in "ST" else journal[at:at + length]
        at += len(data)
        yield kind, file, offset, data


# What makes the program wrong: (file, what stands there, what is put in its place).
SQLITE, POSTGRESQL = "src/ledger/store_sqlite.c", "src/ledger/store_postgresql.c"
SABOTAGE = {
    "commit": [(SQLITE, "int rc = run(s, only_looks(b) ? SQL_BEGIN_READ : SQL_BEGIN_WRITE);",
                "static int batches; int rc = sqlite3_get_autocommit(s->db) ? run(s, SQL_BEGIN_WRITE) : SQLITE_OK;"),
               (SQLITE, "        rc = run(s, SQL_COMMIT);\n    if (rc == SQLITE_OK) {\n        bool wrote",
                "        rc = ++batches % 10 == 0 ? run(s, SQL_COMMIT) : SQLITE_OK;\n    if (rc == SQLITE_OK) {\n        bool wrote")],
    "expiry": [(SQLITE, 'X(ORPHANS_ALL, "UPDATE ledger_entry SET state = 2,', 'X(ORPHANS_ALL, "UPDATE ledger_entry SET state = 3,')],
    "synchronous": [(SQLITE, '"PRAGMA synchronous = FULL;";', '"PRAGMA synchronous = OFF;";')],
    "standby": [(POSTGRESQL, 'wait_for_disk ? "on" : "off"', 'wait_for_disk ? "off" : "off"')],
}


def sabotaged(source, directory, name):
    """Builds a copy of the source with that in it. Nothing of this is in the program that ships."""
    copy = directory / name
    if copy.exists():
        shutil.rmtree(copy / "src")
    copy.mkdir(parents=True, exist_ok=True)
    for entry in "CMakeLists.txt", "cmake", "conf", "src", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "docs":
        (shutil.copytree if (source / entry).is_dir() else shutil.copy)(source / entry, copy / entry, **({"dirs_exist_ok": True} if (source / entry).is_dir() else {}))
    for file, there, instead in SABOTAGE[name]:
        path = copy / file
        text = path.read_text(encoding="utf-8")
        if text.count(there) != 1:
            raise RuntimeError(f"{name}: {file} has not exactly one {there!r}")
        path.write_text(text.replace(there, instead), encoding="utf-8")
    for command in (["cmake", "-G", "Ninja", "-S", copy, "-B", copy / "build", "-DCMAKE_BUILD_TYPE=Release", "-DBUILD_TESTING=OFF"],
                    ["cmake", "--build", copy / "build", "--target", "oneshot-proxy"]):
        done = subprocess.run(command, capture_output=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{name}: {done.stdout.decode()[-3000:]}{done.stderr.decode()[-2000:]}")
    return copy / "build" / "oneshot-proxy"


def parts(h, builds, wanted):
    s = h.scale
    yield "kill -9, SQLite", h.kills, "sqlite", s(200, 5000)
    yield "kill -9, PostgreSQL", h.kills, "postgresql", s(50, 1000)
    yield "crash points", h.crash_points, s(1, 200)
    yield "power cut", h.power_cuts, s(60, 2000)
    yield "stopped past the guard", h.stops, s(3, 200)
    yield "the disk fails", h.disk_fails, random.sample(range(1, 60), 6) if not h.full else range(1, 501)
    yield "two replicas", h.replicas, s(80, 10000)
    yield "PostgreSQL ends at once", h.postgres_fails, s(1, 100), h.server_dies
    yield "backends are ended", h.postgres_fails, s(3, 500), h.backends_die
    if h.full:
        yield "a standby takes over", h.promotions, 20
    yield "clock jumps", h.clock_jumps, s(10, 200)
    yield "bytes flipped", h.flips, s(6, 500)
    yield "control: no ledger", h.control, h.kills, "none", s(6, 20), 64, None, "nnnns"
    for name, build, run in (
            ("does not await the commit", "commit", lambda p: (h.kills, "sqlite", 40, 64, p, "nnnns")),
            ("expiry means retry", "expiry", lambda p: (h.kills, "sqlite", 20, 64, p, "nnnns")),
            ("synchronous = OFF", "synchronous", lambda p: (h.power_cuts, 300, p)),
            ("synchronous_commit = off", "standby", lambda p: (h.postgres_fails, 4, h.server_dies, p))):
        if builds and wanted("control: " + name):
            yield "control: " + name, h.control, *run(sabotaged(h.source, builds, build))


def main():
    if sys.argv[1] == "--stand-in":
        asyncio.run(stand_in(int(sys.argv[2]), sys.argv[3]))
        return 0
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--full", action="store_true", help="the large numbers")
    options.add_argument("--only", help="parts whose names hold one of these, by commas")
    options.add_argument("--sabotaged", type=pathlib.Path, help="where to build programs that are wrong on purpose")
    options.add_argument("--keep", action="store_true", help="leave the files of all runs")
    for name in "program", "shim", "source":
        options.add_argument(name, type=lambda p: pathlib.Path(p).resolve())
    arguments = options.parse_args()
    directory = pathlib.Path(tempfile.mkdtemp(prefix="ledger-"))
    h = Harness(arguments, directory)
    seed = int(os.environ.get("SEED", random.randrange(1 << 32)))
    random.seed(seed)
    say(f"seed {seed}")
    try:
        def wanted(name):
            return not arguments.only or any(o in name for o in arguments.only.split(","))

        for name, function, *rest in parts(h, arguments.sabotaged, wanted):
            if not wanted(name):
                continue
            if function == h.control:
                h.control(name, *rest)
            else:
                h.run(name, function, *rest)
    finally:
        if h.postgres:
            h.postgres.stop()
        if arguments.keep:
            say(f"left in {directory}")
        else:
            shutil.rmtree(directory, ignore_errors=True)
    bad = [name for name, good in h.results if not good]
    say(f"{len(h.results) - len(bad)} of {len(h.results)} parts passed{': not ' if bad else ''}{', '.join(bad)}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
