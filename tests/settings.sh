#!/bin/sh
# The settings that come with the Kubernetes manifests are sound: settings.sh PROGRAM
set -u
tree=$(cd "$(dirname "$0")/.." && pwd)
secret=$(mktemp)
trap 'rm -f "$secret"' EXIT
echo value >"$secret"
status=0
found=0
for file in "$tree"/docker/kubernetes/*/oneshot-proxy.ini; do
    found=$((found + 1))
    # Those with the credentials are in the cluster.
    ONESHOT_PROXY_TOKEN_CLIENT_ID_FILE=$secret ONESHOT_PROXY_TOKEN_CLIENT_SECRET_FILE=$secret "$1" --check --config "$file" || status=1
done
# Those with callers say what they expect of these, too. What other files hold is in the cluster.
for file in "$tree"/docker/kubernetes/examples/*/expected.txt; do
    found=$((found + 1))
    "$1" explain --config "${file%/*}/oneshot-proxy.ini" --expect "$file" || status=1
done
[ $found -ge 4 ] || { echo "only $found files"; status=1; }
exit $status
