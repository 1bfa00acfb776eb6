#!/usr/bin/env bash
# The units in conf/: sound, tight, and not too tight for the program.
#   systemd.sh PROXY ORIGIN TREE
set -uo pipefail
proxy=$1 origin=$2 tree=$3
most=20    # of systemd's 100 points of exposure

command -v systemd-analyze >/dev/null || { echo "systemd-analyze is not there (Debian: systemd)"; exit 77; }
# Where anybody may enter, and where programs start: the tree may be in a home, and TMPDIR in a directory, that
# is its owner's only, and /tmp may be mounted noexec.
for place in /tmp /var/tmp; do
    dir=$(mktemp -d -p "$place") || continue
    chmod 755 "$dir"
    install -m 755 "$proxy" "$dir/oneshot-proxy"
    ! "$dir/oneshot-proxy" --version >/dev/null 2>&1 || break
    rm -rf "$dir"
    dir=
done
[ -n "$dir" ] || { echo "neither in /tmp nor in /var/tmp a program may be started"; exit 77; }
trap 'rm -rf "$dir"' EXIT
export TMPDIR=$dir
proxy=$dir/oneshot-proxy
failures=0
fail() { echo "FAILED: $*"; failures=$((failures + 1)); }

# As installed, but for the place of the program.
for unit in oneshot-proxy.service oneshot-proxy@.service; do
    sed "s|^ExecStart=/usr/bin/oneshot-proxy |ExecStart=$proxy |" "$tree/conf/$unit" >"$dir/$unit"
    grep -q "^ExecStart=$proxy " "$dir/$unit" || fail "$unit does not start /usr/bin/oneshot-proxy"
done
cp "$dir/oneshot-proxy@.service" "$dir/oneshot-proxy@staging.service"

for unit in oneshot-proxy.service oneshot-proxy@staging.service; do
    systemd-analyze verify --man=no --recursive-errors=no "$dir/$unit" >"$dir/said" 2>&1 ||
        fail "$unit does not verify"
    grep -F "$unit" "$dir/said" && fail "$unit: systemd has something to say"
    systemd-analyze security --offline=true --no-pager --threshold=$most "$dir/$unit" >"$dir/said" 2>&1 ||
        { cat "$dir/said"; fail "$unit is exposed to more than $most of 100"; }
    tail -n 1 "$dir/said"
    # In a user namespace of its own the program would see every caller's user as 65534.
    grep '^PrivateUsers=' "$dir/$unit" && fail "$unit hides who calls by a unix socket ([caller NAME], uid)"
done

# A failure that lasts is over when its cause is: systemd does not give up, nor does it with the socket units, which
# start a service again at once when that is not to be restarted, and fail after 20 starts in 2 seconds.
for unit in oneshot-proxy.service oneshot-proxy@.service; do
    sed -n '/^\[Unit\]/,/^\[Service\]/p' "$tree/conf/$unit" | grep -qx 'StartLimitIntervalSec=0' ||
        fail "$unit: systemd gives up after a few starts that fail"
    grep -qx 'Restart=on-failure' "$tree/conf/$unit" || fail "$unit is not restarted"
    grep -qx 'RestartSec=1s' "$tree/conf/$unit" || fail "$unit is not restarted after a second"
    grep '^RestartPreventExitStatus=' "$tree/conf/$unit" && fail "$unit: its socket unit fails with it"
done

# They listen where the settings do by default, for that service, under names that the program knows.
for unit in oneshot-proxy.socket oneshot-proxy-admin.socket; do
    cp "$tree/conf/$unit" "$dir/$unit"
    systemd-analyze verify --man=no --recursive-errors=no "$dir/$unit" >"$dir/said" 2>&1 ||
        fail "$unit does not verify"
    grep -F "$unit" "$dir/said" && fail "$unit: systemd has something to say"
    section=listen; [ "$unit" = oneshot-proxy.socket ] || section="admin"
    grep -qx "FileDescriptorName=$section" "$dir/$unit" || fail "$unit has not the name $section"
    grep -qx "Service=oneshot-proxy.service" "$dir/$unit" || fail "$unit is for another service"
    address=$("$proxy" --print-reference | sed -n "/^\[$section\]/,/^\[/s/^#address = //p")
    grep -qx "ListenStream=$address" "$dir/$unit" || fail "$unit does not listen on $address"
done

# The directories of oneshot-proxy.service are removed (/run) or change hands with it, and all that is in them.
grep '^\(Runtime\|State\)Directory=.*/' "$tree/conf/oneshot-proxy@.service" &&
    fail "an instance has a directory inside that of another unit"

# Of a template's name systemd takes the part before the @ for a dynamic user, one for all instances, unless it is told.
grep -qx 'User=oneshot_%i' "$tree/conf/oneshot-proxy@.service" || fail "all instances have the same user"

# The two differ in names only.
plain() { grep -v '^#' "$1" | sed "s|^User=oneshot_%i|User=oneshot-proxy|; s|%i.client_secret|client_secret|; s|%i.ini|oneshot-proxy.ini|; s|-%i||; s|, identity %i||"; }
diff <(plain "$tree/conf/oneshot-proxy.service") <(plain "$tree/conf/oneshot-proxy@.service") ||
    fail "the units differ in more than names"

if command -v python3 >/dev/null; then
    python3 "$tree/tests/systemd_confined.py" "$proxy" "$origin" "$tree/conf/oneshot-proxy.service" ||
        fail "the program does not run as the unit confines it"
else
    echo "SKIPPED: python3 is not there, so the program was not run as confined"
fi
[ "$failures" = 0 ]
