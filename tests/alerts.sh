#!/bin/sh
# conf/alerts.yml: sound rules, about metrics that there are, each by a result, label or name that the
# program knows.
#   alerts.sh PROGRAM PROMTOOL
set -eu
program=$1
promtool=$2
rules=$(cd "$(dirname "$0")/.." && pwd)/conf/alerts.yml

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

"$program" --print-metrics | sed -n 's/^| `\([a-z_]*\)`.*/\1/p' >"$tmp/known"
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
