#!/usr/bin/env python3
"""The same malformed requests and answers to nginx, haproxy and oneshot-proxy, side by side.

    differential.py BINARY DIRECTORY OUT

Writes the table OUT and leaves with 1 when oneshot-proxy lets something through that an RFC says
MUST be refused, refuses what is sound, or is laxer than both others where an RFC says SHOULD."""
import os
import re
import sys
import threading
import time

from servers import start_haproxy, start_nginx, start_oneshot
from wire import ask, fields_of, read_cases, values_of

HERE = os.path.dirname(os.path.abspath(__file__))
ANSWER = b"HTTP/1.1 200 OK\r\nX-Origin: 1\r\nContent-Length: 6\r\n\r\nserved"
# Sound, and refused here all the same, on the safe side; README.md says why.
KNOWN = {"te-blank-after", "cl-blank-after"}
GET = b"GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n"


def flaws(head, sent):
    """What an RFC forbids in what a gateway sends on (or back), whatever it was given."""
    found = []
    inside = head.rstrip(b"\r\n")
    if b"\0" in inside or re.search(rb"\r(?!\n)", inside):
        found.append("NUL or CR")  # RFC 9110 5.5
    if re.search(rb"\n[ \t]", inside):
        found.append("fold")  # RFC 9112 5.2
    if re.search(rb"\n[^:\r\n]*[ \t]+:", inside):
        found.append("blank before colon")  # RFC 9112 5.1
    lengths, codings = values_of(head, b"content-length"), values_of(head, b"transfer-encoding")
    if lengths and codings:
        found.append("both lengths")  # RFC 9112 6.3
    if len(set(lengths)) > 1:
        found.append("two lengths")
    if len(values_of(head, b"host")) > 1:
        found.append("two hosts")  # RFC 9112 3.2
    kept = {b"close", b"keep-alive", b"upgrade", b"te", b"authorization"}
    for option in b",".join(v or b"" for v in values_of(sent, b"connection")).split(b","):
        name = option.strip().lower()
        if name and name not in kept and values_of(head, name):
            found.append("nominated " + name.decode())  # RFC 9110 7.6.1
    return found


class Result:
    def __init__(self, passed, text, found):
        self.passed, self.text, self.flaws = passed, text, found

    def __str__(self):
        return self.text + (f" ({', '.join(self.flaws)})" if self.flaws else "")


def settle(origin):
    """What was heard, once nothing more comes."""
    heard = origin.remember()
    while True:
        time.sleep(0.03)
        now = origin.remember()
        if len(now) == len(heard):
            return now
        heard = now


def try_request(server, request):
    server.origin.forget()
    answer = ask(server.port, request)
    heard = settle(server.origin)
    if answer.status:
        text = str(answer.status)
    else:
        text = {"silence": "no answer", "enough": "?"}.get(answer.end, "closed")
        if answer.data:
            text = "not HTTP"
    found = [flaw for head, _ in heard for flaw in flaws(head, request)]
    if any(b"/lure" in head.split(b"\n")[0] for head, _ in heard):
        found.append("the lure was served")
    if heard:
        text = "passed on, " + text
    return Result(bool(heard), text, found)


def try_answer(server, raw):
    server.origin.raw = raw
    answer = ask(server.port, GET)
    whole, body = answer.whole()
    if not answer.status:
        return Result(bool(answer.data), "as it is" if answer.data else "502 or cut", [])
    passed = answer.status == 101 or whole and answer.status != 502
    found = flaws(answer.head, raw) if passed else []
    if passed and any(k in (b"keep-alive", b"upgrade") for k, _ in fields_of(answer.head)):
        found.append("hop-by-hop")
    text = str(answer.status)
    # whether the head was out when the body broke off depends on the moment
    if not passed and b"\r\n\r\n" in raw:
        text = "502 or cut"
    elif passed and answer.status != 204 and body != b"body":
        text += ", other body"
    return Result(passed, text, found)


def run(server, cases, attempt, results):
    for name, _, _, data in cases:
        results[name, server.name] = attempt(server, data)


def run_all(servers, cases, attempt):
    results = {}
    threads = [
        threading.Thread(target=run, args=(s, cases, attempt, results)) for s in servers
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def wrong(result, verdict):
    """Whether that is against a MUST, in the letter or by what was passed on."""
    return bool(result.passed and (verdict == "must" or result.flaws))


def table(out, servers, cases, results):
    out.append("| case | rule | " + " | ".join(s.name for s in servers) + " |")
    out.append("|---" * (2 + len(servers)) + "|")
    for name, rule, verdict, _ in cases:
        cells = []
        for server in servers:
            result = results[name, server.name]
            mark = "**" if wrong(result, verdict) else ""
            cells.append(f"{mark}{result}{mark}")
        out.append(f"| {name} | {rule}, {verdict} | " + " | ".join(cells) + " |")
    out.append("")


def count(out, servers, cases, results):
    """The figures, and what is wrong with ours."""
    bad = []
    rows = [
        ("let through against a MUST", lambda r, v: wrong(r, v)),
        ("let through against a SHOULD or the grammar", lambda r, v: r.passed and v == "should"),
        ("sound, and refused", lambda r, v: not r.passed and v == "pass"),
    ]
    out.append(f"| of {len(cases)} | " + " | ".join(s.name for s in servers) + " |")
    out.append("|---" * (1 + len(servers)) + "|")
    for title, judge in rows:
        numbers = [sum(judge(results[c[0], s.name], c[2]) for c in cases) for s in servers]
        out.append(f"| {title} | " + " | ".join(map(str, numbers)) + " |")
    out.append("")
    ours = servers[-1].name
    for name, rule, verdict, _ in cases:
        mine = results[name, ours]
        others = [results[name, s.name] for s in servers[:-1]]
        if wrong(mine, verdict):
            bad.append(f"{name}: {mine} against {rule}")
        elif verdict == "should" and mine.passed and not any(o.passed for o in others):
            bad.append(f"{name}: laxer than all others")
        elif verdict == "pass" and not mine.passed and name not in KNOWN:
            bad.append(f"{name}: {mine} for a sound one")
    return bad


def main():
    binary, directory, target = sys.argv[1:]
    directory = os.path.abspath(directory)
    say = lambda head, body: ANSWER
    servers = []
    out = [
        "# Side by side",
        "",
        "Made by `./dev hostile`; do not edit. Each case of `requests.txt` and `answers.txt` was sent to",
        "all three. **Bold** is against a MUST of RFC 9110 or 9112: let through although it has to be",
        "refused, or sent on in a form that is forbidden (in brackets). *must*, *should*, *pass* and",
        "*either* are explained in those files; rules that name the gateway are its own.",
        "",
    ]
    bad = []
    try:
        servers.append(start_nginx(directory, say))
        servers.append(start_haproxy(directory, say))
        servers.append(start_oneshot(directory, say, binary))
        out.append(
            "This is what nginx {} and haproxy {} did, as they come.".format(
                servers[0].version, servers[1].version
            )
        )
        for title, file, attempt in (
            ("Requests", "requests.txt", try_request),
            ("Answers of the upstream", "answers.txt", try_answer),
        ):
            cases = read_cases(os.path.join(HERE, file))
            results = run_all(servers, cases, attempt)
            out += ["", f"## {title}", ""]
            bad += count(out, servers, cases, results)
            table(out, servers, cases, results)
    finally:
        codes = [s.stop() for s in servers]
    if codes and codes[-1] != 0:
        bad.append(f"oneshot-proxy left with {codes[-1]}")
    with open(target, "w", encoding="utf-8") as file:
        file.write("\n".join(out).rstrip() + "\n")
    for line in out:
        if line.startswith(("| of", "| let through", "| sound")):
            print(line)
    for line in bad:
        print("WRONG  " + line)
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
