#!/usr/bin/env bash
# ./dev run: the proxy in front of a stand-in for the API, or of the real one, with curl lines to try
# needs: @build openssl curl ca-certificates
#
# The real API is used when the environment holds credentials, ONESHOT_PROXY_TOKEN_CLIENT_ID and
# ONESHOT_PROXY_TOKEN_CLIENT_SECRET, or either with _FILE behind it.
# With arguments, PROXY and ORIGIN, nothing is built: the tests run it like that.
# Ctrl-C ends the proxy, then the stand-in, and this script, with exit code 0 if they left well; a second
# one hurries them.
set -euo pipefail

tree=$(cd "$(dirname "$0")/../.." && pwd)
proxy=${1:-$tree/build/release/oneshot-proxy}
origin=${2:-$tree/build/release/tests/origin/oneshot-origin}
tmp=
pids=()
hurry=no
exec {choosing}</tmp # locked by whoever chooses ports, until the proxy listens there

say() { printf '==> %s\n' "$*"; }
die() { printf 'run: %s\n' "$*" >&2; exit 1; }

# start FILE COMMAND...: in the background, its output to the file (a `-`: ours), its process id in
# $started. In a process group of its own, so that Ctrl-C at the terminal reaches this script alone,
# which then ends one after the other.
start() {
    local out=$1
    shift
    set -m
    if [ "$out" = - ]; then
        "$@" </dev/null {choosing}<&- &
    else
        "$@" </dev/null {choosing}<&- >"$out" &
    fi
    set +m
    started=$!
    pids=("$started" ${pids[@]+"${pids[@]}"}) # the youngest is ended first
}

# Ends them all. An exit code that tells of more than the end (a crash, say) becomes ours.
# shellcheck disable=SC2317  # called by the trap
stop() {
    local code=$? one
    trap - EXIT
    trap 'hurry=yes; for pid in ${pids[@]+"${pids[@]}"}; do kill -TERM "$pid" 2>/dev/null || true; done' USR1
    for pid in ${pids[@]+"${pids[@]}"}; do
        kill -TERM "$pid" 2>/dev/null || true
        [ "$hurry" = no ] || kill -TERM "$pid" 2>/dev/null || true
        # SIGUSR1 interrupts the waiting, but does not end it
        while kill -0 "$pid" 2>/dev/null; do wait "$pid" 2>/dev/null || true; done
        wait "$pid" 2>/dev/null && one=0 || one=$?
        case $one in
        0 | 143) ;; # 143: by the signal, before it had got to handle it
        1) [ "$hurry" = yes ] || code=1 ;;
        *) code=$one ;;
        esac
    done
    rm -rf "$tmp"
    exit "$code"
}

answers() { (exec 3<>"/dev/tcp/$1/$2") 2>/dev/null; } # answers HOST PORT

in_use() { answers 127.0.0.1 "$1"; }

# free_port PORT: prints it, or the next one that nobody listens on.
free_port() {
    local port=$1
    while in_use "$port"; do port=$((port + 1)); done
    [ "$port" = "$1" ] || say "port $1 is taken, so the $2 listens on $port" >&2
    echo "$port"
}

# until_or_dead WHAT PID COMMAND...: wait for the command to succeed while the process lives, at most
# for a minute.
until_or_dead() {
    local what=$1 pid=$2 deadline=$((SECONDS + 60))
    shift 2
    until "$@"; do
        kill -0 "$pid" 2>/dev/null || die "$what did not start"
        [ "$SECONDS" -lt "$deadline" ] || die "$what is not ready after a minute"
        sleep 0.1
    done
}

build() {
    say "building"
    cd "$tree"
    cmake --preset release >/dev/null
    cmake --build --preset release --target "$@"
}

# A certificate authority for this run, and a certificate by it for this machine.
make_certificates() {
    local key=(-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes)
    openssl req -x509 "${key[@]}" -days 2 -subj "/CN=oneshot-origin demonstration CA" \
        -addext keyUsage=critical,keyCertSign,cRLSign \
        -keyout "$tmp/ca.key" -out "$tmp/ca.pem"
    openssl req "${key[@]}" -subj /CN=localhost -keyout "$tmp/origin.key" -out "$tmp/origin.csr"
    openssl x509 -req -in "$tmp/origin.csr" -CA "$tmp/ca.pem" -CAkey "$tmp/ca.key" -CAcreateserial \
        -days 2 -out "$tmp/origin.pem" \
        -extfile <(echo "subjectAltName=DNS:localhost,IP:127.0.0.1")
}

# shellcheck disable=SC2317  # called by until_or_dead
is_ready() { grep -qs '^oneshot-origin ready' "$1"; }

start_origin() {
    make_certificates >"$tmp/openssl.log" 2>&1 || { cat "$tmp/openssl.log"; die "openssl failed"; }
    start "$tmp/origin.out" "$origin" --listen 127.0.0.1:0 --tls-cert "$tmp/origin.pem" \
        --tls-key "$tmp/origin.key" --client-id "$id" --client-secret "$secret" --token-lifetime 600
    until_or_dead "oneshot-origin" "$started" is_ready "$tmp/origin.out"
    base_url=$(sed -n 's/^oneshot-origin ready //p' "$tmp/origin.out")
}

has() { # has KEY: are KEY or KEY_FILE in the environment?
    local file=$1_FILE
    [ -n "${!1:-}${!file:-}" ]
}

start_proxy() { # start_proxy [ARGUMENT...]
    flock "$choosing"
    if [ -z "${ONESHOT_PROXY_LISTEN_ADDRESS:-}" ]; then
        export ONESHOT_PROXY_LISTEN_ADDRESS
        ONESHOT_PROXY_LISTEN_ADDRESS=127.0.0.1:$(free_port 8080 proxy)
    fi
    if [ -z "${ONESHOT_PROXY_ADMIN_ADDRESS:-}" ]; then
        export ONESHOT_PROXY_ADMIN_ADDRESS
        ONESHOT_PROXY_ADMIN_ADDRESS=127.0.0.1:$(free_port 9090 "admin page")
    fi
    listen=${ONESHOT_PROXY_LISTEN_ADDRESS%%,*}
    case $ONESHOT_PROXY_ADMIN_ADDRESS in
    off) page="(admin.address is off)" ;;
    unix:*) page="at $ONESHOT_PROXY_ADMIN_ADDRESS" ;;
    *) page=http://$ONESHOT_PROXY_ADMIN_ADDRESS/ ;;
    esac
    start - "$proxy" "$@"
    proxy_pid=$started
    host=${listen%:*}
    host=${host#[} host=${host%]}
    case $host in
    0.0.0.0) host=127.0.0.1 ;;
    ::) host=::1 ;;
    esac
    case $listen in
    unix:* | *:0) until_or_dead "oneshot-proxy" "$proxy_pid" true ;;
    *) until_or_dead "oneshot-proxy" "$proxy_pid" answers "$host" "${listen##*:}" ;;
    esac
    flock -u "$choosing"
}

# All that is done, in the background: see below.
work() {
    trap stop EXIT
    # Once: a second one that ran into this `exit` would make bash forget the trap for EXIT.
    trap 'trap "" INT TERM HUP; echo; say "ending"; exit 0' INT TERM HUP
    trap 'hurry=yes' USR1
    tmp=$(mktemp -d)
    targets=(oneshot-proxy)
    id=ONESHOT_PROXY_TOKEN_CLIENT_ID secret=ONESHOT_PROXY_TOKEN_CLIENT_SECRET
    if has $id && has $secret; then
        real=yes
    elif has $id || has $secret; then
        die "one of $id and $secret (or …_FILE) is set, the other is missing"
    else
        real=no
        targets+=(oneshot-origin)
    fi
    [ $# -gt 0 ] || build "${targets[@]}"

    if [ $real = yes ]; then
        start_proxy
        cat <<END

Running, until Ctrl-C:
  oneshot-proxy   http://$listen, status page $page
                  -> ${ONESHOT_PROXY_UPSTREAM_BASE_URL:-the 1Shot API}, with the credentials of the environment
Try, in another terminal:
  curl -si http://$listen/chains
  curl -s 'http://$listen/business/YOUR-BUSINESS-ID/wallets?pageSize=5'
  curl -s 'http://$listen/business/YOUR-BUSINESS-ID/transactions?pageSize=5'
And in one with this environment, where the credentials are:
  $proxy doctor      # tries the settings step by step

END
    else
        id=demo-client secret=demo-secret
        start_origin
        install -m 600 /dev/null "$tmp/oneshot-proxy.ini"    # it holds a secret
        cat >"$tmp/oneshot-proxy.ini" <<END
[upstream]
base_url = $base_url
ca_file = $tmp/ca.pem
# It is on this machine, which an outbound proxy cannot reach.
proxy = none

[token]
client_id = $id
client_secret = $secret
END
        start_proxy --config "$tmp/oneshot-proxy.ini"
        # Two of the objects that oneshot-origin always has.
        business=7c1e5a52-3f0b-4d7e-9a54-0d2f6c8b1e01
        method=7c1e5a52-3f0b-4d7e-9a54-0d2f6c8b1e03
        cat <<END

Running, until Ctrl-C:
  oneshot-proxy   http://$listen, status page $page
                  its settings: $tmp/oneshot-proxy.ini
  oneshot-origin  $base_url, a stand-in for the 1Shot API that knows one client
Try, in another terminal; the callers have no credentials, the proxy adds the token:
  curl -si http://$listen/chains
  curl -s http://$listen/business/$business/wallets
  curl -s http://$listen/methods/$method/execute -H 'Content-Type: application/json' -d '{"params":{"to":"0x52908400098527886e0f7030069857d2e4169ee7","value":"1"}}'
  $proxy doctor --config $tmp/oneshot-proxy.ini      # tries the settings step by step

END
    fi
    wait -n "${pids[@]}" && code=0 || code=$?
    die "one of them ended by itself (exit code $code)"
}

# While bash waits for a command, it forgets a Ctrl-C that comes just as the command ends by itself. So this
# shell only waits, for all the rest, which is in a process group that the terminal does not signal. It passes
# the first signal on as SIGTERM, and others as SIGUSR1: hurry.
# shellcheck disable=SC2317  # called by the trap
pass_on() {
    local signal=USR1
    if [ "$ending" = no ]; then
        ending=yes
        signal=TERM
    fi
    [ -z "$worker" ] || kill -"$signal" "$worker" 2>/dev/null || true
}

worker='' ending=no
trap pass_on INT TERM HUP
trap '' USR1 # for the worker, until it has traps
set -m
work "$@" </dev/null &
worker=$!
set +m
[ $ending = no ] || kill -TERM "$worker" 2>/dev/null || true # it came before there was a worker
wait "$worker" || true
while kill -0 "$worker" 2>/dev/null; do wait "$worker" || true; done # a signal ends the waiting
wait "$worker" && code=0 || code=$?
[ $ending = no ] || [ "$code" != 143 ] || exit 0 # it was ended before it had begun
exit "$code"
