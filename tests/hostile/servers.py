"""nginx, haproxy and oneshot-proxy, each in front of an origin of its own, on ephemeral ports."""
import os
import re
import socket
import subprocess
import time

from wire import Origin

NGINX = """daemon off; master_process off; worker_processes 1; pid {dir}/nginx.pid;
error_log {dir}/nginx.log; events {{ worker_connections 256; }}
http {{
  access_log off; client_body_temp_path {dir}/b; proxy_temp_path {dir}/p;
  fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
  client_header_timeout {patience}; client_body_timeout {patience};
  proxy_read_timeout {patience};{more}
  server {{ listen 127.0.0.1:{port};
    location / {{ proxy_pass http://127.0.0.1:{origin}; proxy_http_version 1.1;
      proxy_set_header Connection ""; proxy_set_header Authorization "Bearer x"; }} }}
}}
"""
HAPROXY = """global
  maxconn 256
  nbthread 1
defaults
  mode http
  timeout client {patience}
  timeout server {patience}
  timeout connect 2s
  timeout http-request {patience}
listen all
  bind 127.0.0.1:{port}
  http-request set-header Authorization "Bearer x"
  server origin 127.0.0.1:{origin}{more}
"""
NGHTTPX = """frontend=127.0.0.1,{port};no-tls
backend=127.0.0.1,{origin};;proto=h2;no-tls
workers=1
single-process=yes
backend-read-timeout=2s
backend-write-timeout=2s
backend-connect-timeout=1s
backend-http2-settings-timeout=2s
backend-max-backoff=1ms
errorlog-file={dir}/nghttpx.log
accesslog-file=/dev/null
conf=/dev/null
"""
ONESHOT = """[listen]
address = 127.0.0.1:0
header_timeout = {patience}
body_timeout = {patience}
[upstream]
base_url = http://127.0.0.1:{origin}/v0
proxy = none
response_timeout = {patience}
idle_timeout = {patience}
{more}
[token]
url = http://127.0.0.1:{token}/token
client_id = someone
client_secret = something
[admin]
address = off
[log]
access = no
"""
SOON_S = 60  # reaching it means failure
TOKEN = b'{"access_token":"token-1","token_type":"Bearer","expires_in":3600}'


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


def wait_for(port, process):
    """True once it listens; False when it has ended, or does neither in time."""
    deadline = time.monotonic() + SOON_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return True
        except OSError:
            time.sleep(0.05)
    return False


class Server:
    """`say` makes the answers of an origin that speaks HTTP/1.1, or is an origin itself."""

    def __init__(self, name, say):
        self.name = name
        self.origin = Origin(say) if callable(say) else say
        self.process = None
        self.port = 0
        self.version = ""
        self.restart = None  # where it can be: starts it once more

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
        return self.process.returncode if self.process else None


def _with_free_port(server, directory, text, suffix, command, **words):
    server.restart = lambda: _with_free_port(server, directory, text, suffix, command, **words)
    for _ in range(5):  # somebody else may be quicker
        server.port = free_port()
        path = os.path.join(directory, server.name + suffix)
        with open(path, "w", encoding="ascii") as out:
            out.write(
                text.format(
                    dir=directory, port=server.port, origin=server.origin.port, **words
                )
            )
        log = open(os.path.join(directory, server.name + ".out"), "wb")
        server.process = subprocess.Popen([*command, path], stdout=log, stderr=log)
        if wait_for(server.port, server.process):
            return server
    raise SystemExit(f"{server.name} does not start; see {directory}/{server.name}.out")


def start_nginx(directory, say, more="", patience="2s"):
    server = Server("nginx", say)
    said = subprocess.run(["nginx", "-v"], capture_output=True, text=True, check=True).stderr
    server.version = re.search(r"nginx/([\d.]+)", said)[1]
    return _with_free_port(server, directory, NGINX, ".conf", ["nginx", "-c"],
                           more=more, patience=patience)


def start_haproxy(directory, say, more="", patience="2s"):
    server = Server("haproxy", say)
    said = subprocess.run(["haproxy", "-v"], capture_output=True, text=True, check=True).stdout
    server.version = re.search(r"version ([\d.]+)", said)[1]
    return _with_free_port(server, directory, HAPROXY, ".cfg", ["haproxy", "-f"],
                           more=more, patience=patience)


def start_nghttpx(directory, say):
    server = Server("nghttpx", say)
    said = subprocess.run(["nghttpx", "-v"], capture_output=True, text=True, check=True).stdout
    server.version = re.search(r"nghttp2/([\d.]+)", said)[1]
    return _with_free_port(server, directory, NGHTTPX, ".conf", ["nghttpx", "--conf"])


def start_oneshot(directory, say, binary, more="", patience="2s"):
    server = Server("oneshot-proxy", say)
    token = Origin(
        lambda head, body: b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%s" % (len(TOKEN), TOKEN)
    )
    path = os.path.join(directory, "oneshot-proxy.ini")
    with open(path, "w", encoding="ascii") as out:
        out.write(
            ONESHOT.format(
                origin=server.origin.port, token=token.port, more=more, patience=patience
            )
        )
    os.chmod(path, 0o600)
    log_path = os.path.join(directory, "oneshot-proxy.out")
    with open(log_path, "wb") as log:
        server.process = subprocess.Popen([binary, "--config", path], stdout=log, stderr=log)
    deadline = time.monotonic() + SOON_S
    while time.monotonic() < deadline:
        with open(log_path, encoding="latin-1") as log:
            ready = re.search(r"event=ready listen=127\.0\.0\.1:(\d+)", log.read())
        if ready:
            server.port = int(ready[1])
            return server
        if server.process.poll() is not None:
            break
        time.sleep(0.05)
    raise SystemExit(f"oneshot-proxy does not start; see {log_path}")
