#!/usr/bin/env bash
# Builds and runs every test: on the release build (unit tests under valgrind too), and with the
# address and undefined-behaviour sanitizers. Arguments go to ctest. PRESETS="asan" runs less,
# "tsan" the threaded part with the thread sanitizer. The closing summary is also added to
# build/test-summary.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

presets=${PRESETS:-release asan}
jobs=$(($(nproc) + 1)) # many tests wait for a deadline most of their time
mkdir -p build
: >build/test-report
passed=0 failed=0 skipped=0
again_at_most=3 # failed tests; more is no accident

report() { printf '%s\n' "$*" | tee -a build/test-report; }

# shellcheck source=tests/addresses.sh
. tests/addresses.sh

# Can a program with this sanitizer run here at all? (Some kernels and containers do not let it.)
starts_with() {
    local probe=build/probe-$1
    printf 'int main(void) { return 0; }\n' >"$probe.c"
    "${CC:-cc}" "-fsanitize=$1" "$probe.c" -o "$probe" && "${plain_addresses[@]}" "$probe"
}

# From what ctest wrote down: the number named $2 of the whole run, the names of tests of a kind.
number() { sed -n "s/^.*[[:space:]]$2=\"\([0-9]*\)\".*/\1/p" "$1" | head -n 1; }
names() {
    awk -v kind="$2" '
        /<testcase / { name = $0; sub(/.* name="/, "", name); sub(/".*/, "", name) }
        index($0, "<" kind) { print name }' "$1"
}

run() {
    local preset=$1 start=$SECONDS again=() name skips results=build/$1/results.xml log=build/$1/Testing/Temporary/LastTest.log
    shift
    printf '\n==> %s\n' "$preset"
    if [ "$preset" = tsan ] && ! starts_with thread >/dev/null 2>&1; then
        report "tsan: SKIPPED, a program with the thread sanitizer does not start on this system"
        skipped=$((skipped + 1))
        return
    fi
    if ! { cmake --preset "$preset" >build/configure.log 2>&1 || { cat build/configure.log; false; }; } ||
        ! cmake --build --preset "$preset"; then
        report "$preset: FAILED to build"
        failed=$((failed + 1))
        return
    fi
    rm -f "$results"
    "${plain_addresses[@]}" ctest --preset "$preset" -j "$jobs" --output-junit "$PWD/$results" "$@"
    local code=$? total bad left
    total=$(number "$results" tests) bad=$(number "$results" failures) left=$(number "$results" skipped)
    if [ -z "$total" ]; then
        report "$preset: FAILED, ctest left no results (exit code $code)"
        failed=$((failed + 1))
        return
    fi
    left=$((left + $(number "$results" disabled)))
    # with cmocka's own skip(), inside a test program that passed as a whole
    skips=$(names "$results" skipped | sort -u
        grep -ahx '\[  SKIPPED \] [a-z0-9_]*' "$log" | sort -u | sed 's/.* \(.*\)/\1, a part of a test that passed/')
    # A machine that stands still for a while makes a deadline pass. So what failed beside other tests
    # gets a second run, alone; its name stays in the report whatever comes of it.
    if [ "$bad" -gt 0 ] && [ "$bad" -le "$again_at_most" ]; then
        local first second=build/$preset/again.xml
        first=$(names "$results" failure | sort -u)
        "${plain_addresses[@]}" ctest --preset "$preset" -j 1 --rerun-failed --output-junit "$PWD/$second"
        code=$?
        for name in $first; do
            names "$second" failure | grep -qxF "$name" || again+=("$name")
        done
        bad=$(number "$second" failures) bad=${bad:-1}
        results=$second
    fi
    # A ctest that fails without a failed test (one that could not be started, say) still fails.
    if [ "$code" -ne 0 ] && [ "$bad" -eq 0 ]; then bad=1 left=$((left > 0 ? left - 1 : 0)); fi
    report "$preset: $((total - bad - left)) passed, $bad failed, $left skipped, in $((SECONDS - start)) s"
    for name in "${again[@]}"; do report "  AGAIN   $name failed beside others and passed alone"; done
    names "$results" failure | sort -u | while read -r name; do report "  FAILED  $name"; done
    [ -z "$skips" ] || while read -r name; do report "  SKIPPED $name"; done <<<"$skips"
    passed=$((passed + total - bad - left)) failed=$((failed + bad)) skipped=$((skipped + left))
}

for preset in $presets; do
    run "$preset" "$@"
done
if [ $((passed + failed)) -eq 0 ]; then
    report "FAILED: no test ran"
    failed=1
fi

{
    printf '\n==> summary, after %d s\n' "$SECONDS"
    cat build/test-report
    echo "$passed passed, $failed failed, $skipped skipped"
} | tee -a build/test-summary
[ "$failed" -eq 0 ]
