#!/usr/bin/env bash
# ./dev page: the status page in a real browser (Chromium), with pictures in build/page
# needs: @build @test chromium fonts-dejavu-core
#
# With arguments, PROXY and the unit test of the page, nothing is built.
set -euo pipefail

tree=$(cd "$(dirname "$0")/../.." && pwd)
proxy=${1:-$tree/build/release/oneshot-proxy}
pages=${2:-$tree/build/release/tests/unit_admin.page.page}

if ! command -v chromium >/dev/null; then
    echo "page: chromium is not installed, so the status page was NOT tried in a browser" >&2
    exit 77
fi
if [ $# -eq 0 ]; then
    cd "$tree"
    cmake --preset release >/dev/null
    cmake --build --preset release --target oneshot-proxy unit_admin.page.page
fi
mkdir -p "$tree/build/page"
exec python3 "$tree/tests/page/check.py" "$(realpath "$proxy")" "$(realpath "$pages")" "$tree/build/page"
