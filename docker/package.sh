#!/usr/bin/env bash
# ./dev package: builds the .deb for Debian 12 and 13 and tries it in bare systems of both
# needs: debootstrap lintian dpkg-dev util-linux
#
# Each is built in a system of its own, since a package depends on the libraries it was built with.
# They are left in build/package/SUITE. SUITES="trixie" does one alone.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=docker/base.sh
. docker/base.sh

out=build/package
log=$out/log
passed=0 failed=0 skipped=0
pids=()
mkdir -p "$out"
exec 9>"$out.lock"
flock -n 9 || { echo "another ./dev package is at work in this tree" >&2; exit 1; }

say() { printf '==> %s\n' "$*"; }

# try NAME [ARGUMENT...]: a function whose name says what is true
try() {
    # In the background, for `set -e` means nothing on the left of an ||.
    local code=0
    (trap 'stop_started || true' EXIT; "$@") >"$log" 2>&1 &
    wait $! || code=$?
    case $code in
    0) echo "ok       $suite: $1"; passed=$((passed + 1)) ;;
    77) echo "SKIPPED  $suite: $1"; cat "$log"; skipped=$((skipped + 1)) ;;
    *) echo "FAILED   $suite: $1"; tail -n 40 "$log"; failed=$((failed + 1)) ;;
    esac
}

# build SUITE: build/package/SUITE.deb, and its build system in $out/SUITE.build
build() {
    local root=$out/$1.build
    base_unpack "$1" "$root"
    base_install "$root" gcc libc6-dev cmake ninja-build pkg-config dpkg-dev file libmicrohttpd-dev \
        libcurl4-openssl-dev libjson-c-dev libinih-dev libsqlite3-dev libssl-dev libnghttp2-dev libpq-dev
    mkdir "$root/src"
    tests/files.sh '*' | tar -c -T - | tar -x -C "$root/src"
    build_once "$root" /src
    mkdir -p "$out/$1"
    cp "$root"/src/build/release/oneshot-proxy_*.deb "$out/$1/"
    mv "$root"/src/build/release/oneshot-proxy_*.deb "$root/one.deb"
}

build_once() { # build_once ROOT DIRECTORY
    # shellcheck disable=SC2016  # for the inner shell
    base_run "$1" env SOURCE_DATE_EPOCH="$(git log -1 --format=%ct 2>/dev/null || date +%s)" sh -c '
        cd "$1"
        cmake --preset release -DCMAKE_INSTALL_PREFIX=/usr -DPROXY_VALGRIND=OFF >/dev/null
        cmake --build --preset release --target oneshot-proxy oneshot-origin docs
        cd build/release
        cpack -G DEB' build "$2" >"$log" 2>&1 || { tail -n 40 "$log"; return 1; }
}

# --- what is true of the package ---

lintian_finds_no_error() {
    lintian --allow-root --fail-on error --suppress-tags bogus-mail-host,bogus-mail-host-in-debian-changelog "$root/one.deb"
}

built_twice_it_has_the_same_bytes() {
    rm -rf "$root/src/build"
    mv "$root/src" "$root/another"
    build_once "$root" /another
    cmp "$root/one.deb" "$root"/another/build/release/oneshot-proxy_*.deb
    mv "$root/another" "$root/src"
}

it_installs_with_what_it_depends_on() {
    base_install "$system" /one.deb
    base_run "$system" oneshot-proxy --version
    base_run "$system" dpkg-query -s oneshot-proxy | grep '^ /etc/oneshot-proxy/oneshot-proxy.ini '
    grep 'is not started yet' "$system.apt.log"
}

without_credentials_the_service_says_what_is_missing() {
    local said command
    read -ra command < <(command_line)
    if said=$(base_run "$system" "${command[@]}" 2>&1); then return 1; fi
    grep client_id <<<"$said"
    grep client_secret <<<"$said"
}

# They are recommended, and only a ledger needs one. Something else may have brought it along, as Debian 13's
# login does SQLite: so it has another name meanwhile.
a_ledger_without_its_library_says_which_package_has_it() {
    local store library package said file files code
    for store in "sqlite:/var/ledger.db libsqlite3 libsqlite3-0" "postgresql://one@127.0.0.1/two libpq libpq5"; do
        read -r store library package <<<"$store"
        code=0
        mapfile -t files < <(find "$system/usr/lib" -name "$library.so*")
        for file in "${files[@]}"; do mv "$file" "$file.away"; done
        said=$(base_run "$system" env ONESHOT_PROXY_LEDGER_STORE="$store" oneshot-proxy ledger init 2>&1) || code=$?
        for file in "${files[@]}"; do mv "$file.away" "$file"; done
        [ "$code" != 0 ] || return 1
        grep "install $package" <<<"$said"
    done
}

command_line() { sed -n 's/^ExecStart=//p' "$system/usr/lib/systemd/system/oneshot-proxy.service"; }

# As another user than root, with the secret where systemd would lay it.
it_runs_under_the_command_line_of_its_unit() {
    local command url port as_nobody deadline ready=no
    as_nobody=(setpriv --reuid 65534 --regid 65534 --clear-groups --no-new-privs
        env ONESHOT_PROXY_TOKEN_CLIENT_SECRET_FILE=/run/credentials/client_secret)
    read -ra command < <(command_line)
    rm -f "$log.origin" "$log.proxy" # of the suite before
    # In the system it was built in, whose libraries it wants.
    base_exec "$root" /src/build/release/tests/origin/oneshot-origin --client-id package --client-secret 'S3cret;#&' >"$log.origin" &
    pids+=($!)
    deadline=$((SECONDS + 60))
    until grep -qs ' ready ' "$log.origin"; do [ "$SECONDS" -lt "$deadline" ] || return 1; sleep 0.1; done
    url=$(sed -n 's/^oneshot-origin ready //p' "$log.origin")
    port=$((20000 + RANDOM % 10000))
    sed -i "s|^#base_url = .*|base_url = $url|; s|^#client_id =.*|client_id = package|
        s|^#address = 127.0.0.1:8080|address = 127.0.0.1:0|; s|^#address = 127.0.0.1:9090|address = 127.0.0.1:$port|" \
        "$system/etc/oneshot-proxy/oneshot-proxy.ini"
    mkdir -p "$system/run/credentials"
    printf 'S3cret;#&\n' >"$system/run/credentials/client_secret"
    chmod 600 "$system/run/credentials/client_secret"
    chown -R 65534:65534 "$system/run/credentials"
    base_exec "$system" "${as_nobody[@]}" "${command[@]}" >"$log.proxy" 2>&1 &
    pids+=($!)
    deadline=$((SECONDS + 60))
    while [ $ready = no ] && [ "$SECONDS" -lt "$deadline" ]; do
        if base_run "$system" "${as_nobody[@]}" "${command[0]}" healthcheck "${command[@]:1}"; then ready=yes; fi
        sleep 0.1
    done
    cat "$log.proxy"
    [ $ready = yes ]
    grep 'event=token_obtained' "$log.proxy"
    stop_started
}

# stop_started: all that a trial has started leaves with 0 when it is told to.
stop_started() {
    local pid code=0
    for pid in ${pids[@]+"${pids[@]}"}; do
        kill "$pid"
        wait "$pid" || { echo "process $pid left with $?"; code=1; }
    done
    pids=()
    return $code
}

an_upgrade_keeps_what_the_administrator_wrote() {
    local new=$system/new
    base_run "$system" dpkg-deb -R /one.deb /new
    sed -i 's/^Version: .*/Version: 99.0/' "$new/DEBIAN/control"
    echo '# a later version' >>"$new/etc/oneshot-proxy/oneshot-proxy.ini"
    base_run "$system" sh -c 'dpkg-deb --root-owner-group -b /new /two.deb && dpkg --force-confold -i /two.deb'
    base_run "$system" dpkg-query -s oneshot-proxy | grep -x 'Version: 99.0'
    grep -x 'client_id = package' "$system/etc/oneshot-proxy/oneshot-proxy.ini"
}

removed_it_leaves_only_the_settings() {
    base_run "$system" dpkg -r oneshot-proxy
    [ ! -e "$system/usr/bin/oneshot-proxy" ] && [ ! -e "$system/usr/lib/systemd/system/oneshot-proxy.service" ]
    [ -e "$system/etc/oneshot-proxy/oneshot-proxy.ini" ]
}

purged_it_takes_the_secrets_with_it_and_leaves_what_else_was_laid_there() {
    echo secret >"$system/etc/oneshot-proxy/client_secret"
    echo secret >"$system/etc/oneshot-proxy/payments.client_secret"
    echo mine >"$system/etc/oneshot-proxy/notes"
    base_run "$system" dpkg -P oneshot-proxy
    [ "$(ls -A "$system/etc/oneshot-proxy")" = notes ]
    rm -r "$system/etc/oneshot-proxy"
    [ -z "$(find "$system/etc" "$system/usr" "$system/var/lib/dpkg/info" -name '*oneshot-proxy*')" ]
}

enabled_and_then_removed_it_leaves_no_link() {
    base_install "$system" systemd /one.deb
    base_run "$system" systemctl enable oneshot-proxy oneshot-proxy@payments oneshot-proxy.socket
    [ "$(find "$system/etc/systemd" -name 'oneshot-proxy*' | wc -l)" = 3 ]
    base_run "$system" dpkg -P oneshot-proxy
    [ -z "$(find "$system/etc/systemd" -name 'oneshot-proxy*')" ]
}

for suite in ${SUITES:-bookworm trixie}; do
    say "building for $suite"
    root=$out/$suite.build system=$out/$suite.system
    build "$suite"
    base_unpack "$suite" "$system"
    cp "$root/one.deb" "$system/one.deb"
    try lintian_finds_no_error
    try it_installs_with_what_it_depends_on
    try without_credentials_the_service_says_what_is_missing
    try a_ledger_without_its_library_says_which_package_has_it
    try it_runs_under_the_command_line_of_its_unit
    try an_upgrade_keeps_what_the_administrator_wrote
    try removed_it_leaves_only_the_settings
    try purged_it_takes_the_secrets_with_it_and_leaves_what_else_was_laid_there
    try enabled_and_then_removed_it_leaves_no_link
    [ "$suite" != bookworm ] || try built_twice_it_has_the_same_bytes
    rm -rf "$root" "$system"
done
ls -l "$out"/*/*.deb
echo "package: $passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
