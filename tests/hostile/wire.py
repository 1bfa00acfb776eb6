"""Bytes as they are: the cases of requests.txt and answers.txt, an origin that keeps what it hears
word for word, and a caller that can tell an end from a cut."""
import re
import socket
import threading
import time

PATIENCE_S = 5.0  # beyond every timeout that the servers are given


def read_cases(path):
    """[(name, rule, verdict, bytes)]"""
    cases = []
    with open(path, encoding="latin-1") as lines:
        for line in lines:
            line = line.rstrip("\n")
            if line and not line.startswith("#"):
                name, rule, verdict, text = line.split(" | ", 3)
                cases.append((name, rule, verdict, unescape(text)))
    return cases


def unescape(text):
    plain = {"r": b"\r", "n": b"\n", "t": b"\t", "0": b"\0", "\\": b"\\"}

    def one(match):
        if match[1]:
            return bytes([int(match[1], 16)])
        if match[2]:
            return match[3].encode("latin-1") * int(match[2])
        return plain[match[4]] if match[4] else match[5].encode("latin-1")

    return b"".join(
        map(one, re.finditer(r"\\x(..)|\\R(\d+);(.)|\\(.)|([^\\]+)", text, re.DOTALL))
    )


class Origin:
    """Hears requests on an ephemeral port. `say` makes the answer of a head and a body; without it
    the raw answer `raw` is given and the connection ends."""

    def __init__(self, say):
        self.say = say
        self.raw = None
        self.lock = threading.Lock()
        self.heard = []
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def forget(self):
        with self.lock:
            self.heard = []

    def remember(self):
        with self.lock:
            return list(self.heard)

    def _accept(self):
        while True:
            connection, _ = self.socket.accept()
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        connection.settimeout(60)
        buffer = b""
        try:
            while True:
                message = take_message(buffer)
                if message is None or not message[2]:
                    piece = connection.recv(65536)
                    if not piece:
                        return
                    buffer += piece
                    continue
                head, body, _, buffer = message
                with self.lock:
                    self.heard.append((head, body))
                if self.raw is not None:
                    connection.sendall(self.raw)
                    connection.shutdown(socket.SHUT_WR)
                    connection.settimeout(2)
                    while connection.recv(65536):
                        pass
                    return
                connection.sendall(self.say(head, body))
        except OSError:
            pass
        finally:
            connection.close()


def fields_of(head):
    """[(name, value)], leniently: what is no field has no value."""
    fields = []
    for line in re.split(rb"\r?\n", head)[1:]:
        name, colon, value = line.partition(b":")
        if line:
            fields.append((name.strip().lower(), value.strip() if colon else None))
    return fields


def values_of(head, name):
    return [value for key, value in fields_of(head) if key == name]


def take_message(buffer):
    """(head, body, whole, rest) or None: no head yet."""
    match = re.search(rb"\r?\n\r?\n", buffer)
    if not match:
        return None
    head, rest = buffer[: match.end()], buffer[match.end() :]
    if any(v and v.lower().endswith(b"chunked") for v in values_of(head, b"transfer-encoding")):
        body = b""
        while True:
            line, end, more = rest.partition(b"\n")
            size = re.match(rb"\s*([0-9A-Fa-f]+)", line)
            if not end or not size:
                return head, body, False, rest
            n = int(size[1], 16)
            if n == 0:
                trailer = re.match(rb"(?:[^\n]+\n)*?\r?\n", more)
                if not trailer:
                    return head, body, False, rest
                return head, body, True, more[trailer.end() :]
            if len(more) < n + 2:
                return head, body, False, rest
            body, rest = body + more[:n], more[n:].lstrip(b"\r")[1:]
    lengths = [int(v) for v in values_of(head, b"content-length") if v and v.isdigit()]
    n = lengths[0] if lengths else 0
    return head, rest[:n], len(rest) >= n, rest[n:]


class Heard:
    """What came back to a caller."""

    def __init__(self, data, end):
        self.data, self.end = data, end  # end: "close", "reset", "silence", "enough"
        while True:  # interim answers
            match = re.match(rb"HTTP/1\.[01] 1\d\d[ \r].*?\r\n\r\n", data, re.DOTALL)
            if not match or data.startswith(b"HTTP/1.1 101"):
                break
            data = data[match.end() :]
        self.head, _, self.rest = data.partition(b"\r\n\r\n")
        match = re.match(rb"HTTP/1\.[01] (\d{3})(?:[ \r]|$)", self.head)
        self.status = int(match[1]) if match else 0

    def whole(self):
        """Whether the answer can be taken for whole, and its body."""
        if not self.status or b"\r\n\r\n" not in self.data:
            return False, b""
        if self.status in (204, 304):
            return True, b""
        if any(b"chunked" in (v or b"") for v in values_of(self.head, b"transfer-encoding")):
            _, body, whole, _ = take_message(self.head + b"\r\n\r\n" + self.rest)
            return whole, body
        lengths = values_of(self.head, b"content-length")
        if lengths and lengths[0].isdigit():
            n = int(lengths[0])
            return len(self.rest) >= n, self.rest[:n]
        return self.end == "close", self.rest


def ask(port, request):
    """Sends it, hears the answer out, at most PATIENCE_S."""
    deadline = time.monotonic() + PATIENCE_S
    data = b""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as connection:
        try:
            connection.sendall(request)
        except OSError:
            pass  # refused before it was whole; the answer counts
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                return Heard(data, "silence")
            connection.settimeout(left)
            try:
                piece = connection.recv(65536)
            except socket.timeout:
                return Heard(data, "silence")
            except OSError:
                return Heard(data, "reset")
            if not piece:
                return Heard(data, "close")
            data += piece
            heard = Heard(data, "enough")
            framed = values_of(heard.head, b"content-length") or values_of(
                heard.head, b"transfer-encoding"
            )
            if framed and heard.whole()[0]:
                return heard


def ask_until_end(port, request):
    """The same for a request that asks for the connection's end: no answer is over before it."""
    pieces, end = [], "silence"
    deadline = time.monotonic() + 2 * PATIENCE_S
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as connection:
        try:
            connection.sendall(request)
        except OSError:
            pass  # the rest of its body is not wanted; the answer counts
        while time.monotonic() < deadline:
            connection.settimeout(max(deadline - time.monotonic(), 0.01))
            try:
                piece = connection.recv(65536)
            except OSError as error:
                end = "silence" if isinstance(error, socket.timeout) else "reset"
                break
            if not piece:
                end = "close"
                break
            pieces.append(piece)
    return Heard(b"".join(pieces), end)
