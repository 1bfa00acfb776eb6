#!/usr/bin/env bash
# tests/all.sh on a small tree of its own: what fails once has failed, crashes come first, and what was
# left out is named.
set -uo pipefail
all=$(realpath "$(dirname "$0")")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
failures=0
fail() { echo "FAILED: $*"; failures=$((failures + 1)); }
expect() { grep -qE -- "$1" "$dir/out" || fail "the summary has no line like: $1"; }

mkdir "$dir/tests"
cp "$all/all.sh" "$all/addresses.sh" "$dir/tests"
cat >"$dir/CMakePresets.json" <<'JSON'
{ "version": 3,
  "configurePresets": [ { "name": "small", "generator": "Ninja", "binaryDir": "${sourceDir}/build/small" } ],
  "buildPresets": [ { "name": "small", "configurePreset": "small" } ],
  "testPresets": [ { "name": "small", "configurePreset": "small", "output": { "outputOnFailure": true } } ] }
JSON
cat >"$dir/CMakeLists.txt" <<'CMAKE'
cmake_minimum_required(VERSION 3.24)
project(small NONE)
enable_testing()
add_test(NAME fine COMMAND sh -c "echo '[  SKIPPED ] a_part' && echo '[  SKIPPED ] another_part' &&
  echo '[       OK ] another_part' && echo 'SKIPPED: no such thing here'")
add_test(NAME left.out COMMAND sh -c "exit 77")
set_tests_properties(left.out PROPERTIES SKIP_RETURN_CODE 77)
if(QUIET)
  add_test(NAME passes.quietly COMMAND sh -c "echo '==1==ERROR: LeakSanitizer: detected memory leaks'")
endif()
if(BAD)
  add_test(NAME fails.once COMMAND sh -c "test -e once || { touch once; echo what it said; exit 1; }")
  add_test(NAME sanitizer COMMAND sh -c "echo '==1==ERROR: AddressSanitizer: heap-use-after-free'; exit 1")
  add_test(NAME signal COMMAND sh -c "kill -s ABRT $$")
endif()
CMAKE

if (cd "$dir" && PRESETS=small tests/all.sh) >"$dir/out" 2>&1; then :; else fail "it fails though nothing failed"; fi
expect '^1 passed, 0 failed, 1 skipped$'
expect '^  SKIPPED left\.out$'
for part in a_part 'fine SKIPPED: no such thing here'; do
    [ "$(grep -cx "  left out: $part" "$dir/out")" = 2 ] || fail "$part was left out, which is not told once, and in the summary"
done
[ "$(grep -c 'left out:' "$dir/out")" = 4 ] || fail "more is told of than was left out"

# A sanitizer's report in a test that passes.
sed -i 's/^project.*/&\nset(QUIET ON)/' "$dir/CMakeLists.txt"
if (cd "$dir" && PRESETS=small tests/all.sh) >"$dir/out" 2>&1; then fail "it passes though a sanitizer spoke"; fi
expect '^1 passed, 1 failed, 1 skipped$'
expect '^  FAILED  passes\.quietly '
expect '^  CRASHED passes\.quietly: .*LeakSanitizer'

sed -i 's/^set(QUIET.*/set(BAD ON)/' "$dir/CMakeLists.txt"
if (cd "$dir" && PRESETS=small tests/all.sh) >"$dir/out" 2>&1; then fail "it passes though tests failed"; fi
expect '^1 passed, 3 failed, 1 skipped$'
expect '^what it said$'
expect '^  FAILED  fails\.once '
expect 'fails\.once beside busy loops: failed 0 of 3 times'
expect 'sanitizer beside busy loops: failed 3 of 3 times'
expect '^  CRASHED sanitizer: .*heap-use-after-free'
expect '^  CRASHED signal: '
sed -n '/^==> summary/,$p' "$dir/out" | sed -n 2p | grep -q '^  CRASHED ' || fail "the summary does not begin with what crashed"
grep -q 'what it said' "$dir/build/small/failed.log" || fail "the first output was not kept"

# Ended while it looks at a test again: the busy loops end with it.
cat >"$dir/stops" <<'SH'
#!/bin/sh
test -e again || { touch again; exit 1; }
kill -s TERM "$(cat runner)"
exit 1
SH
chmod +x "$dir/stops"
sed -i "/fails\.once/i add_test(NAME stops COMMAND $dir/stops)\nset_tests_properties(stops PROPERTIES WORKING_DIRECTORY $dir)" "$dir/CMakeLists.txt"
(cd "$dir" && echo "$BASHPID" >runner && PRESETS=small LOOKS_AGAIN="$dir" exec tests/all.sh -R '^stops$') >"$dir/out" 2>&1
code=$?
[ "$code" = 143 ] || fail "exit code $code after SIGTERM, not 143"
began=$SECONDS left=all
while [ -n "$left" ] && [ $((SECONDS - began)) -lt 30 ]; do
    left=$(grep -lszx "LOOKS_AGAIN=$dir" /proc/[0-9]*/environ)
done
[ -z "$left" ] || fail "it ended, and these processes go on: $left"
[ "$failures" = 0 ] || { cat "$dir/out"; exit 1; }
