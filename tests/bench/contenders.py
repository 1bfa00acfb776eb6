"""The programs that are measured, and the origin behind them: their settings, start and end.

Each is a plain reverse proxy on 127.0.0.1 with one worker, a TLS upstream with keep-alive and a
verified certificate, no access log, and the Authorization header that the origin insists on."""
import ctypes
import glob
import os
import random
import resource
import shutil
import signal
import socket
import subprocess
import time

TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("BENCH_BUILD", os.path.join(TREE, "build", "release"))
PROXY = os.environ.get("ONESHOT_PROXY_BIN", os.path.join(BUILD, "oneshot-proxy"))
LOAD = os.path.join(BUILD, "tests", "bench", "bench-load")
COUNTER = os.path.join(BUILD, "tests", "bench", "count_alloc.so")
TOKEN = "bench-token-0123456789abcdef0123456789abcdef"
MODULES = "/usr/lib/nginx/modules"
LUA = (f"load_module {MODULES}/ndk_http_module.so;\n"
       f"load_module {MODULES}/ngx_http_lua_module.so;\n")

MIMALLOC = next(iter(sorted(glob.glob("/usr/lib/*/libmimalloc.so.*"))), None)

CPUS = sorted(os.sched_getaffinity(0))
# The program under test has a CPU of its own; origin and load share the rest.
PROXY_CPUS = {CPUS[0]}
OTHER_CPUS = set(CPUS[1:]) or {CPUS[0]}


def free_port():
    """Where there are any, one of those that the kernel gives to no connection, so that none takes it
    in the meantime."""
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as f:
        lowest, highest = map(int, f.read().split())
    free = [*range(10000, lowest), *range(highest + 1, 65536)]
    while True:
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", random.choice(free) if len(free) >= 1000 else 0))
                return s.getsockname()[1]
            except OSError:
                pass


def wait_port(port, process):
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) == 0:
                return
        if process.poll() is not None:
            raise RuntimeError(f"{process.args[0]} ended with {process.returncode}")
        time.sleep(0.01)
    raise RuntimeError(f"{process.args[0]} does not listen")


def with_parent(pids=None, cpus=None):
    """For a child, before exec: dies with us, many descriptors, its CPUs."""
    def run():
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        if cpus:
            os.sched_setaffinity(0, cpus)
    return run


def family(pid):
    """A process and all below it."""
    found = [pid]
    for parent in found:
        try:
            for task in os.listdir(f"/proc/{parent}/task"):
                with open(f"/proc/{parent}/task/{task}/children") as f:
                    found += [int(child) for child in f.read().split()]
        except OSError:
            pass
    return found


def write(path, text):
    with open(path, "w") as f:
        f.write(text)
    return path


def certificates(dir):
    def openssl(*args):
        subprocess.run(["openssl", *args], check=True, cwd=dir, capture_output=True)
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    write(f"{dir}/ext", "subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    openssl("req", "-x509", *key, "-subj", "/CN=bench CA", "-keyout", "ca.key", "-out", "ca.pem")
    openssl("req", *key[:5], "-subj", "/CN=localhost", "-keyout", "origin.key", "-out", "origin.csr")
    openssl("x509", "-req", "-in", "origin.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
            "-days", "2", "-extfile", "ext", "-out", "origin.pem")


def answer_json():
    """1.1 kB, of the kind that the API sends."""
    one = ('{"id":"%08x-5c9b-4d0e-a1f6-3b2d9c7e8a10","chainId":%d,"name":"chain %d",'
           '"rpcUrl":"https://rpc.example/%d","nativeCurrency":"ETH","testnet":false}')
    text = '{"response":[' + ",".join(one % (i * 7919, i, i, i) for i in range(7)) + "]}"
    return text + " " * (1100 - len(text))


ORIGIN = """{lua}
worker_processes 1; daemon off; pid {dir}/origin.pid; error_log {dir}/origin.log warn;

events {{ worker_connections 16384; }}
http {{
  access_log off; default_type application/json; tcp_nodelay on;
  keepalive_timeout 600s; keepalive_requests 1000000000; client_max_body_size 0; client_body_buffer_size 128k;
  http2_max_concurrent_streams 1024;
  client_body_temp_path {dir}/origin-body;
  server {{
    listen 127.0.0.1:{port} ssl http2 backlog=4096; server_name localhost;
    ssl_certificate {dir}/origin.pem; ssl_certificate_key {dir}/origin.key; ssl_protocols TLSv1.2 TLSv1.3;
    location = /v0/token {{ return 200 '{{"access_token":"{token}","token_type":"Bearer","expires_in":{lifetime}}}'; }}
    location / {{
      if ($http_authorization != "Bearer {token}") {{ return 401 "no token"; }}
      add_header Cache-Control "private, max-age=0"; add_header X-RateLimit-Remaining 4999;
      location = /v0/json {{ return 200 '{json}'; }}
      location = /v0/post {{ content_by_lua_block {{
        ngx.req.read_body(); ngx.header["Content-Length"] = 1100; ngx.print('{json}') }} }}
      location = /v0/sink {{ client_body_buffer_size 64k; content_by_lua_block {{
        local s = ngx.req.socket(); s:settimeout(60000)
        while true do local d, e, p = s:receiveany(65536); if not d then break end end
        ngx.header["Content-Length"] = 2; ngx.print("ok") }} }}
      location = /v0/big {{ alias {dir}/big; }}
    }}
  }}
}}
"""

NGINX = """{lua}
worker_processes 1; daemon off; pid {dir}/nginx-{port}.pid; error_log {dir}/nginx-{port}.log warn;

events {{ worker_connections 30000; }}
http {{
  access_log {log}; client_max_body_size 0; client_body_buffer_size 128k; tcp_nodelay on;
  keepalive_timeout 600s; keepalive_requests 1000000000;
  client_body_temp_path {dir}/nginx-body-{port}; proxy_temp_path {dir}/nginx-proxy-{port};
  {lua_http}
  upstream api {{ server localhost:{origin}; keepalive 512; keepalive_requests 1000000000; keepalive_timeout 600s; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096; server_name localhost;
    location / {{
      {lua_location}
      proxy_pass https://api; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header Host localhost; proxy_set_header Authorization {authorization};
      proxy_ssl_protocols TLSv1.2 TLSv1.3; proxy_ssl_verify on; proxy_ssl_trusted_certificate {dir}/ca.pem;
      proxy_ssl_name localhost; proxy_ssl_server_name on; proxy_max_temp_file_size 0; {streaming}
    }}
  }}
}}
"""

HAPROXY = """
global
  nbthread 1
  no strict-limits
  maxconn 30000
  ssl-server-verify required
  tune.ssl.cachesize 1000
defaults
  mode http
  timeout connect 5s
  timeout client 600s
  timeout server 600s
  timeout http-keep-alive 600s
  option http-keep-alive
  http-reuse always
frontend in
  bind 127.0.0.1:{port} backlog 4096
  default_backend api
backend api
  http-request set-header Authorization "Bearer {token}"
  http-request set-header Host localhost
  server api localhost:{origin} ssl verify required ca-file {dir}/ca.pem sni str(localhost) verifyhost localhost alpn {alpn} pool-max-conn 512
"""

CADDY = """{{
  admin off
  auto_https off
  log {{
    output discard
  }}
}}
http://127.0.0.1:{port} {{
  bind 127.0.0.1
  reverse_proxy https://localhost:{origin} {{
    header_up Authorization "Bearer {token}"
    header_up Host localhost
    transport http {{
      tls_trusted_ca_certs {dir}/ca.pem
      tls_server_name localhost
      keepalive 600s
      keepalive_idle_conns 512
      keepalive_idle_conns_per_host 512
      compression off
      versions {versions}
    }}
  }}
}}
"""

ONESHOT = """
[listen]
address = 127.0.0.1:{port}
max_connections = 30000
idle_timeout = 600s
[upstream]
base_url = https://localhost:{origin}/v0
ca_file = {dir}/ca.pem
http_version = {version}
max_connections = 2048
max_in_flight = 30000
keepalive = 600s
connect_timeout = 60s
proxy = none
[token]
client_id = bench
client_secret = bench-secret
{token_keys}
[admin]
address = off
[log]
access = {access}
level = {level}
[process]
workers = {workers}
"""


def caller_settings(dir):
    """32 callers with limits: 31 with a secret, and whoever shows none, as whom the load is known."""
    env = {"ONESHOT_PROXY_CLASSES_TABLE": "1shot", "ONESHOT_PROXY_CALLER_OTHER_ALLOW": "all",
           "ONESHOT_PROXY_CALLER_OTHER_RATE": "read 1000000/1s, money 1000000/1s",
           "ONESHOT_PROXY_CALLER_OTHER_MAX_IN_FLIGHT": "1000000"}
    for i in range(31):
        path = write(f"{dir}/caller-{i}.secret", f"0123456789abcdef0123456789abcdef-{i:02}\n")
        env[f"ONESHOT_PROXY_CALLER_C{i}_SECRET_FILE"] = path
        env[f"ONESHOT_PROXY_CALLER_C{i}_ALLOW"] = "read, POST /methods/{uuid}/execute"
        env[f"ONESHOT_PROXY_CALLER_C{i}_RATE"] = "money 6/1m"
    return env


class Contender:
    """One program. `h2`: HTTP/2 to the origin; `log`: one line per request, to a file."""

    def __init__(self, name, dir, origin, h2=False, log=False, workers=1, streaming=False):
        self.name, self.dir, self.origin = name, dir, origin
        self.h2, self.log, self.workers, self.streaming = h2, log, workers, streaming
        self.port = free_port()
        self.process = None
        self.cpus = PROXY_CPUS if workers == 1 else set(CPUS)

    def command(self):
        return getattr(self, self.name.replace("+", "_"))()

    def nginx(self, lua=False):
        values = {
            "lua": LUA if lua else "", "lua_http": "", "lua_location": "", "dir": self.dir,
            "port": self.port, "origin": self.origin,
            "authorization": f'"Bearer {TOKEN}"',
            "log": f"{self.dir}/access-{self.port}.log" if self.log else "off",
            "streaming": "proxy_request_buffering off;" if self.streaming else "",
        }
        if lua:
            values["lua_http"] = (
                "lua_shared_dict tokens 1m; init_by_lua_block "
                f'{{ ngx.shared.tokens:set("token", "Bearer {TOKEN}") }}')
            values["lua_location"] = (
                'set $token ""; access_by_lua_block '
                '{ ngx.var.token = ngx.shared.tokens:get("token") }')
            values["authorization"] = "$token"
        text = NGINX.format(**values).replace("worker_processes 1", f"worker_processes {self.workers}")
        return ["nginx", "-p", self.dir, "-c", write(f"{self.dir}/nginx-{self.port}.conf", text)]

    def nginx_lua(self):
        return self.nginx(lua=True)

    def haproxy(self):
        text = HAPROXY.format(dir=self.dir, port=self.port, origin=self.origin, token=TOKEN,
                              alpn="h2" if self.h2 else "http/1.1")
        return ["haproxy", "-db", "-f", write(f"{self.dir}/haproxy-{self.port}.cfg", text)]

    def caddy(self):
        text = CADDY.format(dir=self.dir, port=self.port, origin=self.origin, token=TOKEN,
                            versions="2" if self.h2 else "1.1")
        return ["caddy", "run", "--adapter", "caddyfile", "--config",
                write(f"{self.dir}/caddy-{self.port}", text)]

    def oneshot(self, token_keys=""):
        text = ONESHOT.format(dir=self.dir, port=self.port, origin=self.origin,
                              version="2" if self.h2 else "1.1", access="yes" if self.log else "no",
                              level="info", workers=self.workers, token_keys=token_keys)
        return [PROXY, "--config", write(f"{self.dir}/oneshot-{self.port}.ini", text)]

    def oneshot_callers(self):
        """With as many callers as there may be: see caller_settings."""
        return self.oneshot()

    def oneshot_ledger(self):
        """With a ledger, with which requests that have no key have nothing to do."""
        command = self.oneshot()
        os.mkdir(self.store(), 0o700)
        subprocess.run([PROXY, "ledger", "init", *command[1:]], env=self.environment(), check=True,
                       stdout=subprocess.DEVNULL)
        return command

    def store(self):
        return f"{self.dir}/store-{self.port}"

    def oneshot_mimalloc(self):
        """As a build with PROXY_MIMALLOC does: see environment()."""
        return self.oneshot()

    def environment(self):
        env = {"PATH": os.environ["PATH"], "HOME": self.dir, "XDG_DATA_HOME": self.dir,
               "XDG_CONFIG_HOME": self.dir}
        if self.name == "oneshot+callers":
            env.update(caller_settings(self.dir))
        if self.name == "oneshot+ledger":
            env["ONESHOT_PROXY_LEDGER_STORE"] = f"sqlite:{self.store()}/ledger.db"
        if self.name == "oneshot+mimalloc":
            env["LD_PRELOAD"] = MIMALLOC
        if self.name == "caddy":
            env["GOMAXPROCS"] = str(self.workers)
        return env

    def start(self, wrapper=(), env=None):
        log = open(f"{self.dir}/out-{self.name}-{self.port}", "ab")
        self.process = subprocess.Popen(
            [*wrapper, *self.command()], env={**self.environment(), **(env or {})},
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            preexec_fn=with_parent(cpus=self.cpus))
        log.close()
        try:
            wait_port(self.port, self.process)
        except RuntimeError as error:
            with open(log.name, encoding="utf-8", errors="replace") as said:
                raise RuntimeError(f"{error}:\n{said.read()[-2000:]}") from error
        return self

    def pids(self):
        return family(self.process.pid)

    def stop(self):
        if self.process is None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()


class Origin:
    """nginx with TLS: a token endpoint, 1.1 kB of JSON, a large file, a sink for bodies."""

    def __init__(self, dir, lifetime=3600):
        self.dir, self.port = dir, free_port()
        if not os.path.exists(f"{dir}/ca.pem"):
            certificates(dir)
            with open(f"{dir}/big", "wb") as f:
                f.truncate(1 << 30)
        text = ORIGIN.format(lua=LUA, dir=dir, port=self.port, token=TOKEN, json=answer_json(),
                             lifetime=lifetime)
        path = write(f"{dir}/origin-{self.port}.conf", text.replace("origin.pid", f"origin-{self.port}.pid"))
        with open(f"{dir}/origin.out", "ab") as log:
            self.process = subprocess.Popen(["nginx", "-p", dir, "-c", path], stdout=log, stderr=log,
                                            preexec_fn=with_parent(cpus=OTHER_CPUS))
        wait_port(self.port, self.process)

    def stop(self):
        self.process.terminate()
        self.process.wait(20)


def load(*args, check=True):
    """One run of bench-load, as a dictionary."""
    # It gives up by itself, ten minutes after it began to warm up or to measure.
    done = subprocess.run([LOAD, *[str(a) for a in args]], capture_output=True, text=True,
                          preexec_fn=with_parent(cpus=OTHER_CPUS), timeout=1300)
    values = {}
    for line in done.stdout.splitlines():
        key, _, value = line.partition("=")
        values[key] = float(value)
    if check and done.returncode != 0:
        raise RuntimeError(f"bench-load {' '.join(map(str, args))}: {done.stderr} {done.stdout}")
    return values


def available():
    """Why a contender cannot run here, or nothing."""
    missing = {}
    for name, program in (("nginx", "nginx"), ("haproxy", "haproxy"), ("caddy", "caddy")):
        if shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin") is None:
            missing[name] = f"{program} is not installed"
    if not os.path.exists(f"{MODULES}/ngx_http_lua_module.so"):
        missing["nginx+lua"] = "libnginx-mod-http-lua is not installed"
    if MIMALLOC is None:
        missing["oneshot+mimalloc"] = "libmimalloc2.0 is not installed"
    return missing
