#!/bin/sh
# cmake --install puts everything in its place, and what it puts there works: install.sh BUILD-DIRECTORY
set -u
build=$1
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
DESTDIR=$root cmake --install "$build" >"$root/log" 2>&1 || { cat "$root/log"; exit 1; }
rm "$root/log"

status=0
sysconf=$(find "$root" -type d -path '*etc/oneshot-proxy')
prefix=$(find "$root" -type f -path '*/bin/oneshot-proxy' | sed 's|/bin/oneshot-proxy$||')
for file in "$prefix/bin/oneshot-proxy" "$sysconf/oneshot-proxy.ini" \
    "$prefix/share/man/man1/oneshot-proxy.1.gz" "$prefix/share/man/man5/oneshot-proxy.ini.5.gz" \
    "$prefix/lib/systemd/system/oneshot-proxy.service" "$prefix/lib/systemd/system/oneshot-proxy@.service" \
    "$prefix/lib/systemd/system/oneshot-proxy.socket" "$prefix/lib/systemd/system/oneshot-proxy-admin.socket" \
    "$prefix/share/doc/oneshot-proxy/README.md" "$prefix/share/doc/oneshot-proxy/alerts.yml" \
    "$prefix/share/doc/oneshot-proxy/docs/configuration.md" "$prefix/share/doc/oneshot-proxy/docs/status-page.png" \
    "$prefix/share/doc/oneshot-proxy/CHANGELOG.md" "$prefix/share/doc/oneshot-proxy/SECURITY.md" \
    "$prefix/share/doc/oneshot-proxy/copyright" "$prefix/share/doc/oneshot-proxy/changelog.gz"; do
    [ -s "$file" ] || { echo "not there: $file"; status=1; }
done
others=$(find "$root" -type f ! -path '*/share/doc/oneshot-proxy/*' | wc -l)
[ "$others" = 8 ] || { echo "$others files beside the documents, not 8:"; find "$root" -type f; status=1; }

# The units name what is there.
for unit in oneshot-proxy.service oneshot-proxy@.service; do
    program=$(sed -n 's/^ExecStart=\([^ ]*\) .*/\1/p' "$prefix/lib/systemd/system/$unit")
    config=$(sed -n 's/^ExecStart=.* --config \([^ ]*\)$/\1/p' "$prefix/lib/systemd/system/$unit")
    secret=$(sed -n 's/^LoadCredential=client_secret://p' "$prefix/lib/systemd/system/$unit")
    [ "$root$program" = "$prefix/bin/oneshot-proxy" ] || { echo "$unit starts $program"; status=1; }
    [ "$root${config%/*}" = "$sysconf" ] || { echo "$unit reads $config"; status=1; }
    [ "${secret%/*}" = "${config%/*}" ] || { echo "$unit has the secret in $secret"; status=1; }
done

# The default settings lack nothing but credentials, and say which.
"$prefix/bin/oneshot-proxy" --check --config "$sysconf/oneshot-proxy.ini" 2>"$root/said"
code=$?
[ $code = 1 ] || { echo "--check of the default settings left with $code, not 1: $(cat "$root/said")"; status=1; }
for key in client_id client_secret; do
    grep -q "$key" "$root/said" || { echo "not a word about $key: $(cat "$root/said")"; status=1; }
done
ONESHOT_PROXY_TOKEN_CLIENT_ID=a ONESHOT_PROXY_TOKEN_CLIENT_SECRET=b \
    "$prefix/bin/oneshot-proxy" --check --config "$sysconf/oneshot-proxy.ini" || status=1
exit $status
