#!/usr/bin/env python3
"""The same exchanges in which somebody takes their time to nginx, haproxy and oneshot-proxy.

    differential_time.py BINARY DIRECTORY OUT [CASE...]

An origin that stalls, answers early or says interim answers for a while, a caller that reads slowly,
waits or leaves, bodies beyond all buffers, an address where nobody is. All cases run at once: the
origin tells them apart by the path. Writes the table OUT (or, with cases named, only prints those)
and leaves with 1 when oneshot-proxy does something else than what a case says is right."""
import os
import re
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from servers import start_haproxy, start_nginx, start_oneshot
from wire import Heard

PATIENCE = "6s"  # of the proxies; whoever is late in a case but not too late is a quarter as late
LATE_S = 1.5
SOON_S = 60  # reaching it means failure
MANY = 16 << 20  # more than all buffers on the way, the kernel's among them
PIECE = b"p" * 65536


class Case:
    """origin(peer) and caller(peer) are its two ends; the caller's returns what the table says."""

    def __init__(self, name, right, origin, caller):
        self.name, self.right, self.origin, self.caller = name, right, origin, caller


class Peer:
    """A connection, read as HTTP."""

    def __init__(self, connection, case=None):
        self.connection, self.case, self.data = connection, case, b""
        connection.settimeout(SOON_S)

    def send(self, *pieces, every_s=0.0):
        for piece in pieces:
            self.connection.sendall(piece)
            if every_s:
                time.sleep(every_s)

    def send_many(self, chunked=False, pause_s=0.0, size=MANY):
        """A body of that size, with a rest in its middle."""
        for at in range(0, size, len(PIECE)):
            if at == size // 2 and pause_s:
                time.sleep(pause_s)
            self.send(b"%x\r\n%s\r\n" % (len(PIECE), PIECE) if chunked else PIECE)

    def more(self):
        piece = self.connection.recv(65536)
        self.data += piece
        return bool(piece)

    def read_head(self):
        while b"\r\n\r\n" not in self.data:
            if not self.more():
                raise OSError("the end")
        return self.data.partition(b"\r\n\r\n")[0]

    def read_request(self, pause_s=0.0):
        """How much of a body it has; None: it was cut."""
        head = self.read_head()
        self.data = self.data[len(head) + 4 :]
        time.sleep(pause_s)
        if b"chunked" in head.lower():
            return self.read_chunks()
        length = re.search(rb"(?i)content-length: (\d+)", head)
        return self.skip(int(length[1])) if length else 0

    def skip(self, size):
        left = size - len(self.data)
        while left > 0:
            piece = self.connection.recv(1 << 20)
            if not piece:
                return None
            left -= len(piece)
        return size

    def read_chunks(self):
        total = 0
        while True:
            while b"\r\n" not in self.data:
                if not self.more():
                    return None
            line, _, self.data = self.data.partition(b"\r\n")
            size = int(line, 16)
            while len(self.data) < size + 2:
                if not self.more():
                    return None
            self.data = self.data[size + 2 :]
            if size == 0:
                return total
            total += size

    def read_end(self):
        """Until the other side ends it, within its patience. Returns how: "end", "reset", "open"."""
        self.connection.settimeout(SOON_S)
        try:
            while self.connection.recv(65536):
                pass
            return "end"
        except socket.timeout:
            return "open"
        except OSError:
            return "reset"


# --- callers ---------------------------------------------------------------------------------


def head_of(case, method=b"GET", fields=b"", version=b"1.1"):
    close = b"Connection: close\r\n" if version == b"1.1" else b""
    return b"%s /%s HTTP/%s\r\nHost: localhost\r\n%s%s\r\n" % (
        method, case.name.encode(), version, close, fields)


def hear(peer, pause_s=0.0):
    """What came back: a status, and what is the matter with its body."""
    pieces, end, size = [peer.data], "close", 0
    try:
        while True:
            piece = peer.connection.recv(65536)
            if not piece:
                break
            pieces.append(piece)
            size += len(piece)
            if pause_s and size > MANY // 4:
                time.sleep(pause_s)
                pause_s = 0
    except socket.timeout:
        return "no answer"
    except OSError:
        end = "reset"
    heard = Heard(b"".join(pieces), end)
    if not heard.status:
        return "closed"
    whole, body = heard.whole()
    if not whole:
        return f"{heard.status}, cut"
    return f"{heard.status}" + (f" {body.decode()}" if 0 < len(body) < 9 else "")


def get(peer):
    peer.send(head_of(peer.case))
    return hear(peer)


def post(peer):
    peer.send(head_of(peer.case, b"POST", b"Content-Length: 2\r\n") + b"{}")
    return hear(peer)


def get_slowly(peer):
    peer.send(head_of(peer.case))
    return hear(peer, pause_s=LATE_S)


def get_slowly_1_0(peer):
    peer.send(head_of(peer.case, version=b"1.0"))
    return hear(peer, pause_s=LATE_S)


def upload(peer, **how):
    peer.send(head_of(peer.case, b"POST", b"Content-Length: %d\r\n" % MANY))
    try:
        peer.send_many(**how)
    except OSError:
        pass  # the rest is not wanted; the answer counts
    return hear(peer)


def upload_chunked(peer):
    peer.send(head_of(peer.case, b"POST", b"Transfer-Encoding: chunked\r\n"))
    try:
        peer.send_many(chunked=True)
        peer.send(b"0\r\n\r\n")
    except OSError:
        pass
    return hear(peer)


def upload_resting(peer):
    return upload(peer, pause_s=LATE_S)


def upload_and_wait(peer):
    """Stops in its middle, to see whether there is an answer."""
    peer.send(head_of(peer.case, b"POST", b"Content-Length: %d\r\n" % MANY), PIECE)
    return hear(peer)


def expect(peer):
    peer.send(head_of(peer.case, b"POST", b"Content-Length: 2\r\nExpect: 100-continue\r\n"))
    head = peer.read_head()
    if head.startswith(b"HTTP/1.1 100"):
        peer.send(b"{}")
        peer.data = peer.data.partition(b"\r\n\r\n")[2]
    return hear(peer)


def leave(peer):
    """How soon the origin is left as well."""
    peer.send(head_of(peer.case))
    peer.case.asked.wait(SOON_S)
    left = time.monotonic()
    peer.connection.close()
    if not peer.case.over.wait(SOON_S):
        return "the origin goes on"
    return "left" if time.monotonic() - left < LATE_S else "left late"


def break_off(peer):
    peer.send(head_of(peer.case, b"POST", b"Content-Length: %d\r\n" % MANY), PIECE)
    peer.case.asked.wait(SOON_S)
    peer.connection.close()
    peer.case.over.wait(SOON_S)
    return peer.case.seen or "nothing"


# --- origins ---------------------------------------------------------------------------------


def fine(body=b"fine"):
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


def after(wait_s, *pieces, every_s=0.0):
    """Says that so long after the request."""

    def origin(peer):
        peer.read_request()
        time.sleep(wait_s)
        peer.send(*pieces, every_s=every_s)

    return origin


def and_silence(*pieces):
    def origin(peer):
        peer.read_request()
        peer.send(*pieces)
        peer.read_end()

    return origin


def drip_head(peer):
    peer.read_request()
    peer.send(b"HTTP/1.1 200 OK\r\n")
    for _ in range(8):  # twice the proxies' patience
        peer.send(b"X-A: b\r\n", every_s=LATE_S)


def early(answer, end=False):
    """Answers as soon as the head is there; reads on, or ends at once."""

    def origin(peer):
        peer.read_head()
        peer.send(answer)
        if not end:
            peer.read_end()

    return origin


def early_and_goes_on(peer):
    """Half of the answer first, the other half when the upload is whole."""
    peer.read_head()
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfi")
    peer.send(b"ne" if peer.read_request() is not None else b"")


def read_slowly(peer):
    size = peer.read_request(pause_s=LATE_S)
    if size is not None:
        peer.send(fine(b"%d MiB" % (size >> 20)))


def send_many(peer):
    peer.read_request()
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % MANY)
    peer.send_many(pause_s=LATE_S)


def watch(peer):
    """Says how the request ended."""
    peer.read_head()
    peer.case.asked.set()
    try:
        whole = peer.case.caller is break_off and peer.read_request() is not None
        peer.case.seen = "a whole request" if whole else "a cut one"
        if whole or peer.case.caller is leave:
            peer.read_end()
    except OSError:
        peer.case.seen = "a cut one"
    peer.case.over.set()


CREATED = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}"
LIMITED = b"HTTP/1.1 429 Slow\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n"
CLOSES = b"HTTP/1.1 413 Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
HINT = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
WORKING = b"HTTP/1.1 102 Processing\r\n\r\n"
CUT_HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"
LOST = ("502", "504")

# Right: what a caller may get so that it knows what there is to know.
CASES = [
    Case("head-late", ("200 fine",), after(LATE_S, fine()), get),
    Case("head-never", ("504",), and_silence(), get),
    Case("head-never-post", ("504",), and_silence(), post),
    Case("head-drips", ("504",), drip_head, get),
    Case("head-silent-inside", ("504",), and_silence(b"HTTP/1.1 200 OK\r\nX-A"), get),
    Case("body-never", ("200, cut", "502", "504"), and_silence(CUT_HEAD), get),
    Case("body-stalls", ("200, cut",), and_silence(CUT_HEAD + b"half"), get),
    Case("body-drips", ("200 fine",),
         after(0, b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n", b"f", b"i", b"n", b"e",
               every_s=LATE_S), get),
    Case("interim-keeps-waiting", ("200 fine",),
         after(0, *[WORKING] * 5, fine(), every_s=LATE_S), get),
    Case("interim-hints", ("200 fine",), after(0, *[HINT] * 20, fine()), get),
    Case("interim-then-end", LOST, after(0, WORKING), post),
    Case("early-201-caller-goes-on", ("201 {}",), early(CREATED), upload),
    Case("early-201-caller-waits", ("201 {}",), early(CREATED), upload_and_wait),
    Case("early-429-caller-goes-on", ("429",), early(LIMITED), upload),
    Case("early-429-caller-waits", ("429",), early(LIMITED), upload_and_wait),
    Case("early-413-and-end", ("413",) + LOST, early(CLOSES, end=True), upload),
    Case("early-200-upload-goes-on", ("200 fine",), early_and_goes_on, upload_chunked),
    Case("upload-slow-origin", ("200 16 MiB",), read_slowly, upload),
    Case("upload-chunked-slow-origin", ("200 16 MiB",), read_slowly, upload_chunked),
    Case("upload-rests", ("200 16 MiB",), read_slowly, upload_resting),
    Case("download-slow-caller", ("200",), send_many, get_slowly),
    Case("download-slow-caller-1.0", ("200",), send_many, get_slowly_1_0),
    Case("expect-refused", ("417",),
         early(b"HTTP/1.1 417 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"), expect),
    Case("expect-wanted", ("200 fine",), after(0, fine()), expect),
    Case("caller-leaves", ("left",), watch, leave),
    Case("caller-breaks-off", ("a cut one", "nothing"), watch, break_off),
]


class Origin:
    """Plays the case that a request's path names."""

    def __init__(self, cases):
        self.cases = {c.name: c for c in cases}
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            connection, _ = self.socket.accept()
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        peer = Peer(connection)
        try:
            path = peer.read_head().split(b" ")[1].decode()
            peer.case = self.cases[path.rpartition("/")[2]]
            peer.case.origin(peer)
        except OSError:
            pass
        finally:
            connection.close()


class Nowhere:
    """An address without anybody: `silent`, where no SYN is answered any more."""

    def __init__(self, silent):
        self.socket = socket.socket()
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.fillers = []
        if silent:
            self.socket.listen(0)
            for _ in range(8):
                filler = socket.socket()
                filler.setblocking(False)
                filler.connect_ex(("127.0.0.1", self.port))
                self.fillers.append(filler)


def new_cases(names):
    """For one server: the ends of a case tell each other how far they are."""
    chosen = []
    for case in CASES:
        if not names or case.name in names:
            mine = Case(case.name, case.right, case.origin, case.caller)
            mine.asked, mine.over, mine.seen = threading.Event(), threading.Event(), ""
            chosen.append(mine)
    return chosen


def play(server, case, results):
    with socket.create_connection(("127.0.0.1", server.port), timeout=SOON_S) as connection:
        try:
            results[case.name] = case.caller(Peer(connection, case))
        except OSError as error:
            results[case.name] = type(error).__name__


def run(server, cases):
    results = {}
    threads = [threading.Thread(target=play, args=(server, c, results)) for c in cases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def start_all(directory, binary, origin):
    """Each in front of an origin of its own."""
    nginx = "\n  proxy_connect_timeout 2s; client_max_body_size 0; proxy_request_buffering off;"
    more = "connect_timeout = 2s\nreplay = none"
    yield start_nginx(directory, origin(), nginx, PATIENCE)
    yield start_haproxy(directory, origin(), patience=PATIENCE)
    yield start_oneshot(directory, origin(), binary, more, PATIENCE)


def side_by_side(directory, binary, names):
    """[(case, what is right, {server: result})], the servers, what went wrong at their end"""
    sets, servers, codes = [], [], []

    def origin():
        sets.append(new_cases(names))
        return Origin(sets[-1])

    try:
        servers.extend(start_all(directory, binary, origin))
        with ThreadPoolExecutor() as pool:
            results = list(pool.map(run, servers, sets))
        rows = [(c.name, c.right, [r[c.name] for r in results]) for c in sets[0]]
    finally:
        codes = [s.stop() for s in servers]
    for name, right, silent in (("address-silent", ("504",), True),
                                ("address-refuses", ("502", "503"), False)):
        if names and name not in names:
            continue
        nowhere = []
        try:
            nowhere.extend(start_all(directory, binary, lambda s=silent: Nowhere(s)))
            case = Case(name, right, None, post)
            rows.append((name, right, [run(s, [case])[name] for s in nowhere]))
        finally:
            codes += [s.stop() for s in nowhere]
    return rows, servers, codes


HEAD = """# Side by side: exchanges in which somebody takes their time

Made by `./dev hostile`; do not edit. Each case of `differential_time.py` was played through nginx {}
(which passes uploads on as they come), haproxy {} and this program, all of them with timeouts of six
seconds. A cell says what the caller got, or what the origin saw of a caller that left. **Bold** is
something else than what leaves the caller knowing all there is to know.

"""


def main():
    binary, directory, target, *names = sys.argv[1:]
    directory = os.path.abspath(directory)
    os.makedirs(directory, exist_ok=True)
    rows, servers, codes = side_by_side(directory, binary, names)
    out = ["| case | right | " + " | ".join(s.name for s in servers) + " |", "|---" * 5 + "|"]
    bad = [f"oneshot-proxy left with {codes[2]}"] if codes[2] != 0 else []
    for name, right, results in rows:
        cells = [r if r in right else f"**{r}**" for r in results]
        out.append(f"| {name} | {' or '.join(right)} | " + " | ".join(cells) + " |")
        if results[-1] not in right:
            bad.append(f"{name}: {results[-1]}")
    if names:
        print("\n".join(out))
    else:
        with open(target, "w", encoding="utf-8") as file:
            file.write(HEAD.format(servers[0].version, servers[1].version) + "\n".join(out) + "\n")
    wrong = [sum(r[i] not in right for _, right, r in rows) for i in range(len(servers))]
    print(f"| of {len(rows)}, not right | " + " | ".join(map(str, wrong)) + " |")
    for line in bad:
        print("WRONG  " + line)
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
