#!/usr/bin/env python3
"""Everything goes wrong at once, for a while, and nothing may be wrong afterwards.

    callers -> the real proxy -> an origin and a token endpoint that misbehave
                    ^ SIGHUP, new secrets, few descriptors, EINTR, a wall clock that jumps

Usage: soak.py PROXY MINUTES [SEED]. Ends by itself; exit 1 when an invariant was violated.
"""
import asyncio
import collections
import json
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time

CANARY = b"canary"          # every secret and token holds it, and nothing else does
DEADLINE_S = 25             # a whole request is answered or closed by then
CALLERS = 12
QUIET_EVERY_S, QUIET_S = 45, 4
HISTORIES = 3000
PATH = re.compile(rb"path=/soak/(r[0-9]+) .*request_id=([0-9a-f]+)")
REQUEST_ID = re.compile(rb"request_id=([0-9a-f]+)")


class Soak:
    def __init__(self, binary, minutes, seed):
        self.binary, self.seconds, self.dice = binary, minutes * 60, random.Random(seed)
        self.seed = seed
        self.outcomes, self.faults = collections.Counter(), collections.Counter()
        self.executed = collections.Counter()
        self.next_id = 0
        self.history = collections.OrderedDict()    # of the last requests: what was seen of each
        self.suspects = []
        self.paused, self.active, self.over = False, 0, False
        self.secret_number, self.token_number = 1, 0
        self.good_tokens = set()
        self.token_mood, self.fetching = "well", []
        self.quiet = []         # (seconds, rss, descriptors) while nothing runs
        self.peak_rss = 0
        self.wrong = []
        self.last_lines = collections.deque(maxlen=40)
        self.events = collections.deque(maxlen=40)      # the log without its access lines
        self.dir = tempfile.mkdtemp(prefix="soak-")

    def violated(self, what):
        if len(self.wrong) < 20:
            self.wrong.append(what)
        print("VIOLATED: " + what, flush=True)

    def note(self, ident, what):
        """Kept for the last requests, printed for those that something was wrong with."""
        self.history.setdefault(ident, []).append(f"{time.time():.3f} {what}")
        if len(self.history) > HISTORIES:
            oldest = next(iter(self.history))
            if oldest in self.suspects:
                self.history.move_to_end(oldest)
            else:
                del self.history[oldest]

    def look_for_canary(self, data, where):
        if CANARY in data:
            at = data.index(CANARY)
            self.violated(f"{where} shows a secret or a token near offset {at}")

    # ---- the origin -------------------------------------------------------------------------

    async def read_request(self, reader):
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        method, target, _ = lines[0].split(" ", 2)
        fields = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            fields[name.lower()] = value.strip()
        return method, target, fields

    async def read_body(self, reader, fields):
        body = b""
        if "chunked" in fields.get("transfer-encoding", ""):
            while True:
                size = int((await reader.readuntil(b"\r\n")).split(b";")[0], 16)
                body += (await reader.readexactly(size + 2))[:-2]
                if size == 0:
                    return body
        return await reader.readexactly(int(fields.get("content-length") or 0))

    async def origin(self, reader, writer):
        try:
            while await self.origin_request(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError, ValueError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.close()

    async def origin_request(self, reader, writer):
        method, _, fields = await self.read_request(reader)
        ident, fate = fields.get("x-soak", "?"), self.dice.random()
        caller = writer.get_extra_info("peername")
        self.note(ident, f"origin: {method} from port {caller[1] if caller else '?'}, fate {fate:.4f}, "
                         f"request id {fields.get('x-request-id')}")
        if fate < 0.01:
            self.faults["upstream closed before the body was read"] += 1
            writer.transport.abort()
            return False
        body = await self.read_body(reader, fields)
        if method != "GET" and body and not body.startswith(ident.encode() + b" "):
            self.violated(f"the body of {ident} belongs to another: {body[:20]!r}")
        token = fields.get("authorization", "").removeprefix("Bearer ")
        if token not in self.good_tokens:
            self.faults["upstream refused the token"] += 1
            self.note(ident, "origin: 401")
            writer.write(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\n{}")
            return True
        if fate < 0.012:
            self.good_tokens.clear()    # all tokens die: every request learns it by a 401
            self.faults["all tokens died"] += 1
        self.executed[ident] += 1
        self.note(ident, "origin: carried out")
        if method != "GET" and self.executed[ident] > 1:
            self.suspects.append(ident)
            self.violated(f"{method} {ident} was carried out {self.executed[ident]} times")
        size = self.dice.choice((0, 10, 1000, 1000, 1000, 20000, 300000))
        answer = json.dumps({"id": ident, "pad": "x" * size}).encode()
        if self.dice.random() < 0.3:
            whole = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            for at in range(0, len(answer), 7000):
                part = answer[at:at + 7000]
                whole += b"%x\r\n%s\r\n" % (len(part), part)
            whole += b"0\r\n\r\n"
        else:
            whole = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(answer), answer)
        if fate < 0.05:
            cut = self.dice.randrange(len(whole))
            self.note(ident, f"origin: closes behind {cut} of {len(whole)} bytes")
            writer.write(whole[:cut])
            self.faults["upstream reset or closed at a random byte"] += 1
            if self.dice.random() < 0.5:
                await writer.drain()
                writer.transport.abort()
            return False
        if fate < 0.08:
            self.faults["upstream slow"] += 1
            middle = self.dice.randrange(len(whole))
            writer.write(whole[:middle])
            await writer.drain()
            await asyncio.sleep(self.dice.random() * 0.5)
            whole = whole[middle:]
        writer.write(whole)
        await writer.drain()
        if fate < 0.10:
            self.faults["upstream closed after its answer"] += 1
            return False
        return True

    async def token_endpoint(self, reader, writer):
        # What the proxy has given up on counts no more, though it may not be read here yet.
        mine = [reader, False]      # its connection, whether it got an answer
        others = [f for f in self.fetching if not f[0].at_eof()]
        self.fetching.append(mine)
        try:
            _, _, fields = await self.read_request(reader)
            form = (await self.read_body(reader, fields)).decode()
            await asyncio.sleep(0.05)
            if any(answered or not other.at_eof() for other, answered in others):
                self.violated("two token fetches at a time")
            mine[1] = await self.token_answer(form, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.fetching.remove(mine)
            writer.close()

    async def token_answer(self, form, writer):
        mood = self.token_mood
        if mood != "well":
            self.faults["token endpoint: " + mood] += 1
        if mood == "hangs":
            await asyncio.sleep(1.5)
        if mood == "drops" or mood == "hangs":
            return False
        known = [f"client_secret=canary-secret-{self.secret_number - n}" for n in (0, 1)]
        status, body = "200 OK", None
        if not any(known_secret in form for known_secret in known):
            status, body = "401 Unauthorized", b'{"error":"invalid_client"}'
            self.faults["token endpoint: an old secret"] += 1
        elif mood == "refuses":
            status, body = "401 Unauthorized", b'{"error":"invalid_client"}'
        elif mood == "is down":
            status, body = "503 Service Unavailable", b"down"
        elif mood == "babbles":
            body = b'{"access_token": "canary'
        if body is None:
            self.token_number += 1
            token = f"canary-token-{self.token_number}"
            self.good_tokens.add(token)
            body = json.dumps({"access_token": token, "token_type": "Bearer",
                               "expires_in": self.dice.choice((4, 8, 20, 3600))}).encode()
        self.faults["token endpoint: answered " + status[:3]] += 1
        writer.write(b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
                     b"Connection: close\r\n\r\n%s" % (status.encode(), len(body), body))
        await writer.drain()
        return True

    # ---- the callers ------------------------------------------------------------------------

    def request(self):
        ident = f"r{self.next_id}"
        self.next_id += 1
        method = self.dice.choice(("GET", "GET", "POST", "POST", "PUT", "PATCH", "DELETE"))
        head = f"{method} /soak/{ident} HTTP/1.1\r\nHost: localhost\r\nX-Soak: {ident}\r\n"
        size = self.dice.choice((0, 10, 800, 800, 40000, 2000000 if self.dice.random() < 0.1 else 90))
        body = b""
        if method != "GET" and size:
            body = ident.encode() + b" " + b"y" * size
        if body and self.dice.random() < 0.4:
            head += "Transfer-Encoding: chunked\r\n"
            body = b"".join(b"%x\r\n%s\r\n" % (len(body[i:i + 9000]), body[i:i + 9000])
                            for i in range(0, len(body), 9000)) + b"0\r\n\r\n"
        elif body or method == "POST":
            head += f"Content-Length: {len(body)}\r\n"
        return ident, method, head.encode() + b"\r\n", body

    async def read_answer(self, reader):
        """status, body, whether it is whole, whether the connection stays"""
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                status = int(head[9:12])
                if status >= 200:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            return 0, b"", False, False
        self.look_for_canary(head, "an answer's head")
        lower, body = head.lower(), b""
        stays = b"connection: close" not in lower
        try:
            if b"transfer-encoding: chunked" in lower:
                while True:
                    size = int((await reader.readuntil(b"\r\n")).strip(), 16)
                    body += (await reader.readexactly(size + 2))[:-2]
                    if size == 0:
                        return status, body, True, stays
            length = lower.split(b"content-length:", 1)[1].split(b"\r\n")[0] \
                if b"content-length:" in lower else b"0"
            body = await reader.readexactly(int(length))
        except (asyncio.IncompleteReadError, ConnectionError):
            return status, body, False, False
        return status, body, True, stays

    async def send(self, writer, head, body):
        try:
            writer.write(head)
            for at in range(0, len(body), 60000):
                writer.write(body[at:at + 60000])
                await writer.drain()
                if self.dice.random() < 0.02:
                    await asyncio.sleep(0.2)
        except ConnectionError:
            pass                # an early answer may be there all the same

    async def one(self, stream):
        ident, method, head, body = self.request()
        if stream is None:
            stream = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 20)
        reader, writer = stream
        if self.dice.random() < 0.03:
            self.faults["caller vanished"] += 1
            whole = head + body
            writer.write(whole[:self.dice.randrange(1, len(whole) + 1)])
            await asyncio.sleep(self.dice.random() * 0.05)
            writer.transport.abort()
            return None
        sending = asyncio.ensure_future(self.send(writer, head, body))
        if self.dice.random() < 0.02:
            self.faults["caller read slowly"] += 1
            await asyncio.sleep(0.5)
        try:
            status, answer, whole, stays = await asyncio.wait_for(self.read_answer(reader), DEADLINE_S)
        except asyncio.TimeoutError:
            self.violated(f"{method} {ident} had no answer within {DEADLINE_S} s")
            status, answer, whole, stays = -1, b"", False, False
        self.note(ident, f"caller: {status}, {len(answer)} bytes, whole: {whole}, on port "
                         f"{writer.get_extra_info('sockname')}")
        self.judge(ident, method, status, answer, whole)
        done_sending = sending.done()
        if not done_sending:
            sending.cancel()
        if not stays or not whole or not done_sending:
            writer.transport.abort()
            return None
        return stream

    def judge(self, ident, method, status, answer, whole):
        self.outcomes[f"{status}{'' if whole else ' cut'}" if status > 0 else "closed"] += 1
        if status == 200 and whole:
            try:
                right = json.loads(answer)["id"] == ident
            except (ValueError, KeyError):
                right = False
            if not right:
                self.violated(f"{method} {ident} got {answer[:60]!r}")
            if self.executed[ident] < 1:
                self.violated(f"{method} {ident} got 200 and was not carried out")
        elif whole and status in (400, 411, 413, 414, 417, 431, 500, 501, 505):
            self.suspects.append(ident)
            self.violated(f"{method} {ident}, which is sound, got {status}: {answer[:300]!r}")
        elif whole and status != 401:
            self.look_for_canary(answer, "an answer of the proxy")
            if status == 502 and b"unknown" not in answer and b"may have been" not in answer \
                    and method != "GET" and self.executed[ident]:
                self.violated(f"{method} {ident} was carried out, told: {answer[:300]!r}")

    async def caller(self):
        stream = None
        while not self.over:
            if self.paused:
                if stream is not None:
                    stream[1].close()
                    stream = None
                await asyncio.sleep(0.1)
                continue
            self.active += 1
            try:
                stream = await self.one(stream)
            except (ConnectionError, OSError):
                stream = None
                self.outcomes["no connection"] += 1
            self.active -= 1
            if stream is not None and self.dice.random() < 0.1:
                stream[1].close()
                stream = None
            await asyncio.sleep(self.dice.random() * 0.08)

    # ---- what happens to the proxy ----------------------------------------------------------

    def write_secret(self):
        path = os.path.join(self.dir, "secret")
        with open(path + ".new", "w", encoding="ascii") as f:
            f.write(f"canary-secret-{self.secret_number}\n")
        os.chmod(path + ".new", 0o600)
        os.rename(path + ".new", path)

    async def trouble(self):
        kinds = [self.new_secret, self.reload, self.token_trouble, self.token_trouble, self.few_files]
        if shutil.which("strace") and os.geteuid() == 0:
            kinds.append(self.interrupt)
        if self.faketime:
            kinds.append(self.jump)
        while not self.over:
            await asyncio.sleep(0.5 + self.dice.random() * 2)
            if not self.paused:
                await self.dice.choice(kinds)()

    async def new_secret(self):
        self.faults["secret rotated"] += 1
        self.secret_number += 1
        self.write_secret()

    async def reload(self):
        self.faults["SIGHUP"] += 1
        self.proxy.send_signal(signal.SIGHUP)

    async def token_trouble(self):
        self.token_mood = self.dice.choice(("refuses", "is down", "babbles", "hangs", "drops"))
        await asyncio.sleep(self.dice.random() * 2)
        self.token_mood = "well"

    async def few_files(self):
        self.faults["descriptors nearly exhausted"] += 1
        have = len(os.listdir(f"/proc/{self.proxy.pid}/fd"))
        soft, hard = resource.prlimit(self.proxy.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(self.proxy.pid, resource.RLIMIT_NOFILE, (have + 3, hard))
        await asyncio.sleep(0.5)
        resource.prlimit(self.proxy.pid, resource.RLIMIT_NOFILE, (soft, hard))

    async def interrupt(self):
        self.faults["system calls interrupted (EINTR)"] += 1
        # Over before strace lets go: what it is about to inject then becomes an ENOSYS.
        first = self.dice.randrange(3, 9)
        calls = "epoll_wait,recvfrom,sendto,sendmsg,read,write,accept4,poll,writev"
        tracer = await asyncio.create_subprocess_exec(
            "strace", "-f", "-qq", "-o", "/dev/null", "-p", str(self.proxy.pid), "-e",
            f"inject={calls}:error=EINTR:when={first}..{first + 60}+{self.dice.randrange(5, 20)}",
            stderr=asyncio.subprocess.DEVNULL)
        await asyncio.sleep(1)
        if tracer.returncode is None:
            tracer.terminate()
        await tracer.wait()

    async def jump(self):
        self.faults["wall clock jumped"] += 1
        with open(self.faketime_file, "w", encoding="ascii") as f:
            f.write(self.dice.choice(("+3d", "-3d", "+0", "+0")) + "\n")

    async def ask_admin(self):
        while not self.over:
            for path in ("/metrics", "/", "/readyz", "/healthz"):
                try:
                    reader, writer = await asyncio.open_connection("127.0.0.1", self.admin)
                    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
                    answer = await asyncio.wait_for(reader.read(1 << 22), 10)
                    writer.close()
                    self.look_for_canary(answer, "admin " + path)
                    self.outcomes[f"admin {path} {answer[9:12].decode()}"] += 1
                except (ConnectionError, OSError):
                    self.outcomes["admin not reached"] += 1
                except asyncio.TimeoutError:
                    self.violated(f"admin {path} did not answer within 10 s")
            await asyncio.sleep(3)

    def rss(self):
        with open(f"/proc/{self.proxy.pid}/statm", encoding="ascii") as f:
            return int(f.read().split()[1]) * resource.getpagesize()

    async def rests(self):
        start = time.monotonic()
        while not self.over:
            await asyncio.sleep(min(QUIET_EVERY_S, self.seconds / 4))
            self.paused = True
            until = time.monotonic() + DEADLINE_S
            while self.active and time.monotonic() < until:
                await asyncio.sleep(0.1)
            await asyncio.sleep(QUIET_S)
            self.quiet.append((time.monotonic() - start, self.rss(),
                               len(os.listdir(f"/proc/{self.proxy.pid}/fd"))))
            self.paused = False

    def remember(self, line):
        """Log lines by the request that they are about."""
        said = REQUEST_ID.search(line)
        at = PATH.search(line)
        if at:
            self.note(at[1].decode(), "log: " + line.decode().strip())
        elif said:
            self.note(said[1].decode(), "log: " + line.decode().strip())

    async def watch_log(self, ready):
        while True:
            line = await self.proxy.stderr.readline()
            if not line:
                break
            self.last_lines.append(line)
            if b"event=access" not in line:
                self.events.append(line)
            self.look_for_canary(line, "the log")
            self.remember(line)
            if b"Sanitizer" in line or b"runtime error" in line or b"Assertion" in line:
                self.violated(line.decode(errors="replace").strip())
            if b"event=ready" in line and not ready.done():
                ready.set_result(line.decode())
        if not ready.done():
            ready.set_exception(RuntimeError("the proxy did not start"))

    # ---- all of it --------------------------------------------------------------------------

    def environment(self):
        env = {"ASAN_OPTIONS": "quarantine_size_mb=8:detect_leaks=1:handle_abort=1", "UBSAN_OPTIONS": "print_stacktrace=1",
               "PATH": os.environ.get("PATH", "")}
        library = next((p for p in ("/usr/lib/%s-linux-gnu/faketime/libfaketimeMT.so.1" % os.uname().machine,)
                        if os.path.exists(p)), None)
        with open(self.binary, "rb") as f:
            sanitized = b"__asan_init" in f.read()
        self.faketime = library is not None and not sanitized
        self.faketime_file = os.path.join(self.dir, "faketime")
        if self.faketime:
            with open(self.faketime_file, "w", encoding="ascii") as f:
                f.write("+0\n")
            env |= {"LD_PRELOAD": library, "FAKETIME_TIMESTAMP_FILE": self.faketime_file,
                    "FAKETIME_CACHE_DURATION": "1", "DONT_FAKE_MONOTONIC": "1"}
        return env

    async def run(self):
        origin = await asyncio.start_server(self.origin, "127.0.0.1", 0, limit=1 << 20)
        tokens = await asyncio.start_server(self.token_endpoint, "127.0.0.1", 0)
        ports = [s.sockets[0].getsockname()[1] for s in (origin, tokens)]
        self.write_secret()
        ini = os.path.join(self.dir, "soak.ini")
        with open(ini, "w", encoding="ascii") as f:
            f.write(f"[listen]\naddress = 127.0.0.1:0\nheader_timeout = 5s\nbody_timeout = 5s\n"
                    f"[upstream]\nbase_url = http://127.0.0.1:{ports[0]}/v0\nresponse_timeout = 8s\n"
                    f"idle_timeout = 8s\n[token]\nurl = http://127.0.0.1:{ports[1]}/v0/token\n"
                    f"client_id = soak\nclient_secret_file = {self.dir}/secret\nretry_min = 200ms\n"
                    f"retry_max = 1s\ntimeout = 3s\n[admin]\naddress = 127.0.0.1:0\n[process]\nworkers = 2\n")
        self.proxy = await asyncio.create_subprocess_exec(
            self.binary, "--config", ini, env=self.environment(), stderr=asyncio.subprocess.PIPE)
        ready = asyncio.get_running_loop().create_future()
        log = asyncio.ensure_future(self.watch_log(ready))
        line = dict(w.split("=", 1) for w in (await asyncio.wait_for(ready, 30)).split() if "=" in w)
        self.port = int(line["listen"].rsplit(":", 1)[1])
        self.admin = int(line["admin"].rsplit(":", 1)[1])
        jobs = [asyncio.ensure_future(job) for job in
                [self.caller() for _ in range(CALLERS)] + [self.trouble(), self.rests(), self.ask_admin()]]
        end = time.monotonic() + self.seconds
        while time.monotonic() < end and self.proxy.returncode is None and len(self.wrong) < 20:
            await asyncio.sleep(0.5)
            if self.proxy.returncode is None:
                self.peak_rss = max(self.peak_rss, self.rss())
            broken = [j for j in jobs if j.done()]
            if broken:
                raise broken[0].exception() or RuntimeError("a job ended")
        await self.finish(jobs, log)
        origin.close()
        tokens.close()

    async def finish(self, jobs, log):
        self.over = True
        await asyncio.wait(jobs, timeout=DEADLINE_S + QUIET_EVERY_S)
        for job in jobs:
            job.cancel()
        if self.proxy.returncode is None:
            state = self.state()
            if self.faketime:   # it leaves while the wall clock is three days behind
                with open(self.faketime_file, "w", encoding="ascii") as f:
                    f.write("-3d\n")
                await asyncio.sleep(1.5)
            self.proxy.terminate()
            try:
                await asyncio.wait_for(self.proxy.wait(), 60)
            except asyncio.TimeoutError:
                self.proxy.kill()
                self.violated("the proxy did not end within 60 s of SIGTERM")
        else:
            state = "nothing, it ended by itself"
        await log               # to its end: what it said last is why
        if self.proxy.returncode != 0:
            self.violated(f"the proxy left with {self.proxy.returncode}; before SIGTERM: {state}; "
                          "it said last:\n" + self.text(list(self.events)[-12:]))
        self.compare_rests()

    def state(self):
        """What may keep the proxy from leaving well and is not its doing."""
        with open(f"/proc/{self.proxy.pid}/status", encoding="ascii") as f:
            tracer = next(line.split()[1] for line in f if line.startswith("TracerPid"))
        limit = resource.prlimit(self.proxy.pid, resource.RLIMIT_NOFILE)
        return f"traced by {tracer}, {len(os.listdir(f'/proc/{self.proxy.pid}/fd'))} of {limit[0]} descriptors"

    @staticmethod
    def text(lines):
        return b"".join(lines).decode(errors="replace")

    def compare_rests(self):
        """Memory and descriptors at rest: the last three rests against the first that followed a
        warm-up."""
        if len(self.quiet) < 4:
            return
        first, last = self.quiet[1], self.quiet[-3:]
        rss, files = min(q[1] for q in last), min(q[2] for q in last)
        if rss > first[1] * 1.25 + (4 << 20):
            self.violated(f"memory at rest grew from {first[1] >> 10} to {rss >> 10} KiB")
        if files > first[2] + 12:
            self.violated(f"descriptors at rest grew from {first[2]} to {files}")

    def report(self):
        print(f"\nsoak of {self.seconds / 60:g} min, seed {self.seed}: {self.next_id} requests, "
              f"{self.token_number} tokens")
        for title, counts in (("outcome", self.outcomes), ("fault", self.faults)):
            for name, n in sorted(counts.items()):
                print(f"  {title:8} {n:8} {name}")
        print("  at rest (s, KiB, descriptors): " +
              " ".join(f"{q[0]:.0f}/{q[1] >> 10}/{q[2]}" for q in self.quiet[:3] + self.quiet[-3:]))
        print(f"  peak memory {self.peak_rss >> 10} KiB")
        if not shutil.which("strace") or os.geteuid() != 0:
            print("  NOT TRIED: EINTR, which needs strace and root")
        if not self.faketime:
            print("  NOT TRIED: jumps of the wall clock, which need libfaketime and a plain build")
        for ident in self.suspects:
            print(f"  what was seen of {ident} and its request ids:")
            lines = self.history.get(ident, [])
            ids = dict.fromkeys(i for line in lines for i in re.findall("request.id[ =]([0-9a-f]{32})", line))
            for line in lines + [line for i in ids for line in self.history.get(i, [])]:
                print("    " + line)
        print(f"  violated invariants: {len(self.wrong)}")


def main():
    binary, minutes = sys.argv[1], float(sys.argv[2])
    soak = Soak(binary, minutes, int(sys.argv[3]) if len(sys.argv) > 3 else 1)
    try:
        asyncio.run(soak.run())
    finally:
        soak.report()
        if soak.wrong:
            print("the log's end without its access lines:\n" + soak.text(soak.events) +
                  "the log's end:\n" + soak.text(soak.last_lines), end="")
        shutil.rmtree(soak.dir, ignore_errors=True)
    sys.exit(1 if soak.wrong else 0)


main()
