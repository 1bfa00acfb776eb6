#!/bin/sh
# A PostgreSQL server for tests, on the loopback address: postgres.sh DIRECTORY PORT [SETTING=VALUE...]
#
# Makes a cluster in DIRECTORY if there is none, then becomes its server, which ends with the process
# that started it. Started again with the same DIRECTORY it goes on with the same data. Roles: `postgres`
# needs no password, `guarded` has the password that is in DIRECTORY.password. PostgreSQL does not run as
# root: then the server runs as the user `postgres`, whom Debian's package makes, or as `nobody`.
set -eu
directory=$1
port=$2
shift 2

bin=
for candidate in /usr/lib/postgresql/*/bin "$(pg_config --bindir 2>/dev/null || :)"; do
    [ ! -x "$candidate/postgres" ] || bin=$candidate
done
[ -n "$bin" ] || { echo "postgres.sh: PostgreSQL's server is not installed (Debian: postgresql)" >&2; exit 1; }

as=
if [ "$(id -u)" = 0 ]; then
    user=nobody
    ! id postgres >/dev/null 2>&1 || user=postgres
    as="setpriv --reuid=$user --regid=$(id -g "$user") --clear-groups"
fi

if [ ! -f "$directory/PG_VERSION" ]; then
    mkdir -p "$directory"
    [ -z "$as" ] || chown "$user" "$directory"
    # shellcheck disable=SC2086  # words
    (cd / && $as "$bin/initdb" --no-sync --no-instructions -A trust -U postgres -E UTF8 --locale=C -D "$directory") >&2
    password=$(od -An -N12 -tx1 /dev/urandom | tr -d ' \n')
    (umask 077 && printf '%s\n' "$password" >"$directory.password")
    # shellcheck disable=SC2086
    printf "CREATE ROLE guarded LOGIN CREATEDB PASSWORD '%s'\n" "$password" |
        (cd / && $as "$bin/postgres" --single -D "$directory" postgres) >/dev/null
    printf '%s\n' 'host all guarded 127.0.0.1/32 scram-sha-256' 'host replication all 127.0.0.1/32 trust' \
        'host all all 127.0.0.1/32 trust' >"$directory/pg_hba.conf"
fi

# With TLS when POSTGRES_CERTIFICATE and POSTGRES_KEY name its files; the key has to be the server's own.
if [ -n "${POSTGRES_CERTIFICATE:-}" ]; then
    cp "$POSTGRES_CERTIFICATE" "$directory/server.crt"
    cp "$POSTGRES_KEY" "$directory/server.key"
    chmod 600 "$directory/server.key"
    [ -z "$as" ] || chown "$user" "$directory/server.crt" "$directory/server.key"
    set -- "$@" ssl=on
fi

set -- "$@" "port=$port" listen_addresses=127.0.0.1 unix_socket_directories= shared_buffers=16MB \
    log_min_messages=warning
for setting in "$@"; do
    set -- "$@" -c "$setting"
    shift
done
cd /
# An end like the power's for what it does then, were it not for the kernel's buffers: SIGQUIT.
# shellcheck disable=SC2086
exec $as setpriv --pdeathsig QUIT "$bin/postgres" -D "$directory" "$@"
