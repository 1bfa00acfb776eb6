#!/bin/sh
# What a service of yours does: it calls the API by way of the proxy, without any credentials.
# CALLS=N ends it after N calls; by ONESHOT_SOCKET where that names a unix socket.
set -eu
url=${ONESHOT_URL:-http://proxy:8080/v0}
calls=0
while [ "$calls" -lt "${CALLS:-2147483647}" ]; do
    calls=$((calls + 1))
    curl --noproxy '*' --no-progress-meter --retry 30 --retry-delay 1 --retry-all-errors --max-time 30 \
        ${ONESHOT_SOCKET:+--unix-socket "$ONESHOT_SOCKET"} \
        -w '\nGET /chains: %{http_code} in %{time_total} s\n' "$url/chains?pageSize=1"
    [ "$calls" -ge "${CALLS:-2147483647}" ] || sleep 5
done
