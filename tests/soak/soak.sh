#!/usr/bin/env bash
# ./dev soak: MINUTES [BUILD] of faults under load, on the release build or another (asan)
# needs: @build @test strace faketime
set -euo pipefail
cd "$(dirname "$0")/../.."
minutes=${1:-2} preset=${2:-release}
cmake --preset "$preset" >/dev/null
cmake --build --preset "$preset" --target oneshot-proxy
# shellcheck source=tests/addresses.sh
. tests/addresses.sh
exec "${plain_addresses[@]}" python3 tests/soak/soak.py "build/$preset/oneshot-proxy" "$minutes" "${SOAK_SEED:-$RANDOM}"
