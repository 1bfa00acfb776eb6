#!/usr/bin/env bash
# Builds and runs every test: on the release build (unit tests under valgrind too), and with the
# address and undefined-behaviour sanitizers. Arguments go to ctest. PRESETS="asan" runs less,
# "tsan" the threaded part with the thread sanitizer. A test that failed has failed: it is run again
# only to learn whether it always does. The closing summary, with crashes first, is also added to
# build/test-summary.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

presets=${PRESETS:-release asan}
jobs=$(($(nproc) * 2)) # most tests wait for a deadline most of their time
mkdir -p build
: >build/test-report
: >build/test-crashes
passed=0 failed=0 skipped=0
again_at_most=3 # failed tests are looked at again; more have something in common
again_times=3 again_s=120
loops=() # busy ones, while tests are looked at again

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

# What a sanitizer said and which signals ended what, by test: from the log of the tests, and from
# what ctest printed.
worst() {
    awk '/^[0-9]+\/[0-9]+ Test: / { name = $3 }
        /^Command: / { next }
        /^<end of output>/ { name = "" }
        /ERROR: [A-Za-z]+Sanitizer|WARNING: ThreadSanitizer|: runtime error: |Assertion .* failed|it left with 1(2[89]|[3-9][0-9])/ {
            line = substr($0, 1, 160)
            if (!((name, line) in said)) print name "\t" line
            said[name, line] = 1 }' "$1"
    sed -n 's/^[[:space:]]*[0-9]* - \([^ ]*\) (\(.*\))$/\1\t\2/p' "$2" |
        grep -avE "$(printf '\t')(Failed|Timeout|Skipped|Disabled|Not Run)\$" || true
}

# What tests leave out although they pass, by what they say, and by cmocka's own skip(); not those that another
# run of the same tests has. Each once.
left_out() {
    awk '/^[0-9]+\/[0-9]+ Test: / { name = $3; sub(/^(auto|valgrind)\./, "", name) }
        /^<end of output>/ { name = "" }
        /^SKIPPED: / && name != "" { print name " " $0 }' "$1" | sort -u
    comm -23 <(sed -n 's/^\[  SKIPPED \] \([a-z0-9_]*\)$/\1/p' "$1" | sort -u) \
        <(sed -n 's/^\[       OK \] //p' "$1" | sort -u)
}

# Runs the tests that failed once more, several times, beside busy loops: whether it is chance, and
# what it looks like then. They have failed whatever comes of it.
look_again() {
    local preset=$1 names=$2 log=$3 i rounds=0 name began=$SECONDS
    # Loops in the background do not hear Ctrl-C; those of a script that was ended would go on for ever.
    trap 'kill "${loops[@]}"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    for ((i = 0; i < $(nproc); i++)); do
        while :; do :; done &
        loops+=($!)
    done
    : >"$log"
    for ((i = 0; i < again_times && SECONDS - began < again_s; i++)); do
        "${plain_addresses[@]}" ctest --preset "$preset" -j "$jobs" -R "^($(paste -s -d '|' <<<"${names//./\\.}"))\$" >>"$log" 2>&1
        rounds=$((rounds + 1))
    done
    kill "${loops[@]}"
    wait "${loops[@]}" 2>/dev/null
    trap - EXIT INT TERM
    loops=()
    while read -r name; do
        report "          $name beside busy loops: failed $(grep -acE "^[[:space:]]*[0-9]+ - ${name//./\\.} \(" "$log") of $rounds times (see $log)"
    done <<<"$names"
}

run() {
    local preset=$1 start=$SECONDS name results=build/$1/results.xml log=build/$1/Testing/Temporary/LastTest.log
    local first=build/$1/failed.log printed=build/$1/ctest.log
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
    rm -f "$results" "$first"
    "${plain_addresses[@]}" ctest --preset "$preset" -j "$jobs" --output-junit "$PWD/$results" "$@" | tee "$printed"
    local code=${PIPESTATUS[0]} total bad left
    total=$(number "$results" tests) bad=$(number "$results" failures) left=$(number "$results" skipped)
    if [ -z "$total" ]; then
        report "$preset: FAILED, ctest left no results (exit code $code)"
        failed=$((failed + 1))
        return
    fi
    left=$((left + $(number "$results" disabled)))
    # A test in whose output a sanitizer speaks, or a signal ends something, has failed whatever it says itself.
    local crashes bad_names named
    crashes=$(worst "$log" "$printed")
    bad_names=$({ names "$results" failure; cut -f 1 <<<"$crashes"; } | grep . | sort -u)
    named=$(grep -c . <<<"$bad_names")
    [ "$named" -le "$bad" ] || bad=$named
    # A ctest that fails without a failed test (one that could not be started, say) still fails.
    if [ "$code" -ne 0 ] && [ "$bad" -eq 0 ]; then bad=1 left=$((left > 0 ? left - 1 : 0)); fi
    report "$preset: $((total - bad - left)) passed, $bad failed, $left skipped, in $((SECONDS - start)) s"
    names "$results" skipped | sort -u | while read -r name; do report "  SKIPPED $name"; done
    left_out "$log" | while read -r name; do report "  left out: $name"; done
    if [ "$bad" -gt 0 ]; then
        cp "$log" "$first" # with the whole output of each
        sed -n 's/^\([^\t]*\)\t/  CRASHED \1: /p' <<<"$crashes" | tee -a build/test-crashes
        while read -r name; do report "  FAILED  $name (see $first)"; done <<<"$bad_names"
        if [ -n "$bad_names" ] && [ "$(wc -l <<<"$bad_names")" -le "$again_at_most" ]; then
            look_again "$preset" "$bad_names" "build/$preset/again.log"
        fi
    fi
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
    cat build/test-crashes build/test-report
    echo "$passed passed, $failed failed, $skipped skipped"
} | tee -a build/test-summary
[ "$failed" -eq 0 ]
