"""Calls as the official Python SDK makes them, with the standard library alone.

    python3 calls.py BASE_URL...

That SDK fetches a token first and insists on its four fields, opens a connection for
each call, writes JSON with spaces and sends `Content-Length: 0` with a DELETE.
"""
import json
import sys
import unittest
from concurrent.futures import ThreadPoolExecutor
from urllib import error, parse, request

BUSINESS = "7c1e5a52-3f0b-4d7e-9a54-0d2f6c8b1e01"
TRANSFER = "7c1e5a52-3f0b-4d7e-9a54-0d2f6c8b1e03"
BALANCE = "7c1e5a52-3f0b-4d7e-9a54-0d2f6c8b1e04"
ACCOUNT = "0x" + "44" * 20

# The proxy is on loopback: no proxy from the environment in between.
OPENER = request.build_opener(request.ProxyHandler({}))


class Client:
    def __init__(self, base_url):
        self.base_url = base_url
        form = {"grant_type": "client_credentials", "client_id": "dummy", "client_secret": "dummy"}
        with OPENER.open(f"{base_url}/token", parse.urlencode(form).encode(), timeout=60) as answer:
            assert answer.headers["Content-Type"].startswith("application/json")
            token = json.load(answer)
        assert isinstance(token["access_token"], str) and token["access_token"]
        assert token["token_type"] == "Bearer"
        assert isinstance(token["expires_in"], int) and token["expires_in"] > 0
        assert isinstance(token["scope"], str)
        self.headers = {
            "Authorization": f"Bearer {token['access_token']}",
            "Content-Type": "application/json",
            "Accept-Encoding": "gzip, deflate",
            "Accept": "*/*",
        }

    def call(self, method, path, body=None):
        data = json.dumps(body).encode() if body is not None else None
        if method == "DELETE":
            data = b""
        wanted = request.Request(self.base_url + path, data, self.headers, method=method)
        with OPENER.open(wanted, timeout=60) as answer:
            return json.load(answer)


class Calls(unittest.TestCase):
    def __init__(self, base_url):
        super().__init__()
        self.base_url = base_url

    def runTest(self):
        client = Client(self.base_url)
        self.assertGreater(client.call("GET", "/chains?pageSize=2&page=1")["totalResults"], 2)

        wallets = f"/business/{BUSINESS}/wallets"
        wallet = client.call("POST", wallets, {"chainId": 84532, "name": "caf\u00e9"})
        self.assertEqual(wallet["name"], "caf\u00e9")
        path = f"/wallets/{wallet['id']}"
        self.assertEqual(client.call("PUT", path, {"name": "new"})["name"], "new")
        self.assertEqual(client.call("DELETE", path), {"success": True})
        with self.assertRaises(error.HTTPError) as gone:
            client.call("GET", path)
        with gone.exception as answer:
            self.assertEqual(answer.code, 404)
            self.assertEqual(json.load(answer)["type"], "NotFoundError")

        value = client.call("POST", f"/methods/{BALANCE}/read", {"params": {"account": ACCOUNT}})
        self.assertTrue(value.isdigit())

        def execute(i):
            order = {"params": {"to": ACCOUNT, "value": "1"}, "memo": f"python {i}"}
            made = client.call("POST", f"/methods/{TRANSFER}/execute", order)
            found = client.call("GET", f"/transactions/{made['id']}")
            return made["memo"] == found["memo"] == f"python {i}"

        with ThreadPoolExecutor(16) as threads:
            self.assertTrue(all(threads.map(execute, range(40))))


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    suite = unittest.TestSuite(Calls(base_url) for base_url in sys.argv[1:])
    sys.exit(not unittest.TextTestRunner().run(suite).wasSuccessful())
