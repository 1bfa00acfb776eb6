#!/usr/bin/env bash
# ./dev bench [quick] [PART...] | report FILE...: side by side with nginx, haproxy, caddy and nginx+Lua; parts: see tests/bench/README.md
# needs: @build python3 openssl nginx haproxy caddy libnginx-mod-http-lua libmimalloc-dev strace postgresql
set -euo pipefail
cd "$(dirname "$0")/../.."
cmake --preset release >/dev/null
cmake --build --preset release --target oneshot-proxy bench-load count_alloc
if [ "${1:-}" = ledger ]; then
    cmake --build --preset release --target oneshot-origin
    exec python3 -B tests/bench/ledger.py build/release
fi
exec python3 -B tests/bench/bench.py "$@"
