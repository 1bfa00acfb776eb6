#!/usr/bin/env bash
# ./dev run: the proxy in front of a stand-in API, ready to be curled; with credentials, the real API
# needs: @build libcmocka-dev libnghttp2-dev openssl curl
set -euo pipefail
cd "$(dirname "$0")/../.."
id_given=${ONESHOT_PROXY_TOKEN_CLIENT_ID:-${ONESHOT_PROXY_TOKEN_CLIENT_ID_FILE:-}}
secret_given=${ONESHOT_PROXY_TOKEN_CLIENT_SECRET:-${ONESHOT_PROXY_TOKEN_CLIENT_SECRET_FILE:-}}
cmake --preset release >/dev/null
cmake --build --preset release --target oneshot-proxy oneshot-origin | tail -n 1
dir=$(mktemp -d)
pids=()
finish() {
    trap - EXIT INT TERM
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
    rm -rf "$dir"
}
trap finish EXIT INT TERM

# The line of a file that matches, once it is there.
await() {
    for _ in $(seq 100); do
        grep -m 1 "$2" "$1" 2>/dev/null && return
        sleep 0.1
    done
    cat "$1" >&2
    echo "not started" >&2
    return 1
}

port=8080
if (exec 3<>/dev/tcp/127.0.0.1/8080) 2>/dev/null; then
    echo "port 8080 is taken; a free one is used"
    port=0
fi
export ONESHOT_PROXY_LISTEN_ADDRESS=127.0.0.1:$port
upstream="the real API"
if [ -z "$id_given" ] || [ -z "$secret_given" ]; then
    openssl req -x509 -newkey rsa:2048 -nodes -days 7 -keyout "$dir/key.pem" -out "$dir/cert.pem" \
        -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1 2>/dev/null
    build/release/tests/origin/oneshot-origin --listen 127.0.0.1:0 --tls-cert "$dir/cert.pem" \
        --tls-key "$dir/key.pem" --client-id demo --client-secret demo-secret >"$dir/origin.log" 2>&1 &
    pids+=($!)
    url=$(await "$dir/origin.log" 'oneshot-origin ready' | sed 's/.*ready //')
    export ONESHOT_PROXY_UPSTREAM_BASE_URL=$url ONESHOT_PROXY_UPSTREAM_CA_FILE=$dir/cert.pem
    export ONESHOT_PROXY_TOKEN_CLIENT_ID=demo ONESHOT_PROXY_TOKEN_CLIENT_SECRET=demo-secret
    upstream="oneshot-origin, a stand-in, at $url"
fi
build/release/oneshot-proxy > >(cat) 2> >(tee "$dir/proxy.log" >&2) &
proxy=$!
pids+=("$proxy")
address=$(await "$dir/proxy.log" 'event=ready' | sed 's/.*listen=\([^ ]*\).*/\1/')
cat <<EOT

oneshot-proxy listens on http://$address and forwards to $upstream. Try:

  curl http://$address/v0/chains
  curl http://$address/v0/business/7c1e5a52-3f0b-4d7e-9a54-0d2f6c8b1e01/wallets
  curl -X POST http://$address/v0/token -d grant_type=client_credentials

Ctrl-C ends it. Its log follows.
EOT
wait "$proxy"
