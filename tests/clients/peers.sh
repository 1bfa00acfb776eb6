# shellcheck shell=sh
# To be sourced by a client's run.sh: a proxy in front of oneshot-origin, over TLS.
#
#     peers_start PROXY ORIGIN    sets $proxy_url and $admin_url
#     peers_check                 one token was fetched, and no more
#
# On exit both are ended, by their ids, and when something failed their logs are printed.

peers_dir=$(mktemp -d)
peers_proxy_pid=
peers_origin_pid=

# The secret has what breaks a careless parser or encoder.
peers_id='client+id/='
peers_secret='s3cret +/=%41&;#:"x'

peers_stop() {
    status=$?
    trap - EXIT
    for pid in $peers_proxy_pid $peers_origin_pid; do
        kill "$pid" 2>/dev/null
        wait "$pid" || { echo "FAILED: process $pid ended with $?"; status=1; }
    done
    if [ "$status" -ne 0 ]; then
        for log in origin.out origin.log proxy.log; do
            echo "--- $log"
            tail -n 200 "$peers_dir/$log" 2>/dev/null
        done
    fi
    rm -rf "$peers_dir"
    exit "$status"
}
trap peers_stop EXIT
trap 'exit 1' INT TERM HUP

peers_fail() {
    echo "FAILED: $*"
    exit 1
}

# peers_wait PID FILE TEXT: until the file has a line with the text.
peers_wait() {
    peers_deadline=$(($(date +%s) + 60))
    while [ "$(date +%s)" -lt "$peers_deadline" ]; do
        grep -q -e "$3" "$2" 2>/dev/null && return
        kill -0 "$1" 2>/dev/null || peers_fail "it ended before it was ready"
        sleep 0.1
    done
    peers_fail "no '$3' within a minute"
}

# A root of our own, and a certificate for the loopback names signed with it.
peers_certificate() (
    cd "$peers_dir" || exit 1
    new="-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
    printf 'subjectAltName=IP:127.0.0.1,DNS:localhost\nbasicConstraints=CA:FALSE\n' >leaf.ext
    # shellcheck disable=SC2086
    openssl req -x509 $new -keyout ca.key -out ca.pem -days 2 -subj '/CN=oneshot test root' &&
        openssl req $new -keyout origin.key -out origin.csr -subj /CN=localhost &&
        openssl x509 -req -in origin.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 \
            -extfile leaf.ext -out origin.pem
) >"$peers_dir/openssl.log" 2>&1

peers_start() {
    peers_certificate || { cat "$peers_dir/openssl.log"; peers_fail "no certificate"; }

    "$2" --tls-cert "$peers_dir/origin.pem" --tls-key "$peers_dir/origin.key" --log \
        --client-id "$peers_id" --client-secret "$peers_secret" --admin 127.0.0.1:0 \
        >"$peers_dir/origin.out" 2>"$peers_dir/origin.log" &
    peers_origin_pid=$!
    peers_wait "$peers_origin_pid" "$peers_dir/origin.out" ' ready '
    upstream=$(sed -n 's/^oneshot-origin ready //p' "$peers_dir/origin.out")
    # shellcheck disable=SC2034
    admin_url=$(sed -n 's/^oneshot-origin admin //p' "$peers_dir/origin.out")

    cat >"$peers_dir/proxy.ini" <<INI
[listen]
address = 127.0.0.1:0
[upstream]
base_url = $upstream
ca_file = $peers_dir/ca.pem
proxy = none
[token]
client_id = $peers_id
client_secret = $peers_secret
[admin]
address = off
INI
    chmod 600 "$peers_dir/proxy.ini"
    "$1" --config "$peers_dir/proxy.ini" >"$peers_dir/proxy.log" 2>&1 &
    peers_proxy_pid=$!
    peers_wait "$peers_proxy_pid" "$peers_dir/proxy.log" 'event=ready '
    # shellcheck disable=SC2034
    proxy_url=http://$(sed -n 's/.*event=ready .*listen=\([^ ]*\).*/\1/p' "$peers_dir/proxy.log")
}

# peers_check COUNTERS: what a GET of $admin_url said.
peers_check() {
    fetches=$(grep -c 'event=token_obtained' "$peers_dir/proxy.log")
    [ "$fetches" -eq 1 ] || peers_fail "the proxy obtained $fetches tokens"
    case $1 in
    '{"token_fetches":1,'*) ;;
    *) peers_fail "the origin counts: $1" ;;
    esac
    case $1 in
    *'"unauthorized":0,'*) ;;
    *) peers_fail "the origin counts: $1" ;;
    esac
    if grep -q -F -e 's3cret' "$peers_dir/proxy.log"; then
        peers_fail "the secret is in the log"
    fi
}
