"""Python: urllib, http.client, requests (where it is installed). Prints NAME OPERATION ok|what."""
import http.client
import io
import sys
import urllib.error
import urllib.request

base = sys.argv[1]
host = base.split("//")[1]


def report(name, operation, good, what=""):
    print(name, operation, "ok" if good else f"FAILED {what}")


def attempt(name, operation, call):
    try:
        call()
        report(name, operation, True)
    except Exception as error:  # whatever it is, the table says so
        report(name, operation, False, repr(error))


def expect(got, wanted):
    if got != wanted:
        raise AssertionError(f"{got!r} instead of {wanted!r}")


def by_urllib(method, body=None, headers=None, wanted=b""):
    request = urllib.request.Request(base + "/c", data=body, headers=headers or {}, method=method)
    with urllib.request.urlopen(request, timeout=20) as answer:
        expect(answer.status, 200)
        expect(answer.read(), wanted)


attempt("python-urllib", "get", lambda: by_urllib("GET", wanted=b"GET 0"))
attempt("python-urllib", "post", lambda: by_urllib("POST", b"hello", wanted=b"POST 5"))
attempt("python-urllib", "chunked", lambda: by_urllib("POST", io.BytesIO(b"hello"), wanted=b"POST 5"))
attempt("python-urllib", "head", lambda: by_urllib("HEAD"))


def by_http_client():
    connection = http.client.HTTPConnection(host, timeout=20)

    def call(method, body=None, headers=None, wanted=b"", chunked=False):
        connection.request(method, "/c", body=body, headers=headers or {}, encode_chunked=chunked)
        answer = connection.getresponse()
        expect(answer.status, 200)
        expect(answer.read(), wanted)

    name = "python-http.client"
    attempt(name, "get", lambda: call("GET", wanted=b"GET 0"))
    socket = connection.sock
    attempt(name, "post", lambda: call("POST", b"hello", wanted=b"POST 5"))
    attempt(
        name,
        "chunked",
        lambda: call(
            "POST", iter([b"he", b"llo"]), {"Transfer-Encoding": "chunked"}, b"POST 5", True
        ),
    )
    attempt(
        name, "expect", lambda: call("POST", b"hello", {"Expect": "100-continue"}, b"POST 5")
    )
    attempt(name, "head", lambda: call("HEAD"))
    attempt(name, "keep-alive", lambda: expect(connection.sock is socket is not None, True))


by_http_client()
try:
    import requests
except ImportError:
    requests = None
if requests:
    session = requests.Session()

    def by_requests(method, body=None, headers=None, wanted=b""):
        answer = session.request(method, base + "/c", data=body, headers=headers, timeout=20)
        expect(answer.status_code, 200)
        expect(answer.content, wanted)

    name = "python-requests"
    attempt(name, "get", lambda: by_requests("GET", wanted=b"GET 0"))
    attempt(name, "post", lambda: by_requests("POST", b"hello", wanted=b"POST 5"))
    attempt(name, "chunked", lambda: by_requests("POST", iter([b"he", b"llo"]), wanted=b"POST 5"))
    attempt(
        name, "expect", lambda: by_requests("POST", b"hello", {"Expect": "100-continue"}, b"POST 5")
    )
    attempt(name, "head", lambda: by_requests("HEAD"))
    attempt(name, "keep-alive", lambda: by_requests("GET", wanted=b"GET 0"))
