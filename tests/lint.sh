#!/usr/bin/env bash
# ./dev lint: the text of the code: format, layers, warnings of gcc and clang, shell scripts
# needs: gcc clang clang-format shellcheck cmake ninja-build pkg-config libmicrohttpd-dev libcurl4-openssl-dev libjson-c-dev libinih-dev libssl-dev libcmocka-dev libnghttp2-dev
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
status=0
step() {
    printf '==> %s\n' "$1"
    shift
    "$@" || { status=1; printf 'FAILED: %s\n' "$*"; }
}
format() { tests/files.sh '*.c' '*.h' | xargs clang-format --dry-run -Werror; }
compile_with() {
    cmake -S . -B "build/lint-$1" -G Ninja -DCMAKE_C_COMPILER="$1" -DCMAKE_COMPILE_WARNING_AS_ERROR=ON >/dev/null &&
        cmake --build "build/lint-$1" | tail -n 3
}
step "format" format
step "layers" tests/layers.sh
step "gcc, warnings are errors" compile_with gcc
step "clang, warnings are errors" compile_with clang
step "shell scripts" shellcheck dev .ci/run tests/all.sh tests/files.sh tests/lint.sh
exit $status
