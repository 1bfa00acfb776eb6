"""A headless Chromium, driven over its debugging pipe: no library, no port."""

import base64
import json
import os
import select
import subprocess
import tempfile
import time

DEADLINE_S = 60


class Browser:
    """One browser with one page."""

    def __init__(self):
        self.directory = tempfile.TemporaryDirectory()
        ours, theirs = os.pipe()  # commands
        self.results, answers = os.pipe()
        self.commands = theirs

        def plumb():  # the browser reads descriptor 3 and writes 4
            first, second = os.dup(ours), os.dup(answers)
            os.dup2(first, 3)
            os.dup2(second, 4)

        self.process = subprocess.Popen(
            ["chromium", "--headless=new", "--no-sandbox", "--remote-debugging-pipe",
             "--disable-gpu", "--disable-dev-shm-usage", "--disable-extensions",
             "--disable-background-networking", "--disable-component-update",
             "--no-first-run", "--hide-scrollbars", "--lang=en",
             "--user-data-dir=" + self.directory.name, "about:blank"],
            preexec_fn=plumb, close_fds=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(ours)
        os.close(answers)
        self.buffer = b""
        self.number = 0
        self.events = []
        self.session = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target,
                                 flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "DOM"):
            self.call(domain + ".enable")

    def close(self):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self.commands)
        os.close(self.results)
        self.directory.cleanup()

    def _message(self, until):
        while b"\0" not in self.buffer:
            ready, _, _ = select.select([self.results], [], [], max(0, until - time.monotonic()))
            if not ready:
                return None
            more = os.read(self.results, 1 << 20)
            if not more:
                raise RuntimeError("the browser is gone")
            self.buffer += more
        text, _, self.buffer = self.buffer.partition(b"\0")
        return json.loads(text)

    def call(self, method, **params):
        self.number += 1
        command = {"id": self.number, "method": method, "params": params}
        if self.session:
            command["sessionId"] = self.session
        os.write(self.commands, json.dumps(command).encode() + b"\0")
        until = time.monotonic() + DEADLINE_S
        while True:
            message = self._message(until)
            if message is None:
                raise RuntimeError(method + ": no answer")
            if message.get("id") == self.number:
                if "error" in message:
                    raise RuntimeError(method + ": " + json.dumps(message["error"]))
                return message["result"]
            self.events.append(message)

    def wait(self, method, seconds=DEADLINE_S):
        """The next event of that name from now on, or None."""
        until = time.monotonic() + seconds
        while True:
            message = self._message(until)
            if message is None:
                return None
            self.events.append(message)
            if message.get("method") == method:
                return message["params"]

    def open(self, url):
        self.call("Page.navigate", url=url)
        if self.wait("Page.loadEventFired") is None:
            raise RuntimeError(url + " was not loaded")

    def evaluate(self, expression):
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True,
                           awaitPromise=True)
        if "exceptionDetails" in result:
            raise RuntimeError(json.dumps(result["exceptionDetails"]))
        return result["result"].get("value")

    def wait_for(self, expression, seconds):
        """Until the expression is true: asked again whenever something happens, or a moment
        has passed."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if self.evaluate(expression):
                return True
            message = self._message(time.monotonic() + 0.2)
            if message is not None:
                self.events.append(message)
        return False

    def html(self):
        root = self.call("DOM.getDocument")["root"]
        return self.call("DOM.getOuterHTML", nodeId=root["nodeId"])["outerHTML"]

    def look(self, width, height, dark, scale=1):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=scale, mobile=width < 600)
        self.call("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

    def picture(self, path):
        data = self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        with open(path, "wb") as file:
            file.write(base64.b64decode(data))

    def complaints(self):
        """What the console said since the last time: errors, warnings, refused loads."""
        found = []
        for event in self.events:
            params = event.get("params", {})
            if event.get("method") == "Log.entryAdded":
                if params["entry"]["level"] in ("error", "warning"):
                    found.append(params["entry"]["text"])
            elif event.get("method") == "Runtime.exceptionThrown":
                found.append(json.dumps(params["exceptionDetails"]))
            elif event.get("method") == "Runtime.consoleAPICalled":
                found.append(json.dumps(params["args"]))
        self.events = []
        return found

    def requests(self):
        """The addresses asked for since the last time, but for the data: ones."""
        return [event["params"]["request"]["url"] for event in self.events
                if event.get("method") == "Network.requestWillBeSent"
                and not event["params"]["request"]["url"].startswith("data:")]
