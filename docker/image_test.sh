#!/usr/bin/env bash
# Tries the image: image_test.sh OUT TOTAL. Started by image.sh, which has left in OUT
# the files of the image (rootfs, TOTAL bytes), what the engine tells of it (image.json), its SBOM, and two scripts that run the images: proxy and origin.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
out=$1
total=$2
rootfs=$out/rootfs
passed=0 failed=0 skipped=0
tmp=$(mktemp -d)
pids=()
compose_up=
stop_all() {
    [ -z "$compose_up" ] || compose docker/compose.yaml down -t 10 >/dev/null 2>&1
    for pid in ${pids[@]+"${pids[@]}"}; do kill "$pid" 2>/dev/null && wait "$pid"; done
    rm -rf "$tmp"
}
trap stop_all EXIT
trap 'exit 1' INT TERM

# try NAME [ARGUMENT...]: a function whose name says what is true
try() {
    local code=0
    "$@" >"$tmp/log" 2>&1 || code=$?
    case $code in
    0) echo "ok       $1"; passed=$((passed + 1)) ;;
    77) echo "SKIPPED  $1"; cat "$tmp/log"; skipped=$((skipped + 1)) ;;
    *) echo "FAILED   $1"; tail -n 60 "$tmp/log"; failed=$((failed + 1)) ;;
    esac
}

wait_for() { # wait_for PID FILE TEXT
    local deadline=$((SECONDS + 60))
    while [ "$SECONDS" -lt "$deadline" ]; do
        grep -q -e "$3" "$2" 2>/dev/null && return
        kill -0 "$1" 2>/dev/null || { cat "$2"; return 1; }
        sleep 0.1
    done
    echo "no '$3' within a minute"; cat "$2"; return 1
}

# --- what it is made of ---

it_is_no_larger_than_18_mb() { [ "$total" -le 18000000 ] || { echo "$total bytes"; return 1; }; }

there_is_one_program_and_nothing_to_give_it_orders() {
    find "$rootfs" -type f -perm /111 ! -path '*/usr/bin/oneshot-proxy' ! -name '*.so*' | tee "$tmp/more"
    [ ! -s "$tmp/more" ]
}

# found NAME: in one of the directories where the loader looks
found() {
    local directory
    for directory in "$rootfs"/lib/*-linux-gnu "$rootfs"/usr/lib/*-linux-gnu "$rootfs"/lib64 "$rootfs"/lib "$rootfs"/usr/lib; do
        [ ! -e "$directory/$1" ] || return 0
    done
    return 1
}

every_library_that_is_named_is_there() {
    local file name missing=0 seen=0
    while read -r file; do
        readelf -h "$file" >/dev/null 2>&1 || continue
        for name in $(readelf -dW "$file" | sed -n 's/.*(NEEDED).*\[\(.*\)\].*/\1/p'); do
            seen=$((seen + 1))
            found "$name" || { echo "$file wants $name"; missing=1; }
        done
        name=$(readelf -lW "$file" | sed -n 's/.*program interpreter: \(.*\)\].*/\1/p')
        [ -z "$name" ] || [ -e "$rootfs$name" ] || { echo "$file wants $name"; missing=1; }
    done < <(find "$rootfs" -type f)
    [ $seen -gt 2 ] && [ $missing = 0 ]
}

the_program_is_hardened() { tests/hardening.sh "$rootfs/usr/bin/oneshot-proxy" "$PWD"; }

the_sbom_names_what_went_in() {
    python3 - "$out/sbom.spdx.json" "$rootfs" <<'END'
import hashlib, json, os, sys
sbom = json.load(open(sys.argv[1]))
assert sbom["spdxVersion"] == "SPDX-2.3"
packages = {p["SPDXID"]: p for p in sbom["packages"]}
assert len(packages) == len(sbom["packages"]), "an id twice"
names = {p["name"] for p in packages.values()}
for want in "libcurl libpq-dev libssl-dev libmicrohttpd-dev libgnutls28-dev libjson-c-dev libinih-dev libsqlite3-dev libnghttp2-dev libc6 ca-certificates".split():
    assert want in names, want + " is missing: " + str(sorted(names))
related = {r["relatedSpdxElement"] for r in sbom["relationships"]}
for id, p in packages.items():
    assert id in related, id
    if id == "SPDXRef-Program":
        program = open(os.path.join(sys.argv[2], "usr/bin/oneshot-proxy"), "rb").read()
        assert p["checksums"][0]["checksumValue"] == hashlib.sha256(program).hexdigest()
    else:
        assert p["versionInfo"] and p["externalRefs"][0]["referenceLocator"].startswith("pkg:deb/debian/"), p
print(len(packages), "packages:", ", ".join(sorted(names)))
END
}

every_package_has_its_licence_and_its_dpkg_record() {
    local file
    for file in "$rootfs"/var/lib/dpkg/status.d/*; do
        [ -s "$rootfs/usr/share/doc/${file##*/}/copyright.gz" ] || { echo "${file##*/}: no licence"; return 1; }
        grep -q '^Version: ' "$file" || { echo "${file##*/}: no version"; return 1; }
    done
}

# Docker has the health check among the settings, podman beside them.
it_says_what_it_is_its_user_and_how_to_ask_its_health() {
    python3 - "$out/image.json" "$("$out/proxy" --version | sed -n 's/^oneshot-proxy //p')" <<'END'
import json, re, sys
image = json.load(open(sys.argv[1]))[0]
config = image["Config"]
labels = config["Labels"]
print(json.dumps(config, indent=1))
for name in "title", "description", "version", "revision", "base.name":
    assert labels["org.opencontainers.image." + name], name
assert labels["org.opencontainers.image.version"] == sys.argv[2], "label and program differ in version"
assert re.fullmatch(r"[1-9][0-9]*:[1-9][0-9]*", config["User"]), "no numeric user"
assert config["Entrypoint"] == ["/usr/bin/oneshot-proxy"] and not config.get("Cmd")
check = config.get("Healthcheck") or image.get("HealthCheck") or image.get("Healthcheck")
assert check["Test"] == ["CMD", "/usr/bin/oneshot-proxy", "healthcheck"], check
assert config.get("StopSignal") in ("SIGTERM", "15"), config.get("StopSignal")
END
}

# --- what it does ---

it_has_no_shell() {
    local shell
    for shell in /bin/sh /bin/bash /usr/bin/sh /bin/busybox; do
        [ ! -e "$rootfs$shell" ] || { echo "$shell is there"; return 1; }
    done
}

it_says_its_version() { "$out/proxy" --version | grep '^oneshot-proxy [0-9]'; }

without_credentials_it_says_what_is_missing() {
    if "$out/proxy" >"$tmp/said" 2>&1; then return 1; fi
    grep client_id "$tmp/said" && grep client_secret "$tmp/said"
}

# start_pair USER: the stand-in API and the proxy, each in its image; sets $url, $admin and $proxy_pid
start_pair() {
    # What the pair before has said must not be taken for theirs.
    rm -f "$tmp/origin.out" "$tmp/origin.log" "$tmp/proxy.out" "$tmp/proxy.log"
    "$out/origin" --client-id image --client-secret 'S3cret;#&' >"$tmp/origin.out" 2>"$tmp/origin.log" &
    pids=("$!" ${pids[@]+"${pids[@]}"})
    wait_for $! "$tmp/origin.out" ' ready ' || return 1
    export ONESHOT_PROXY_UPSTREAM_BASE_URL ONESHOT_PROXY_TOKEN_CLIENT_ID=image \
        ONESHOT_PROXY_TOKEN_CLIENT_SECRET=${2:-'S3cret;#&'} \
        ONESHOT_PROXY_UPSTREAM_PROXY=none ONESHOT_PROXY_LISTEN_ADDRESS=127.0.0.1:0 \
        ONESHOT_PROXY_ADMIN_ADDRESS
    ONESHOT_PROXY_UPSTREAM_BASE_URL=$(sed -n 's/^oneshot-origin ready //p' "$tmp/origin.out")
    # healthcheck asks the address of the settings, so that cannot be "any free port".
    ONESHOT_PROXY_ADMIN_ADDRESS=127.0.0.1:$(python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
    IMAGE_USER=$1 "$out/proxy" >"$tmp/proxy.out" 2>"$tmp/proxy.log" &
    proxy_pid=$!
    pids=("$proxy_pid" ${pids[@]+"${pids[@]}"})
    wait_for "$proxy_pid" "$tmp/proxy.log" 'event=ready ' || return 1
    url=http://$(sed -n 's/.*event=ready .*listen=\([^ ]*\).*/\1/p' "$tmp/proxy.log")
}

# end_pair: both leave with 0
end_pair() {
    local pid code=0
    for pid in "${pids[@]}"; do
        kill "$pid"
        wait "$pid" || { echo "process $pid left with $?"; code=1; }
    done
    pids=()
    return $code
}

# inside: the process in the container, found by its program's file and its parents' namespace
inside() {
    local directory
    for directory in /proc/[0-9]*; do
        [ "$(tr '\0' '\n' <"$directory/environ" 2>/dev/null | grep -c "ADMIN_ADDRESS=$ONESHOT_PROXY_ADMIN_ADDRESS\$")" = 1 ] || continue
        case $(tr '\0' ' ' <"$directory/cmdline") in /usr/bin/oneshot-proxy*) echo "${directory#/proc/}" ;; esac
    done
}

serves_as_any_user_on_a_read_only_root_without_capabilities() {
    local pid want
    start_pair 54321:54322 && curl -fsS "$url/v0/chains" | grep -o '"chainId":[0-9]*' | head -n 1 || return 1
    pid=$(inside)
    [ -n "$pid" ] || { echo "no such process"; return 1; }
    grep -E '^(Uid|Gid|Cap|NoNewPrivs)' "/proc/$pid/status"
    for want in 'CapEff:.0000000000000000' 'Uid:.54321.54321.54321.54321' 'NoNewPrivs:.1'; do
        grep -qx "$want" "/proc/$pid/status" || { echo "not $want"; return 1; }
    done
    # The last mount at / is what the process sees there.
    awk '$2 == "/" { options = $4 } END { print options; exit options !~ /^ro/ }' "/proc/$pid/mounts" || { echo "not read-only"; return 1; }
    end_pair
}

healthcheck_tells_ready_from_not_ready() {
    local deadline=$((SECONDS + 60))
    start_pair 65532:65532 || return 1
    until "$out/proxy" healthcheck; do
        [ "$SECONDS" -lt "$deadline" ] || { echo "not healthy"; return 1; }
        sleep 0.1
    done
    end_pair || return 1
    if "$out/proxy" healthcheck; then echo "healthy when nobody is there"; return 1; fi
    start_pair 65532:65532 wrong-secret || return 1
    if "$out/proxy" healthcheck; then echo "healthy with refused credentials"; return 1; fi
    end_pair
}

the_official_sdk_works_through_it() {
    unset "${!ONESHOT_PROXY_@}"
    tests/clients/node/run.sh "$out/proxy" "$out/origin"
}

# compose FILE ARGUMENT...: docker's own, or podman-compose, with the images that are there
compose() {
    local file=$1
    shift
    if docker compose version >/dev/null 2>&1 && docker info >/dev/null 2>&1; then
        docker compose -p "oneshot-test-$$" -f "$file" "$@"
    else
        podman-compose --podman-path "$PWD/$out/engine" -p "oneshot-test-$$" -f "$file" "$@"
    fi
}

# What compose.yaml describes, as it is, but for the port on this machine, which may be taken.
compose_up_serves_the_caller_and_this_machine() {
    local code=1 answer='' deadline
    [ -x "$out/engine" ] || { echo "no container can run here, so compose.yaml was not tried"; return 77; }
    command -v podman-compose >/dev/null || docker compose version >/dev/null 2>&1 || { echo "there is no compose here"; return 77; }
    export ONESHOT_PORT
    ONESHOT_PORT=$(python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
    compose_up=yes
    compose docker/compose.yaml up -d || return 1
    deadline=$((SECONDS + 120))
    while [ "$SECONDS" -lt "$deadline" ]; do
        answer=$(curl -fsS --max-time 5 "http://127.0.0.1:$ONESHOT_PORT/v0/chains?pageSize=1" 2>&1) && code=0 && break
        sleep 1
    done
    echo "$answer"
    while ! compose docker/compose.yaml logs caller 2>&1 | grep 'GET /chains: 200'; do
        if [ "$SECONDS" -ge "$deadline" ]; then
            echo "the service that calls had no answer"
            compose docker/compose.yaml logs 2>&1 | tail -n 30
            code=1
            break
        fi
        sleep 1
    done
    compose docker/compose.yaml down -t 10 && compose_up=
    return $code
}

try it_is_no_larger_than_18_mb
try there_is_one_program_and_nothing_to_give_it_orders
try it_has_no_shell
try every_library_that_is_named_is_there
try the_program_is_hardened
try the_sbom_names_what_went_in
try every_package_has_its_licence_and_its_dpkg_record
try it_says_what_it_is_its_user_and_how_to_ask_its_health
try it_says_its_version
try without_credentials_it_says_what_is_missing
try serves_as_any_user_on_a_read_only_root_without_capabilities
try healthcheck_tells_ready_from_not_ready
try the_official_sdk_works_through_it
try compose_up_serves_the_caller_and_this_machine

echo "image: $passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
