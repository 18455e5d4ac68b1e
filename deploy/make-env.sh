#!/bin/sh
# Writes .env for docker-compose.yml with fresh random secrets; an existing file is left alone.
set -eu

cd "$(dirname "$0")/.."
if [ -e .env ]; then
  echo ".env exists already; remove it first to make new secrets" >&2
  exit 1
fi

random() { # 256 bits in URL-safe base64 without padding
  head -c 32 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=\n'
}

umask 077
cat > .env <<END
POSTGRES_PASSWORD=$(random)
ZMESH_API_PASSWORD=$(random)
ZMESH_LISTENER_PASSWORD=$(random)
ZMESH_SECRET_KEY=$(random)=
JWT_SECRET_KEY=$(random)
ZMESH_METRICS_TOKEN=$(random)
ZMESH_PROJECT=main
ZMESH_ADMIN_EMAIL=${1:-admin@example.com}
ZMESH_ADMIN_PASSWORD=$(random)
ZMESH_API_KEY=zb_$(random)
END
echo "wrote .env"
