#!/bin/sh
# In the build stage: rootfs.sh PROGRAM ROOT lays out all that the image holds.
#   the program, stripped, and the shared libraries it names, at the paths where it finds them
#   CA certificates, and what the C library reads to look up names and users
#   what all that is made of: dpkg records and licences of the packages, sbom.spdx.json
# PROGRAM.map, the linker's map, tells which archives went into the program.
set -eu
program=$1
root=$2
name=${program##*/}
map=$(dirname "$program")/$name.map
[ -f "$map" ] || map=$(echo "$program" | sed "s|\(build/[^/]*\)/.*|\1/$name.map|")
records=$root/var/lib/dpkg/status.d

mkdir -p "$root/usr/bin" "$root/etc/ssl/certs" "$root/run/oneshot-proxy" "$root/var/lib/oneshot-proxy" "$records"
strip -o "$root/usr/bin/$name" "$program"
ldd "$program" | grep -o '/[^ ]*' | sort -u >/build/shared
while read -r library; do
    mkdir -p "$root$(dirname "$library")"
    cp -L "$library" "$root$library"
done </build/shared

cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
cp /etc/os-release "$root/etc/"
printf 'hosts: files dns\npasswd: files\ngroup: files\n' >"$root/etc/nsswitch.conf"
printf 'root:x:0:0::/:/nologin\noneshot:x:65532:65532::/:/nologin\n' >"$root/etc/passwd"
printf 'root:x:0:\noneshot:x:65532:\n' >"$root/etc/group"
# A place for sockets, and one for a ledger: a volume that is mounted there gets its owner.
chown 65532:65532 "$root/run/oneshot-proxy" "$root/var/lib/oneshot-proxy"
chmod 700 "$root/var/lib/oneshot-proxy"

# --- the packages: one "PACKAGE HOW" a line ---

# owner FILE: the package it came with. The file may be known by its path before /usr was merged in.
owner() {
    real=$(realpath "$1")
    dpkg-query -S "$real" 2>/dev/null || dpkg-query -S "${real#/usr}" 2>/dev/null || dpkg-query -S "$1"
}
{
    while read -r library; do echo "$(owner "$library" | sed 's/:.*//') DYNAMIC_LINK"; done </build/shared
    grep -o '/[^ ()]*\.a(' "$map" | tr -d '(' | sort -u | while read -r archive; do
        case $archive in
        /opt/curl/* | /opt/libpq/*) ;; # libpq.a itself is from libpq-dev
        *) echo "$(owner "$archive" | sed 's/:.*//') STATIC_LINK" ;;
        esac
    done
    echo "ca-certificates CONTAINS"
} | sort -u >/build/packages
[ -s /build/packages ] || exit 1

field() { dpkg-query -W -f "\${$2}" "$1"; }

while read -r package _; do
    [ -e "$records/$package" ] || {
        dpkg-query -s "$package" >"$records/$package"
        mkdir -p "$root/usr/share/doc/$package"
        gzip -9nc "/usr/share/doc/$package/copyright" >"$root/usr/share/doc/$package/copyright.gz"
    }
done </build/packages

# entry NAME VERSION SOURCE PURL HOW: one package of the SBOM and how the program relates to it
entry() {
    id=SPDXRef-Package-$(printf '%s' "$1" | tr -c 'A-Za-z0-9.-' -)
    printf '%s{"SPDXID":"%s","name":"%s","versionInfo":"%s","supplier":"Organization: Debian",' "$comma" "$id" "$1" "$2"
    printf '"sourceInfo":"built from the source package %s",' "$3"
    printf '"downloadLocation":"NOASSERTION","filesAnalyzed":false,"licenseConcluded":"NOASSERTION",'
    printf '"licenseDeclared":"NOASSERTION","copyrightText":"NOASSERTION","externalRefs":[{'
    printf '"referenceCategory":"PACKAGE-MANAGER","referenceType":"purl","referenceLocator":"%s"}]}' "$4"
    printf '%s{"spdxElementId":"SPDXRef-Program","relationshipType":"%s","relatedSpdxElement":"%s"}' \
        "$comma" "$5" "$id" >>/build/relations
    comma=,
}
# purl NAME VERSION ARCHITECTURE SOURCE
purl() {
    printf 'pkg:deb/debian/%s@%s?arch=%s&distro=debian-%s&upstream=%s' \
        "$1" "$(printf '%s' "$2" | sed 's/+/%2B/g; s/:/%3A/g')" "$3" "$distro" "$4"
}

# shellcheck source=/dev/null
distro=$(. /etc/os-release && echo "$VERSION_ID")
version=$("$root/usr/bin/$name" --version 2>/dev/null | sed -n 's/^oneshot-proxy //p')
sum=$(sha256sum "$root/usr/bin/$name" | cut -d ' ' -f 1)
: >/build/relations
comma=
{
    printf '{"spdxVersion":"SPDX-2.3","dataLicense":"CC0-1.0","SPDXID":"SPDXRef-DOCUMENT","name":"%s",' "$name"
    printf '"documentNamespace":"https://spdx.org/spdxdocs/%s-%s",' "$name" "$sum"
    printf '"creationInfo":{"created":"%s","creators":["Tool: docker/rootfs.sh"]},' \
        "$(date -u -d "@${SOURCE_DATE_EPOCH:-$(date +%s)}" +%Y-%m-%dT%H:%M:%SZ)"
    printf '"packages":['
    while read -r package how; do
        entry "$package" "$(field "$package" Version)" "$(field "$package" source:Package) $(field "$package" source:Version)" \
            "$(purl "$package" "$(field "$package" Version)" "$(field "$package" Architecture)" "$(field "$package" source:Package)")" "$how"
    done </build/packages
    if grep -q '/opt/curl/.*\.a(' "$map"; then
        curl=$(cat /opt/curl/version)
        entry libcurl "$curl" "curl $curl, with HTTP and TLS only" "$(purl curl "$curl" source curl)" STATIC_LINK
        printf 'Package: curl\nStatus: install ok installed\nArchitecture: %s\nVersion: %s\nDescription: libcurl, with HTTP and TLS only\n' \
            "$(dpkg --print-architecture)" "$curl" >"$records/curl"
        mkdir -p "$root/usr/share/doc/curl"
        gzip -9nc /opt/curl/copyright >"$root/usr/share/doc/curl/copyright.gz"
    fi
    printf '%s{"SPDXID":"SPDXRef-Program","name":"%s","versionInfo":"%s","downloadLocation":"NOASSERTION",' \
        "$comma" "$name" "${version:-NOASSERTION}"
    printf '"filesAnalyzed":false,"licenseConcluded":"NOASSERTION","licenseDeclared":"NOASSERTION",'
    printf '"copyrightText":"NOASSERTION","primaryPackagePurpose":"APPLICATION",'
    printf '"checksums":[{"algorithm":"SHA256","checksumValue":"%s"}]}],' "$sum"
    printf '"relationships":[{"spdxElementId":"SPDXRef-DOCUMENT","relationshipType":"DESCRIBES","relatedSpdxElement":"SPDXRef-Program"},'
    cat /build/relations
    printf ']}\n'
} >"$root/usr/share/doc/$name.sbom"
mkdir -p "$root/usr/share/doc/$name"
mv "$root/usr/share/doc/$name.sbom" "$root/usr/share/doc/$name/sbom.spdx.json"
