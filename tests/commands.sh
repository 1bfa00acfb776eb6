#!/usr/bin/env bash
# Every sub-command of ./dev stands for one script or function, and the README's two are among them.
set -euo pipefail
cd "$(dirname "$0")/.."
names=$(./dev help | awk '$1 == "./dev" { print $2 }')
twice=$(sort <<<"$names" | uniq -d)
[ -z "$twice" ] || { echo "said by more than one script: $twice"; exit 1; }
for name in run test build lint fmt; do
    grep -qxF "$name" <<<"$names" || { echo "./dev help does not know $name"; exit 1; }
done
echo "$(wc -l <<<"$names") sub-commands, each once"
