#!/bin/sh
# In the build stage: libcurl with HTTP, HTTPS and HTTP/2 over OpenSSL and nothing else, as an archive
# in /opt/curl, from Debian's source package and so with Debian's security fixes. The version goes to
# /opt/curl/version.
#
# STALE_CURL=refuse takes only the version that Debian's libcurl packages have; =warn falls back to
# the newest one whose source the mirror really has, and says so.
set -eu
mkdir -p /build/curl
cd /build/curl

current=$(apt-cache madison curl | awk '$NF == "Packages" { print $3; exit }' | sed 's/+b[0-9]*$//')
[ -n "$current" ] || { echo "curl.sh: apt knows no package curl"; exit 1; }
version=
for candidate in "$current" $(apt-cache madison curl | awk '$NF == "Sources" { print $3 }' | sort -Vru); do
    if apt-get -o APT::Sandbox::User=root source -q "curl=$candidate"; then
        version=$candidate
        break
    fi
    if [ "${STALE_CURL:-refuse}" != warn ]; then
        echo "curl.sh: no source of curl $candidate, which is the version of Debian's libcurl;"
        echo "curl.sh: build with STALE_CURL=warn to take an older one, for a trial only"
        exit 1
    fi
done
[ -n "$version" ] || { echo "curl.sh: no source package of curl can be had"; exit 1; }
[ "$version" = "$current" ] ||
    echo "########## STALE: curl $version instead of $current: no image for production ##########"

# Whatever is not asked for here is found by nobody: only the libraries named in the Dockerfile are there.
off=
for feature in COOKIES NETRC ALTSVC HSTS DOH MIME FORM_API NTLM KERBEROS_AUTH NEGOTIATE_AUTH AWS \
    WEBSOCKETS IPFS SRP; do
    off="$off -DCURL_DISABLE_$feature=ON"
done
for library in CURL_USE_LIBPSL USE_LIBIDN2 CURL_ZLIB CURL_BROTLI CURL_ZSTD CURL_USE_LIBSSH2 \
    BUILD_CURL_EXE BUILD_SHARED_LIBS BUILD_LIBCURL_DOCS BUILD_MISC_DOCS BUILD_TESTING BUILD_EXAMPLES \
    ENABLE_CURL_MANUAL; do
    off="$off -D$library=OFF"
done
# shellcheck disable=SC2086  # options are words
cmake -G Ninja -S "curl-${version%%-*}" -B made -DCMAKE_BUILD_TYPE=RelWithDebInfo \
    -DCMAKE_C_FLAGS="-ffunction-sections -fdata-sections -fPIE -fstack-protector-strong -D_FORTIFY_SOURCE=2" \
    -DCMAKE_INSTALL_PREFIX=/opt/curl -DHTTP_ONLY=ON -DCURL_USE_OPENSSL=ON -DUSE_NGHTTP2=ON \
    -DCURL_CA_BUNDLE=/etc/ssl/certs/ca-certificates.crt -DCURL_CA_PATH=none $off >configure.log 2>&1 ||
    { tail -n 40 configure.log; exit 1; }
grep -E '^-- (Protocols|Features|Enabled SSL)' configure.log
cmake --build made --target install >build.log 2>&1 || { tail -n 40 build.log; exit 1; }
printf '%s\n' "$version" >/opt/curl/version
cp "curl-${version%%-*}/debian/copyright" /opt/curl/copyright
rm -rf /build/curl
