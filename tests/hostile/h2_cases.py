"""What an origin may do wrong in HTTP/2, and some of what looks odd and is right.

`MUST`: an RFC says that it has to be treated as an error or as malformed, so no caller may get a whole
answer; `PASS`: sound, the caller gets it; `EITHER`: left open, or a matter of limits. `repeats`: the
upstream has said that the request was not processed, so that it may come a second time
(RFC 9113 section 8.7); of all others it must come once. Written for this project from the sections
that are named and from the classes of attacks that were published (CVE-2019-9511 to 9518, 2023-44487,
2024-27316 and the like, of HTTP/2 and of HPACK)."""
from dataclasses import dataclass
from typing import Callable, Optional

from h2_origin import (
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PADDED, PING, PRIORITY,
    PUSH_PROMISE, RST_STREAM, SETTINGS, WINDOW_UPDATE, WITH_PRIORITY, block, data, frame, goaway,
    head_of, headers, integer, number, reset, settings, sound, text, window,
)

MUST, PASS, EITHER = "must", "pass", "either"
REFUSED = 7
MANY = 30000  # of a flood
BEYOND = 200000  # a body that no window takes at once


@dataclass
class Case:
    name: str
    rule: str
    verdict: str
    answer: Optional[Callable[[int], bytes]]  # to the whole request
    method: str = "POST"
    body_bytes: int = 8
    early: Optional[Callable[[int], bytes]] = None  # to its head
    hello: Optional[bytes] = settings()  # what the connection begins with; None: it ends at once
    fresh: bool = False  # on a new connection
    ack: bool = True  # of the proxy's SETTINGS
    cut: str = ""  # how the connection ends behind the answer: "close", "reset"
    again: Optional[Callable[[int], bytes]] = None  # to a request that comes once more
    repeats: bool = False
    by_chance: bool = False  # whether the answer gets through depends on the moment


CASES = []


def case(name, rule, verdict, answer, **more):
    CASES.append(Case(name, rule, verdict, answer, **more))


def before(name, rule, verdict, make, **more):
    """Frames in front of a sound answer: whoever overlooks them gives it."""
    case(name, rule, verdict, lambda s: make(s) + sound(s), **more)


def head_case(name, rule, verdict, *fields, status="200", **more):
    """A head, and the body "body"."""
    case(name, rule, verdict, lambda s: headers(s, *fields, status=status) + data(s), **more)


def raw_head(name, rule, verdict, raw, **more):
    """A block of HPACK behind :status 200, and the body."""
    case(name, rule, verdict, lambda s: head_of(s, b"\x88" + raw) + data(s), **more)


def hello(name, rule, verdict, said, **more):
    """How the connection begins; then a sound answer."""
    case(name, rule, verdict, more.pop("answer", sound), hello=said, fresh=True, **more)


def begun(s):
    """A head and a part of the body."""
    return headers(s, ("x-a", "1")) + data(s, b"bo", end=False)


# --- what is sound ---------------------------------------------------------------------------
case("plain", "RFC 9113 8.1", PASS, sound)
case("get", "RFC 9113 8.1", PASS, sound, method="GET")
head_case("no-length", "RFC 9113 8.1.1", PASS)
case("no-body", "RFC 9113 8.1", PASS, lambda s: headers(s, status="204", end=True))
case("not-modified", "RFC 9110 15.4.5", PASS,
     lambda s: headers(s, ("content-length", "4"), status="304", end=True), method="GET")
case("head-length", "RFC 9113 8.1.1", PASS,
     lambda s: headers(s, ("content-length", "4"), end=True), method="HEAD")
case("data-padded", "RFC 9113 6.1", PASS,
     lambda s: headers(s) + frame(DATA, PADDED | END_STREAM, s, b"\x05body" + b"\0" * 5))
case("headers-padded", "RFC 9113 6.2", PASS,
     lambda s: frame(HEADERS, PADDED | END_HEADERS, s, b"\x05\x88" + b"\0" * 5) + data(s))
case("headers-priority", "RFC 9113 6.2", PASS,
     lambda s: frame(HEADERS, WITH_PRIORITY | END_HEADERS, s, b"\0\0\0\0\x10\x88") + data(s))
case("continued", "RFC 9113 6.10", PASS,
     lambda s: frame(HEADERS, 0, s, b"\x88") + frame(CONTINUATION, 0, s, block(("x-a", "1")))
     + frame(CONTINUATION, END_HEADERS, s) + data(s))
case("data-in-bytes", "RFC 9113 6.1", PASS,
     lambda s: headers(s, ("content-length", "4")) + b"".join(data(s, bytes([c]), False) for c in b"body")
     + data(s, b""))
case("data-of-the-largest-frame", "RFC 9113 4.2", PASS,
     lambda s: headers(s, ("content-length", "16384")) + data(s, b"b" * 16384))
case("trailers", "RFC 9113 8.1", PASS,
     lambda s: headers(s) + data(s, end=False) + headers(s, ("x-t", "1"), status=None, end=True))
case("trailers-empty", "RFC 9113 8.1", PASS,
     lambda s: headers(s) + data(s, end=False) + head_of(s, b"", end=True))
before("interim-103", "RFC 9110 15.2", PASS, lambda s: headers(s, ("link", "</x>"), status="103"))
before("interim-ten", "RFC 9110 15.2", PASS, lambda s: headers(s, status="102") * 10)
before("unknown-frame", "RFC 9113 4.1", PASS, lambda s: frame(0xEE, 0xFF, s, b"what") + frame(0xEF, 0, 0, b""))
before("unknown-setting", "RFC 9113 6.5.2", PASS, lambda s: settings((0xEEEE, 7)))
before("unknown-flags", "RFC 9113 4.1", PASS, lambda s: frame(PING, 0xFE, 0, b"12345678"))
before("priority", "RFC 9113 6.3", PASS,
       lambda s: frame(PRIORITY, 0, s, b"\0\0\0\0\x10") + frame(PRIORITY, 0, s + 100, b"\0\0\0\0\x10"))
before("ping", "RFC 9113 6.7", PASS, lambda s: frame(PING, 0, 0, b"12345678"))
before("windows", "RFC 9113 6.9", PASS, lambda s: window(0, 100) + window(s, 100))
before("table-size-0", "RFC 7541 4.2", PASS, lambda s: settings((1, 0)))
before("table-size-huge", "RFC 7541 4.2", PASS, lambda s: settings((1, 0xFFFFFFFF)))
before("frame-size-largest", "RFC 9113 6.5.2", PASS, lambda s: settings((5, 16777215)))
before("reserved-bit", "RFC 9113 4.1", PASS, lambda s: frame(PING, 0, 0x80000000, b"12345678"))
case("fields-odd", "RFC 9110 5.5", PASS,
     lambda s: headers(s, ("x!#$%&'*+-.^`|~9", "caf\xe9\tx"), ("x-e", ""), ("set-cookie", "a"), ("set-cookie", "b"))
     + data(s))
raw_head("huffman", "RFC 7541 5.2", PASS, b"\x00\x03x-a\x81\x1f")
case("dynamic-table", "RFC 7541 2.3.2", PASS,
     lambda s: head_of(s, b"\x88\x40" + text("x-a") + text("1") + b"\xbe") + data(s))
case("table-update-first", "RFC 7541 4.2", PASS, lambda s: head_of(s, b"\x20\x3f\xe1\x1f\x88") + data(s))
before("goaway-all-is-well", "RFC 9113 6.8", PASS, lambda s: goaway(0x7FFFFFFF))
before("goaway-covers", "RFC 9113 6.8", PASS, lambda s: goaway(s))
before("goaway-long", "RFC 9113 6.8", PASS, lambda s: goaway(s, 0, b"x" * 16000))
before("goaway-twice", "RFC 9113 6.8", PASS, lambda s: goaway(0x7FFFFFFF) + goaway(s))
case("cut-after-the-end", "RFC 9113 5.1", PASS, sound, cut="close")
hello("settings-of-all-kinds", "RFC 9113 6.5.2", PASS, settings((1, 100), (3, 100), (4, 65536), (5, 16384), (6, 65536), (8, 1)))
hello("push-0", "RFC 9113 6.5.2", PASS, settings((2, 0)))
hello("one-stream", "RFC 9113 5.1.2", PASS, settings((3, 1)))
hello("no-ack", "RFC 9113 6.5.3", PASS, settings(), ack=False)
hello("window-0-then-bytes", "RFC 9113 6.9", PASS, settings((4, 0)), early=lambda s: window(s, 1) * 32)
hello("window-shrinks-below-0", "RFC 9113 6.9.2", PASS, settings((4, 5)),
      early=lambda s: settings((4, 0)) + window(s, 32))
hello("early-whole-then-no-error", "RFC 9113 8.1", PASS, settings((4, 0)), body_bytes=BEYOND, by_chance=True,
      early=lambda s: sound(s) + reset(s, 0), answer=None)
hello("early-413-then-no-error", "RFC 9113 8.1", PASS, settings((4, 0)), body_bytes=BEYOND, by_chance=True,
      early=lambda s: headers(s, ("content-length", "4"), status="413") + data(s) + reset(s, 0), answer=None)

# --- frames: streams, sizes, padding ---------------------------------------------------------
before("data-on-0", "RFC 9113 6.1", MUST, lambda s: frame(DATA, 0, 0, b"x"))
before("headers-on-0", "RFC 9113 6.2", MUST, lambda s: head_of(0, b"\x88"))
before("priority-on-0", "RFC 9113 6.3", MUST, lambda s: frame(PRIORITY, 0, 0, b"\0\0\0\0\x10"))
before("reset-on-0", "RFC 9113 6.4", MUST, lambda s: reset(0, 8))
before("settings-on-stream", "RFC 9113 6.5", MUST, lambda s: frame(SETTINGS, 0, s))
before("push-on-0", "RFC 9113 6.6", MUST, lambda s: frame(PUSH_PROMISE, END_HEADERS, 0, number(2) + b"\x82\x87\x84"))
before("ping-on-stream", "RFC 9113 6.7", MUST, lambda s: frame(PING, 0, s, b"12345678"))
before("goaway-on-stream", "RFC 9113 6.8", MUST, lambda s: frame(GOAWAY, 0, s, number(s) + number(0)))
before("continuation-on-0", "RFC 9113 6.10", MUST, lambda s: frame(CONTINUATION, END_HEADERS, 0, b""))
before("priority-of-4", "RFC 9113 6.3", MUST, lambda s: frame(PRIORITY, 0, s, b"\0\0\0\0"))
before("reset-of-3", "RFC 9113 6.4", MUST, lambda s: frame(RST_STREAM, 0, s, b"\0\0\0"))
before("settings-of-5", "RFC 9113 6.5", MUST, lambda s: frame(SETTINGS, 0, 0, b"\0\0\0\0\0"))
before("settings-ack-of-6", "RFC 9113 6.5", MUST, lambda s: frame(SETTINGS, ACK, 0, b"\0" * 6))
before("ping-of-7", "RFC 9113 6.7", MUST, lambda s: frame(PING, 0, 0, b"1234567"))
before("goaway-of-7", "RFC 9113 4.2", MUST, lambda s: frame(GOAWAY, 0, 0, b"\0" * 7))
before("window-of-3", "RFC 9113 6.9", MUST, lambda s: frame(WINDOW_UPDATE, 0, 0, b"\0\0\1"))
before("priority-on-itself", "RFC 7540 5.3.1", EITHER, lambda s: frame(PRIORITY, 0, s, number(s) + b"\x10"))
case("frame-too-large", "RFC 9113 4.2", MUST, lambda s: headers(s) + data(s, b"b" * 16385))
case("headers-too-large", "RFC 9113 4.2", MUST,
     lambda s: head_of(s, b"\x88" + block(("x-a", "a" * 16400))) + data(s))
case("unknown-too-large", "RFC 9113 4.2", MUST, lambda s: frame(0xEE, 0, s, b"x" * 16385) + sound(s))
case("data-pad-too-long", "RFC 9113 6.1", MUST,
     lambda s: headers(s) + frame(DATA, PADDED | END_STREAM, s, b"\x05body"))
case("data-pad-without-length", "RFC 9113 6.1", MUST, lambda s: headers(s) + frame(DATA, PADDED | END_STREAM, s))
case("headers-pad-too-long", "RFC 9113 6.2", MUST,
     lambda s: frame(HEADERS, PADDED | END_HEADERS, s, b"\x09\x88") + data(s))
case("headers-priority-cut", "RFC 9113 6.2", MUST,
     lambda s: frame(HEADERS, WITH_PRIORITY | END_HEADERS, s, b"\0\0") + sound(s))
before("push", "RFC 9113 6.6", MUST, lambda s: frame(PUSH_PROMISE, END_HEADERS, s, number(2) + b"\x82\x87\x84"))
before("push-of-odd-stream", "RFC 9113 6.6", MUST,
       lambda s: frame(PUSH_PROMISE, END_HEADERS, s, number(s + 2) + b"\x82\x87\x84"))
before("even-stream", "RFC 9113 5.1.1", MUST, lambda s: head_of(2, b"\x88"))
before("idle-headers", "RFC 9113 5.1", MUST, lambda s: head_of(s + 2, b"\x88", end=True))
before("idle-data", "RFC 9113 5.1", MUST, lambda s: data(s + 2))
before("idle-reset", "RFC 9113 6.4", MUST, lambda s: reset(s + 2, 8))
before("idle-window", "RFC 9113 5.1", MUST, lambda s: window(s + 2, 1))
case("data-first", "RFC 9113 8.1", MUST, lambda s: data(s, b"x", end=False) + sound(s))
case("data-only", "RFC 9113 8.1", MUST, lambda s: data(s))
case("end-without-head", "RFC 9113 8.1", MUST, lambda s: data(s, b""))
before("continuation-alone", "RFC 9113 6.10", MUST, lambda s: frame(CONTINUATION, END_HEADERS, s, b"\x88"))
case("continuation-after-end", "RFC 9113 6.10", MUST,
     lambda s: headers(s) + frame(CONTINUATION, END_HEADERS, s, block(("x-a", "1"))) + data(s))
case("data-inside-head", "RFC 9113 6.10", MUST,
     lambda s: frame(HEADERS, 0, s, b"\x88") + data(s, end=False) + frame(CONTINUATION, END_HEADERS, s) + data(s, b""))
case("ping-inside-head", "RFC 9113 6.10", MUST,
     lambda s: frame(HEADERS, 0, s, b"\x88") + frame(PING, 0, 0, b"12345678") + frame(CONTINUATION, END_HEADERS, s) + data(s))
case("unknown-inside-head", "RFC 9113 6.10", MUST,
     lambda s: frame(HEADERS, 0, s, b"\x88") + frame(0xEE, 0, s) + frame(CONTINUATION, END_HEADERS, s) + data(s))
case("continuation-of-another", "RFC 9113 6.10", MUST,
     lambda s: frame(HEADERS, 0, s, b"\x88") + frame(CONTINUATION, END_HEADERS, s + 2) + data(s))
case("headers-after-end", "RFC 9113 5.1", EITHER, lambda s: sound(s) + headers(s, end=True))
case("data-after-end", "RFC 9113 5.1", EITHER, lambda s: sound(s) + data(s, b"more"))
case("reset-after-end", "RFC 9113 5.1", PASS, lambda s: sound(s) + reset(s, 0))
case("garbage-after-end", "RFC 9113 4.1", EITHER, lambda s: sound(s) + b"HTTP/1.1 200 OK\r\n\r\n" * 3)
case("old-stream-data", "RFC 9113 5.1", EITHER, lambda s: (data(s - 2, b"x", False) if s > 1 else b"") + sound(s))

# --- windows and settings --------------------------------------------------------------------
before("window-0-on-stream", "RFC 9113 6.9", MUST, lambda s: window(s, 0))
before("window-0-on-connection", "RFC 9113 6.9", MUST, lambda s: window(0, 0))
before("window-overflow-stream", "RFC 9113 6.9.1", MUST, lambda s: window(s, 0x7FFFFFFF))
before("window-overflow-connection", "RFC 9113 6.9.1", MUST, lambda s: window(0, 0x7FFFFFFF))
hello("window-overflow-by-settings", "RFC 9113 6.9.2", MUST, settings(), early=lambda s: window(s, 0x7FFF0000 - 65535),
      answer=lambda s: settings((4, 0x7FFFFFFF)) + sound(s))
hello("window-too-large", "RFC 9113 6.5.2", MUST, settings((4, 0x80000000)))
hello("window-never", "RFC 9113 6.9", EITHER, settings((4, 0)), body_bytes=BEYOND)
hello("frame-size-small", "RFC 9113 6.5.2", MUST, settings((5, 16383)))
hello("frame-size-0", "RFC 9113 6.5.2", MUST, settings((5, 0)))
hello("frame-size-large", "RFC 9113 6.5.2", MUST, settings((5, 16777216)))
hello("push-1", "RFC 9113 6.5.2", MUST, settings((2, 1)))
hello("push-2", "RFC 9113 6.5.2", MUST, settings((2, 2)))
hello("no-streams", "RFC 9113 5.1.2", EITHER, settings((3, 0)))
before("streams-shrink-to-0", "RFC 9113 5.1.2", PASS, lambda s: settings((3, 0)))
before("streams-shrink-to-1", "RFC 9113 5.1.2", PASS, lambda s: settings((3, 1)))
hello("head-list-of-1", "RFC 9113 6.5.2", EITHER, settings((6, 1)))
hello("connect-protocol-2", "RFC 8441 3", EITHER, settings((8, 2)))
hello("no-settings", "RFC 9113 3.4", MUST, b"")
hello("ack-first", "RFC 9113 3.4", MUST, frame(SETTINGS, ACK, 0) + settings())
hello("ping-first", "RFC 9113 3.4", MUST, frame(PING, 0, 0, b"12345678") + settings())
hello("window-first", "RFC 9113 3.4", MUST, window(0, 100) + settings())
hello("goaway-first", "RFC 9113 3.4", MUST, goaway(0) + settings())
hello("http1-first", "RFC 9113 3.4", MUST, b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody")
hello("noise-first", "RFC 9113 3.4", MUST, b"\xff\x00" * 30)
hello("silence", "gateway: timeouts", EITHER, b"", answer=None)

# --- the head --------------------------------------------------------------------------------
head_case("status-missing", "RFC 9113 8.3.2", MUST, ("x-a", "1"), status=None)
head_case("status-twice", "RFC 9113 8.3", MUST, (":status", "200"))
head_case("status-two", "RFC 9113 8.3", MUST, (":status", "404"))
head_case("status-after-field", "RFC 9113 8.3", MUST, ("x-a", "1"), (":status", "200"), status=None)
for index, value in enumerate(["", "20", "2000", "abc", "+20", " 200", "200 ", "200 OK", "2e2"]):
    head_case(f"status-odd-{index}", "RFC 9110 15", MUST, status=value)
head_case("status-099", "RFC 9110 15", EITHER, status="099")
head_case("status-000", "RFC 9110 15", EITHER, status="000")
head_case("status-600", "RFC 9110 15", EITHER, status="600")
head_case("status-101", "RFC 9113 8.6", MUST, status="101")
before("status-101-before", "RFC 9113 8.6", MUST, lambda s: headers(s, ("upgrade", "x"), status="101"))
case("interim-ends", "RFC 9113 8.1", MUST, lambda s: headers(s, status="103", end=True))
case("interim-data", "RFC 9113 8.1", MUST, lambda s: headers(s, status="103") + data(s, b"x", False) + sound(s))
before("interim-length", "RFC 9110 8.6", EITHER, lambda s: headers(s, ("content-length", "3"), status="103"))
head_case("pseudo-of-request", "RFC 9113 8.3", MUST, (":path", "/x"))
head_case("pseudo-unknown", "RFC 9113 8.3", MUST, (":what", "x"))
head_case("name-upper", "RFC 9113 8.2.1", MUST, ("X-A", "1"))
head_case("name-empty", "RFC 9113 8.2.1", MUST, ("", "1"))
head_case("name-blank", "RFC 9113 8.2.1", MUST, ("x a", "1"))
head_case("name-colon", "RFC 9113 8.2.1", MUST, ("x:a", "1"))
head_case("name-newline", "RFC 9113 8.2.1", MUST, ("x-a\r\nx-b", "1"))
head_case("name-nul", "RFC 9113 8.2.1", MUST, ("x\0a", "1"))
head_case("name-8-bit", "RFC 9113 8.2.1", MUST, ("x\xe9", "1"))
head_case("name-delete", "RFC 9113 8.2.1", MUST, ("x\x7f", "1"))
head_case("value-nul", "RFC 9113 8.2.1", MUST, ("x-a", "a\0b"))
head_case("value-cr", "RFC 9113 8.2.1", MUST, ("x-a", "a\rb"))
head_case("value-lf", "RFC 9113 8.2.1", MUST, ("x-a", "a\nb"))
head_case("value-splits", "RFC 9113 8.2.1", MUST, ("x-a", "a\r\nset-cookie: b"))
head_case("value-blank-first", "RFC 9113 8.2.1", MUST, ("x-a", " a"))
head_case("value-blank-last", "RFC 9113 8.2.1", MUST, ("x-a", "a "))
head_case("value-control", "RFC 9110 5.5", EITHER, ("x-a", "a\x01b"))
for field, value in [("connection", "close"), ("keep-alive", "timeout=5"), ("proxy-connection", "close"),
                     ("transfer-encoding", "chunked"), ("upgrade", "h2c")]:
    head_case(f"hop-{field}", "RFC 9113 8.2.2", MUST, (field, value))
head_case("te-trailers", "RFC 9113 8.2.2", EITHER, ("te", "trailers"))
head_case("proxy-auth", "gateway: nobody asked for a proxy", EITHER, ("proxy-authenticate", "Basic"), status="407")
case("head-twice", "RFC 9113 8.1", MUST, lambda s: headers(s) + sound(s))
case("head-twice-after-data", "RFC 9113 8.1", MUST, lambda s: begun(s) + headers(s, status="404") + data(s, b"dy"))
case("interim-after-head", "RFC 9113 8.1", MUST, lambda s: begun(s) + headers(s, status="103") + data(s, b"dy"))
case("trailers-pseudo", "RFC 9113 8.1", MUST, lambda s: headers(s) + data(s, end=False) + headers(s, end=True))
for name, field in [("upper", ("X-T", "1")), ("hop", ("connection", "close")), ("newline", ("x-t", "a\r\nb: c")),
                    ("request-pseudo", (":path", "/"))]:
    case(f"trailers-{name}", "RFC 9113 8.1", MUST,
         lambda s, field=field: headers(s) + data(s, end=False) + headers(s, field, status=None, end=True))
case("trailers-do-not-end", "RFC 9113 8.1", MUST,
     lambda s: headers(s) + data(s, end=False) + headers(s, ("x-t", "1"), status=None) + data(s, b""))
case("trailers-length", "RFC 9110 6.5.1", EITHER,
     lambda s: headers(s) + data(s, end=False) + headers(s, ("content-length", "9"), status=None, end=True))

# --- how long is the body ---------------------------------------------------------------------
head_case("length-short", "RFC 9113 8.1.1", MUST, ("content-length", "10"))
head_case("length-long", "RFC 9113 8.1.1", MUST, ("content-length", "2"))
head_case("length-two", "RFC 9110 8.6", MUST, ("content-length", "4"), ("content-length", "5"))
head_case("length-same-twice", "RFC 9110 8.6", EITHER, ("content-length", "4"), ("content-length", "4"))
for index, value in enumerate(["", "+4", "-4", "0x4", "four", "4, 5", "99999999999999999999999", "4 4"]):
    head_case(f"length-odd-{index}", "RFC 9110 8.6", MUST, ("content-length", value))
case("length-without-body", "RFC 9113 8.1.1", MUST, lambda s: headers(s, ("content-length", "4"), end=True))
case("length-short-trailers", "RFC 9113 8.1.1", MUST,
     lambda s: headers(s, ("content-length", "9")) + data(s, end=False) + headers(s, ("x-t", "1"), status=None, end=True))
head_case("body-of-204", "RFC 9110 15.3.5", EITHER, status="204")
head_case("length-of-204", "RFC 9110 8.6", EITHER, ("content-length", "4"), status="204")
head_case("body-of-304", "RFC 9110 15.4.5", EITHER, status="304", method="GET")
head_case("body-of-head", "RFC 9110 9.3.2", EITHER, ("content-length", "4"), method="HEAD")

# --- HPACK -----------------------------------------------------------------------------------
raw_head("index-0", "RFC 7541 6.1", MUST, b"\x80")
raw_head("index-far", "RFC 7541 2.3.3", MUST, b"\xff\x80\x01")
raw_head("name-index-far", "RFC 7541 2.3.3", MUST, b"\x0f\x80\x011\x011")
raw_head("integer-endless", "RFC 7541 5.1", MUST, b"\xff" + b"\x80" * 20 + b"\x01")
raw_head("integer-overflow", "RFC 7541 5.1", MUST, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f")
raw_head("string-cut", "RFC 7541 5.2", MUST, b"\x00\x03x-a\x7f\x8011")
raw_head("block-cut", "RFC 7541 6.2.2", MUST, b"\x00\x03x-")
raw_head("huffman-eos", "RFC 7541 5.2", MUST, b"\x00\x03x-a\x84\xff\xff\xff\xff")
raw_head("huffman-long-padding", "RFC 7541 5.2", MUST, b"\x00\x03x-a\x82\x1f\xff")
raw_head("huffman-zero-padding", "RFC 7541 5.2", MUST, b"\x00\x03x-a\x81\x18")
raw_head("table-update-late", "RFC 7541 4.2", MUST, b"\x00\x03x-a\x011\x20")
case("table-update-large", "RFC 7541 6.3", MUST, lambda s: head_of(s, integer(1 << 20, 5, 0x20) + b"\x88") + data(s))
case("hpack-bomb", "gateway: 64 KiB of head", EITHER,
     lambda s: head_of(s, b"\x88\x40" + text("x-a") + text("a" * 4000) + b"\xbe" * 12000) + data(s))
case("fields-many", "gateway: 200 fields", EITHER,
     lambda s: head_of(s, b"\x88" + block(("a", "")) * 3000) + data(s))
case("head-of-1-MiB", "gateway: 64 KiB of head", EITHER,
     lambda s: frame(HEADERS, 0, s, b"\x88") + frame(CONTINUATION, 0, s, block(("x-a", "a" * 16000))) * 64
     + frame(CONTINUATION, END_HEADERS, s) + data(s))

# --- what the upstream says of the request: once, unless it says that it was not processed -----
case("refused", "RFC 9113 8.7", EITHER, lambda s: reset(s, REFUSED), again=sound, repeats=True)
case("refused-always", "RFC 9113 8.7", MUST, lambda s: reset(s, REFUSED), repeats=True)
case("refused-after-interim", "RFC 9113 8.7", EITHER, lambda s: headers(s, status="103") + reset(s, REFUSED))
case("refused-after-head", "RFC 9113 8.7", MUST, lambda s: headers(s) + reset(s, REFUSED))
case("refused-after-part", "RFC 9113 8.7", MUST, lambda s: begun(s) + reset(s, REFUSED))
case("refused-after-end", "RFC 9113 8.7", EITHER, lambda s: sound(s) + reset(s, REFUSED))
case("refused-then-answered", "RFC 9113 5.4.2", EITHER, lambda s: reset(s, REFUSED) + sound(s), repeats=True)
for code in [*range(0, 7), *range(8, 14), 0xDEADBEEF]:
    case(f"reset-{code}", "RFC 9113 6.4", MUST, lambda s, code=code: reset(s, code))
case("reset-0-after-part", "RFC 9113 8.1", MUST, lambda s: begun(s) + reset(s, 0))
case("reset-8-after-part", "RFC 9113 6.4", MUST, lambda s: begun(s) + reset(s, 8))
hello("early-whole-then-cancel", "RFC 9113 8.1", EITHER, settings((4, 0)), body_bytes=BEYOND, by_chance=True,
      early=lambda s: sound(s) + reset(s, 8), answer=None)
hello("early-part-then-no-error", "RFC 9113 8.1", MUST, settings((4, 0)), body_bytes=BEYOND,
      early=lambda s: begun(s) + reset(s, 0), answer=None)
case("goaway-below", "RFC 9113 6.8", EITHER, lambda s: goaway(max(s - 2, 0)), cut="close", again=sound, repeats=True)
case("goaway-0", "RFC 9113 6.8", EITHER, lambda s: goaway(0), cut="close", again=sound, repeats=True)
case("goaway-below-always", "RFC 9113 6.8", MUST, lambda s: goaway(max(s - 2, 0)), cut="close", repeats=True)
case("goaway-below-then-answered", "RFC 9113 6.8", EITHER, lambda s: goaway(max(s - 2, 0)) + sound(s), repeats=True)
case("goaway-in-two-steps", "RFC 9113 6.8", EITHER, lambda s: goaway(0x7FFFFFFF) + goaway(max(s - 2, 0)),
     cut="close", again=sound, repeats=True)
case("goaway-raises-the-last", "RFC 9113 6.8", EITHER, lambda s: goaway(0) + goaway(s) + sound(s), repeats=True)
case("goaway-even-last", "RFC 9113 6.8", EITHER, lambda s: goaway(s + 1) + sound(s))
case("goaway-below-after-head", "RFC 9113 6.8", EITHER, lambda s: headers(s) + goaway(0) + data(s))
case("goaway-below-after-interim", "RFC 9113 6.8", EITHER, lambda s: headers(s, status="103") + goaway(0), cut="close")
for code in [*range(0, 14), 0xDEADBEEF]:
    case(f"goaway-{code}-then-cut", "RFC 9113 6.8", MUST, lambda s, code=code: goaway(s, code), cut="close")
case("goaway-max-then-cut", "RFC 9113 6.8", MUST, lambda s: goaway(0x7FFFFFFF), cut="close")
case("goaway-then-part-then-cut", "RFC 9113 6.8", MUST, lambda s: goaway(s) + begun(s), cut="close")
for how in ("close", "reset"):
    for name, part in [
        ("nothing", lambda s: b""),
        ("half-a-frame-head", lambda s: headers(s)[:5]),
        ("half-a-head", lambda s: headers(s)[:-2]),
        ("unfinished-head", lambda s: frame(HEADERS, 0, s, b"\x88")),
        ("interim", lambda s: headers(s, status="103")),
        ("head", lambda s: headers(s)),
        ("half-a-body-frame", lambda s: sound(s)[:-2]),
        ("body-before-its-end", lambda s: headers(s) + data(s, end=False)),
        ("measured-body-before-its-end", lambda s: headers(s, ("content-length", "4")) + data(s, end=False)),
    ]:
        measured = name.startswith("measured")  # whole by its length
        case(f"{how}-after-{name}", "RFC 9113 8.1", EITHER if measured else MUST, part, cut=how,
             by_chance=measured)
    case(f"{how}-on-head-of-request", "RFC 9113 8.1", MUST, None, early=lambda s: b"", cut=how)
    hello(f"{how}-at-once", "RFC 9113 3.4", MUST, settings(), early=lambda s: goaway(s), answer=None, cut=how)
hello("gone-at-once", "RFC 9113 3.4", MUST, None)
case("never-answers", "gateway: timeouts", MUST, None)
case("never-ends", "gateway: timeouts", MUST, begun)

# --- floods: what counts is that the next request is served ------------------------------------
FLOODS = {
    "settings": lambda s: settings((3, 100)) * MANY,
    "settings-empty": lambda s: settings() * MANY,
    "settings-ack": lambda s: frame(SETTINGS, ACK, 0) * MANY,
    "settings-long": lambda s: settings(*[(4, 65535)] * 2000) * 200,
    "ping": lambda s: frame(PING, 0, 0, b"12345678") * MANY,
    "ping-ack": lambda s: frame(PING, ACK, 0, b"12345678") * MANY,
    "window": lambda s: window(0, 1) * MANY,
    "window-of-stream": lambda s: window(s, 1) * MANY,
    "window-of-old-streams": lambda s: window(1, 1) * MANY,
    "priority": lambda s: frame(PRIORITY, 0, s, b"\0\0\0\0\x10") * MANY,
    "priority-of-idle": lambda s: b"".join(frame(PRIORITY, 0, 2 * i + 1001, b"\0\0\0\0\x10") for i in range(MANY)),
    "unknown": lambda s: frame(0xEE, 0, 0) * MANY,
    "goaway": lambda s: goaway(0x7FFFFFFF) * MANY,
    "reset-of-old-streams": lambda s: reset(1, 8) * MANY,
    "interim": lambda s: headers(s, status="102") * MANY,
}
for flood, made in FLOODS.items():
    before(f"flood-{flood}", "gateway: floods", EITHER, made)
case("flood-data-empty", "CVE-2019-9518", EITHER, lambda s: headers(s) + data(s, b"", False) * MANY + data(s))
case("flood-data-padding", "CVE-2019-9518", EITHER,
     lambda s: headers(s) + frame(DATA, PADDED, s, b"\xff" + b"\0" * 255) * 250 + data(s))
case("flood-continuation-empty", "CVE-2024-27316", EITHER,
     lambda s: frame(HEADERS, 0, s, b"\x88") + frame(CONTINUATION, 0, s) * MANY + frame(CONTINUATION, END_HEADERS, s) + data(s))
case("flood-continuation", "CVE-2024-27316", EITHER,
     lambda s: frame(HEADERS, 0, s, b"\x88") + frame(CONTINUATION, 0, s, block(("x-a", "a" * 100))) * MANY)
case("flood-headers-0-length-names", "CVE-2019-9516", EITHER,
     lambda s: frame(HEADERS, 0, s, b"\x88") + frame(CONTINUATION, 0, s, block(("", "")) * 1000) * 100)
case("flood-data-of-nobody", "CVE-2019-9511", EITHER, lambda s: sound(s) + data(s, b"x" * 1000, False) * 60)
case("flood-trailers", "RFC 9113 8.1", EITHER,
     lambda s: headers(s) + data(s, end=False) + headers(s, ("x-t", "1"), status=None) * MANY)
case("window-exceeded", "RFC 9113 6.9.1", EITHER,
     lambda s: headers(s) + b"".join(data(s, b"x" * 16384, False) for _ in range(200)) + data(s), method="GET",
     by_chance=True)
