#!/usr/bin/env bash
# Installs what some tests need from the system's packages, where that is possible; those tests are skipped elsewhere.
set -euo pipefail

if [ -e /usr/share/postgresql/15/extension/pg_cron.control ]; then exit 0; fi

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "Installing PostgreSQL 15 with pg_cron, once ..." >&2
  export DEBIAN_FRONTEND=noninteractive
  if { apt-get update -qq && apt-get install -y -qq --no-install-recommends postgresql-15 postgresql-15-cron; } >/dev/null; then
    exit 0
  fi
fi
echo "WARNING: no PostgreSQL 15 with pg_cron here: the tests of pg_cron are SKIPPED." >&2
echo "WARNING: on Debian 12, as root: apt-get install postgresql-15 postgresql-15-cron" >&2
