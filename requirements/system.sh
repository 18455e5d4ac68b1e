#!/usr/bin/env bash
# Installs what some tests need from the system's packages, where that is possible; those tests are skipped elsewhere.
set -euo pipefail

missing=()
[ -e /usr/share/postgresql/15/extension/pg_cron.control ] || missing+=(postgresql-15 postgresql-15-cron)
PATH=$PATH:/usr/sbin command -v nginx >/dev/null || missing+=(nginx-light)
for shell in fish zsh; do command -v "$shell" >/dev/null || missing+=("$shell"); done
command -v chromium >/dev/null || command -v chromium-browser >/dev/null || missing+=(chromium)
makes_sanitizers() { echo 'int main(void) { return 0; }' | "$1" -fsanitize=address,undefined -x c - -o "$probe" 2>/dev/null; }
probe=$(mktemp)
makes_sanitizers gcc || makes_sanitizers clang || missing+=(gcc libc6-dev)
rm -f "$probe"
if [ ${#missing[@]} = 0 ]; then exit 0; fi

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "Installing ${missing[*]}, once ..." >&2
  export DEBIAN_FRONTEND=noninteractive
  # Nothing of it shall run here but what tests start.
  if [ ! -e /usr/sbin/policy-rc.d ]; then
    printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d
    chmod +x /usr/sbin/policy-rc.d
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
  fi
  if { apt-get update -qq && apt-get install -y -qq --no-install-recommends "${missing[@]}"; } >/dev/null; then
    exit 0
  fi
fi
for package in "${missing[@]}"; do
  case $package in
    postgresql-15) echo "WARNING: no PostgreSQL 15 with pg_cron here: the tests of backups are SKIPPED, and those of pg_cron without Docker." >&2 ;;
    nginx-light) echo "WARNING: no nginx here: the tests of the reverse proxy are SKIPPED." >&2 ;;
    fish | zsh) echo "WARNING: no $package here: the tests of completion in it are SKIPPED." >&2 ;;
    chromium) echo "WARNING: no Chromium here: the tests of the console in a browser are SKIPPED." >&2 ;;
    gcc) echo "WARNING: no C compiler with sanitizers here: the tests of the C code under sanitizers are SKIPPED." >&2 ;;
  esac
done
echo "WARNING: on Debian 12, as root: apt-get install ${missing[*]}" >&2
