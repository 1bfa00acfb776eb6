#!/usr/bin/env bash
# ./dev fuzz: SECONDS [TARGET...] each fuzz target (or those named), from its corpus and what earlier runs found
# needs: @build clang llvm libclang-rt-dev
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=${1:-60}
[ $# -eq 0 ] || shift
cmake --preset fuzz >/dev/null
targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
    for source in tests/fuzz/fuzz_*.c; do
        name=${source##*/fuzz_}
        targets+=("${name%.c}")
    done
fi
cmake --build --preset fuzz --target "${targets[@]/#/fuzz_}"

# What a run finds is kept in build/fuzz/found and is where the next one goes on; an input that
# fails is left in build/fuzz/failed.
code=0
printf '%-14s %8s %12s %8s %8s  %s\n' target seconds executions edges inputs result
for name in "${targets[@]}"; do
    found=build/fuzz/found/$name failed=build/fuzz/failed/$name log=build/fuzz/$name.log
    mkdir -p "$found" "$failed"
    result=fine start=$SECONDS
    "build/fuzz/tests/fuzz_$name" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 -max_len=16384 \
        -print_final_stats=1 -artifact_prefix="$failed/" "$found" "tests/fuzz/corpus/$name" >"$log" 2>&1 ||
        { result="FAILED, see $log and $failed" code=1; }
    executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    # The last line of progress: #N EVENT cov: EDGES ft: FEATURES corp: INPUTS/SIZE ...
    read -r edges inputs < <(sed -n 's|^#.* cov: \([0-9]*\) .* corp: \([0-9]*\)/.*|\1 \2|p' "$log" | tail -n 1) || true
    printf '%-14s %8d %12s %8s %8s  %s\n' "$name" $((SECONDS - start)) "${executions:--}" "${edges:--}" \
        "${inputs:--}" "$result"
done
exit "$code"
