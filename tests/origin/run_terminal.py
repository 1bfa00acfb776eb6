#!/usr/bin/env python3
"""Ctrl-C on `./dev run`, at a terminal: run_terminal.py PROXY ORIGIN

The terminal signals every process of the foreground. All must end, in order, without a word
about it that sounds like a fault, and nothing may be left; also when Ctrl-C comes while it
starts, and when it comes twice.
"""
import contextlib
import os
import pty
import random
import re
import select
import shutil
import signal
import socket
import sys
import tempfile
import time

RUN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "run.sh")
SOON_S = 120
READY = b"methods/"  # in the last curl line
WORRYING = [b"by itself", b"Aborted", b"Killed", b"Segmentation", b"Terminated", b"run: ",
            b"level=error", b"No such", b"Sanitizer", b"runtime error"]


def free_addresses(count):
    """Different ones. Where there are any, with ports that the kernel gives to no connection, so that none
    takes them in the meantime."""
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as f:
        lowest, highest = map(int, f.read().split())
    free = [*range(10000, lowest), *range(highest + 1, 65536)]
    with contextlib.ExitStack() as held:  # all at once, so that no port is given twice
        sockets = []
        while len(sockets) < count:
            port = random.choice(free) if len(free) >= 1000 else 0
            try:
                sockets.append(held.enter_context(socket.create_server(("127.0.0.1", port))))
            except OSError:
                pass
        return [f"127.0.0.1:{s.getsockname()[1]}" for s in sockets]


class Run:
    def __init__(self, tmp):
        self.tmp, self.text = tmp, b""
        # Not ignored, as it is in what a script starts in the background, the tests perhaps: no shell can
        # undo that. Before the fork: Ctrl-C may come before the child has done anything.
        before = signal.signal(signal.SIGINT, signal.SIG_DFL)
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            env = {k: v for k, v in os.environ.items() if not k.startswith("ONESHOT_PROXY_")}
            env["TMPDIR"] = tmp
            # Not the usual ports: other tests look whether those are free.
            env["ONESHOT_PROXY_LISTEN_ADDRESS"], env["ONESHOT_PROXY_ADMIN_ADDRESS"] = free_addresses(2)
            os.execve(RUN, [RUN] + sys.argv[1:3], env)
        signal.signal(signal.SIGINT, before)

    def read_until(self, wanted, deadline):
        """Whether it was written by then; None: until the end."""
        while wanted is None or wanted not in self.text:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.terminal], [], [], left)[0]:
                return False
            try:
                piece = os.read(self.terminal, 65536)
            except OSError:  # EIO: nobody has the terminal open any more
                piece = b""
            if not piece:
                return wanted is None
            self.text += piece
        return True

    def press(self, key=b"\x03"):
        os.write(self.terminal, key)

    def end(self):
        """The exit status as a shell tells it."""
        deadline = time.monotonic() + SOON_S
        ended = self.read_until(None, deadline)
        os.close(self.terminal)
        if not ended:
            os.kill(self.pid, 9)
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return code if ended else None


def left_behind(tmp):
    """Processes that began with this TMPDIR."""
    left = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/environ", "rb") as f:
                mine = b"TMPDIR=" + tmp.encode() in f.read().split(b"\0")
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                name = f.read().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if mine and int(pid) != os.getpid():
            left.append(f"{pid} {name}")
    return left


def check(what, run, ready, hurried=False):
    code = run.end()
    # -2: by the signal itself, before the script had got to anything that must be ended
    wrong = [f"exit code {code}"] if code != 0 and (ready or code != -2) else []
    wrong += [w.decode() for w in WORRYING if w in run.text]
    if b"event=ready" in run.text and b"event=stopped" not in run.text:
        wrong.append("the proxy does not say that it stopped")
    if ready and not hurried and b"drain_hurried" in run.text:
        wrong.append("the proxy was signalled twice")
    deadline = time.monotonic() + 30
    left = left_behind(run.tmp)
    while left and time.monotonic() < deadline:
        left = left_behind(run.tmp)
    for process in left:
        os.kill(int(process.split()[0]), signal.SIGKILL)
    wrong += left + os.listdir(run.tmp)
    if wrong:
        print(f"FAILED: {what}: {', '.join(wrong)}\n{run.text.decode(errors='replace')}")
    return not wrong


def main():
    if shutil.which("openssl") is None:
        print("openssl is not there")
        return 77
    rng, good = random.Random(1), True
    with tempfile.TemporaryDirectory() as top:
        def start(name):
            tmp = os.path.join(top, name)
            os.mkdir(tmp)
            return Run(tmp)

        for i in range(5):
            run = start(f"ready{i}")
            if not run.read_until(READY, time.monotonic() + SOON_S):
                print("FAILED: it does not get ready")
                good = False
            run.press()
            good &= check("Ctrl-C when it is ready", run, True)
        run = start("twice")
        run.read_until(READY, time.monotonic() + SOON_S)
        run.press()
        run.press()
        good &= check("Ctrl-C twice", run, True, hurried=True)
        for i in range(10):
            run = start(f"early{i}")
            moment = rng.uniform(0.05, 0.6)
            run.read_until(b"\0never", time.monotonic() + moment)
            run.press()
            good &= check(f"Ctrl-C after {moment:.3f} s", run, False)
    if good:
        print("all as expected")
    return 0 if good else 1


sys.exit(main())
