#!/usr/bin/env bash
# compose.sh FOLDER: Docker Compose 2 and buildx of Debian 13 as plugins of the DOCKER_CONFIG in FOLDER; nothing is installed.
# Debian 12 has Compose 1 only, which does not know our docker-compose.yml.
set -euo pipefail
. "$(dirname "$0")/debian.sh"
to=$1
if [ -x "$to/cli-plugins/docker-compose" ]; then exit 0; fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial" "$work/archives/partial" "$to/cli-plugins"
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $(debian_mirror) trixie main" > "$work/list"
apt=(-o Dir::Etc::sourcelist="$work/list" -o Dir::Etc::sourceparts=/dev/null -o Dir::State::lists="$work/lists"
     -o Dir::State::status=/dev/null -o Dir::Cache="$work" -o APT::Sandbox::User=root)
cd "$work"
apt-get "${apt[@]}" -qq update
apt-get "${apt[@]}" -qq download docker-compose docker-buildx
for package in *.deb; do dpkg -x "$package" root; done
cp root/usr/libexec/docker/cli-plugins/* "$to/cli-plugins/"
