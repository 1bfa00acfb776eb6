#!/usr/bin/env python3
"""The same HTTP/2 of an origin to nghttpx, haproxy and oneshot-proxy, side by side.

    differential_h2.py BINARY DIRECTORY OUT [CASE...]

Writes the table OUT (or, with cases named, only prints those) and leaves with 1 when oneshot-proxy
gives a whole answer where an RFC says MUST NOT, refuses what is sound, is laxer than both others,
sends a request that is not safe more often than the origin allowed, tells one that the origin may have
carried out as retryable, or does not serve the next request."""
import json
import os
import sys
import threading
import time

from h2_cases import CASES, EITHER, MUST, PASS
from h2_origin import H2Origin
from servers import start_haproxy, start_nghttpx, start_oneshot
from wire import ask_until_end

SOON_S = 60  # reaching it means failure
# Blanks around a value are cut off here, as haproxy and curl do it; README.md says why.
KNOWN = {"value-blank-first", "value-blank-last"}
HAPROXY_SETTINGS = " proto h2\n  http-reuse always\n  retries 1"
SETTINGS = "http_version = 2\nconnect_timeout = 1s\n[process]\nworkers = 1"


class Result:
    """What became of one case at one proxy."""

    def __init__(self, heard, whole, body, came, after):
        self.status, self.body = heard.status, body
        # A failure that the proxy tells is an answer of its own; those have no body "body".
        self.passed = whole and heard.status not in (500, 502, 503, 504)
        self.came = len(came)
        self.after, self.same = after
        self.retryable = False
        if heard.status and not self.passed and b"problem+json" in heard.head.lower():
            try:
                self.retryable = bool(json.loads(heard.rest).get("retryable"))
            except ValueError:
                pass

    def told(self):
        if self.passed:
            odd = "" if self.body in (b"body", b"") or len(self.body) >= 16384 else ", other body"
            return f"{self.status}{odd}"
        # whether the head was out when the answer broke off depends on the moment
        return str(self.status) if self.status in (503, 504) else "502 or cut"

    def __str__(self):
        times = f", {self.came} times" if self.came > 1 else ""
        if self.after == 200:
            then = "" if self.same else "; new"
        else:
            then = f"; then {self.after or 'nothing'}"
        return self.told() + times + then


def request(method, path, body_bytes=8):
    body = b"b" * body_bytes if method == "POST" else b""
    length = b"Content-Length: %d\r\n" % len(body) if body else b""
    return b"%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%s\r\n%s" % (
        method.encode(), path, length, body)


def ask_for(server, path):
    """The status of a sound request; "crash": the proxy is gone, and is started once more."""
    try:
        return ask_until_end(server.port, request("GET", path)).status
    except OSError:
        server.process.wait(SOON_S)
        server.restart()
        return "crash"


def warm(server):
    """Asks until it is served; a proxy may hold off from an origin that has failed. Returns whether
    the proxy had gone, for the case before."""
    crashed = False
    deadline = time.monotonic() + SOON_S
    while True:
        status = ask_for(server, b"/warm")
        crashed |= status == "crash"
        if status == 200:
            return crashed
        if time.monotonic() > deadline:
            raise SystemExit(f"{server.name} serves nothing any more")
        time.sleep(0.02)


def try_case(server, case):
    origin = server.origin
    if case.fresh:
        origin.close_all()
    origin.begin(case)
    heard = ask_until_end(server.port, request(case.method, b"/case", case.body_bytes))
    whole, body = heard.whole() if case.method != "HEAD" else (b"\r\n\r\n" in heard.data, b"")
    with origin.lock:
        came = list(origin.heard)
    origin.begin(None)
    after = ask_for(server, b"/after")
    with origin.lock:
        served = list(origin.served)
    if case.fresh:  # what it was told at its beginning is for this case only
        origin.close_all()
    same = bool(came and served) and came[-1][0] == served[-1][0]
    return Result(heard, whole, body, came, (after, same))


def run(server, cases, results):
    last = None
    for case in cases:
        if warm(server) and last:
            last.after, last.same = "crash", False
        last = results[case.name, server.name] = try_case(server, case)
    if warm(server):
        last.after, last.same = "crash", False


def twice(case, result):
    """Whether a POST came more than once though it may have been carried out."""
    return case.method == "POST" and result.came > (2 if case.repeats else 1)


def faults(case, mine, others):
    """What is wrong with ours."""
    found = []
    laxer = mine.passed and not any(o.passed for o in others)
    if case.verdict == MUST and mine.passed and case.name not in KNOWN:
        found.append(f"{mine} against {case.rule}")
    elif case.verdict == EITHER and laxer and not case.repeats and not case.by_chance:
        found.append("laxer than all others")
    if case.verdict == PASS and not mine.passed and not case.by_chance:
        found.append(f"{mine} for a sound one")
    if twice(case, mine):
        found.append(f"came {mine.came} times")
    if case.method == "POST" and mine.retryable and mine.came > 0 and not case.repeats:
        found.append("told as retryable")
    if mine.after != 200:
        found.append(f"the next request got {mine.after}")
    return found


def table(servers, cases, results):
    out = ["| case | rule | " + " | ".join(s.name for s in servers) + " |"]
    out.append("|---" * (2 + len(servers)) + "|")
    for case in cases:
        cells = []
        for server in servers:
            result = results[case.name, server.name]
            bad = case.verdict == MUST and result.passed or twice(case, result)
            cells.append(f"**{result}**" if bad else str(result))
        out.append(f"| {case.name} | {case.rule}, {case.verdict} | " + " | ".join(cells) + " |")
    return out


def figures(servers, cases, results):
    """The summary."""

    def count(judge):
        numbers = [sum(judge(c, results[c.name, s.name]) for c in cases) for s in servers]
        return " | ".join(map(str, numbers))

    rows = [
        ("given as whole against a MUST", lambda c, r: c.verdict == MUST and r.passed),
        ("sound, and refused", lambda c, r: c.verdict == PASS and not r.passed),
        ("a POST sent twice that may have been carried out", twice),
        ("the next request not served", lambda c, r: r.after != 200),
    ]
    out = [f"| of {len(cases)} | " + " | ".join(s.name for s in servers) + " |"]
    out.append("|---" * (1 + len(servers)) + "|")
    return out + [f"| {title} | {count(judge)} |" for title, judge in rows]


HEAD = """# Side by side: HTTP/2 of the upstream

Made by `./dev hostile`; do not edit. An origin that speaks HTTP/2 does what a case of `h2_cases.py`
says, behind nghttpx {}, haproxy {} and this program, as they come, one worker each, without
TLS. A cell says what the caller got, how often the origin got the request where that is more than
once, and behind a semicolon what became of the next request: *new* when it went out on a new
connection, its status when it was not served, *crash* when the proxy was gone. **Bold** is against a
MUST of RFC 9113, 9110 or 7541, or a POST that came more than once though the origin had not said
that it left the first alone. *must*, *pass* and *either* are explained in `h2_cases.py`.
"""


def main():
    binary, directory, target, *names = sys.argv[1:]
    directory = os.path.abspath(directory)
    os.makedirs(directory, exist_ok=True)
    cases = [c for c in CASES if not names or c.name in names]
    servers, results = [], {}
    try:
        servers.append(start_nghttpx(directory, H2Origin()))
        servers.append(start_haproxy(directory, H2Origin(), HAPROXY_SETTINGS))
        servers.append(start_oneshot(directory, H2Origin(), binary, SETTINGS, "5s"))
        threads = [threading.Thread(target=run, args=(s, cases, results)) for s in servers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        codes = [s.stop() for s in servers]
    bad = [] if codes[-1] == 0 else [f"oneshot-proxy left with {codes[-1]}"]
    for case in cases:
        mine, *others = [results[case.name, s.name] for s in reversed(servers)]
        bad += [f"{case.name}: {fault}" for fault in faults(case, mine, others)]
    summary, rows = figures(servers, cases, results), table(servers, cases, results)
    if names:
        print("\n".join(rows))
    else:
        with open(target, "w", encoding="utf-8") as file:
            head = HEAD.format(servers[0].version, servers[1].version)
            file.write("\n".join([head, *summary, "", *rows]) + "\n")
    print("\n".join(summary))
    for line in bad:
        print("WRONG  " + line)
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
