#!/usr/bin/env bash
# ./dev image: builds the container image, says what is in it and how large, and tries it
# needs: debootstrap podman runc netavark aardvark-dns iptables podman-compose binutils openssl curl python3 @node
#
# With docker or podman where they work. Without a registry the base is made with debootstrap; and
# where no container can run, podman builds by chroot, and the trials run in a chroot as well.
# What is made lies in build/image: the image as an archive, the SBOM, the files of the image.
# STALE_CURL=refuse: fail when the mirror has no source of today's libcurl (docker/curl.sh).
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=docker/base.sh
. docker/base.sh
# shellcheck source=docker/engine.sh
. docker/engine.sh

out=build/image
mkdir -p build
exec 9>build/image.lock
flock -n 9 || { echo "another ./dev image is at work in this tree" >&2; exit 1; }
rm -rf "$out"
mkdir -p "$out"

say() { printf '==> %s\n' "$*"; }

engine_pick
say "building with ${engine_name}"
start=$SECONDS
for target in origin caller proxy; do
    engine_build "$target" "oneshot-$target" --build-arg "STALE_CURL=${STALE_CURL:-warn}" \
        --build-arg "REVISION=$(git rev-parse HEAD 2>/dev/null || echo unknown)" >"$out/build.log" 2>&1 ||
        {
            tail -n 60 "$out/build.log"
            if grep -aqE 'Failed to fetch|Temporary failure resolving|no source package of curl' "$out/build.log"; then
                base_skip "the image takes a mirror of Debian's that answers (see above)"
            fi
            say "FAILED: the image $target"
            exit 1
        }
    grep -a 'STALE: ' "$out/build.log" || true
done
say "built in $((SECONDS - start)) s"

engine_files oneshot-proxy "$out/rootfs"
engine_files oneshot-origin "$out/origin-rootfs"
cp "$out/rootfs/usr/share/doc/oneshot-proxy/sbom.spdx.json" "$out/"
"${engine[@]}" image inspect oneshot-proxy >"$out/image.json"
engine_save oneshot-proxy "$out/oneshot-proxy.tar"
gzip -9kf "$out/oneshot-proxy.tar"

# The sizes, in bytes as they lie in the image.
say "what is in it"
(cd "$out/rootfs" && find . -type f -size +8k -printf '%s %P\n' | sort -rn |
    awk '{ printf "%10d  %s\n", $1, $2 }')
total=$(find "$out/rootfs" -type f -printf '%s\n' | awk '{ sum += $1 } END { print sum }')
packed=$(stat -c %s "$out/oneshot-proxy.tar.gz")
printf '%10d  bytes in all files; %d compressed (gzip)\n' "$total" "$packed"

engine_runner oneshot-proxy "$out/rootfs" "$out/proxy"
engine_runner oneshot-origin "$out/origin-rootfs" "$out/origin"
[ "$engine_name" = chroot ] || engine_command "$out/engine"
docker/image_test.sh "$out" "$total"
