#!/usr/bin/env bash
# ./dev bench [quick] [PART...]: side by side with nginx, haproxy, caddy and nginx+Lua; parts: see tests/bench/README.md
# needs: @build python3 openssl nginx haproxy caddy libnginx-mod-http-lua libmimalloc-dev strace
set -euo pipefail
cd "$(dirname "$0")/../.."
cmake --preset release >/dev/null
cmake --build --preset release --target oneshot-proxy bench-load count_alloc
exec python3 -B tests/bench/bench.py "$@"
