#!/bin/sh
# Settings and metrics are documented once, in the program's own tables. The commented ini file and
# two parts of the README are made from them; here they are made anew, or compared.
#   docs.sh check-ini | check-readme | write  PROGRAM
set -eu
action=$1
program=$2
tree=$(cd "$(dirname "$0")/.." && pwd)
ini=$tree/conf/oneshot-proxy.ini
readme=$tree/README.md

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

has_markers() {
    [ -f "$readme" ] && [ "$(grep -cE '^<!-- (config|metrics):(begin|end) -->$' "$readme")" = 4 ]
}

# The README with what stands between the markers made anew.
make_readme() {
    "$program" --print-markdown >"$tmp/config"
    "$program" --print-metrics >"$tmp/metrics"
    awk -v dir="$tmp" '
        /^<!-- (config|metrics):end -->$/ { inside = 0 }
        !inside { print }
        /^<!-- (config|metrics):begin -->$/ {
            inside = 1
            block = dir "/" substr($2, 1, index($2, ":") - 1)
            while ((getline line < block) > 0) print line
        }' "$readme" >"$tmp/readme"
}

# same NAME FILE MADE
same() {
    if [ ! -f "$2" ] || ! diff -u "$2" "$3"; then
        echo "$1 differs from the program's table; ./dev docs makes it anew"
        exit 1
    fi
}

case $action in
check-ini)
    "$program" --print-reference >"$tmp/ini"
    same conf/oneshot-proxy.ini "$ini" "$tmp/ini"
    ;;
check-readme)
    if ! has_markers; then
        echo "README.md lacks a line <!-- config:begin -->, config:end, metrics:begin or metrics:end: not compared"
        exit 77
    fi
    make_readme
    same README.md "$readme" "$tmp/readme"
    ;;
write)
    mkdir -p "$tree/conf"
    "$program" --print-reference >"$tmp/ini"
    cp "$tmp/ini" "$ini"
    if has_markers; then
        make_readme
        cp "$tmp/readme" "$readme"
    else
        echo "README.md lacks a line <!-- config:begin -->, config:end, metrics:begin or metrics:end: left alone"
    fi
    ;;
*)
    echo "unknown action: $action" >&2
    exit 2
    ;;
esac
