#!/bin/sh
# The manual pages: no mistake that mandoc finds, and every option and sub-command of the program is told.
#   man.sh PROGRAM
set -u
program=$1
tree=$(cd "$(dirname "$0")/.." && pwd)
command -v mandoc >/dev/null || { echo "mandoc is not installed: the manual pages were not read"; exit 77; }
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
status=0

plain() { sed 's/.\x08//g'; } # without what was struck over

"$program" --print-man >"$tmp/oneshot-proxy.ini.5" || exit 1
for page in "$tree/conf/man/oneshot-proxy.1" "$tmp/oneshot-proxy.ini.5"; do
    # A page that is made anew with every build has no date.
    if mandoc -T lint -W warning "$page" | grep -v 'missing date'; then status=1; fi
done

"$program" --help | sed -n 's/^  \(--\)\{0,1\}\([a-z-]*\) .*/\1\2/p; s/^.*, \(--help\)$/\1/p' | tr -d , >"$tmp/told"
[ "$(wc -l <"$tmp/told")" -gt 5 ] || { echo "--help tells too little:"; cat "$tmp/told"; status=1; }
mandoc -T ascii "$tree/conf/man/oneshot-proxy.1" | plain >"$tmp/text"
while read -r word; do
    grep -q -e "$word" "$tmp/text" || { echo "oneshot-proxy(1) does not tell of $word"; status=1; }
done <"$tmp/told"

mandoc -T ascii "$tmp/oneshot-proxy.ini.5" | plain >"$tmp/text"
for key in base_url client_secret_file drain_timeout; do
    grep -q "^ *$key\$" "$tmp/text" || { echo "oneshot-proxy.ini(5) does not tell of $key"; status=1; }
done
exit $status
