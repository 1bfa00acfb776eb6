#!/usr/bin/env bash
# ./dev hostile [COUNT | write]: nginx, nghttpx, haproxy and the proxy side by side, ordinary clients, COUNT mutations (10^5)
# needs: @build @test nginx-light haproxy nghttp2-proxy wget perl python3-requests
#
# The tables go to build/hostile/differential*.md, with `write` to tests/hostile/. COUNT mutated
# requests and as many mutated answers go to the build with the address sanitizer; 0: none.
set -euo pipefail
cd "$(dirname "$0")/../.."

count=100000 target=build/hostile
case ${1-} in
write) count=0 target=tests/hostile ;;
'') ;;
*) count=$1 ;;
esac
export PYTHONDONTWRITEBYTECODE=1
mkdir -p build/hostile
rm -f build/hostile/differential*.md
code=0

cmake --preset release >/dev/null
cmake --build --preset release --target oneshot-proxy
proxy=$PWD/build/release/oneshot-proxy

echo "==> the same to nginx, haproxy and the proxy (a minute or two)"
python3 tests/hostile/differential.py "$proxy" build/hostile "$target/differential.md" || code=1
echo "==> HTTP/2 of an upstream to nghttpx, haproxy and the proxy (a minute)"
python3 tests/hostile/differential_h2.py "$proxy" build/hostile/h2 "$target/differential_h2.md" || code=1
echo "==> exchanges that take their time, through nginx, haproxy and the proxy (half a minute)"
python3 tests/hostile/differential_time.py "$proxy" build/hostile/time "$target/differential_time.md" || code=1
echo "==> ordinary clients"
python3 tests/hostile/clients.py "$proxy" build/hostile "$target/differential.md" || code=1
for table in differential.md differential_h2.md differential_time.md; do
    if ! cmp -s "$target/$table" "tests/hostile/$table"; then
        echo "$target/$table is not what tests/hostile/$table says: other versions? ./dev hostile write"
    fi
done

if [ "$count" -gt 0 ]; then
    echo "==> $count mutated requests and answers, with the address sanitizer"
    cmake --preset asan >/dev/null
    cmake --build --preset asan --target oneshot-proxy integration_mutations
    # shellcheck source=tests/addresses.sh
    . tests/addresses.sh
    ONESHOT_PROXY_MUTATIONS=$count ONESHOT_PROXY_BIN=$PWD/build/asan/oneshot-proxy \
        "${plain_addresses[@]}" build/asan/tests/integration/integration_mutations || code=1
fi
exit "$code"
