#!/usr/bin/env bash
# ./dev lint: format, clang-tidy, gcc -fanalyzer, warnings as errors with gcc and clang, and more
# needs: @build @test @lint
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

passed=0
wrong=()
skipped=()
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# check WHAT COMMAND...: quiet when it succeeds, all it said when it does not; 77 is "skipped".
check() {
    local what=$1 code=0 start=$SECONDS
    shift
    "$@" >"$log" 2>&1 || code=$?
    case $code in
    0) printf 'ok       %s (%d s)\n' "$what" "$((SECONDS - start))"; passed=$((passed + 1)) ;;
    77) printf 'SKIPPED  %s: %s\n' "$what" "$(tail -n 1 "$log")"; skipped+=("$what") ;;
    *) printf 'FAILED   %s\n' "$what"; cat "$log"; wrong+=("$what") ;;
    esac
}

# Each version of clang-format has its own taste; the tree follows that of 14 (Debian 12).
format() {
    local version
    version=$(clang-format --version | sed 's/.*version \([0-9]*\).*/\1/')
    if [ "$version" != 14 ]; then
        echo "clang-format is version $version, the tree is formatted by version 14"
        return 77
    fi
    tests/files.sh '*.c' '*.h' | xargs clang-format --dry-run --Werror
}

scripts() {
    tests/files.sh '*.sh' dev run | xargs shellcheck
}

# No file may name a directory of someone's machine: this one's, or one that looks like it.
machine_paths() {
    ! tests/files.sh '*' | xargs grep -IHnE -e '(^|[^[:alnum:]_.-])/(home|Users|root|work|tmp/[a-z]+)/[[:alnum:]]' &&
        ! tests/files.sh '*' | xargs grep -IHnF -e "$PWD" -e "${HOME:-$PWD}/"
}

compile() {
    cmake --preset "$1" >/dev/null && cmake --build --preset "$1" -- -k 0
}

check "clang-format" format
check "shellcheck" scripts
check "layers" tests/layers.sh
check "no path of a machine in the tree" machine_paths
check "gcc, the release flags, warnings are errors" compile strict
check "gcc -fanalyzer, warnings are errors" compile analyzer
check "clang and clang-tidy, warnings are errors" compile tidy

echo
for what in ${wrong[@]+"${wrong[@]}"}; do echo "FAILED   $what"; done
for what in ${skipped[@]+"${skipped[@]}"}; do echo "SKIPPED  $what"; done
echo "lint: $passed passed, ${#wrong[@]} failed, ${#skipped[@]} skipped"
[ ${#wrong[@]} -eq 0 ]
