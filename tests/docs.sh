#!/bin/sh
# Settings, metrics and failures are documented once, in the program's own tables. The commented ini file and the
# tables of three documents are made from them; here they are made anew, or compared.
#   docs.sh check-ini | check-tables | write  PROGRAM
set -eu
action=$1
program=$2
tree=$(cd "$(dirname "$0")/.." && pwd)

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# The table of src/base/failure.h, as Markdown. Each row there is one line:
#   X(ID, "type", status, STAGE, "Proxy-Status error", retryable, "title") \
failures() {
    # shellcheck disable=SC2016  # Markdown's backticks
    echo '| `type`: `urn:oneshot-proxy:` and | status | `stage` | `retryable` | `Proxy-Status` error | title |'
    echo '|---|---|---|---|---|---|'
    sed -n 's/^ *X([A-Z_]*, *"\([^"]*\)", *\([0-9]*\), *\([A-Z]*\), *"\([^"]*\)", *\([a-z]*\), *"\([^"]*\)").*/\1 \2 \3 \5 \4 \6/p' \
        "$tree/src/base/failure.h" |
        while read -r slug status stage retryable error title; do
            stage=$(echo "$stage" | tr '[:upper:]' '[:lower:]')
            [ "$retryable" = true ] && retryable=yes || retryable=no
            echo "| \`$slug\` | $status | $stage | $retryable | \`$error\` | $title |"
        done
}

# table NAME: what stands between the markers <!-- NAME:begin --> and <!-- NAME:end -->
table() {
    case $1 in
    config) "$program" --print-markdown ;;
    metrics) "$program" --print-metrics ;;
    failures) failures ;;
    legs) "$program" --print-legs ;;
    esac
}

# make NAME FILE: the document with its table made anew, in $tmp/NAME.md
make() {
    [ "$(grep -cxE "<!-- $1:(begin|end) -->" "$2")" = 2 ] || { echo "$2 has no place for the table '$1'"; exit 1; }
    table "$1" >"$tmp/$1"
    [ "$(wc -l <"$tmp/$1")" -gt 10 ] || { echo "the table '$1' came out empty"; exit 1; }
    awk -v name="$1" -v table="$tmp/$1" '
        $0 == "<!-- " name ":end -->" { inside = 0 }
        !inside { print }
        $0 == "<!-- " name ":begin -->" {
            inside = 1
            while ((getline line < table) > 0) print line
        }' "$2" >"$tmp/$1.md"
}

# names: settings, metrics, failures and events of the log that a document names are there.
names() {
    status=0
    list() { (cd "$tree" && tests/files.sh '*.md' | grep -v '^tests/' | grep -v '^CHANGELOG' | xargs grep -ohE -e "$1") | sort -u; }
    has() { grep -qF -e "$2" "$1" || { echo "a document names $2, which is not there"; status=1; }; }
    table config >"$tmp/config"
    table metrics >"$tmp/metrics"
    table failures >"$tmp/failures"
    find "$tree/src" -name '*.c' -exec cat {} + >"$tmp/source"
    list '`(listen|upstream|token|admin|log|process)\.[a-z_]+' | tr -d '`' >"$tmp/names"
    [ "$(wc -l <"$tmp/names")" -gt 20 ] || { echo "too few settings are named; is the pattern right?"; status=1; }
    while read -r name; do has "$tmp/config" "\`$name\`"; done <"$tmp/names"
    list 'oneshot_proxy_[a-z_]+[a-z]' >"$tmp/names"
    while read -r name; do has "$tmp/metrics" "\`$name\`"; done <"$tmp/names"
    list 'urn:oneshot-proxy:[a-z-]+' | sed 's/.*://' >"$tmp/names"
    while read -r name; do has "$tmp/failures" "\`$name\`"; done <"$tmp/names"
    list 'event=[a-z_]+' | sed 's/event=//' >"$tmp/names"
    while read -r name; do has "$tmp/source" "\"$name\""; done <"$tmp/names"
    events
    return $status
}

# Each event of the source has its row in docs/log.md, with each level that it is logged at, and no row is left of
# one that is gone. Those that do not name their level in the source (log_at, make_line) are compared without it.
events() {
    tr -s '\n ' ' ' <"$tmp/source" |
        grep -oE '(log_(error|warn|info|debug|at)|make_line)\([^";{]*"[a-z_]+"( : "[a-z_]+")?' |
        sed 's/^\(log_[a-z]*\|make_line\)([^"]*/\1 /; s/[":]//g; s/^log_//; s/^at \|^make_line /any /' |
        awk '{ for (i = 2; i <= NF; i++) print $i, $1 }' | sort -u >"$tmp/logged"
    # shellcheck disable=SC2016  # Markdown's backticks
    sed -n 's/^| `\([a-z_]*\)` | \([a-z, ]*\) |.*/\1 \2/p' "$tree/docs/log.md" |
        tr -d ',' | awk '$2 ~ /^(error|warn|info|debug)$/ { print $1, "any"; for (i = 2; i <= NF; i++) print $1, $i }' |
        sort -u >"$tmp/told"
    [ "$(wc -l <"$tmp/logged")" -gt 50 ] || { echo "too few events are found; is the pattern right?"; status=1; }
    while read -r name level; do
        grep -qx "$name $level" "$tmp/told" || { echo "docs/log.md has no row for $name at level $level"; status=1; }
    done <"$tmp/logged"
    while read -r name level; do
        [ "$level" = any ] || grep -qxE "$name ($level|any)" "$tmp/logged" ||
            { echo "docs/log.md has $name at level $level, which the program does not log"; status=1; }
    done <"$tmp/told"
}

# same FILE MADE
same() {
    if ! diff -u "$1" "$2"; then
        echo "$1 differs from the program's table; ./dev docs makes it anew"
        exit 1
    fi
}

documents='config docs/configuration.md
metrics docs/metrics.md
failures docs/errors.md
legs docs/errors.md'

case $action in
check-ini)
    "$program" --print-reference >"$tmp/ini"
    same "$tree/conf/oneshot-proxy.ini" "$tmp/ini"
    ;;
check-tables | write)
    "$program" --print-reference >"$tmp/ini"
    [ "$action" = check-tables ] || cp "$tmp/ini" "$tree/conf/oneshot-proxy.ini"
    while read -r name file; do
        make "$name" "$tree/$file"
        if [ "$action" = write ]; then cp "$tmp/$name.md" "$tree/$file"; else same "$tree/$file" "$tmp/$name.md"; fi
    done <<END
$documents
END
    [ "$action" = write ] || names
    ;;
*)
    echo "unknown action: $action" >&2
    exit 2
    ;;
esac
