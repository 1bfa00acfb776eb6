#!/usr/bin/env bash
# For the trials of the image: image_run.sh TAG ROOTFS PROGRAM [ARGUMENT...] runs it in the foreground on
# this host's network, locked down, as user $IMAGE_USER. $IMAGE_ENGINE is the engine's command line; when it
# is empty, a chroot into ROOTFS takes its place. Temporary files that are named in the arguments, and all
# beside them, are given to that user, and are there at the same place.
set -euo pipefail
tag=$1 rootfs=$2 program=$3
shift 3
user=${IMAGE_USER:-65532:65532}

mounts=()
for argument in "$@"; do
    case $argument in
    "${TMPDIR:-/tmp}"/*/*)
        chown -R "$user" "${argument%/*}"
        mounts+=("${argument%/*}")
        ;;
    esac
done

if [ -n "$IMAGE_ENGINE" ]; then
    options=()
    for directory in ${mounts[@]+"${mounts[@]}"}; do options+=(-v "$directory:$directory:ro"); done
    for name in "${!ONESHOT_PROXY_@}"; do options+=(-e "$name"); done
    # shellcheck disable=SC2086  # words of a command line
    exec $IMAGE_ENGINE run --rm --no-healthcheck --network host --read-only --cap-drop all --security-opt no-new-privileges \
        --user "$user" ${options[@]+"${options[@]}"} "$tag" "$@"
fi

export rootfs program user
# shellcheck disable=SC2016  # for the inner shell
exec unshare --mount bash -c '
    set -e
    mount --bind "$rootfs" "$rootfs"
    while [ "$1" != -- ]; do
        mkdir -p "$rootfs$1"
        mount --bind "$1" "$rootfs$1"
        shift
    done
    shift
    mkdir -p "$rootfs/proc"
    mount -t proc proc "$rootfs/proc"
    mount -o remount,bind,ro "$rootfs"
    exec setpriv --no-new-privs chroot --userspec="$user" "$rootfs" "/usr/bin/$program" "$@"
' image_run ${mounts[@]+"${mounts[@]}"} -- "$@"
