#!/usr/bin/env python3
"""What the ledger costs: ledger.py BUILD, started by `./dev bench ledger`.

Keyed requests from 1, 8 and 64 callers at once, each on a connection of its own, first without a ledger, then with one in
a SQLite file, then in PostgreSQL, and replays. All of it beside f, the time of one commit alone on the same disk in the
same run: a program cannot be faster than its disk, and disks differ. Callers and origin take their share of the same
CPUs; the CPU of the program is its own.
"""
import asyncio
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
import uuid

TREE = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(TREE / "tests" / "ledger"))
import ledger  # noqa: E402  # pylint: disable=wrong-import-position

TRANSFER = "/v0/wallets/7c1e5a52-3f0b-4d7e-9a54-0d2f6c8b1e02/transfer"
BODY = b'{"destinationAccountAddress":"0x4444444444444444444444444444444444444444","transferAmount":"1"}'
SECONDS = 5


def commit_of_disk(directory):
    """The median time, in ms, of a write of 4 KiB behind the last one and fdatasync."""
    times = []
    with open(directory / "probe", "wb", buffering=0) as f:
        for _ in range(200):
            began = time.perf_counter()
            f.write(bytes(4096))
            os.fdatasync(f.fileno())
            times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times)


def commit_of_postgres(server):
    """The same of an INSERT by itself, as psql times it."""
    sql = "CREATE TABLE probe (t text);\n\\timing on\n" + "INSERT INTO probe VALUES ('x');\n" * 200
    done = subprocess.run(["psql", "-X", "-q", "-h", "127.0.0.1", "-p", str(server.port), "-U", "postgres", "postgres"],
                          input=sql.encode(), capture_output=True, check=True)
    return statistics.median(float(line.split()[1]) for line in done.stdout.decode().splitlines() if line.startswith("Time:"))


class World:
    """The program between callers and tests/origin, with or without a store."""

    def __init__(self, build, directory, store):
        self.build, self.directory, self.store = build, directory, store
        self.upstream, self.port = ledger.free_port(), ledger.free_port()
        self.config = directory / "proxy.ini"
        store_line = f"[ledger]\nstore = {store.url}\n" if store else ""
        self.config.write_text(
            f"[listen]\naddress = 127.0.0.1:{self.port}\n[upstream]\nbase_url = http://127.0.0.1:{self.upstream}/v0\n"
            f"allow_plaintext = yes\n[token]\nclient_id = i\nclient_secret = s\n[admin]\naddress = off\n"
            f"[log]\naccess = no\n{store_line}", encoding="utf-8")
        self.config.chmod(0o600)
        self.origin = self.start([build / "tests/origin/oneshot-origin", "--listen", f"127.0.0.1:{self.upstream}",
                                  "--client-id", "i", "--client-secret", "s"], "ready")
        if store:
            subprocess.run([build / "oneshot-proxy", "ledger", "init", "--config", self.config], check=True, capture_output=True)
        self.proxy = self.start([build / "oneshot-proxy", "--config", self.config], "token_obtained")

    def start(self, command, until):
        log = self.directory / (pathlib.Path(command[0]).name + ".log")
        process = ledger.Process(command, log)
        end = time.monotonic() + 60
        while until not in log.read_text(errors="replace"):
            if process.ended() or time.monotonic() > end:
                raise RuntimeError(log.read_text(errors="replace"))
            time.sleep(0.02)
        return process

    def end(self):
        for process in self.proxy, self.origin:
            process.kill()
            process.wait()

    def cpu_s(self):
        fields = pathlib.Path(f"/proc/{self.proxy.process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    async def caller(self, until, times, key):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 20)
        while time.perf_counter() < until:
            began = time.perf_counter()
            writer.write(f"POST {TRANSFER} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nIdempotency-Key: "
                         f"{key or uuid.uuid4().hex}\r\nContent-Length: {len(BODY)}\r\n\r\n".encode() + BODY)
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(length)
            if not head.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(head.decode())
            times.append((time.perf_counter() - began) * 1000)
        writer.close()

    def measure(self, callers, key=None):
        async def all_of_them():
            times = []
            until = time.perf_counter() + SECONDS
            await asyncio.gather(*(self.caller(until, times, key) for _ in range(callers)))
            return times
        if key:  # the first one is no replay
            asyncio.run(self.caller(time.perf_counter() + 0.001, [], key))
        before = self.cpu_s()
        times = sorted(asyncio.run(all_of_them()))
        return {"p50": times[len(times) // 2], "p99": times[len(times) * 99 // 100], "rate": len(times) / SECONDS,
                "cpu": (self.cpu_s() - before) / len(times) * 1e6}


def measure_store(build, directory, name, store, f, without):
    directory = directory / name
    directory.mkdir()
    world = World(build, directory, store)
    try:
        found = {n: world.measure(n) for n in (1, 8, 64)}
        for n, m in found.items():
            base = without.get(n)
            added = f"{m['p50'] - base['p50']:8.2f} {(m['p50'] - base['p50']) / f:6.2f}" if base else " " * 15
            print(f"{name:11} {n:7} {m['rate']:9.0f} {m['p50']:8.2f} {m['p99']:8.2f} {added} {m['cpu']:8.0f}", flush=True)
        if store:
            m = world.measure(1, uuid.uuid4().hex)
            print(f"{name:11} {'replay':>7} {m['rate']:9.0f} {m['p50']:8.2f} {m['p99']:8.2f} {'':15} {m['cpu']:8.0f}", flush=True)
        return found
    finally:
        world.end()


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory(prefix="ledger-bench-") as name:
        directory = pathlib.Path(name)
        directory.chmod(0o711)
        (directory / "postgres").mkdir(mode=0o711)
        server = ledger.Postgres(directory / "postgres")
        try:
            f = {"sqlite": commit_of_disk(directory), "postgresql": commit_of_postgres(server)}
            print(f"f, one commit alone: {f['sqlite']:.2f} ms (fdatasync), {f['postgresql']:.2f} ms (PostgreSQL)\n")
            print("store       callers    req/s   p50 ms   p99 ms    added    / f    CPU us")
            (directory / "s").mkdir(mode=0o700)
            without = measure_store(build, directory, "none", None, 1, {})
            measure_store(build, directory, "sqlite", ledger.Sqlite(directory / "s"), f["sqlite"], without)
            measure_store(build, directory, "postgresql", ledger.PostgresStore(server), f["postgresql"], without)
        finally:
            server.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
