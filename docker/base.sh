# shellcheck shell=bash
# To be sourced: a bare Debian to build and to try things in, made with debootstrap.
#
#     base_tar SUITE               sees to it that build/base/SUITE.tar is there and less than a week old
#     base_unpack SUITE DIRECTORY  a fresh one
#     base_run DIRECTORY COMMAND   runs a command in it, as root, with /proc and little environment
#     base_exec DIRECTORY COMMAND  becomes it
#     base_install DIRECTORY PACKAGE...
#
# Packages come from wherever this system gets its own, with the same settings of apt; on a system
# that is no Debian, from debootstrap's own choice. What is missing and no fault of this tree's (root, a
# kernel that lets one mount, a mirror that answers) ends the script: base_skip.

# base_skip WHY: says so, loudly, and ends with 77, which is "not tried" and neither good nor bad.
base_skip() {
    printf '\n########## SKIPPED: %s ##########\n\n' "$1" >&2
    exit 77
}

# base_site SUITE: where this system gets Debian's SUITE, if it does.
base_site() {
    apt-get indextargets --format "\$(RELEASE) \$(COMPONENT) \$(SITE)" 2>/dev/null |
        awk -v suite="$1" '$1 == suite && $2 == "main" { print $3; exit }'
}

# base_source SUITE SITE: an entry of debian.sources.
base_source() {
    printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: main\n' "$2" "$1"
    printf 'Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n\n'
}

# One at a time: image, package and manifests may be made side by side.
base_tar() {
    mkdir -p build/base
    exec {base_lock}>"build/base/$1.lock"
    flock "$base_lock"
    base_make "$1"
    exec {base_lock}>&-
}

base_make() {
    local suite=$1 tar=build/base/$1.tar root=build/base/$1.new here site='' security=''
    if [ "$(id -u)" != 0 ] || ! unshare --mount true 2>/dev/null; then
        base_skip "a bare Debian $suite takes root, and a system that lets one mount and chroot"
    fi
    [ -z "$(find "$tar" -mtime -7 2>/dev/null)" ] || return 0
    # shellcheck source=/dev/null
    here=$(. /etc/os-release && [ "$ID" = debian ] && echo "$VERSION_CODENAME") || here=
    if [ -n "$here" ]; then
        site=$(base_site "$here")
        security=$(base_site "$here-security")
    fi
    echo "==> debootstrap $suite"
    rm -rf "$root"
    # shellcheck disable=SC2086  # no site: no argument
    if ! timeout --foreground -k 10 1200 debootstrap --variant=minbase --include=ca-certificates "$suite" "$root" $site >"build/base/$suite.log" 2>&1; then
        tail -n 20 "build/base/$suite.log" >&2
        rm -rf "$root"
        base_skip "debootstrap could not make a bare Debian $suite (see above)"
    fi
    [ -n "$site" ] || site=$(awk '$1 == "deb" { print $2; exit }' "$root/etc/apt/sources.list")
    rm -f "$root/etc/apt/sources.list"
    {
        base_source "$suite" "$site"
        base_source "$suite-updates" "$site"
        [ -z "$security" ] || base_source "$suite-security" "$security"
    } >"$root/etc/apt/sources.list.d/debian.sources"
    # Proxies, and how strict this system is with dates.
    apt-config dump 2>/dev/null | grep -E '^Acquire::(http|https|Check)[^ ]* ' >"$root/etc/apt/apt.conf.d/90host" || true
    rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
    tar -C "$root" -cf "$tar.new" . && mv "$tar.new" "$tar"
    rm -rf "$root"
}

base_unpack() {
    base_tar "$1"
    rm -rf "$2"
    mkdir -p "$2"
    tar -x -f "build/base/$1.tar" -C "$2"
}

base_run() { (base_exec "$@"); }

base_exec() {
    local root=$1
    shift
    # shellcheck disable=SC2016  # for the inner shell
    exec unshare --mount sh -c '
        root=$1
        shift
        mount -t proc proc "$root/proc" || exit
        exec chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 \
            DEBIAN_FRONTEND=noninteractive "$@"' base_exec "$root" "$@"
}

base_install() {
    local root=$1 log=$1.apt.log
    shift
    base_run "$root" apt-get -o APT::Update::Error-Mode=any update -q >"$log" 2>&1 ||
        { tail -n 20 "$log"; base_skip "apt-get cannot update in a bare Debian"; }
    base_run "$root" sh -c 'apt-get upgrade -y -q && exec apt-get install -y -q --no-install-recommends "$@"' \
        apt "$@" >>"$log" 2>&1 || { tail -n 20 "$log"; return 1; }
}
