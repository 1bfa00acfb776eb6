# shellcheck shell=bash
# To be sourced, after base.sh, at the top of the tree: whichever of docker and podman works.
#
#     engine_pick                        sets $engine_name and the array $engine
#     engine_build TARGET TAG [OPTION]   builds a target of docker/Dockerfile
#     engine_files TAG DIRECTORY         the files of the image
#     engine_save TAG FILE               the image as an archive
#     engine_command FILE                writes a command that is the engine with all its options
#     engine_runner TAG ROOTFS FILE      writes a script that runs the image by way of image_run.sh; the
#                                        tag is the name of its program, too
#
# $engine_name is docker, podman, or chroot: podman that can build in a chroot but run nothing.

engine=()
engine_name=
engine_base=docker.io/library/debian:trixie-slim

# Podman keeps its images in build/, apart from anyone's own. It wants to raise limits that this
# process may not raise, so it is given modest ones; its usual runtime does not know every arrangement
# of cgroups, so there is a second.
engine_podman() {
    local storage runtime
    cat >build/base/containers.conf <<'END'
[containers]
default_ulimits = ["nofile=8192:8192", "nproc=4096:4096"]
[engine]
cgroup_manager = "cgroupfs"
[network]
network_backend = "netavark"
END
    export CONTAINERS_CONF=$PWD/build/base/containers.conf
    for storage in overlay vfs; do
        engine=(podman --root "$PWD/build/containers/$storage" --runroot "$PWD/build/containers/$storage.run"
            --storage-driver "$storage")
        if "${engine[@]}" info >/dev/null 2>&1; then break; fi
    done
    "${engine[@]}" image exists "$engine_base" ||
        "${engine[@]}" import -q - "$engine_base" <build/base/trixie.tar >/dev/null ||
        base_skip "podman cannot keep an image here"
    for runtime in '' crun runc; do
        [ -z "$runtime" ] || command -v "$runtime" >/dev/null || continue
        if "${engine[@]}" ${runtime:+--runtime "$runtime"} run --rm --network host "$engine_base" true >/dev/null 2>&1; then
            engine+=(${runtime:+--runtime "$runtime"})
            engine_name=podman
            return 0
        fi
    done
    engine_name=chroot
    echo "##################################################################################"
    echo "## podman cannot run a container here, so the image is built and tried by chroot ##"
    "${engine[@]}" run --rm --network host "$engine_base" true 2>&1 | tail -n 3 | sed 's/^/## /' || true
    echo "##################################################################################"
}

engine_pick() {
    if [ "${ENGINE:-}" != podman ] && docker info >/dev/null 2>&1; then
        engine=(docker)
        engine_name=docker
        return 0
    fi
    command -v podman >/dev/null || base_skip "neither docker nor podman works here"
    base_tar trixie
    engine_podman
    [ "${ENGINE:-}" != chroot ] || engine_name=chroot
}

engine_build() {
    local target=$1 tag=$2 options=()
    shift 2
    [ "$engine_name" = docker ] || options=(--format docker --layers --pull-never --network host)
    [ "$engine_name" != chroot ] || options+=(--isolation chroot)
    "${engine[@]}" build "${options[@]}" "$@" -f docker/Dockerfile --target "$target" -t "$tag" .
}

engine_files() {
    local id
    id=$("${engine[@]}" create --no-healthcheck "$1")
    mkdir -p "$2"
    "${engine[@]}" export "$id" | tar -x -C "$2"
    "${engine[@]}" rm "$id" >/dev/null
}

engine_save() {
    if [ "$engine_name" = docker ]; then
        docker save -o "$2" "$1"
    else
        "${engine[@]}" save -q --format docker-archive -o "$2" "$1"
    fi
}

engine_command() {
    printf '#!/bin/sh\nexport CONTAINERS_CONF=%q\nexec %s "$@"\n' "${CONTAINERS_CONF:-}" "${engine[*]@Q}" >"$1"
    chmod +x "$1"
}

engine_runner() {
    local words=''
    [ "$engine_name" = chroot ] || words=${engine[*]}
    {
        echo '#!/bin/sh'
        printf 'export CONTAINERS_CONF=%q IMAGE_ENGINE=%q\n' "${CONTAINERS_CONF:-}" "$words"
        printf 'exec %q %q %q %q "$@"\n' "$PWD/docker/image_run.sh" "$1" "$PWD/$2" "$1"
    } >"$3"
    chmod +x "$3"
}
