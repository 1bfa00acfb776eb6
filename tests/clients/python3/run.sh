#!/bin/sh
# Calls as the Python SDK makes them, through the proxy: run.sh PROXY ORIGIN
set -u
here=$(cd "$(dirname "$0")" && pwd)
[ $# -eq 2 ] || { echo "usage: $0 PROXY ORIGIN"; exit 2; }
proxy=$(realpath "$1")
origin=$(realpath "$2")

for tool in python3 openssl; do
    command -v "$tool" >/dev/null || {
        echo "## SKIPPED: '$tool' is not installed, so no Python client was tried. ##"
        exit 77
    }
done

cd "$here" || exit 1
# shellcheck source=tests/clients/peers.sh
. ../peers.sh
peers_start "$proxy" "$origin"
python3 calls.py "$proxy_url" "$proxy_url/v0" || peers_fail "the calls"
peers_check "$(python3 -c 'import sys, urllib.request as r
print(r.build_opener(r.ProxyHandler({})).open(sys.argv[1]).read().decode())' "$admin_url")"
