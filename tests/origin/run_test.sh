#!/usr/bin/env bash
# What `./dev run` starts, as a person uses it: run_test.sh PROXY ORIGIN
# Twice at once, so that one finds the usual ports taken; every curl line that is printed is
# tried; then SIGINT, after which nothing is left. (Ctrl-C at a terminal: run_terminal.py.)
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
command -v curl openssl >/dev/null || { echo "curl or openssl is not there"; exit 77; }
set -m    # each in a process group of its own, like a command at a terminal
dir=$(mktemp -d)
export TMPDIR=$dir/tmp
# As behind an outbound proxy, which nothing here may use: nobody listens there.
unset http_proxy all_proxy ALL_PROXY no_proxy NO_PROXY
export https_proxy=http://127.0.0.1:1
mkdir "$TMPDIR"
unset "${!ONESHOT_PROXY_@}"
groups=()
failures=0
trap 'for group in ${groups[@]+"${groups[@]}"}; do kill -TERM -- "-$group" 2>/dev/null; wait "$group"; done; rm -rf "$dir"' EXIT

fail() {
    echo "FAILED: $*"
    failures=$((failures + 1))
}

for n in 1 2; do
    # SIGINT is ignored in what a script starts in the background, these tests perhaps: no shell can undo that.
    env --default-signal=INT "$here/run.sh" "$1" "$2" >"$dir/$n" 2>&1 &
    groups+=($!)
    for ((deadline = SECONDS + 60; SECONDS < deadline; )); do
        grep -q '^  curl .*execute' "$dir/$n" && break
        kill -0 $! 2>/dev/null || break
        sleep 0.1
    done
    grep '^  curl' "$dir/$n" >"$dir/lines"
    [ "$(wc -l <"$dir/lines")" = 3 ] || fail "three curl lines expected: $(cat "$dir/$n")"
    while read -r line; do
        eval "$line -f --max-time 20" >"$dir/answer" 2>&1 || fail "$line: $(cat "$dir/answer")"
        grep -q '"id"\|"chainId"' "$dir/answer" || fail "$line: $(cat "$dir/answer")"
    done <"$dir/lines"
done
[ "$(grep -ho 'http://127[^/ ]*' "$dir/1" | sort -u)" != "$(grep -ho 'http://127[^/ ]*' "$dir/2" | sort -u)" ] ||
    fail "the same port twice"
# One of them at least; both when somebody else is there.
for n in 1 2; do
    grep -q 'curl .*127.0.0.1:8080/' "$dir/$n" || grep -q 'port 8080 is taken' "$dir/$n" ||
        fail "not a word about the taken port: $(cat "$dir/$n")"
done

for group in "${groups[@]}"; do
    kill -INT -- "-$group"
    wait "$group" || fail "exit code $? after SIGINT"
    if kill -0 -- "-$group" 2>/dev/null; then fail "a process is left"; fi
done

# One that crashes while it stops is told of by the exit code.
printf '#!/bin/sh\ntrap "exit 99" TERM\ntouch "%s"\nwhile :; do sleep 0.1; done\n' "$dir/is_there" >"$dir/crashes"
chmod +x "$dir/crashes"
ONESHOT_PROXY_LISTEN_ADDRESS=unix:$dir/socket env --default-signal=INT "$here/run.sh" "$dir/crashes" "$2" >"$dir/3" 2>&1 &
groups+=($!)
for ((deadline = SECONDS + 60; SECONDS < deadline; )); do
    [ ! -e "$dir/is_there" ] || break
    sleep 0.1
done
kill -INT -- "-$!"
wait $! && code=0 || code=$?
[ "$code" = 99 ] || fail "exit code $code, not 99, though the proxy left with 99: $(cat "$dir/3")"
[ -z "$(ls -A "$TMPDIR")" ] || fail "files are left: $(ls -A "$TMPDIR")"
[ "$failures" = 0 ] && echo "all as expected"
[ "$failures" = 0 ]
