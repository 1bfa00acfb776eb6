#!/usr/bin/env python3
"""What a request costs, in counts that a noisy machine does not change: system calls, allocations
and instructions of the proxy (one worker, one caller that keeps its connection, TLS upstream),
with HTTP/1.1 to oneshot-origin and with HTTP/2 to nghttpd. Each is the difference of two runs, so that
start, warm-up and end do not count, and must stay below what is stated here. `costs.py BUILD-DIRECTORY`;
77: a tool is missing, which is said."""
import http.server
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import threading

os.environ["BENCH_BUILD"] = sys.argv[1]
import contenders                                                    # noqa: E402
from contenders import (BUILD, COUNTER, Contender, answer_json, certificates, free_port,  # noqa: E402
                        load, with_parent, write)

# The most that one request may cost, with what was counted when the line was last written
# (gcc 12, libmicrohttpd 0.9.75, libcurl 7.88, OpenSSL 3.0) and the margin: for other versions, and
# for waits that a busy machine makes longer, which cost a call or two more.
MOST = {
    #                        counted  margin
    ("system calls", "GET"): (8.1, 1.35),
    ("system calls", "POST"): (9.2, 1.35),
    ("allocations", "GET"): (15, 1.25),
    ("allocations", "POST"): (16, 1.25),
    ("instructions", "GET"): (125500, 1.5),  # waiting is a part of them
}
# The decision about a request that moves money, with 32 callers: who asks, what it is, whether it may, and
# its limits. On a machine of 2026 2,300 instructions are about 0.25 us.
DECISION = {
    "known by its user, allowed by a pattern": ("socket", 1959, 1.15),
    "known by its user, allowed by the last of 64 patterns": ("patterns", 1985, 1.15),
    "known by the last of 64 secrets, allowed by a class": ("secret", 2506, 1.15),
}
# Nobody there takes such a POST: it is answered with 404, which costs the proxy the same.
REQUESTS = {"GET": ("GET", "/v0/chains", 0), "POST": ("POST", "/v0/nowhere", 1024)}


# With 32 callers, of which one is recognised for each request: nothing that is not free of charge.
MOST_CALLERS = {key: MOST[key] for key in (("system calls", "POST"), ("allocations", "POST"))}

# With a ledger, and without a key: what the same request cost without a ledger in this run, and so much
# for chance. A question to the ledger would be two allocations and four system calls at least.
MORE_LEDGER = {("system calls", "POST"): 2.5, ("allocations", "POST"): 0.5}

# Over HTTP/2. What requests on a busy connection share (reads, writes, TLS records) a lone caller
# pays alone.
MOST_H2 = {
    ("system calls", "GET"): (8.0, 1.35),
    ("allocations", "GET"): (24, 1.25),
    ("instructions", "GET"): (141500, 1.5),
}

# Over a new connection each time. What the authorities cost (1.6 million each) is paid once. A handshake differs
# by OpenSSL's version: 3.5 offers ML-KEM.
MOST_NEW = {("instructions", "GET"): (9100000, 3)}


class H2Origin:
    """nghttpd, with TLS: it answers each path with the file of that name."""

    contender = "oneshot"

    def __init__(self, dir):
        files = f"{dir}/h2/v0"
        os.makedirs(files)
        write(f"{files}/token", '{"access_token":"costs","token_type":"Bearer","expires_in":3600}')
        write(f"{files}/chains", answer_json())
        self.port = free_port()
        self.process = subprocess.Popen(
            ["nghttpd", "--address=127.0.0.1", f"--htdocs={dir}/h2", "--max-concurrent-streams=100",
             str(self.port), f"{dir}/origin.key", f"{dir}/origin.pem"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=with_parent())
        contenders.wait_port(self.port, self.process)  # a token that cannot be fetched yet fails each request

    def stop(self):
        self.process.terminate()
        self.process.wait(120)


class ClosingOrigin:
    """A server with TLS that closes after each answer, behind 100 authorities in upstream.ca_file."""

    contender = "oneshot"

    def __init__(self, dir):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(f"{dir}/origin.pem", f"{dir}/origin.key")
        token = b'{"access_token":"costs","token_type":"Bearer","expires_in":3600}'

        class Answer(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send(answer_json().encode())

            def do_POST(self):
                self.rfile.read(int(self.headers["Content-Length"]))
                self.send(token)

            def send(self, body):
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        with open(f"{dir}/ca.pem") as f:
            one = f.read()
        write(f"{dir}/ca.pem", one * 100)
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


class Origin:
    """oneshot-origin with TLS."""

    contender = "oneshot"

    def __init__(self, dir):
        certificates(dir)
        self.process = subprocess.Popen(
            [os.path.join(BUILD, "tests", "origin", "oneshot-origin"), "--listen", "127.0.0.1:0",
             "--tls-cert", f"{dir}/origin.pem", "--tls-key", f"{dir}/origin.key",
             "--client-id", "bench", "--client-secret", "bench-secret"],
            stdout=subprocess.PIPE, text=True, preexec_fn=with_parent())
        for line in self.process.stdout:
            if line.startswith("oneshot-origin ready "):
                self.port = int(line.rsplit(":", 1)[1].split("/")[0])
                return
        raise RuntimeError("oneshot-origin did not start")

    def stop(self):
        self.process.terminate()
        self.process.wait(120)


class OriginForCallers(Origin):
    """The same, for a proxy with callers."""

    contender = "oneshot+callers"


class OriginForLedger(Origin):
    """The same, for a proxy with a ledger."""

    contender = "oneshot+ledger"


def arguments(proxy, kind, requests):
    method, target, body = REQUESTS[kind]
    return ["--port", proxy.port, "--connections", 1, "--requests", requests, "--warm-up", 50,
            "--method", method, "--target", target, "--body", body]


def run(dir, origin, kind, requests, wrapper=(), env=None, more=()):
    proxy = Contender(origin.contender, dir, origin.port, h2=isinstance(origin, H2Origin))
    patient = {"ONESHOT_PROXY_TOKEN_WAIT_TIMEOUT": "60s"}  # a tool makes the first fetch slow
    proxy.start(wrapper=wrapper, env={**patient, **(env or {})})
    try:
        return load(*arguments(proxy, kind, requests), *more, "load", check=kind == "GET")
    finally:
        end_program(proxy)


def end_program(proxy):
    """The program itself, so that what is wrapped around it can write down what it counted."""
    for pid in proxy.pids()[1:] or proxy.pids():
        os.kill(pid, 15)
    proxy.process.wait(300)
    proxy.process = None


def system_calls(dir, origin, kind):
    totals = []
    for requests in (200, 1200):
        out = f"{dir}/strace.out"
        run(dir, origin, kind, requests, wrapper=("strace", "-f", "-c", "-qq", "-o", out))
        with open(out) as f:
            last = [line.split() for line in f if line.rstrip().endswith("total")]
        totals.append(int(last[-1][3] if last[-1][3].isdigit() else last[-1][2]))
    return (totals[1] - totals[0]) / 1000


def allocations(dir, origin, kind):
    count = f"{dir}/allocations"
    return run(dir, origin, kind, 1000, env={"LD_PRELOAD": COUNTER, "COUNT_ALLOC_FILE": count},
               more=("--allocations", count))["allocations"]


def instructions(dir, origin, kind):
    totals = []
    few, many = (10, 60) if isinstance(origin, ClosingOrigin) else (100, 600)
    for requests in (few, many):
        out = f"{dir}/callgrind.out"
        run(dir, origin, kind, requests, env={"ONESHOT_PROXY_PROCESS_SANDBOX": "off"},
            wrapper=("valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={out}"))
        with open(out) as f:
            totals.append(next(int(line.split()[1]) for line in f
                               if line.startswith(("summary:", "totals:"))))
    return (totals[1] - totals[0]) / (many - few)


def decision(dir, kind):
    """Instructions for each, exactly: no other thread, no socket, no clock that matters."""
    totals = []
    for count in (1000, 3000):
        out = f"{dir}/callgrind.out"
        subprocess.run(["valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={out}",
                        os.path.join(BUILD, "tests", "bench", "rules-cost"), kind, str(count)],
                       check=True, stdout=subprocess.DEVNULL)
        with open(out) as f:
            totals.append(next(int(line.split()[1]) for line in f
                               if line.startswith(("summary:", "totals:"))))
    return (totals[1] - totals[0]) / 2000


def decisions(dir):
    """Whether one is dear; None: nothing to count with."""
    if shutil.which("valgrind") is None:
        print("SKIPPED: instructions of a decision: valgrind is not installed")
        return None
    dear = False
    for what, (kind, counted, margin) in DECISION.items():
        now, most = decision(dir, kind), counted * margin
        print(f"{'ok ' if now <= most else 'DEAR'} instructions of a decision about one of 32 callers, "
              f"{what}: {now:.0f}, at most {most:.0f}", flush=True)
        dear |= now > most
    return dear


TOOLS = {"system calls": ("strace", system_calls), "allocations": (None, allocations),
         "instructions": ("valgrind", instructions)}


def main():
    dir = tempfile.mkdtemp(prefix="oneshot-costs-")
    os.chmod(dir, 0o711)
    missing, dear = False, False
    plain = {}  # as counted by Origin
    contenders.PROXY_CPUS = contenders.OTHER_CPUS = None
    try:
        found = decisions(dir)
        missing, dear = found is None, bool(found)
        for make, version, table in ((Origin, "HTTP/1.1", MOST),
                                     (OriginForCallers, "HTTP/1.1, 32 callers", MOST_CALLERS),
                                     (OriginForLedger, "HTTP/1.1, with a ledger and no key", MORE_LEDGER),
                                     (H2Origin, "HTTP/2", MOST_H2),
                                     (ClosingOrigin, "a new TLS connection, one of 100 authorities", MOST_NEW)):
            if make is H2Origin and shutil.which("nghttpd") is None:
                print("SKIPPED: HTTP/2: nghttpd is not installed")
                missing = True
                continue
            origin = make(dir)
            try:
                for (what, kind), limit in table.items():
                    tool, measure = TOOLS[what]
                    if tool and shutil.which(tool) is None:
                        print(f"SKIPPED: {what} of a {kind}: {tool} is not installed")
                        missing = True
                        continue
                    now = measure(dir, origin, kind)
                    most = plain[what, kind] + limit if make is OriginForLedger else limit[0] * limit[1]
                    if make is Origin:
                        plain[what, kind] = now
                    print(f"{'ok ' if now <= most else 'DEAR'} {what} of a {kind} over {version}: "
                          f"{now:.2f}, at most {most:.2f}", flush=True)
                    dear |= now > most
            finally:
                origin.stop()
    finally:
        shutil.rmtree(dir, ignore_errors=True)
    sys.exit(1 if dear else 77 if missing else 0)


if __name__ == "__main__":
    main()
