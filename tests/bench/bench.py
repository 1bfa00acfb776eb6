"""./dev bench: measures what contenders.py describes and writes a report; see README.md here.

Every measure alternates the contenders in short rounds, each round in another order, and takes
the median over rounds of the ratio to nginx in the same round: a machine that slows down for a
while slows down both sides of a ratio."""
import datetime
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import chart
from contenders import (BUILD, COUNTER, LOAD, PROXY, TREE, CPUS, OTHER_CPUS, Contender, Origin,
                        available, load, with_parent)

ALL = ["oneshot", "nginx", "nginx+lua", "haproxy", "caddy"]
KINDS = {"GET": ("GET", "/v0/json", 0), "POST 1 kB": ("POST", "/v0/post", 1024),
         "POST 64 kB": ("POST", "/v0/post", 65536)}
GIB = 1 << 30


def say(text):
    print(f"[{time.monotonic() - BEGIN:5.0f} s] {text}", file=sys.stderr, flush=True)


BEGIN = time.monotonic()


class Bench:
    def __init__(self, dir, quick):
        self.dir, self.quick = dir, quick
        self.origin = Origin(dir)
        self.missing = available()
        self.names = [n for n in (["oneshot", "nginx", "haproxy"] if quick else ALL)
                      if n not in self.missing]
        self.names_cpu = self.names + [n for n in ("oneshot+mimalloc",)
                                       if not quick and n not in self.missing]
        self.rounds = 5
        self.results = {}
        for name, why in self.missing.items():
            say(f"{name} left out: {why}")

    def make(self, name, **options):
        return Contender(name, self.dir, self.origin.port, **options)

    def running(self, names, **options):
        """All of them at once: those that do not have their turn sleep."""
        return Running({name: self.make(name, **options) for name in names})

    @staticmethod
    def args(c, kind, connections, requests, *more):
        method, target, body = KINDS[kind]
        return ["--port", c.port, "--connections", connections, "--requests", requests,
                "--warm-up", max(connections * 4, 200), "--method", method, "--target", target,
                "--body", body, "--pids", ",".join(map(str, c.pids())), *more, "load"]

    def rounds_of(self, running, measure, rounds=None):
        """measure(contender) for each, `rounds` times; a list of {name: values}."""
        names = list(running)
        found = []
        for i in range(rounds or self.rounds):
            turn = names[i % len(names):] + names[:i % len(names)]
            found.append({name: measure(running[name]) for name in turn})
        return found

    # --- the parts: each leaves its result under its own name ---------------------------

    def cpu(self):
        """CPU time a request, and throughput: closed loop."""
        kinds = ["GET"] if self.quick else list(KINDS)
        counts = [32, 256] if self.quick else [1, 32, 256]
        rows = []
        with self.running(self.names_cpu) as running:
            for kind in kinds:
                for connections in counts:
                    rows.append(self.cpu_row(running, kind, connections))
        self.results["cpu"] = rows

    def cpu_row(self, running, kind, connections, **more):
        seconds = 0.35 if self.quick else 0.5
        enough = {}
        for name, c in running.items():
            v = load(*self.args(c, kind, connections, max(200, connections * 8)))
            enough[name] = int(max(200, connections * 8, v["rps"] * seconds))
        found = self.rounds_of(
            running, lambda c: load(*self.args(c, kind, connections, enough[c.name])))
        row = {"kind": kind, "connections": connections, **more,
               "cpu_us": medians(found, "cpu_us"), "rps": medians(found, "rps"),
               "cpu_ratio": ratios(found, "cpu_us"), "rps_ratio": ratios(found, "rps"),
               "errors": sum(v["errors"] for r in found for v in r.values())}
        say(f"cpu {kind} x{connections}: " + ", ".join(
            f"{n} {row['cpu_us'][n]:.1f} us ({row['cpu_ratio'][n]:.2f})" for n in running))
        return row

    def http2(self):
        """HTTP/2 to the origin, beside nginx, which only has HTTP/1.1."""
        rows = []
        names = [n for n in ("oneshot", "haproxy", "caddy") if n in self.names]
        both = {n: self.make(n, h2=True) for n in names}
        both["nginx"] = self.make("nginx")
        with Running(both) as running:
            for connections in ([32] if self.quick else [1, 32, 256]):
                rows.append(self.cpu_row(running, "GET", connections, upstream="HTTP/2"))
        self.results["http2"] = rows

    def logged(self):
        """With an access log."""
        with self.running([n for n in ("oneshot", "nginx") if n in self.names], log=True) as running:
            self.results["logged"] = [self.cpu_row(running, "GET", 32)]

    def callers(self):
        """With 32 callers and their limits, beside itself without any."""
        with self.running([n for n in ("oneshot", "oneshot+callers", "nginx")
                           if n not in self.missing]) as running:
            self.results["callers"] = [self.cpu_row(running, "GET", 32)]

    def latency(self):
        """Open loop at half the throughput of the slowest, latency from when a request was due. Many short
        rounds: a machine that stops for some milliseconds now and then spoils one of them, not all."""
        rows = []
        with self.running(self.names) as running:
            for connections in ([32] if self.quick else [32, 256]):
                slowest = min(load(*self.args(c, "GET", connections, 4000))["rps"]
                              for c in running.values())
                rate = int(min(slowest / 2, 8000) / 100) * 100
                count = rate
                found = self.rounds_of(running, lambda c: load(
                    *self.args(c, "GET", connections, count, "--rate", rate)), 5 if self.quick else 15)
                row = {"connections": connections, "rate": rate}
                for what in ("p50_us", "p99_us", "p999_us", "cpu_us"):
                    row[what] = medians(found, what)
                    row[what + "_ratio"] = ratios(found, what)
                rows.append(row)
                say(f"latency x{connections} at {rate}/s: " + ", ".join(
                    f"{n} p50 {row['p50_us'][n]:.0f} p99 {row['p99_us'][n]:.0f} ({row['p99_us_ratio'][n]:.2f})"
                    for n in running))
        self.results["latency"] = rows

    def counts(self):
        """System calls and allocations a request."""
        rows = []
        for connections in ([32] if self.quick else [1, 32, 256]):
            row = {"connections": connections, "syscalls": {}, "allocations": {}}
            for name in self.names:
                row["syscalls"][name] = self.syscalls(name, connections)
                if name != "caddy":
                    row["allocations"][name] = self.allocations(name, connections)
            rows.append(row)
            say(f"counts x{connections}: " + ", ".join(
                f"{n} {row['syscalls'][n]:.2f} calls {row['allocations'].get(n, float('nan')):.2f} allocations"
                for n in self.names))
        self.results["counts"] = rows

    def syscalls(self, name, connections):
        """By the difference of two runs, so that start, warm-up and end do not count."""
        totals = []
        few, many = max(200, connections * 4), max(200, connections * 4) + 2000
        for requests in (few, many):
            out = f"{self.dir}/strace.{name}"
            c = self.make(name).start(wrapper=("strace", "-f", "-c", "-qq", "-o", out))
            args = self.args(c, "GET", connections, requests)
            load(*args)
            for child in c.pids()[1:]:
                if os.path.basename(os.readlink(f"/proc/{child}/exe")) != "strace":
                    os.kill(child, 15)
                    break
            c.process.wait(20)
            c.process = None
            with open(out) as f:
                last = [line.split() for line in f if line.rstrip().endswith("total")]
            totals.append(int(last[-1][3]) if last[-1][3].isdigit() else int(last[-1][2]))
        return (totals[1] - totals[0]) / (many - few)

    def allocations(self, name, connections):
        count = f"{self.dir}/count.{name}"
        c = self.make(name)
        try:
            c.start(env={"LD_PRELOAD": COUNTER, "COUNT_ALLOC_FILE": count})
            return load(*self.args(c, "GET", connections, 4000, "--allocations", count))["allocations"]
        finally:
            c.stop()

    def bulk(self):
        """1 GiB each way on one connection."""
        rows = []
        rounds = 1 if self.quick else 2
        with self.running(self.names, streaming=True) as running:
            for way, method, target, body in (("down", "GET", "/v0/big", 0),
                                              ("up", "POST", "/v0/sink", GIB)):
                found = self.rounds_of(running, lambda c: load(
                    "--port", c.port, "--method", method, "--target", target, "--body", body,
                    "--pids", ",".join(map(str, c.pids())), "load"), rounds)
                for r in found:
                    for v in r.values():
                        v["mb_s"] = GIB / 1e6 / v["seconds"]
                row = {"way": way, "mb_s": medians(found, "mb_s"), "cpu_s": medians(found, "cpu_s"),
                       "cpu_ratio": ratios(found, "cpu_s")}
                rows.append(row)
                say(f"bulk {way}: " + ", ".join(
                    f"{n} {row['mb_s'][n]:.0f} MB/s {row['cpu_s'][n]:.2f} s ({row['cpu_ratio'][n]:.2f})"
                    for n in running))
        self.results["bulk"] = rows

    def memory(self):
        """Resident memory: at rest, with idle connections that have been used, with slow readers."""
        row = {}
        idle = 2000 if self.quick else 10000
        for name in self.names:
            with self.make(name) as c:
                time.sleep(0.3)
                mine = row[name] = {"rest_kib": resident(c)}
                load("--port", c.port, "load")
                mine["one_kib"] = resident(c)
                for key, *command in (("fresh_kib", "hold"), ("used_kib", "hold", "--used")):
                    with Held(c, idle, *command):
                        settle(c)
                        mine[key] = resident(c)
                with Held(c, 200 if self.quick else 1000, "slow", "--target", "/v0/big"):
                    settle(c)
                    mine["slow_kib"] = resident(c)
            say(f"memory {name}: " + ", ".join(f"{k} {v}" for k, v in mine.items()))
        self.results["memory"] = {"idle": idle, "slow": 200 if self.quick else 1000, "rows": row}

    def start(self):
        """From exec to the first answer that came from the origin."""
        found = []
        for _ in range(5 if self.quick else 11):
            one = {}
            for name in self.names:
                c = self.make(name)
                command = c.command()
                done = subprocess.run([LOAD, "--port", str(c.port), "first", "--", *command],
                                      capture_output=True, text=True, env=c.environment(),
                                      preexec_fn=with_parent(), check=True)
                values = dict(line.split("=") for line in done.stdout.splitlines() if "=" in line)
                end(int(values["pid"]))
                one[name] = {"ms": float(values["first_ms"])}
            found.append(one)
        self.results["start"] = medians(found, "ms")
        say("start: " + ", ".join(f"{n} {ms:.1f} ms" for n, ms in self.results["start"].items()))

    def renewal(self):
        """p99 while the token is renewed every second, beside a token that lives an hour."""
        short = Origin(self.dir, lifetime=2)
        try:
            keys = "refresh_before = 50%\n"
            pair = {"hour": self.make("oneshot"),
                    "2 s": Contender("oneshot", self.dir, short.port)}
            renewed = pair["2 s"]
            plain = renewed.oneshot
            renewed.oneshot = lambda: plain(keys)
            with Running(pair) as running:
                for key, c in running.items():
                    c.name = key
                rate, count = 4000, 4000 * (2 if self.quick else 4)
                found = self.rounds_of(running, lambda c: load(
                    *self.args(c, "GET", 32, count, "--rate", rate)), 3 if self.quick else 7)
            fetches = 0
            row = {"rate": rate, "p99_us": medians(found, "p99_us"), "p999_us": medians(found, "p999_us"),
                   "p99_ratio": statistics.median(r["2 s"]["p99_us"] / r["hour"]["p99_us"] for r in found),
                   "errors": sum(v["errors"] for r in found for v in r.values())}
            self.results["renewal"] = row
            say(f"renewal: {row}")
        finally:
            short.stop()

    def scaling(self):
        """One and two workers; and one worker with 10 to 10,000 open connections."""
        rows = []
        for workers in (1, 2):
            with Running({"oneshot": self.make("oneshot", workers=workers),
                          "nginx": self.make("nginx", workers=workers)}) as running:
                rows.append(self.cpu_row(running, "GET", 64, workers=workers))
        self.results["workers"] = rows
        rows = []
        counts = [10, 1000, 4000] if self.quick else [10, 100, 1000, 10000]
        with self.running(["oneshot", "nginx"]) as running:
            for open_connections in counts:
                held = [Held(c, open_connections, "hold", "--used") for c in running.values()]
                for h in held:
                    h.__enter__()
                rows.append(self.cpu_row(running, "GET", 10, open=open_connections))
                for h in held:
                    h.__exit__()
        self.results["open"] = rows

    def close(self):
        self.origin.stop()


class Running:
    def __init__(self, contenders):
        self.contenders = contenders

    def __enter__(self):
        for c in self.contenders.values():
            c.start()
        return self.contenders

    def __exit__(self, *_):
        for c in self.contenders.values():
            c.stop()


class Held:
    """Connections that bench-load holds open."""

    def __init__(self, c, count, *command):
        self.args = [LOAD, "--port", str(c.port), "--connections", str(count), *command]

    def __enter__(self):
        self.process = subprocess.Popen(self.args, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True, preexec_fn=with_parent(cpus=OTHER_CPUS))
        if self.process.stdout.readline() != "ready\n":
            raise RuntimeError(f"{self.args} did not get ready")

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(20)


def end(pid):
    os.kill(pid, 15)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            with open(f"/proc/{pid}/stat") as f:
                if f.read().rsplit(")", 1)[1].split()[0] == "Z":
                    return
        except OSError:
            return
        time.sleep(0.01)
    raise RuntimeError(f"process {pid} does not end")


def medians(found, what):
    return {name: statistics.median(r[name][what] for r in found) for name in found[0]}


def ratios(found, what):
    if "nginx" not in found[0]:
        return {}
    return {name: statistics.median(r[name][what] / max(r["nginx"][what], 1e-9) for r in found)
            for name in found[0]}


def resident(c):
    total = 0
    for pid in c.pids():
        with open(f"/proc/{pid}/status") as f:
            total += int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1))
    return total


def settle(c):
    """Until the memory is what it was three seconds ago, at most for a minute."""
    deadline = time.monotonic() + 60
    before = -1
    while True:
        now = resident(c)
        if abs(now - before) < 256:
            return
        if time.monotonic() > deadline:
            say(f"memory {c.name}: it has not settled within a minute, {before} KiB and then {now}")
            return
        before = now
        time.sleep(3)


PARTS = ["cpu", "latency", "counts", "bulk", "memory", "start", "http2", "logged", "callers", "renewal", "scaling"]
QUICK = ["cpu", "latency", "counts", "start"]


def report_of(files):
    """Writes the report of whole runs that were made before: each left its bench-results.json."""
    runs = []
    for file in files:
        with open(file) as f:
            runs.append(json.load(f))
    if not runs or any(part not in run for run in runs for part in ("cpu", "latency", "bulk", "memory")):
        sys.exit("bench: report wants the bench-results.json of one or more whole runs")
    if any(run["environment"] != runs[0]["environment"] for run in runs):
        sys.exit("bench: these runs are of different versions, machines or days: "
                 + "; ".join(sorted({str(run["environment"]) for run in runs})))
    publish(chart.together(runs), os.path.join(TREE, "tests", "bench"), len(runs))


def publish(results, out, runs=1):
    os.makedirs(out, exist_ok=True)
    report = chart.report(results, results["environment"], runs)
    chart.write(os.path.join(out, "results.md"), report)
    if "cpu" in results:
        chart.write(os.path.join(out, "results.svg"), chart.svg(results, runs))
    print(report)
    say(f"written to {os.path.relpath(out, TREE)}/results.md")


def main():
    words = sys.argv[1:]
    if words and words[0] == "report":
        return report_of(words[1:])
    quick = "quick" in words
    parts = [w for w in words if w != "quick"] or (QUICK if quick else PARTS)
    unknown = [p for p in parts if p not in PARTS]
    if unknown:
        sys.exit(f"bench: no part {', '.join(unknown)}; there are: quick {' '.join(PARTS)}")
    dir = tempfile.mkdtemp(prefix="oneshot-bench-")
    os.chmod(dir, 0o711)
    try:
        bench = Bench(dir, quick)
        try:
            for part in parts:
                getattr(bench, part)()
        finally:
            bench.close()
    finally:
        shutil.rmtree(dir, ignore_errors=True)
    whole = not quick and parts == PARTS
    bench.results["environment"] = environment()
    with open(os.path.join(BUILD, "bench-results.json"), "w") as f:
        json.dump(bench.results, f, indent=1)
    publish(bench.results, os.path.join(TREE, "tests", "bench") if whole else os.path.join(BUILD, "bench"))


def environment():
    def version(*command):
        done = subprocess.run(command, capture_output=True, text=True)
        found = re.search(r"\d+\.\d+[.\d]*", done.stdout + done.stderr)
        return found.group(0) if found else "?"
    with open("/proc/cpuinfo") as f:
        cpu = re.search(r"model name\s*:\s*(.*)", f.read())
    with open("/etc/os-release") as f:
        system = re.search(r'PRETTY_NAME="(.*)"', f.read()).group(1)
    return {
        "date": datetime.date.today().isoformat(),
        "cpu": f"{len(CPUS)} x {cpu.group(1) if cpu else 'CPU'}",
        "system": f"{system}, Linux {os.uname().release.split('-')[0]}",
        "versions": ", ".join(f"{p} {version(*c)}" for p, c in (
            ("nginx", ("nginx", "-v")), ("haproxy", ("haproxy", "-v")), ("caddy", ("caddy", "version")),
            ("libmicrohttpd", ("pkg-config", "--modversion", "libmicrohttpd")),
            ("libcurl", ("pkg-config", "--modversion", "libcurl")),
            ("OpenSSL", ("pkg-config", "--modversion", "openssl"))) if shutil.which(c[0])),
        "program": version(PROXY, "--version"),
    }


if __name__ == "__main__":
    main()
