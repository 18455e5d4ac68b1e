#!/bin/bash
# Of the official image's entrypoint, what our compose file and the tests rely on: POSTGRES_PASSWORD, POSTGRES_DB and
# POSTGRES_INITDB_ARGS; a first start that listens on its socket only; the server as process 1 of user 999.
set -euo pipefail
if [ "$(id -u)" = 0 ]; then
  install -d -o postgres -g postgres -m 700 "$PGDATA"
  exec setpriv --reuid postgres --regid postgres --init-groups "$0" "$@"
fi
if [ "$1" = postgres ] && [ ! -s "$PGDATA/PG_VERSION" ]; then
  eval "initdb -D '$PGDATA' --username=postgres --pwfile=<(printf '%s\n' \"\$POSTGRES_PASSWORD\") ${POSTGRES_INITDB_ARGS:-}"
  printf '\nhost all all all scram-sha-256\n' >> "$PGDATA/pg_hba.conf"
  database=${POSTGRES_DB:-postgres}
  pg_ctl -D "$PGDATA" -w -o "$(printf '%q ' "${@:2}" -c listen_addresses='')" start
  if [ "$database" != postgres ]; then
    PGPASSWORD=$POSTGRES_PASSWORD psql --quiet -U postgres -d postgres -c "create database \"$database\""
  fi
  pg_ctl -D "$PGDATA" -m fast -w stop
fi
exec "$@"
