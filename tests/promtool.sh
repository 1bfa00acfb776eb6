#!/usr/bin/env bash
# promtool, Prometheus' checker of metrics and rules, for the tests. From Debian 13 on it is a package;
# before, it is a part of prometheus, whose installation would start a server on the admin listener's
# port. So only the one program is taken out of the package, into build/tools.
#   promtool.sh get     fetches it unless it is there; says so when it cannot
set -euo pipefail
cd "$(dirname "$0")/.."
[ "${1:-}" = get ] || { echo "usage: promtool.sh get" >&2; exit 2; }

tool=build/tools/promtool
if command -v promtool >/dev/null || [ -x "$tool" ]; then exit 0; fi
if ! command -v apt-get dpkg-deb >/dev/null; then
    echo "promtool is not installed and this is no Debian: its tests will be skipped"
    exit 0
fi

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
fetch() {
    local package
    for package in promtool prometheus; do
        (cd "$tmp" && apt-get -o APT::Sandbox::User=root download -q "$package") && return
    done
    return 1
}
echo "==> fetching promtool"
if ! fetch; then
    if [ "$(id -u)" = 0 ]; then apt-get update -q; elif command -v sudo >/dev/null; then sudo apt-get update -q; fi
    fetch || { echo "neither promtool nor prometheus can be had: the tests with promtool will be skipped"; exit 0; }
fi
mkdir -p build/tools
dpkg-deb --fsys-tarfile "$tmp"/prom*_*.deb | tar -x -O ./usr/bin/promtool >"$tmp/promtool"
install -m 755 "$tmp/promtool" "$tool"
