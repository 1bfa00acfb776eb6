#!/bin/sh
# conf/alerts.yml: sound rules, about metrics that there are, that fire when they should (alerts.yml).
#   alerts.sh PROGRAM PROMTOOL
set -eu
program=$1
promtool=$2
tree=$(cd "$(dirname "$0")/.." && pwd)
rules=$tree/conf/alerts.yml

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

"$program" --print-metrics | awk -F '|' '/oneshot_proxy/ { gsub(/[^a-z_]/, "", $2); print $2 }' >"$tmp/known"
grep -o 'oneshot_proxy_[a-z_]*' "$rules" | sed 's/_\(bucket\|sum\|count\)$//' | sort -u >"$tmp/used"
[ -s "$tmp/used" ]
unknown=$(grep -vxF -f "$tmp/known" "$tmp/used" || true)
if [ -n "$unknown" ]; then
    echo "conf/alerts.yml asks for metrics that there are not:" "$unknown"
    exit 1
fi
if [ ! -x "$promtool" ]; then
    echo "no promtool: ./dev test fetches it (tests/promtool.sh)"
    exit 77
fi
"$promtool" check rules "$rules"
cp "$rules" "$tmp/alerts-under-test.yml"
cp "$tree/tests/alerts.yml" "$tree/tests/alerts_long.yml" "$tmp/"
"$promtool" test rules "$tmp/alerts.yml" "$tmp/alerts_long.yml"
