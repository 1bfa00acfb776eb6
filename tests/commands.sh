#!/usr/bin/env bash
# Every sub-command of ./dev stands for one script or function, and those that a document names are among them.
set -euo pipefail
cd "$(dirname "$0")/.."
names=$(./dev help | awk '$1 == "./dev" { print $2 }')
twice=$(sort <<<"$names" | uniq -d)
[ -z "$twice" ] || { echo "said by more than one script: $twice"; exit 1; }
named=$(tests/files.sh '*.md' | xargs grep -ohE '(^|`)\./dev [a-z]+' | sed 's/.* //' | sort -u)
for name in run test build lint fmt $named; do
    grep -qxF "$name" <<<"$names" || { echo "./dev help does not know $name"; exit 1; }
done
echo "$(wc -l <<<"$names") sub-commands, each once"
