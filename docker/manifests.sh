#!/usr/bin/env bash
# ./dev manifests: builds the Kubernetes manifests with kustomize and checks them, and the compose files
# needs: debootstrap docker-compose
#
# Kustomize and the types of the API are those of Debian 13, in a bare system made with debootstrap.
# Needs no cluster and tries none.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=docker/base.sh
. docker/base.sh

out=build/manifests
root=$out/system
mkdir -p "$out"
passed=0 failed=0
count() { # count WHAT COMMAND...
    local what=$1
    shift
    if "$@" >"$out/log" 2>&1; then
        echo "ok       $what"
        passed=$((passed + 1))
    else
        echo "FAILED   $what"
        cat "$out/log"
        failed=$((failed + 1))
    fi
}

compose() {
    if docker compose version >/dev/null 2>&1; then docker compose "$@"; else docker-compose "$@"; fi
}
count "compose.yaml" compose -f docker/compose.yaml config -q
count "compose.ledger.yaml" compose -f docker/compose.yaml -f docker/compose.ledger.yaml config -q
with_credentials() { ONESHOT_CLIENT_ID=a ONESHOT_SECRET_FILE=/dev/null compose -f docker/compose.real.yaml config -q; }
count "compose.real.yaml" with_credentials
with_ledger() {
    ONESHOT_CLIENT_ID=a ONESHOT_SECRET_FILE=/dev/null ONESHOT_LEDGER=/srv/ledger \
        compose -f docker/compose.real.yaml -f docker/compose.ledger.yaml config | grep /srv/ledger
}
count "compose.real.yaml with a ledger in a directory" with_ledger
loopback_only() { ! grep -h 'ports:' docker/compose*.yaml | grep -o '"[^"]*"' | grep -v '^"127\.0\.0\.1:'; }
count "compose files publish on the loopback address only" loopback_only
refused() { ! env -u ONESHOT_CLIENT_ID -u ONESHOT_SECRET_FILE -u ONESHOT_USER bash -c "$(declare -f compose); compose -f docker/compose.real.yaml config -q"; }
count "compose.real.yaml wants credentials" refused

base_unpack trixie "$root"
base_install "$root" kustomize python3-kubernetes python3-yaml
cp -r docker/kubernetes docker/manifests_check.py "$root/srv/"
for part in base gateway examples/sidecar examples/gateway examples/sidecar-callers examples/gateway-callers examples/gateway-ledger \
    examples/gateway-ledger-init; do
    file=${part//\//-}.yaml
    count "kustomize $part" base_run "$root" sh -c "kustomize build /srv/kubernetes/$part >/srv/$file"
    count "$part: every field, and what one object says of another" base_run "$root" python3 /srv/manifests_check.py "/srv/$file"
    sed -n 's/^ok .*\(not held against a schema.*\)/         \1/p' "$out/log"
    cp "$root/srv/$file" "$out/"
done

# A check that finds nothing may be blind: each of these has a mistake.
mistake() { # mistake SED-PROGRAM
    sed "$1" "$out/base.yaml" >"$root/srv/wrong.yaml"
    ! cmp -s "$out/base.yaml" "$root/srv/wrong.yaml" && ! base_run "$root" python3 /srv/manifests_check.py /srv/wrong.yaml
}
count "a misspelt field is found" mistake 's/readinessProbe/readynessProbe/'
count "a port that is text is found" mistake 's/containerPort: 9090/containerPort: "9090"/'
count "a drain longer than the grace is found" mistake 's/drain_timeout = 20s/drain_timeout = 70s/'
count "a volume that is not there is found" mistake 's/secretName: .*/secretName: a/; s/name: credentials/name: other/2; 0,/name: credentials/s//name: gone/'
count "an image without a tag is found" mistake 's/image: oneshot-proxy:.*/image: oneshot-proxy/'
count "a missing selector is found" mistake '/^  selector:/,+2d'
rm -rf "$root"

echo "manifests: $passed passed, $failed failed"
[ "$failed" = 0 ]
