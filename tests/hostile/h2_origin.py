"""An origin that speaks HTTP/2 without TLS (RFC 9113), frame by frame, and breaks its rules as a
case of h2_cases.py says. What it hears is counted, not decoded: a head is a head."""
import socket
import struct
import threading
import time

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS = range(5)
PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(5, 10)
END_STREAM, ACK, END_HEADERS, PADDED, WITH_PRIORITY = 1, 1, 4, 8, 32
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
STUCK_S = 3.0  # a peer that takes nothing for so long has stopped reading


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def text(value):
    """A string of HPACK as it is (RFC 7541 section 5.2)."""
    value = value.encode("latin-1") if isinstance(value, str) else value
    return integer(len(value), 7) + value


def integer(value, bits, first=0):
    """RFC 7541 section 5.1."""
    most = (1 << bits) - 1
    if value < most:
        return bytes([first | value])
    out, value = [first | most], value - most
    while value >= 128:
        out.append(value % 128 + 128)
        value //= 128
    return bytes(out + [value])


def block(*fields):
    """Literals without indexing, new names: nothing of it depends on what was before."""
    return b"".join(b"\0" + text(name) + text(value) for name, value in fields)


def headers(stream, *fields, status="200", end=False):
    """A head with :status; None: without."""
    lines = ([(":status", status)] if status is not None else []) + list(fields)
    return head_of(stream, block(*lines), end)


def head_of(stream, raw, end=False):
    return frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), stream, raw)


def data(stream, body=b"body", end=True):
    return frame(DATA, END_STREAM if end else 0, stream, body)


def settings(*pairs):
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", *pair) for pair in pairs))


def number(value):
    return struct.pack(">I", value)


def reset(stream, error):
    return frame(RST_STREAM, 0, stream, number(error))


def goaway(last, error=0, debug=b""):
    return frame(GOAWAY, 0, 0, number(last) + number(error) + debug)


def window(stream, more):
    return frame(WINDOW_UPDATE, 0, stream, number(more))


def sound(stream):
    """An answer without fault, with the body "body"."""
    return headers(stream, ("content-length", "4")) + data(stream)


class Cut(Exception):
    """The connection is over."""


class H2Origin:
    """Serves all requests soundly, but for those that begin while `case` is set: they get what the
    case says, and `heard` has one (connection, stream) for each of them."""

    def __init__(self):
        self.lock = threading.Condition()
        self.case = None
        self.heard = []  # with a case set
        self.served = []  # soundly
        self.open = {}  # number of a connection: its socket
        self.made = 0
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def begin(self, case):
        """From now on this case; None: sound answers."""
        with self.lock:
            self.case = case
            self.heard, self.served = ([], []) if case else (self.heard, [])

    def close_all(self):
        """Ends all connections and waits until the other side has done so, too."""
        with self.lock:
            for connection in self.open.values():
                try:
                    connection.shutdown(socket.SHUT_WR)
                except OSError:
                    pass
            deadline = time.monotonic() + STUCK_S
            while self.open and time.monotonic() < deadline:
                self.lock.wait(0.1)
            for connection in self.open.values():
                connection.close()

    def _accept(self):
        while True:
            connection, _ = self.socket.accept()
            with self.lock:
                self.made += 1
                self.open[self.made] = connection
                arguments = (connection, self.made, self.case)
            threading.Thread(target=self._thread, args=arguments, daemon=True).start()

    def _thread(self, connection, name, case):
        try:
            connection.settimeout(60)
            self._serve(connection, name, case)
        except (OSError, Cut):
            pass
        finally:
            connection.close()
            with self.lock:
                del self.open[name]
                self.lock.notify_all()

    def _serve(self, connection, name, case):
        if case and case.hello is None:
            raise Cut
        if read(connection, len(PREFACE)) != PREFACE:
            raise Cut
        write(connection, case.hello if case else settings())
        streams = {}  # stream: the case that it gets
        while True:
            kind, flags, stream, payload = read_frame(connection)
            if kind == SETTINGS and not flags & ACK and (not case or case.ack):
                write(connection, frame(SETTINGS, ACK, 0))
            elif kind == PING and not flags & ACK:
                write(connection, frame(PING, ACK, 0, payload))
            elif kind == HEADERS and stream not in streams:
                streams[stream] = self._hear(name, stream)
                if streams[stream]:
                    self._act(connection, streams[stream], streams[stream].early, stream)
            if kind in (HEADERS, DATA) and flags & END_STREAM and stream in streams:
                mine = streams[stream]
                if mine:
                    again = mine.again if len(self.heard) > 1 and mine.again else mine.answer
                    self._act(connection, mine, again, stream)
                else:
                    write(connection, sound(stream))

    def _hear(self, name, stream):
        with self.lock:
            (self.heard if self.case else self.served).append((name, stream))
            return self.case

    def _act(self, connection, case, answer, stream):
        if answer is None:
            return
        write(connection, answer(stream))
        if answer is case.again:
            return
        if case.cut == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if case.cut:
            raise Cut


def read(connection, n):
    out = b""
    while len(out) < n:
        piece = connection.recv(n - len(out))
        if not piece:
            raise Cut
        out += piece
    return out


def read_frame(connection):
    head = read(connection, 9)
    kind, flags, stream = struct.unpack(">BBI", head[3:])
    return kind, flags, stream & 0x7FFFFFFF, read(connection, int.from_bytes(head[:3], "big"))


def write(connection, out):
    """All of it, unless the other side has stopped reading."""
    connection.settimeout(STUCK_S)
    try:
        connection.sendall(out)
    except socket.timeout:
        pass  # what it said before counts; more would be in the middle of a frame
    connection.settimeout(60)
