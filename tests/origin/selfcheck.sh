#!/bin/sh
# oneshot-origin by itself: selfcheck.sh PROGRAM
# A stand-in that is too lenient makes other tests worthless, so its refusals are checked.
set -u
origin=$1
command -v curl >/dev/null || { echo "SKIPPED: curl is not there"; exit 77; }
dir=$(mktemp -d)
pid=
failures=0
trap '[ -z "$pid" ] || kill "$pid" 2>/dev/null; rm -rf "$dir"' EXIT

fail() {
    echo "FAILED: $*"
    failures=$((failures + 1))
}

# expect STATUS CURL-ARGUMENT...: the answer's body is left in $dir/body.
expect() {
    wanted=$1; shift
    got=$(curl -q -s --noproxy '*' --max-time 10 -o "$dir/body" -w '%{http_code}' "$@")
    [ "$got" = "$wanted" ] || fail "$wanted expected, $got came: $(cat "$dir/body")"
}

token_body() {
    expect "$1" "$base/token" --data-urlencode grant_type=client_credentials \
        --data-urlencode "client_id=$2" --data-urlencode "client_secret=$3"
}

# start OPTION...: sets base and admin.
start() {
    mkfifo "$dir/out"
    "$origin" --client-id 'id+/=' --client-secret 's %&é' --forbidden-client-id barred \
        --admin 127.0.0.1:0 "$@" >"$dir/out" &
    pid=$!
    ready=
    { read -r _ _ admin; read -r _ ready base; } <"$dir/out"
    rm "$dir/out"
    [ "$ready" = ready ] || { echo "FAILED: no ready line"; exit 1; }
}

stop() {
    kill -TERM "$pid"
    wait "$pid" || fail "SIGTERM: exit status $?"
    pid=
}

"$origin" --no-such-option 2>/dev/null
[ $? -eq 2 ] || fail "an unknown option is not a usage error"
"$origin" 2>/dev/null
[ $? -eq 2 ] || fail "no credentials is not a usage error"

start
token_body 200 'id+/=' 's %&é'
token=$(sed 's/.*"access_token":"\([^"]*\)".*/\1/' "$dir/body")
expect 200 "$base/token" -d grant_type=client_credentials -u 'id%2B%2F%3D:s+%25%26%C3%A9'
token_body 401 'id+/=' 'wrong'
token_body 401 'id /=' 's %&é'
token_body 403 barred any
token_body 422 'id+/=' ''
expect 422 "$base/token" -d 'grant_type=client_credentials&client_id=a&client_secret=%zz'
expect 400 "$base/token" -d 'grant_type=password&client_id=a&client_secret=b'
expect 400 "$base/token" -d 'grant_type=client_credentials&client_id=a&client_id=a&client_secret=b'
expect 400 "$base/token" -H 'Content-Type: application/json' -d '{}'
expect 401 "$base/chains"
expect 401 "$base/chains" -H "Authorization: Bearer x$token"
expect 401 "$base/chains" -H "Authorization: Bearer $token" -H "Authorization: Bearer $token"
expect 401 "$base/no/such/path"
expect 200 "$base/chains" -H "Authorization: Bearer $token"
expect 404 "$base/no/such/path" -H "Authorization: Bearer $token"
expect 200 "$admin"
grep -q '"token_fetches":10,"requests":6,"unauthorized":4,"executions":0' "$dir/body" ||
    fail "counters: $(cat "$dir/body")"
expect 200 -X POST "${admin}revoke"
expect 401 "$base/chains" -H "Authorization: Bearer $token"
stop

start --token-lifetime 0
token_body 200 'id+/=' 's %&é'
token=$(sed 's/.*"access_token":"\([^"]*\)".*/\1/' "$dir/body")
expect 401 "$base/chains" -H "Authorization: Bearer $token"
stop

start --token-fail 503
token_body 503 'id+/=' 's %&é'
grep -q '"retryable":true' "$dir/body" || fail "503: $(cat "$dir/body")"
stop

[ "$failures" -eq 0 ] && echo "all as expected"
[ "$failures" -eq 0 ]
