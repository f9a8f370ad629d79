#!/usr/bin/env bash
# Describes every SQL statement of src/storage against a real SQLite and a real PostgreSQL, both made for the purpose and thrown away, and
# writes the descriptions to .sqlx/, which builds read instead of a database.
#
#   scripts/prepare-queries.sh           write .sqlx/
#   scripts/prepare-queries.sh --check   fail if .sqlx/ is not what it would write
#
# Needs the PostgreSQL server's programs (POSTGRES_BIN, /usr/lib/postgresql/*/bin or PATH) and sqlite3 or python3.
set -euo pipefail
cd "$(dirname "$0")/.."

check=
case "${1-}" in
    '') ;;
    --check) check=1 ;;
    *) echo "usage: $0 [--check]" >&2; exit 2 ;;
esac

# Short, because the name of a Unix socket has at most 107 bytes.
work=$(mktemp -d /tmp/pkhsm-prepare.XXXXXX)
mkdir "$work/cache"

find_postgres() {
    local dir
    for dir in "${POSTGRES_BIN-}" $(printf '%s\n' /usr/lib/postgresql/*/bin | sort -rV); do
        if [ -n "$dir" ] && [ -x "$dir/initdb" ]; then echo "$dir"; return; fi
    done
    if dir=$(command -v initdb); then dirname "$dir"; return; fi
    echo "no PostgreSQL server found: install the package postgresql, or set POSTGRES_BIN to the directory of initdb" >&2
    return 1
}
postgres=$(find_postgres)

# PostgreSQL refuses to run as root.
as_user=()
if [ "$(id -u)" = 0 ]; then
    chmod 711 "$work"
    as_user=(setpriv --reuid=65534 --regid=65534 --clear-groups env HOME=/nonexistent)
fi
install -d -m 700 "$work/pg"
[ "${#as_user[@]}" = 0 ] || chown 65534:65534 "$work/pg"

finish() {
    (cd / && "${as_user[@]}" "$postgres/pg_ctl" -D "$work/pg/data" -m immediate stop >/dev/null 2>&1) || true
    rm -rf "$work"
}
trap finish EXIT

(
    cd /
    "${as_user[@]}" "$postgres/initdb" -D "$work/pg/data" -U postgres -A trust -E UTF8 --locale=C --no-sync >/dev/null
    "${as_user[@]}" "$postgres/pg_ctl" -D "$work/pg/data" -l "$work/pg/log" -w \
        -o "-c listen_addresses='' -c unix_socket_directories='$work/pg' -c fsync=off" start >/dev/null
)
cat migrations/postgres/*.sql | psql -q -v ON_ERROR_STOP=1 -h "$work/pg" -U postgres postgres

if command -v sqlite3 >/dev/null; then
    cat migrations/sqlite/*.sql | sqlite3 -bail "$work/queries.db"
else
    cat migrations/sqlite/*.sql | python3 -c 'import sqlite3, sys; sqlite3.connect(sys.argv[1]).executescript(sys.stdin.read())' "$work/queries.db"
fi

describe() { # feature url
    # The macros run only if the crate is compiled anew.
    touch src/lib.rs
    SQLX_OFFLINE=false SQLX_OFFLINE_DIR="$work/cache" DATABASE_URL="$2" cargo check --quiet --locked --lib --no-default-features --features "$1"
}
describe sqlite "sqlite:$work/queries.db"
describe postgres "postgres://postgres@localhost/postgres?host=$work/pg"

if [ -n "$check" ]; then
    if ! diff -r .sqlx "$work/cache" >&2; then
        echo ".sqlx is stale: run make prepare and commit it" >&2
        exit 1
    fi
    echo ".sqlx is up to date"
else
    rm -rf .sqlx
    cp -r "$work/cache" .sqlx
    echo "$(find .sqlx -name '*.json' | wc -l) statements described in .sqlx"
fi
