#!/usr/bin/env python3
"""What ordinary clients send must pass: those that are installed, through oneshot-proxy.

    clients.py BINARY DIRECTORY [OUT]

Prints one line per client and appends a table to OUT; leaves with 1 when one of them failed."""
import os
import shutil
import subprocess
import sys

from servers import start_oneshot

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "clients")
OPERATIONS = ["get", "post", "chunked", "expect", "head", "keep-alive"]
PROGRAMS = [
    ("bash", ["client.sh"]),
    ("python3", ["client.py"]),
    ("node", ["client.mjs"]),
    ("perl", ["client.pl"]),
    ("java", ["Client.java"]),
    ("go", ["run", "client.go"]),
]


def say(head, body):
    """METHOD and how many bytes came."""
    method = head.split(b" ")[0]
    text = b"%s %d" % (method, len(body))
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (
        len(text),
        b"" if method == b"HEAD" else text,
    )


def run(program, arguments, base):
    """Lines of what a program said, or what went wrong as one."""
    command = [program, *arguments[:-1], os.path.join(HERE, arguments[-1]), base]
    environment = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300, env=environment, check=False
    )
    if done.returncode != 0 or not done.stdout:
        return [f"{program} - FAILED code {done.returncode}: {done.stderr[-300:]}"]
    return done.stdout.splitlines()


def main():
    binary, directory = sys.argv[1:3]
    server = start_oneshot(directory, say, binary)
    results, failed = {}, []
    try:
        for program, arguments in PROGRAMS:
            if not shutil.which(program):
                print(f"{program} is not installed here: not tried")
                continue
            for line in run(program, arguments, f"http://127.0.0.1:{server.port}"):
                name, operation, outcome = (line.split(" ", 2) + ["", ""])[:3]
                results.setdefault(name, {})[operation] = outcome
                if outcome != "ok":
                    failed.append(line)
    finally:
        if server.stop() != 0:
            failed.append("oneshot-proxy did not leave with 0")
    out = ["## Ordinary clients", "", "Through oneshot-proxy; empty: that client cannot.", ""]
    out.append("| client | " + " | ".join(OPERATIONS) + " | more |")
    out.append("|---" * (2 + len(OPERATIONS)) + "|")
    for name, said in results.items():
        more = [operation for operation in said if operation not in OPERATIONS]
        cells = [said.get(operation, "") for operation in OPERATIONS]
        out.append(f"| {name} | " + " | ".join(cells + [", ".join(more)]) + " |")
        good = sum(outcome == "ok" for outcome in said.values())
        print(f"{name}: {good} of {len(said)} as expected")
    if len(sys.argv) > 3:
        with open(sys.argv[3], "a", encoding="utf-8") as file:
            file.write("\n" + "\n".join(out) + "\n")
    for line in failed:
        print("WRONG  " + line)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
