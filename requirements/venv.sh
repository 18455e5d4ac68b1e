#!/usr/bin/env bash
# Makes a virtual environment in the folder $1 with Python 3.11 or newer, unless a working one is there.
set -euo pipefail
folder=$1

is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

if is_new_enough "$folder/bin/python"; then exit 0; fi

for python in "${PYTHON:-python3}" python3.14 python3.13 python3.12 python3.11; do
  if is_new_enough "$python"; then break; fi
  python=
done
if [ -z "$python" ]; then
  echo "zMesh needs Python 3.11 or newer, and found none. Install one, or name it: make up PYTHON=/path/to/python3" >&2
  exit 1
fi

rm -rf "$folder"
if command -v uv >/dev/null; then
  uv venv --quiet --python "$python" "$folder"
elif "$python" -c 'import ensurepip, venv' 2>/dev/null; then
  "$python" -m venv "$folder"
else
  echo "$("$python" --version) here cannot make virtual environments: its ensurepip is missing." >&2
  echo "On Debian and Ubuntu: apt-get install python3-venv. Elsewhere: install uv, then try again." >&2
  exit 1
fi
