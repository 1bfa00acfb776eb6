#!/usr/bin/env bash
# ./dev newcomer: what the documents tell a newcomer to type, in bare Debian systems, as it is printed
# needs: debootstrap python3
#
# The tree lies in /root (mode 700), as a clone by root would. SUITES="trixie" tries one alone.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=docker/base.sh
. docker/base.sh

out=build/newcomer
mkdir -p "$out"
exec 9>"$out.lock"
flock -n 9 || { echo "another ./dev newcomer is at work in this tree" >&2; exit 1; }
deadline_s=900
failed=0
started=
# What a block started has the signal, as from a terminal.
end_started() {
    [ -n "$started" ] || return 0
    kill -TERM "$(pgrep -P "$started" || echo "$started")" 2>/dev/null || true
}
trap end_started EXIT
trap 'exit 1' INT TERM

# runs_until BLOCK TEXT: it goes on until it says the text; then it is ended, as by Ctrl-C, with 0
runs_until() {
    local code=0 end=$((SECONDS + deadline_s))
    # shellcheck disable=SC2016  # for the inner shell
    base_exec "$root" sh -c 'cd ~root/oneshot-proxy && exec bash ~root/"$1"' block "$1" >"$log" 2>&1 &
    started=$!
    until grep -qF -e "$2" "$log"; do
        kill -0 "$started" 2>/dev/null || { wait "$started" || code=$?; started=; echo "it ended with $code"; return 1; }
        [ "$SECONDS" -lt "$end" ] || { echo "no '$2' within $deadline_s s"; return 1; }
        sleep 0.5
    done
    end_started
    wait "$started" || { code=$?; started=; echo "it left with $code when it was ended"; return 1; }
    started=
}

runs() {
    # shellcheck disable=SC2016  # for the inner shell
    timeout "$deadline_s" unshare --mount sh -c '
        mount -t proc proc "$1/proc" && exec chroot "$1" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin \
            DEBIAN_FRONTEND=noninteractive sh -c "export HOME=~root && cd ~/oneshot-proxy && exec bash ~/$2"' run "$root" "$1" >"$log" 2>&1
}

for suite in ${SUITES:-bookworm trixie}; do
    root=$out/$suite home=$out/$suite/root log=$out/$suite.log
    base_unpack "$suite" "$root"
    mkdir "$home/oneshot-proxy"
    chmod 700 "$home"
    tests/files.sh '*' | tar -c -T - | tar -x -C "$home/oneshot-proxy"
    # A newcomer says yes when apt-get asks, and has its lists.
    echo 'APT::Get::Assume-Yes "true";' >"$root/etc/apt/apt.conf.d/91yes"
    base_run "$root" apt-get -q update >"$log" 2>&1 || { tail -n 20 "$log"; base_skip "apt-get cannot update in a bare Debian"; }
    python3 -B tests/docs_blocks.py --bare "$home"
    for block in "$home"/[0-9]*.sh; do
        name=${block##*/}
        where=$(sed -n '1s/^# //p' "$block")
        until=${block%.sh}.until
        if if [ -f "$until" ]; then runs_until "$name" "$(cat "$until")"; else runs "$name"; fi; then
            echo "ok       $suite: $where"
        else
            echo "FAILED   $suite: $where"
            tail -n 30 "$log"
            failed=$((failed + 1))
        fi
    done
    rm -rf "$root"
done
[ "$failed" = 0 ]
