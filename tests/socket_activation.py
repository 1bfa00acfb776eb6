#!/usr/bin/env python3
"""Sockets that a service manager passes (LISTEN_FDS): socket_activation.py PROXY ORIGIN

A manager of the test's own holds the sockets, as systemd does, and restarts the program under
load: no connection may be refused, reset or left without its answer.
"""
import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

PROXY, ORIGIN = sys.argv[1:3]
SOON_S = 30
RESTARTS = 12
FIRST_FD = 3


class Program:
    """One run of the program, with these descriptors passed to it."""

    count = 0

    def __init__(self, world, passed=(), names=None, settings="", env=None, pid=None, fds=None):
        Program.count += 1
        self.log = world.dir / f"log{Program.count}"
        ini = world.dir / f"ini{Program.count}"
        ini.write_text(f"""[listen]
{"" if "address" in settings else "address = 127.0.0.1:0"}
{settings if "[" not in settings else settings.split("[")[0]}
[upstream]
base_url = {world.url}
[token]
client_id = id
client_secret = secret
[process]
workers = 3
{"[" + settings.split("[", 1)[1] if "[" in settings else "[admin]" + chr(10) + "address = 127.0.0.1:0"}
""", encoding="utf-8")
        given = {"ASAN_OPTIONS": "exitcode=99", "UBSAN_OPTIONS": "print_stacktrace=1"}
        given |= {k: v for k, v in os.environ.items() if k.endswith("SAN_OPTIONS")} | (env or {})
        if passed or fds is not None:
            given["LISTEN_FDS"] = str(len(passed)) if fds is None else fds
            if names is not None:
                given["LISTEN_FDNAMES"] = names

        # The process is replaced by the program, so that its id is known before.
        child = os.fork()
        if child == 0:
            try:
                if "LISTEN_FDS" in given:
                    given["LISTEN_PID"] = str(os.getpid() if pid is None else pid)
                descriptors = [s if isinstance(s, int) else s.fileno() for s in passed]
                log = os.open(self.log, os.O_WRONLY | os.O_CREAT, 0o600)
                high = [os.dup(fd) for fd in descriptors]
                high = [os.dup2(fd, 200 + i) for i, fd in enumerate(high)]
                os.dup2(log, 2)
                os.closerange(FIRST_FD, 200)
                for i, fd in enumerate(high):
                    os.dup2(fd, FIRST_FD + i)  # inherited
                os.closerange(200, 300)
                os.execve(PROXY, [PROXY, "--config", str(ini)], given)
            finally:
                os._exit(127)
        self.pid, self.code = child, None

    def said(self):
        return self.log.read_text(encoding="utf-8") if self.log.exists() else ""

    def poll(self):
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid != 0:
                self.code = os.waitstatus_to_exitcode(status)
        return self.code

    def wait_for(self, pattern):
        deadline = time.monotonic() + SOON_S
        while True:
            found = re.search(pattern, self.said())
            if found:
                return found
            assert self.poll() is None, f"it ended with {self.code}, {pattern!r} was not logged"
            assert time.monotonic() < deadline, f"{pattern!r} was not logged"
            time.sleep(0.005)

    def wait(self):
        deadline = time.monotonic() + SOON_S
        while self.poll() is None:
            assert time.monotonic() < deadline, "it does not end"
            time.sleep(0.002)
        return self.code

    def stop(self):
        os.kill(self.pid, signal.SIGTERM)
        code = self.wait()
        assert code == 0, f"it left with {code}:\n{self.said()}"

    def fails(self, *words):
        assert self.wait() == 1, f"it left with {self.code}, not 1"
        for word in words:
            assert word in self.said(), f"{word!r} is not in:\n{self.said()}"

    def kill(self):
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)
            self.wait()


class World:
    def __init__(self):
        self.dir = Path(tempfile.mkdtemp())
        self.sockets, self.programs = [], []
        self.origin = subprocess.Popen([ORIGIN, "--client-id", "id", "--client-secret", "secret"],
                                       stdout=subprocess.PIPE, text=True)
        port = re.search(r"ready http://[^:]*(:\d+\S*)", self.origin.stdout.readline()).group(1)
        self.url = f"http://127.0.0.1{port}"

    def tcp(self, host="127.0.0.1"):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        s = socket.create_server((host, 0), family=family, backlog=1024)
        self.sockets.append(s)
        return s

    def unix(self, name):
        s = socket.socket(socket.AF_UNIX)
        s.bind(name if name.startswith("\0") else str(self.dir / name))
        s.listen(1024)
        self.sockets.append(s)
        return s

    def start(self, *passed, **kwargs):
        self.programs.append(Program(self, passed, **kwargs))
        return self.programs[-1]

    def close(self):
        for program in self.programs:
            program.kill()
        for s in self.sockets:
            s.close()
        self.origin.kill()
        self.origin.wait()
        shutil.rmtree(self.dir)


def name_of(s):
    address = s.getsockname()
    if s.family == socket.AF_UNIX:
        return "unix:" + (address if isinstance(address, str) else "@" + address[1:].decode())
    return f"[{address[0]}]:{address[1]}" if s.family == socket.AF_INET6 else f"{address[0]}:{address[1]}"


def call(listener, path="/v0/chains", host=None):
    """The status of one request over a connection of its own."""
    with socket.socket(listener.family) as s:
        s.settimeout(SOON_S)
        s.connect(listener.getsockname())
        if host is None:
            host = "localhost" if listener.family == socket.AF_UNIX else name_of(listener)
        s.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answer = http.client.HTTPResponse(s)
        answer.begin()
        answer.read()
        return answer.status


class Load:
    """Callers who never stop, on each of these sockets."""

    def __init__(self, listeners):
        self.ended, self.calls, self.wrong = False, 0, []
        self.threads = [threading.Thread(target=self.run, args=(one,)) for one in listeners for _ in range(3)]
        for thread in self.threads:
            thread.start()

    def run(self, listener):
        while not self.ended and len(self.wrong) < 10:
            try:
                status = call(listener)
                if status != 200:
                    self.wrong.append(f"{name_of(listener)}: {status}")
            except Exception as error:  # refused, reset, closed, silent: all are wrong
                self.wrong.append(f"{name_of(listener)}: {error!r}")
            self.calls += 1

    def end(self):
        self.ended = True
        for thread in self.threads:
            thread.join()


# --- tests ---


def a_restart_under_load_refuses_and_resets_nobody(world):
    listen = [world.tcp(), world.tcp("127.0.0.2"), world.unix("a"), world.unix("b")]
    admin = [world.tcp(), world.unix("admin")]
    names = "listen:admin:listen:listen:admin:listen"
    passed = [listen[0], admin[0], listen[1], listen[2], admin[1], listen[3]]
    if socket.has_ipv6:
        try:
            listen.append(world.tcp("::1"))
            passed.append(listen[-1])
            names += ":listen"
        except OSError:
            pass
    program = world.start(*passed, names=names)
    ready = program.wait_for("event=ready.*").group(0)
    for one in listen:
        assert name_of(one) in re.search(r"listen=\S+", ready).group(0), f"{name_of(one)} is not in: {ready}"
    for one in admin:
        assert name_of(one) in re.search(r"admin=\S+", ready).group(0), f"{name_of(one)} is not in: {ready}"
    program.wait_for("event=token_obtained")
    load = Load(listen)
    try:
        for i in range(RESTARTS):
            called = load.calls
            if i % 2 == 0:  # the old one has ended before the new one begins, as systemd does it
                program.stop()
                program = world.start(*passed, names=names)
            else:  # both at once
                following = world.start(*passed, names=names)
                following.wait_for("event=ready")
                program.stop()
                program = following
            deadline = time.monotonic() + SOON_S
            while load.calls < called + 200 and not load.wrong and time.monotonic() < deadline:
                time.sleep(0.01)
            assert not load.wrong, load.wrong
            assert load.calls >= called + 200, "no calls get through"
        assert call(admin[0], "/readyz") == 200
        assert call(admin[1], "/metrics") == 200
        program.stop()
        following = world.start(*passed, names=names)
    finally:
        load.end()
    assert not load.wrong, load.wrong
    following.stop()
    for one in ("a", "b", "admin"):
        assert (world.dir / one).is_socket(), "the file of a socket that was passed was removed"
    print(f"{load.calls} calls, {RESTARTS + 1} restarts")


def who_connects_between_two_runs_is_served_by_the_next(world):
    listen, path = world.tcp(), world.unix("a")
    world.start(listen, path, names="listen:listen").wait_for("event=ready")
    world.programs[-1].stop()
    load = Load([listen, path])
    deadline = time.monotonic() + SOON_S
    while sum(1 for t in load.threads if t.is_alive()) < len(load.threads) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert load.calls == 0 and not load.wrong, "nobody serves, and yet there are answers"
    program = world.start(listen, path, names="listen:listen")
    while load.calls < 50 and not load.wrong and time.monotonic() < deadline:
        time.sleep(0.01)
    load.end()
    assert not load.wrong, load.wrong
    program.stop()


def it_takes_the_place_of_the_address_alone(world):
    # Of one name alone: the other address is as it was.
    listen = world.tcp()
    program = world.start(listen, names="listen", settings="address = 127.0.0.1:1")
    ready = program.wait_for("event=ready.*").group(0)
    assert f"listen={name_of(listen)} " in ready, ready
    assert re.search(r"admin=127\.0\.0\.1:\d+ ", ready), ready
    program.stop()
    admin = world.tcp()
    program = world.start(admin, names="admin", settings="[admin]\naddress = off")
    ready = program.wait_for("event=ready.*").group(0)
    assert f"admin={name_of(admin)} " in ready, ready
    assert call(admin, "/healthz") == 200
    assert call(admin, "/") == 200
    program.stop()


def a_reload_keeps_them(world):
    listen = world.tcp("127.0.0.3")
    program = world.start(listen, names="listen")
    program.wait_for("event=token_obtained")
    assert call(listen) == 200
    os.kill(program.pid, signal.SIGHUP)
    program.wait_for("event=reloaded")
    assert call(listen) == 200
    assert call(listen, host="192.0.2.1") == 421
    program.stop()


def a_name_without_a_file_is_told_with_an_at_sign(world):
    listen = world.unix(f"\0oneshot-proxy-test-{os.getpid()}")
    program = world.start(listen, names="listen")
    ready = program.wait_for("event=ready.*").group(0)
    assert f"listen=unix:@oneshot-proxy-test-{os.getpid()} " in ready, ready
    program.wait_for("event=token_obtained")
    # Python's own name of it is bytes
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(SOON_S)
        s.connect(f"\0oneshot-proxy-test-{os.getpid()}")
        s.sendall(b"GET /v0/chains HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert s.recv(12) == b"HTTP/1.1 200"
    program.stop()


def others_reach_it_is_told(world):
    listen, admin = world.tcp("0.0.0.0"), world.tcp("0.0.0.0")
    program = world.start(listen, admin, names="listen:admin")
    said = program.wait_for("event=ready") and program.said()
    assert said.count("event=socket_open") == 2, said
    program.stop()


def what_is_meant_for_another_process_is_left_alone(world):
    listen = world.tcp()
    program = world.start(listen, names="nonsense", pid=1)
    ready = program.wait_for("event=ready.*").group(0)
    assert name_of(listen) not in ready, ready
    program.stop()


def what_cannot_be_used_is_an_error_that_names_the_descriptor(world):
    good = world.tcp()
    datagram = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagram.bind(("127.0.0.1", 0))
    sequenced = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sequenced.bind(str(world.dir / "sequenced"))
    sequenced.listen(1)
    silent = socket.socket(socket.AF_INET)
    silent.bind(("127.0.0.1", 0))
    netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)
    one, other = socket.socketpair()
    file = os.open("/dev/null", os.O_RDONLY)
    world.sockets += [datagram, sequenced, silent, netlink, one, other]
    for bad, word in ((datagram, "ListenStream="), (sequenced, "ListenStream="), (silent, "does not listen"),
                      (netlink, "neither a TCP nor a unix socket"), (one, "does not listen"),
                      (file, "not a socket")):
        world.start(good, bad, names="listen:listen").fails("descriptor 4 (listen)", word)
        world.start(bad, names="admin").fails("descriptor 3 (admin)", word)
    os.close(file)
    world.start(good, good, names="listen:listem").fails("descriptor 4", '\\"listem\\"', "FileDescriptorName=")
    world.start(good, good, names="listen").fails("descriptor 4", "FileDescriptorName=")
    world.start(good).fails("descriptor 3", "FileDescriptorName=")
    world.start(good, names="listen:admin").fails("LISTEN_FDNAMES")
    world.start(good, names="listen:listen", fds="2").fails("descriptor 4 (listen)", "Bad file descriptor")
    world.start(good, names="listen", fds="-1").fails("LISTEN_FDS")
    world.start(good, names="listen", fds="two").fails("LISTEN_FDS")
    many = [good] * 17
    world.start(*many, names=":".join(["listen"] * 17)).fails("descriptor 19 (listen)", "more than 16")


def connect_soon(family, where):
    """Connects as soon as somebody listens: a unix socket has its file a moment before."""
    deadline = time.monotonic() + SOON_S
    while True:
        s = socket.socket(family)
        s.settimeout(SOON_S)
        try:
            s.connect(where)
            return s
        except OSError:
            s.close()
            if time.monotonic() > deadline:
                raise
        time.sleep(0.01)


def systemd_socket_activate_starts_it(world):
    tool = shutil.which("systemd-socket-activate")
    if tool is None:
        print("SKIPPED: systemd-socket-activate is not there; the manager of this test stands for it")
        return
    port = world.tcp("127.0.0.9")  # nothing else gets a port there meanwhile
    address = port.getsockname()
    port.close()
    path = world.dir / "activated"
    ini = world.dir / "activated.ini"
    ini.write_text(f"[upstream]\nbase_url = {world.url}\n[token]\nclient_id = id\nclient_secret = secret\n"
                   "[admin]\naddress = off\n", encoding="utf-8")
    with open(world.dir / "activated.log", "w+", encoding="utf-8") as log:
        process = subprocess.Popen([tool, f"--listen={address[0]}:{address[1]}", f"--listen={path}",
                                    "--fdname=listen:listen", PROXY, "--config", str(ini)], stderr=log)
        try:
            for family, where in ((socket.AF_UNIX, str(path)), (socket.AF_INET, address)):
                with connect_soon(family, where) as s:
                    s.sendall(b"GET /v0/chains HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                    assert s.recv(12) == b"HTTP/1.1 200"
            process.terminate()
            assert process.wait(SOON_S) == 0
        except BaseException:
            log.seek(0)
            print(log.read())
            raise
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def main():
    tests = [a_restart_under_load_refuses_and_resets_nobody,
             who_connects_between_two_runs_is_served_by_the_next,
             it_takes_the_place_of_the_address_alone,
             a_reload_keeps_them,
             a_name_without_a_file_is_told_with_an_at_sign,
             others_reach_it_is_told,
             what_is_meant_for_another_process_is_left_alone,
             what_cannot_be_used_is_an_error_that_names_the_descriptor,
             systemd_socket_activate_starts_it]
    wanted = sys.argv[3:]
    failed = 0
    for test in tests:
        if wanted and test.__name__ not in wanted:
            continue
        world = World()
        try:
            test(world)
            print(f"ok      {test.__name__}")
        except Exception as error:
            failed += 1
            print(f"FAILED  {test.__name__}: {error!r}")
            if world.programs:
                print(world.programs[-1].said()[-4000:])
        finally:
            world.close()
    sys.exit(failed != 0)


main()
