"""The status page as a browser shows it: check.py PROXY UNIT_PAGE DIRECTORY-FOR-PICTURES

First the pages of every state, as the unit test writes them; then the real program, with its
numbers compared with /metrics, hostile requests, its renewal, and without JavaScript."""

import http.client
import http.server
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

from browser import Browser

SOON_S = 60
LOOKS = {"light": (1120, 900, False), "dark": (1120, 900, True), "phone": (390, 844, False),
         "small-dark": (320, 640, True)}
AUDIT = open(os.path.join(os.path.dirname(__file__), "audit.js"), encoding="utf-8").read()
HOSTILE = "/<script>document.title='owned'</script><img/src=x/onerror=\"document.title='owned'\">&amp;'"

failures = []


def check(holds, what):
    print(("ok       " if holds else "FAILED   ") + what, flush=True)
    if not holds:
        failures.append(what)


def serve(handler):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


class Quiet(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body, headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Origin(Quiet):
    """The token endpoint and the API."""

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path.endswith("/token"):
            self.answer(200, b'{"access_token":"canary-token","token_type":"Bearer","expires_in":3600}')
        else:
            self.answer(201, b"made")

    def do_GET(self):
        self.answer({"/v0/missing": 404, "/v0/broken": 503}.get(self.path, 200), b"x" * 1234)


def static(directory, policy):
    """The unit test's pages, with the headers of the admin listener."""

    class Pages(Quiet):
        def do_GET(self):
            path = os.path.join(directory, os.path.basename(self.path))
            with open(path, "rb") as file:
                self.answer(200, file.read(), [("Content-Type", "text/html; charset=utf-8"),
                                               ("Content-Security-Policy", policy)])

    return Pages


def audit(browser, what):
    wrong = browser.evaluate(AUDIT)
    for line in wrong:
        print("         " + line)
    check(wrong == [], what + ": contrast, headings, names, widths, no markup of a peer's")


def every_state(browser, unit_page, pictures):
    with tempfile.TemporaryDirectory() as directory:
        policy = subprocess.run([unit_page, directory], check=True, capture_output=True,
                                text=True).stdout.strip()
        server = serve(static(directory, policy))
        for name in sorted(os.listdir(directory)):
            for look, (width, height, dark) in LOOKS.items():
                browser.look(width, height, dark)
                browser.open(f"http://127.0.0.1:{server.server_port}/{name}")
                what = f"{name[:-5]}, {look}"
                audit(browser, what)
                said = browser.complaints()
                check(said == [], f"{what}: the console is silent {said or ''}")
                browser.picture(os.path.join(pictures, f"{name[:-5]}-{look}.png"))
        server.shutdown()


class Proxy:
    def __init__(self, binary, origin):
        self.directory = tempfile.TemporaryDirectory()
        ini = os.path.join(self.directory.name, "proxy.ini")
        with open(ini, "w", encoding="utf-8") as file:
            file.write("[listen]\naddress = 127.0.0.1:0\n"
                       f"[upstream]\nbase_url = http://127.0.0.1:{origin}/v0\nproxy = none\n"
                       "[token]\nclient_id = client-7\nclient_secret = canary-secret\n"
                       "[admin]\naddress = 127.0.0.1:0\n")
        self.log = os.path.join(self.directory.name, "log")
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen([binary, "--config", ini], stderr=log,
                                            stdin=subprocess.DEVNULL)
        ready = self.logged(r"event=ready.*")
        self.port = int(re.search(r"listen=127\.0\.0\.1:(\d+)", ready).group(1))
        self.admin = int(re.search(r"admin=127\.0\.0\.1:(\d+)", ready).group(1))
        self.logged(r"event=token_obtained")

    def logged(self, pattern):
        until = time.monotonic() + SOON_S
        while time.monotonic() < until:
            with open(self.log, encoding="utf-8", errors="replace") as file:
                found = re.search(pattern, file.read())
            if found:
                return found.group(0)
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        raise RuntimeError("the proxy's log has no " + pattern)

    def stop(self):
        self.process.terminate()
        return self.process.wait(SOON_S)

    def url(self, path):
        return f"http://127.0.0.1:{self.admin}{path}"

    def call(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SOON_S)
        connection.request(method, path, body)
        status = connection.getresponse().status
        connection.close()
        return status

    def raw(self, request):
        with socket.create_connection(("127.0.0.1", self.port), SOON_S) as s:
            s.sendall(request)
            answer = b""
            while more := s.recv(65536):
                answer += more
        return answer

    def metrics(self):
        """{name: [(labels, value)]}"""
        found = {}
        with urllib.request.urlopen(self.url("/metrics"), timeout=SOON_S) as answer:
            for line in answer.read().decode().splitlines():
                sample = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line)
                if sample:
                    labels = dict(re.findall(r'(\w+)="([^"]*)"', sample.group(2) or ""))
                    found.setdefault(sample.group(1), []).append((labels, float(sample.group(3))))
        return found


def traffic(proxy):
    check([proxy.call("GET", "/chains") for _ in range(20)] == [200] * 20, "requests go through")
    check(proxy.call("POST", "/v0/things", b"some body") == 201, "a POST goes through")
    proxy.call("GET", "/missing")
    proxy.call("GET", "/broken")
    host = f"Host: 127.0.0.1:{proxy.port}\r\nConnection: close\r\n\r\n".encode()
    for target in (HOSTILE.encode() + b"?canary-query", b"/\xff\xfe<b>\xc3\xa4", b"/../up"):
        answer = proxy.raw(b"GET " + target + b" HTTP/1.1\r\n"
                           b"X-Request-Id: <i>\"id'\r\n" + host)
        check(answer.startswith(b"HTTP/1.1 "), "a hostile request is answered")
    proxy.raw(b"GET /rebound HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")


def compare(browser, proxy):
    """Every number on the page that names its metric."""
    shown = browser.evaluate("[...document.querySelectorAll('data[data-metric]')].map("
                             "e => [e.dataset.metric, Number(e.value), e.textContent])")
    known = proxy.metrics()
    check(len(shown) > 25, f"{len(shown)} numbers on the page name their metric")
    for metric, value, text in shown:
        name, _, rest = metric.partition("{")
        wanted = dict(re.findall(r'(\w+)="([^"]*)"', rest))
        samples = [v for labels, v in known.get(name, [])
                   if all(labels.get(k) == w for k, w in wanted.items())]
        if samples == [] or sum(samples) != value:
            check(False, f"{metric} is {value} on the page and {samples} in /metrics")
        digits = re.sub(r"\D", "", text)
        if "bytes" not in name and digits != str(value):
            check(False, f"{metric} shows {text!r} for {value}")
    page_total = sum(v for m, v, _ in shown if m.startswith("oneshot_proxy_requests_total"))
    total = sum(v for _, v in known["oneshot_proxy_requests_total"])
    check(page_total == total > 20, f"all {total:.0f} requests are on the page")
    expires = browser.evaluate("Date.parse(document.querySelector('#token .ends span:last-child"
                               " time').dateTime) / 1000")
    left = known["oneshot_proxy_token_expires_in_seconds"][0][1]
    check(abs(expires - time.time() - left) < 5, "the page and /metrics agree when the token expires")


def hostile(browser, proxy):
    text = browser.evaluate("document.querySelector('#failures').innerText")
    check(HOSTILE in text, "a hostile path shows as text")
    check("canary-query" not in text, "without its query")
    check("\\xff\\xfe<b>\\xc3\\xa4" in text, "bytes that are not ASCII show as \\xNN")
    check("host-not-allowed" in text and "421" in text, "a refused Host is there with its status")
    check("503" in text, "so is the upstream's own 503")
    check(browser.evaluate("document.title") == "Some requests fail at the upstream · oneshot-proxy",
          "no script of a peer's ran, and the title says what is the matter")
    whole = browser.html()
    check("canary" not in whole, "no secret and no token is in the page")
    # The policy is there even if a text were not escaped.
    ran = browser.evaluate("""new Promise((done) => {
        window.violations = 0;
        document.addEventListener("securitypolicyviolation", () => window.violations++);
        const box = document.createElement("div");
        box.innerHTML = '<img src="x" onerror="window.ran = 1"><p style="color: red">';
        document.body.append(box);
        const script = document.createElement("script");
        script.textContent = "window.ran = 1";
        document.body.append(script);
        const frame = document.createElement("iframe");
        frame.src = "http://127.0.0.1:1/";
        document.body.append(frame);
        fetch("http://127.0.0.1:1/").catch(() => {});
        setTimeout(() => done([window.ran === undefined, window.violations]), 500);
    })""")
    check(ran[0] and ran[1] >= 4, f"the policy refuses scripts, styles, loads of others ({ran[1]})")
    browser.complaints()
    browser.open(proxy.url("/"))


def renewal(browser, proxy, binary_log):
    browser.evaluate("document.querySelector('#config').open = true;"
                     "document.querySelector('#config-s').focus(); window.kept = true")
    asked = browser.evaluate("document.querySelector('body > header time').dateTime")
    proxy.call("GET", "/after-the-page-was-loaded/broken")
    proxy.call("GET", "/v0/broken")
    check(browser.wait_for(
        "document.querySelector('body > header time').dateTime !== " + repr(asked) +
        " && document.querySelectorAll('#failures tbody tr').length === 6", 60),
          "the page renews itself, and shows what has happened")
    check(browser.evaluate("window.kept === true"), "without being loaded again")
    check(browser.evaluate("document.querySelector('#config').open"), "what was unfolded stays so")
    check(browser.evaluate("document.activeElement.id") == "config-s", "the focus stays")
    check(browser.evaluate("document.querySelector('#stale').hidden"), "and nothing is stale")
    said = browser.complaints()
    check(said == [], f"the console is silent after renewals {said or ''}")
    check("level=error" not in binary_log(), "the log has no error")


def without_script(browser, proxy, pictures):
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    browser.open(proxy.url("/"))
    html = browser.html()
    check("renewed every 15 s" in html and "renews itself</span>" not in html,
          "without JavaScript the page is whole and says how it is renewed")
    check(HOSTILE.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") in html,
          "with the failures as text")
    browser.picture(os.path.join(pictures, "real-no-script.png"))
    check(browser.wait("Page.loadEventFired", 60) is not None, "it loads itself again")
    said = browser.complaints()
    check(said == [], f"the console is silent without JavaScript {said or ''}")
    browser.call("Emulation.setScriptExecutionDisabled", value=False)


def real_program(browser, binary, pictures):
    origin = serve(Origin)
    proxy = Proxy(binary, origin.server_port)

    def log():
        with open(proxy.log, encoding="utf-8", errors="replace") as file:
            return file.read()

    try:
        browser.look(*LOOKS["light"])
        browser.open(proxy.url("/"))
        check(browser.evaluate("document.querySelector('#health h2').textContent") == "All is well",
              "at first all is well")
        check(browser.requests() == [proxy.url("/")], "the page asks for nothing but itself")
        traffic(proxy)
        grounds = set()
        for look, (width, height, dark) in LOOKS.items():
            browser.look(width, height, dark)
            browser.complaints()
            browser.open(proxy.url("/"))
            audit(browser, "the real program, " + look)
            grounds.add((dark, browser.evaluate("getComputedStyle(document.body).backgroundColor")))
            browser.picture(os.path.join(pictures, f"real-{look}.png"))
            said = browser.complaints()
            check(said == [], f"the real program, {look}: the console is silent {said or ''}")
        check(len(grounds) == 2, f"dark and light follow the reader's wish {sorted(grounds)}")
        browser.look(*LOOKS["light"])
        browser.open(proxy.url("/"))
        compare(browser, proxy)
        hostile(browser, proxy)
        renewal(browser, proxy, log)
        without_script(browser, proxy, pictures)
        browser.open(proxy.url("/"))
        check(proxy.stop() == 0, "the proxy ends well")
        check(browser.wait_for("!document.querySelector('#stale').hidden", 60),
              "a proxy that is gone is told as such, not shown as well")
        browser.picture(os.path.join(pictures, "real-gone.png"))
    finally:
        if proxy.process.poll() is None:
            proxy.process.kill()
            proxy.process.wait()
        if failures:
            print(log()[-6000:])
        origin.shutdown()


def main():
    binary, unit_page, pictures = sys.argv[1:]
    browser = Browser()
    try:
        every_state(browser, unit_page, pictures)
        real_program(browser, binary, pictures)
    finally:
        browser.close()
    print(f"page: {len(failures)} failed; pictures are in {os.path.basename(os.path.dirname(pictures))}/"
          f"{os.path.basename(pictures)}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
