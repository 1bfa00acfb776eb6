#!/bin/sh
# The official Node SDK through the proxy: run.sh PROXY ORIGIN
set -u
here=$(cd "$(dirname "$0")" && pwd)
[ $# -eq 2 ] || { echo "usage: $0 PROXY ORIGIN"; exit 2; }
proxy=$(realpath "$1")
origin=$(realpath "$2")

for tool in node npm openssl; do
    command -v "$tool" >/dev/null || {
        echo "#################################################################"
        echo "## SKIPPED: '$tool' is not installed, so the official Node SDK ##"
        echo "## was NOT tried against the proxy.                            ##"
        echo "#################################################################"
        exit 77
    }
done

cd "$here" || exit 1
# The copy is made last: when it is there and the same, nothing is left to install.
if ! cmp -s package-lock.json node_modules/.installed; then
    if ! said=$(npm ci --no-audit --no-fund --loglevel=error 2>&1); then
        echo "$said"
        # The registry could not be reached: that is nobody's fault here.
        if echo "$said" | grep -qE 'ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|E[A-Z]*UNREACH|[A-Z_]*TIMEDOUT|[A-Z_]*TIMEOUT'; then
            echo "## SKIPPED: the official Node SDK cannot be fetched here, so it was NOT tried against the proxy. ##"
            exit 77
        fi
        echo "FAILED: npm ci"
        exit 1
    fi
    cp package-lock.json node_modules/.installed
fi

# shellcheck source=tests/clients/peers.sh
. ../peers.sh
peers_start "$proxy" "$origin"
node sdk.mjs "$proxy_url" "$proxy_url/v0" || peers_fail "the SDK's calls"
peers_check "$(node -e 'fetch(process.argv[1]).then((r) => r.text()).then((t) => console.log(t))' "$admin_url")"
