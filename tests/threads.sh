#!/usr/bin/env bash
# ./dev threads [CTEST ARGUMENTS]: the threaded part of the tests under the thread sanitizer
# needs: @build @test
cd "$(dirname "$0")/.." || exit 1
tests/promtool.sh get
PRESETS=tsan exec tests/all.sh "$@"
