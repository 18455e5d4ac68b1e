#!/usr/bin/env bash
# run_with.sh COMMAND…: runs a command where a Docker engine answers: the one that does already, or one that is started
# for it and ended afterwards, as root on Debian. Without an engine it says so, and runs the command all the same.
#
# An engine of our own has its data, its socket and its process id in one temporary folder. Base images that no registry
# gives it are made from Debian's packages (base_images.sh). What is worth keeping is in ${XDG_CACHE_HOME}/zmesh-tests.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/zmesh-tests
folder=$(mktemp -d "${TMPDIR:-/tmp}/zmesh-engine-XXXXXX")
log=$folder/log
had_bridge=$([ -e /sys/class/net/docker0 ] && echo yes || true)
mounted_cgroups=

warn() { printf 'WARNING: %s\n' "$@" >&2; }

answers() { command -v docker >/dev/null && timeout 20 docker info >/dev/null 2>&1; }

install_engine() {
  command -v dockerd >/dev/null && command -v mmdebstrap >/dev/null && command -v iptables >/dev/null && return
  echo "Installing a Docker engine from Debian's packages, once ..." >&2
  # An installation starts no service: the engine of the tests is ours alone.
  local ours=
  if [ ! -e /usr/sbin/policy-rc.d ]; then
    ours=/usr/sbin/policy-rc.d
    printf '#!/bin/sh\nexit 101\n' > "$ours" && chmod +x "$ours"
  fi
  local status=0
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
      docker.io containerd runc iptables ca-certificates mmdebstrap xz-utils; } >>"$log" 2>&1 || status=$?
  if [ -n "$ours" ]; then rm "$ours"; fi
  return "$status"
}

mount_cgroups() { # where no init system did
  mountpoint -q /sys/fs/cgroup && return
  mounted_cgroups=yes
  mount -t tmpfs -o mode=755 cgroup /sys/fs/cgroup
  local name
  for name in $(awk '!/^#/ && $4 == 1 {print $1}' /proc/cgroups); do
    mkdir -p "/sys/fs/cgroup/$name"
    mount -t cgroup -o "$name" cgroup "/sys/fs/cgroup/$name" 2>/dev/null || rmdir "/sys/fs/cgroup/$name"
  done
}

start_engine() {
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null && grep -q '^ID=debian' /etc/os-release || {
    warn "one can be started for the tests as root on Debian only"; return 1; }
  # A second engine would take the bridge from the first.
  ! pgrep -x dockerd >/dev/null || { warn "another dockerd runs here, and DOCKER_HOST does not name its socket"; return 1; }
  install_engine && mount_cgroups || return
  dockerd --data-root "$folder/data" --exec-root "$folder/exec" --pidfile "$folder/pid" -H "unix://$folder/socket" \
    >"$folder/engine.log" 2>&1 </dev/null &
  export DOCKER_HOST=unix://$folder/socket
  for _ in $(seq 60); do answers && return; sleep 0.5; done
  tail -n 5 "$folder/engine.log" >&2
  return 1
}

stop_engine() {
  if [ -s "$folder/pid" ]; then
    local pid; pid=$(cat "$folder/pid")
    kill "$pid" 2>/dev/null || true
    for _ in $(seq 120); do kill -0 "$pid" 2>/dev/null || break; sleep 0.5; done
    [ -n "$had_bridge" ] || ip link delete docker0 2>/dev/null || true
  fi
  if [ -n "$mounted_cgroups" ]; then umount /sys/fs/cgroup/* /sys/fs/cgroup 2>/dev/null || true; fi
  rm -rf "$folder"
}

prepare() {
  local own=
  if ! answers; then start_engine || return; own=yes; fi
  if ! docker compose version >/dev/null 2>&1; then
    export DOCKER_CONFIG=$cache/docker-config
    "$here/compose.sh" "$DOCKER_CONFIG" >>"$log" 2>&1 || return
  fi
  if [ -n "$own" ]; then "$here/base_images.sh" "$cache" >>"$log" 2>&1 || return; fi
}

trap stop_engine EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
mkdir -p "$cache"
if ! prepare; then
  warn "no Docker engine: the tests of the images are SKIPPED, and PostgreSQL with pg_cron is Debian's package."
  tail -n 5 "$log" >&2 2>/dev/null || true
  export ZMESH_TESTS_WITHOUT_ENGINE=1
fi
status=0
"$@" || status=$?
exit "$status"
