#!/usr/bin/env python3
"""Runs what the documents print, as it stands there: docs_blocks.py PROGRAM ORIGIN [DOCUMENT...]

Each document gets a small world of its own: namespaces in which /etc and /run may be written and there is no
network but loopback, and in which api.1shotapi.dev is tests/origin, with a certificate that is trusted there. So commands
run with the names, ports and paths that are printed. In it, from the top of the document to its end:

  ```sh      is run by bash and has to succeed; the program is on the PATH
  ```ini     is checked by `oneshot-proxy --check`, the credentials in the environment
  ```js      is run by Node, where it and the official SDK are there; ```python and ```go have to be sound

A comment in front of a block says more, several of them in one comment are separated by semicolons:

  <!-- not run: REASON -->        it is not run, and the reason is printed
  <!-- background until TEXT -->  it goes on, until the next such block or the end; the next block waits for TEXT
  <!-- in a bare Debian -->       it builds or installs: not run here but by ./dev newcomer (docker/newcomer.sh), for which
                                  `docs_blocks.py --bare DIRECTORY` writes those blocks to numbered files
  <!-- file NAME -->              it is saved under that name for the blocks that follow
  <!-- typed TEXT -->             what a person types

Without namespaces nothing is run, and the test says so (77). Also checked: a command block has no comment that a
shell would take for a command, and no block is left without a language.
"""
import ast
import fcntl
import os
import pathlib
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

TREE = pathlib.Path(__file__).resolve().parent.parent
DEADLINE_S = 120
LANGUAGES = {"sh", "ini", "js", "python", "go", "json", "http", "yaml", "text", "c"}
SECRET = "your-client-secret"


class Block:
    def __init__(self, document, line, language, marks, text):
        self.document, self.line, self.language, self.text = document, line, language, text
        self.reason = self.until = self.file = None
        self.typed = ""
        self.bare = False
        for mark in marks:
            if m := re.fullmatch(r"not run: (.+)", mark):
                self.reason = m[1]
            elif m := re.fullmatch(r"background until (.+)", mark):
                self.until = m[1]
            elif m := re.fullmatch(r"file (\S+)", mark):
                self.file = m[1]
            elif m := re.fullmatch(r"typed (.+)", mark):
                self.typed = m[1] + "\n"
            elif mark == "in a bare Debian":
                self.bare = True
                self.reason = "./dev newcomer runs it, in a bare Debian"
            else:
                raise SystemExit(f"{self.where()}: unknown mark: {mark}")

    def where(self):
        return f"{self.document}:{self.line}"


def blocks_of(path):
    """The fenced blocks of a document, with what the comment in front of each says."""
    lines = path.read_text(encoding="utf-8").splitlines()
    name = str(path.relative_to(TREE))
    at = 0
    marks = []
    found = []
    while at < len(lines):
        if m := re.fullmatch(r"```(\w*)", lines[at]):
            end = lines.index("```", at + 1)
            found.append(Block(name, at + 1, m[1], marks, "\n".join(lines[at + 1:end]) + "\n"))
            at = end
            marks = []
        elif (m := re.fullmatch(r"<!-- (.*) -->", lines[at])) and at + 1 < len(lines) and lines[at + 1].startswith("```"):
            marks = [m[1]] if m[1].startswith("not run: ") else m[1].split("; ")
        at += 1
    return found


def documents():
    return [TREE / "README.md", TREE / "CONTRIBUTING.md", TREE / "SECURITY.md", *sorted((TREE / "docs").glob("*.md"))]


# --- the world: these run inside the namespaces ---

def run(*command, **options):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)


def loopback_up():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        request = struct.pack("16sh14x", b"lo", 0x1 | 0x40)  # IFF_UP, IFF_RUNNING
        fcntl.ioctl(s, 0x8914, request)  # SIOCSIFFLAGS


def make_certificates(directory):
    """An authority, and certificates by it for the stand-in and for the proxy's own TLS."""
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    run("openssl", "req", "-x509", *key, "-days", "2", "-subj", "/CN=an authority of the documents",
        "-addext", "keyUsage=critical,keyCertSign,cRLSign", "-keyout", directory / "ca.key", "-out", directory / "ca.crt")
    for name, host in ("api", "api.1shotapi.dev"), ("tls", "gateway.internal"):
        run("openssl", "req", *key, "-subj", f"/CN={host}", "-keyout", directory / f"{name}.key", "-out", directory / f"{name}.csr")
        (directory / "ext").write_text(f"subjectAltName=DNS:{host},DNS:localhost,IP:127.0.0.1\n", encoding="utf-8")
        run("openssl", "x509", "-req", "-in", directory / f"{name}.csr", "-CA", directory / "ca.crt", "-CAkey",
            directory / "ca.key", "-CAcreateserial", "-days", "2", "-extfile", directory / "ext", "-out", directory / f"{name}.crt")
    return directory


def make_system(world, certificates):
    """A writable /etc and /run, in which the API's name leads to the stand-in."""
    etc = world / "etc"
    etc.mkdir()
    run("mount", "-t", "tmpfs", "none", etc)
    subprocess.run(["cp", "-a", "/etc/.", etc], check=False, stderr=subprocess.DEVNULL)  # but what may not be read
    (etc / "hosts").write_text("127.0.0.1 localhost api.1shotapi.dev gateway.internal\n::1 localhost\n", encoding="utf-8")
    bundle = etc / "ssl/certs/ca-certificates.crt"
    bundle.parent.mkdir(parents=True, exist_ok=True)
    bundle.unlink(missing_ok=True)
    shutil.copy(certificates / "ca.crt", bundle)
    (etc / "oneshot").mkdir()
    for name in "tls.crt", "tls.key":
        shutil.copy(certificates / name, etc / "oneshot")
    shutil.copy(certificates / "ca.crt", etc / "oneshot/callers-ca.crt")
    run("mount", "--bind", etc, "/etc")
    run("mount", "-t", "tmpfs", "none", "/run")
    for directory in "secrets", "oneshot-proxy":
        (pathlib.Path("/run") / directory).mkdir()
    secret = pathlib.Path("/run/secrets/oneshot")
    secret.write_text(SECRET + "\n", encoding="utf-8")
    secret.chmod(0o600)


class Background:
    """A command of a document that goes on while the next ones are tried."""

    def __init__(self, command, until, log, **options):
        self.log = log
        with open(log, "wb") as out:
            # pylint: disable=consider-using-with  # it outlives this function
            self.process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, start_new_session=True, **options)
        end = time.monotonic() + DEADLINE_S
        while until not in self.said():
            if self.process.poll() is not None or time.monotonic() > end:
                self.end()
                raise RuntimeError(f"did not say '{until}':\n{self.said()}")
            time.sleep(0.05)

    def said(self):
        return self.log.read_text(encoding="utf-8", errors="replace")

    def end(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
        code = self.process.wait(60)
        # A shell may end before what it has started, which still has the ports.
        end = time.monotonic() + DEADLINE_S
        while self.has_members() and time.monotonic() < end:
            time.sleep(0.05)
        return code

    def has_members(self):
        try:
            os.waitpid(-self.process.pid, os.WNOHANG)
        except ChildProcessError:
            pass  # they are not ours
        try:
            os.killpg(self.process.pid, 0)
        except ProcessLookupError:
            return False
        return True


class World:
    def __init__(self, program, origin, directory):
        self.program, self.directory = program, directory
        self.home = directory / "home"
        self.home.mkdir()
        (self.home / ".curlrc").write_text("fail\n", encoding="utf-8")  # an answer of 400 and above is a failure
        loopback_up()
        certificates = make_certificates(directory)
        make_system(directory, certificates)
        tools = directory / "bin"
        tools.mkdir()
        (tools / "oneshot-proxy").symlink_to(program)
        keep = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy") and not k.startswith("ONESHOT_")}
        self.environment = keep | {"HOME": str(self.home), "PATH": f"{tools}:{os.environ['PATH']}", "TERM": "dumb"}
        self.started = None
        self.origin = Background(
            [origin, "--listen", "127.0.0.1:443", "--tls-cert", certificates / "api.crt", "--tls-key",
             certificates / "api.key", "--client-id", "your-client-id", "--client-secret", SECRET],
            "oneshot-origin ready", directory / "origin.log")

    def end(self):
        for one in self.started, self.origin:
            if one:
                one.end()

    def try_block(self, block):
        """Raises when it does not do what it should."""
        if block.file:
            file = self.home / block.file
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.text, encoding="utf-8")
        return getattr(self, "try_" + block.language, lambda b: "a text")(block)

    def try_sh(self, block):
        script = self.directory / "block.sh"
        script.write_text("set -euo pipefail\n" + block.text, encoding="utf-8")
        options = {"cwd": self.home, "env": self.environment}
        if block.until:
            if self.started:
                self.started.end()
            keep = self.directory / f"background{block.line}.sh"
            script.rename(keep)
            self.started = Background(["bash", keep], block.until, self.directory / "background.log", **options)
            return "ok, and goes on"
        done = subprocess.run(["bash", script], input=block.typed.encode(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=DEADLINE_S, check=False, **options)
        if done.returncode != 0:
            more = f"\n--- beside it:\n{self.started.said()}" if self.started else ""
            raise RuntimeError(f"exit code {done.returncode}\n{done.stdout.decode(errors='replace')}{more}")
        return "ok"

    def try_ini(self, block):
        file = self.directory / "block.ini"
        file.write_text(block.text, encoding="utf-8")
        environment = dict(self.environment)
        if "client_id" not in block.text:
            environment["ONESHOT_PROXY_TOKEN_CLIENT_ID"] = "id"
        if "client_secret" not in block.text:
            environment["ONESHOT_PROXY_TOKEN_CLIENT_SECRET"] = "secret"
        done = subprocess.run([self.program, "--check", "--config", file], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              env=environment, cwd=self.home, check=False)
        if done.returncode != 0:
            raise RuntimeError(done.stdout.decode())
        return "ok"

    def try_js(self, block):
        modules = TREE / "tests/clients/node/node_modules"
        if not shutil.which("node") or not (modules / ".installed").exists():
            return "not run: Node or the official SDK is not here; the test client.node fetches it"
        link = self.home / "node_modules"
        if not link.exists():
            link.symlink_to(modules)
        file = self.home / "block.mjs"
        file.write_text(block.text, encoding="utf-8")
        done = subprocess.run(["node", file], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=self.environment,
                              cwd=self.home, timeout=DEADLINE_S, check=False)
        if done.returncode != 0:
            raise RuntimeError(done.stdout.decode())
        return "ok"

    def try_python(self, block):
        ast.parse(block.text)
        return "read, not run: the SDK for Python is not installed"

    def try_go(self, block):
        if not shutil.which("gofmt"):
            return "not read: there is no Go here"
        run("gofmt", "-e", input=b"package p\n" + block.text.encode())
        return "read, not run: the SDK for Go is not installed"


def inside(document, program, origin):
    with tempfile.TemporaryDirectory() as directory:
        world = World(program, origin, pathlib.Path(directory))
        wrong = 0
        try:
            for block in blocks_of(document):
                if block.reason:
                    continue
                try:
                    print(f"{world.try_block(block):8} {block.where()} {block.language}", flush=True)
                except (RuntimeError, subprocess.SubprocessError, SyntaxError) as error:
                    print(f"FAILED   {block.where()} {block.language}\n{block.text}---\n{error}")
                    wrong += 1
        finally:
            world.end()
            for mount in "/etc", world.directory / "etc":
                subprocess.run(["umount", "-l", mount], check=False)
    return wrong


# --- outside ---

def comments_without_a_sign(block):
    """Words that stand behind a command, set off by two blanks or more and without a #, as in `make all   builds all`."""
    inside_here = None
    for number, line in enumerate(block.text.splitlines(), block.line + 1):
        if inside_here:
            if line == inside_here:
                inside_here = None
            continue
        if m := re.search(r"<<-?'?(\w+)'?", line):
            inside_here = m[1]
        if re.search(r"\S {3,}[^#\s\\|&>]", line.split("#")[0]):
            yield f"{block.document}:{number}: what stands behind the command has no #: {line}"


def find_faults(blocks):
    for block in blocks:
        if block.language not in LANGUAGES:
            yield f"{block.where()}: a block of no known language '{block.language}' ({', '.join(sorted(LANGUAGES))})"
        if block.language == "sh":
            yield from comments_without_a_sign(block)
            done = subprocess.run(["bash", "-n"], input=block.text.encode(), stderr=subprocess.PIPE, check=False)
            if done.returncode != 0:
                yield f"{block.where()}: {done.stderr.decode()}"


def write_bare(directory):
    """NUMBER.sh for each block that a bare Debian has to run, NUMBER.until where it goes on until a text."""
    bare = [b for d in documents() for b in blocks_of(d) if b.bare]
    for number, block in enumerate(bare, 1):
        (directory / f"{number:02}.sh").write_text(f"# {block.where()}\nset -euo pipefail\n{block.text}", encoding="utf-8")
        if block.until:
            (directory / f"{number:02}.until").write_text(block.until, encoding="utf-8")
    return 0 if bare else 1


def main():
    if sys.argv[1] == "--bare":
        return write_bare(pathlib.Path(sys.argv[2]))
    if sys.argv[1] == "--inside":
        document, program, origin = map(pathlib.Path, sys.argv[2:])
        return 1 if inside(document, program, origin) else 0
    paths = [pathlib.Path(a).resolve() for a in sys.argv[1:3]]
    only = sys.argv[3:]
    faults = [fault for document in documents() for fault in find_faults(blocks_of(document))]
    print("\n".join(faults))
    namespaces = ["unshare", "--map-root-user", "--mount", "--net", "--pid", "--fork", "--kill-child"]
    if subprocess.run([*namespaces, "mount", "-t", "tmpfs", "none", "/run"], check=False).returncode != 0:
        print("this system gives no namespaces of one's own: no command of the documents was run")
        return 1 if faults else 77
    failed = []
    for document in documents():
        name = str(document.relative_to(TREE))
        if only and name not in only:
            continue
        blocks = blocks_of(document)
        for block in blocks:
            if block.reason:
                print(f"not run  {block.where()}: {block.reason}", flush=True)
        if not any(hasattr(World, "try_" + b.language) and not b.reason for b in blocks):
            continue
        command = [*namespaces, "--mount-proc", sys.executable, "-B", __file__, "--inside", document, *paths]
        if subprocess.run(command, check=False).returncode != 0:
            failed.append(name)
    print(f"{len(faults)} faults; documents whose commands failed: {', '.join(failed) or 'none'}")
    return 1 if faults or failed else 0


if __name__ == "__main__":
    sys.exit(main())
