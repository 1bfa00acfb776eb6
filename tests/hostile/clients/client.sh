#!/usr/bin/env bash
# curl and wget, those that are installed. Prints NAME OPERATION ok|what.
set -uo pipefail
base=$1

report() {
    local name=$1 operation=$2 wanted=$3 got=$4
    if [ "$got" = "$wanted" ]; then echo "$name $operation ok"; else echo "$name $operation FAILED $got"; fi
}

if command -v curl >/dev/null; then
    call() { curl -q -sS --noproxy '*' --max-time 20 "$@" 2>&1; }
    report curl get 'GET 0' "$(call "$base/c")"
    report curl post 'POST 5' "$(call -d hello "$base/c")"
    report curl chunked 'POST 5' "$(call -H 'Transfer-Encoding: chunked' -d hello "$base/c")"
    report curl expect 'POST 5' "$(call -H 'Expect: 100-continue' -d hello "$base/c")"
    report curl head 200 "$(call -I -o /dev/null -w '%{http_code}' "$base/c")"
    report curl keep-alive 'GET 0GET 01' "$(call "$base/c" "$base/c"; call -o /dev/null -w '%{num_connects}' "$base/c")"
    report curl http1.0 'GET 0' "$(call -0 "$base/c")"
    report curl upload 'PUT 5' "$(printf hello | call -T - "$base/c")"
fi
if command -v wget >/dev/null; then
    call() { wget -q --no-proxy -T 20 -t 1 -O - "$@" 2>&1; }
    report wget get 'GET 0' "$(call "$base/c")"
    report wget post 'POST 5' "$(call --post-data=hello "$base/c")"
    report wget head '' "$(call --spider "$base/c")"
    report wget keep-alive 'GET 0GET 0' "$(call "$base/c" "$base/c")"
fi
