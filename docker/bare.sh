#!/usr/bin/env bash
# ./dev bare [SUITE [user]]: ./dev test in a bare Debian, bookworm or trixie, as root or as an ordinary user
# needs: debootstrap util-linux
#
# As root the tree lies in /root, and ./dev test installs what it needs; as a user it lies in the user's
# home, everything is installed and there is no sudo. Nobody else can enter either (mode 700). Without a
# suite: both suites, both ways. PRESETS is passed on, as to ./dev test. HOSTS=none: without /etc/hosts, which
# is Debian's own otherwise; then everything is installed before, since a package would write that file. What
# the tests left is kept in build/bare, and the system too if any failed.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=docker/base.sh
. docker/base.sh

out=build/bare
user=tester
failed=0

usage() { echo "usage: ./dev bare [SUITE [user]]" >&2; exit 2; }

# enter ROOT USER HOME COMMAND...: with the devices and processes of a real system, all of which end with
# the command, and little environment: how this system reaches others, and PRESETS.
enter() {
    local root=$1 who=$2 home=$3 name environment=()
    shift 3
    for name in PRESETS http_proxy https_proxy no_proxy; do
        [ -z "${!name:-}" ] || environment+=("$name=${!name}")
    done
    # shellcheck disable=SC2016  # for the inner shell
    unshare --mount --pid --fork --kill-child sh -c '
        root=$1 who=$2
        shift 2
        # Its own root, not a chroot: in one the kernel gives no namespaces, which some tests make.
        mount --bind "$root" "$root" && cd "$root" && mount -t proc proc proc && mount -t sysfs -o ro sys sys &&
            mount --rbind /dev dev && pivot_root . mnt && umount -l /mnt || exit
        exec chroot --userspec="$who:$who" / env -i "$@"' enter "$root" "$who" \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 "HOME=$home" \
        NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt "${environment[@]}" \
        sh -c 'cd "$HOME/oneshot-proxy" && exec "$@"' "$who" "$@"
}

# prepare SUITE USER HOME ROOT
prepare() {
    local suite=$1 who=$2 home=$3 root=$4 certificates=/usr/local/share/ca-certificates
    base_unpack "$suite" "$root"
    printf '127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n' >"$root/etc/hosts"
    # Authorities that this system trusts besides Debian's.
    if compgen -G "$certificates/*.crt" >/dev/null; then
        cp "$certificates"/*.crt "$root$certificates"
        base_run "$root" update-ca-certificates >/dev/null
    fi
    [ "$who" = root ] || base_run "$root" useradd --create-home "$who"
    chmod 700 "$root$home"
    mkdir "$root$home/oneshot-proxy"
    tests/files.sh '*' | tar -c -T - | tar -x -C "$root$home/oneshot-proxy"
    if [ "$who" != root ] || [ "${HOSTS:-}" = none ]; then
        # shellcheck disable=SC2046  # packages are words
        base_install "$root" $(enter "$root" root "$home" ./dev needs)
        base_run "$root" chown -R "$who:$who" "$home"
    fi
    [ "${HOSTS:-}" != none ] || rm "$root/etc/hosts"
}

# try SUITE USER
try() {
    local suite=$1 who=$2 home root=$out/$1-$2 logs=$out/$1-$2.logs code=0 began
    home=$([ "$who" = root ] && echo /root || echo "/home/$who")
    printf '\n==> %s as %s\n' "$suite" "$who"
    prepare "$suite" "$who" "$home" "$root"
    began=$SECONDS
    enter "$root" "$who" "$home" ./dev test </dev/null || code=$?
    if [ "${HOSTS:-}" = none ] && [ -e "$root/etc/hosts" ]; then
        echo "something wrote /etc/hosts in the meantime"
        code=1
    fi
    rm -rf "$logs"
    mkdir "$logs"
    (cd "$root$home/oneshot-proxy/build" && find . -name '*.log' -o -name test-summary | tar -c -T -) | tar -x -C "$logs"
    if [ "$code" = 0 ]; then
        echo "ok       $suite as $who, in $((SECONDS - began)) s (see $logs)"
        rm -rf "$root"
    else
        echo "FAILED   $suite as $who, in $((SECONDS - began)) s (see $logs; the system is $root)"
        failed=$((failed + 1))
    fi
}

[ $# -le 2 ] || usage
case ${1:-} in '' | bookworm | trixie) ;; *) usage ;; esac
case ${2:-} in '' | user) ;; *) usage ;; esac
mkdir -p "$out"
exec 9>"$out.lock"
flock -n 9 || { echo "another ./dev bare is at work in this tree" >&2; exit 1; }
if [ $# -gt 0 ]; then
    try "$1" "$([ $# = 2 ] && echo "$user" || echo root)"
else
    for suite in bookworm trixie; do
        try "$suite" root
        try "$suite" "$user"
    done
fi
[ "$failed" = 0 ]
