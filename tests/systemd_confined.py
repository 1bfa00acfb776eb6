#!/usr/bin/env python3
"""Runs the program as the unit confines it, as far as that can be had without systemd: the system
calls it may make, the address families, no memory that is writable and executable, a user without
capabilities, the limits. Then start, requests, reload, a new secret, signs of life, stop.

    systemd_confined.py PROXY ORIGIN UNIT
"""
import ctypes
import os
import re
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request

SOON_S = 60
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
EPERM, EAFNOSUPPORT = 1, 97
ALLOW, ERRNO = 0x7FFF0000, 0x00050000
LOAD, JUMP_EQUAL, JUMP_SET, RETURN = 0x20, 0x15, 0x45, 0x06
PROT_WRITE, PROT_EXEC = 2, 4
NOBODY = 65534


def settings_of(unit):
    found = {}
    with open(unit, encoding="utf-8") as file:
        for line in file:
            if not line.startswith(("#", "[")) and "=" in line:
                key, value = line.strip().split("=", 1)
                found.setdefault(key, []).append(value)
    return found


def groups_of_calls():
    """What each @group of systemd stands for."""
    text = subprocess.run(["systemd-analyze", "syscall-filter", "--no-pager"], check=True,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    groups, name = {}, None
    for line in text.splitlines():
        word = line.strip()
        if line.startswith("@"):
            name = groups.setdefault(word, [])
        elif line.startswith(" ") and name is not None and word and not word.startswith("#"):
            name.append(word)
        elif not line.startswith(" "):
            name = None
    return groups


def spread(names, groups):
    calls = set()
    for name in names:
        calls |= spread(groups[name], groups) if name.startswith("@") else {name}
    return calls


def allowed_calls(lines):
    groups = groups_of_calls()
    calls = spread(["@default"], groups)
    for line in lines:
        if line.startswith("~"):
            calls -= spread(line[1:].split(), groups)
        else:
            calls |= spread(line.split(), groups)
    return calls


def call_numbers():
    """The numbers of this machine's system calls, from the kernel's header."""
    text = subprocess.run(["cc", "-E", "-dM", "-include", "asm/unistd.h", "-x", "c", "/dev/null"],
                          check=True, stdout=subprocess.PIPE, text=True).stdout
    return {name: int(number) for name, number in re.findall(r"#define __NR_(\w+) (\d+)\n", text)}


def step(code, value, if_true=0, if_false=0):
    return struct.pack("=HBBI", code, if_true, if_false, value)


def argument(index):
    return step(LOAD, 16 + 8 * index)  # its lower half; of a little-endian machine


def filter_of(unit, numbers):
    """The program for the kernel, as systemd makes it of the unit's lines."""
    load_number = step(LOAD, 0)
    refuse = step(RETURN, ERRNO | EPERM)
    families = [getattr(socket, name) for name in unit["RestrictAddressFamilies"][0].split()]
    code = []

    # socket() with another family
    body = [argument(0)]
    for family in families:
        body += [step(JUMP_EQUAL, family, 0, 1), step(RETURN, ALLOW)]
    body += [step(RETURN, ERRNO | EAFNOSUPPORT)]
    code += [load_number, step(JUMP_EQUAL, numbers["socket"], 0, len(body))] + body

    # memory that is writable and executable, or becomes executable
    if unit["MemoryDenyWriteExecute"] == ["yes"]:
        code += [load_number, step(JUMP_EQUAL, numbers["mmap"], 0, 4), argument(2),
                 step(JUMP_SET, PROT_EXEC, 0, 2), step(JUMP_SET, PROT_WRITE, 0, 1), refuse]
        for name in ("mprotect", "pkey_mprotect"):
            code += [load_number, step(JUMP_EQUAL, numbers[name], 0, 3), argument(2),
                     step(JUMP_SET, PROT_EXEC, 0, 1), refuse]

    code += [load_number]
    for name in sorted(allowed_calls(unit["SystemCallFilter"])):
        if name in numbers:
            code += [step(JUMP_EQUAL, numbers[name], 0, 1), step(RETURN, ALLOW)]
    return b"".join(code + [refuse])


def confine(program, unit):
    """In the child, before the program begins."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    memlock = int(unit["LimitMEMLOCK"][0].rstrip("M")) << 20
    hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]
    memlock = memlock if hard == resource.RLIM_INFINITY else min(memlock, hard)
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (memlock, memlock))
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    os.umask(0o077)
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(program, len(program))

    class Program(ctypes.Structure):
        _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.c_void_p)]

    fprog = Program(len(program) // 8, ctypes.cast(buffer, ctypes.c_void_p))
    libc.prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 or \
            libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(fprog), 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "seccomp")


def write(path, text, mode):
    """In one step: one that is there may not be writable to us."""
    new = path + ".new"
    with open(new, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(new, mode)
    if os.geteuid() == 0:
        os.chown(new, NOBODY, NOBODY)
    os.replace(new, path)


def local_name():
    """Looking it up is to be tried under the filter, too; not every system has it."""
    try:
        socket.getaddrinfo("localhost", None)
        return "localhost"
    except OSError:
        return "127.0.0.1"


class Manager:
    """The service manager's end of NOTIFY_SOCKET."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(path)
        os.chmod(path, 0o777)
        self.heard = ""

    def expect(self, line):
        deadline = time.monotonic() + SOON_S
        while line not in self.heard:
            self.socket.settimeout(max(0.01, deadline - time.monotonic()))
            self.heard += self.socket.recv(4096).decode() + "\n"
        self.heard = self.heard[self.heard.index(line) + len(line):]


def wait_for(log, text):
    deadline = time.monotonic() + SOON_S
    while True:
        with open(log, encoding="utf-8") as file:
            said = file.read()
        if text in said:
            return said
        if time.monotonic() > deadline:
            raise AssertionError(f"{text!r} was not logged")
        time.sleep(0.02)


def get(port):
    request = urllib.request.Request(f"http://127.0.0.1:{port}/v0/chains")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=SOON_S) as answer:
        assert answer.status == 200, answer.status


def pay(port):
    request = urllib.request.Request(f"http://127.0.0.1:{port}/v0/wallets/7c1e5a52-3f0b-4d7e-9a54-0d2f6c8b1e02/transfer",
                                     data=b'{"destinationAccountAddress":"0x' + b"4" * 40 + b'","transferAmount":"1"}',
                                     headers={"Content-Type": "application/json", "Idempotency-Key": "confined"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=SOON_S) as answer:
        return answer.headers.get("Idempotent-Replayed")


def make_ledger(proxy_path, unit, program):
    """As in the unit's state directory, behind a link: on a disk, since memory is no place for one."""
    place = tempfile.mkdtemp(dir="/var/tmp")
    assert unit["StateDirectory"] == ["oneshot-proxy"], unit["StateDirectory"]
    os.makedirs(f"{place}/private/oneshot-proxy")
    os.chmod(place, 0o755)
    os.chmod(f"{place}/private", 0o755)  # whatever the umask is
    os.chmod(f"{place}/private/oneshot-proxy", int(unit["StateDirectoryMode"][0], 8))
    if os.geteuid() == 0:
        os.chown(f"{place}/private/oneshot-proxy", NOBODY, NOBODY)
    os.symlink("private/oneshot-proxy", f"{place}/oneshot-proxy")
    url = f"sqlite:{place}/oneshot-proxy/ledger.db"
    made = subprocess.run([proxy_path, "ledger", "init"], env={"ONESHOT_PROXY_LEDGER_STORE": url}, check=False,
                          stderr=subprocess.PIPE, text=True, preexec_fn=lambda: confine(program, unit))
    if made.returncode != 0 and "which does not keep what SQLite relies on" in made.stderr:
        print("SKIPPED: /var/tmp is no disk, so the program was not run with a ledger")
        return place, None
    assert made.returncode == 0, made.stderr
    return place, url


def try_it(proxy, manager, directory, log, has_ledger):
    manager.expect("READY=1")
    port = re.search(r"listen=127\.0\.0\.1:(\d+)", wait_for(log, "event=ready")).group(1)
    with open(f"/proc/{proxy.pid}/status", encoding="utf-8") as file:
        assert "Seccomp:\t2\n" in file.read(), "it runs without a filter"
    assert re.search(r'sandbox=[^\n]*seccomp', wait_for(log, "event=ready")), "its own sandbox is kept out"
    wait_for(log, "event=token_obtained")
    get(port)
    if has_ledger:
        assert pay(port) is None
        assert pay(port) == "true", "the ledger forgets"
    manager.expect("WATCHDOG=1")
    proxy.send_signal(signal.SIGHUP)
    manager.expect("RELOADING=1")
    manager.expect("READY=1")
    wait_for(log, "event=reloaded")
    get(port)
    write(f"{directory}/secret", "another secret", 0o400)
    wait_for(log, "event=credentials_changed")
    get(port)  # with the token that is held
    write(f"{directory}/secret", "secret", 0o400)
    wait_for(log, "event=token_obtained generation=2")
    get(port)
    proxy.send_signal(signal.SIGTERM)
    manager.expect("STOPPING=1")
    code = proxy.wait(SOON_S)
    assert code == 0, f"it left with {code}"


def main():
    proxy_path, origin_path, unit_path = sys.argv[1:4]
    unit = settings_of(unit_path)
    program = filter_of(unit, call_numbers())
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        origin = subprocess.Popen([origin_path, "--client-id", "id", "--client-secret", "secret"],
                                  stdout=subprocess.PIPE, text=True)
        proxy, log = None, f"{directory}/log"
        state, ledger = make_ledger(proxy_path, unit, program)
        try:
            url = re.search(r"ready http://[^:]*(:\d+\S*)", origin.stdout.readline()).group(1)
            write(f"{directory}/secret", "secret", 0o400)
            write(f"{directory}/ini", "[listen]\naddress = 127.0.0.1:0\n[admin]\naddress = 127.0.0.1:0\n"
                  f"[upstream]\nbase_url = http://{local_name()}{url}\n[token]\nclient_id = id\n"
                  "retry_min = 50ms\nretry_max = 100ms\n" +
                  (f"[ledger]\nstore = {ledger}\n" if ledger else ""), 0o644)
            manager = Manager(f"{directory}/notify")
            environment = {"NOTIFY_SOCKET": f"{directory}/notify", "WATCHDOG_USEC": "1000000",
                           "ONESHOT_PROXY_TOKEN_CLIENT_SECRET_FILE": f"{directory}/secret"}
            with open(log, "w", encoding="utf-8") as output:
                proxy = subprocess.Popen([proxy_path, "--config", f"{directory}/ini"],
                                         env=environment, stderr=output,
                                         preexec_fn=lambda: confine(program, unit))
            try_it(proxy, manager, directory, log, ledger is not None)
        except BaseException:
            with open(log, encoding="utf-8") as file:
                print(file.read())
            raise
        finally:
            for process in (proxy, origin):
                if process is not None and process.poll() is None:
                    process.kill()
                    process.wait()
            shutil.rmtree(state, ignore_errors=True)
    print("the program runs as confined")


main()
