#!/usr/bin/env bash
# base_images.sh CACHE: the base images that our Dockerfiles name, for an engine that is thrown away: from their registry,
# else stand-ins made of Debian's packages, whose archives are kept in CACHE. A stand-in trusts what this machine trusts,
# so never publish one.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/debian.sh"
cache=$1

archive() { # NAME SUITE PACKAGES; a few months old is fine, and the index of the next release is always out of date
  if [ -s "$cache/$1.tar" ]; then return; fi
  mmdebstrap --quiet --variant=minbase --aptopt='Acquire::Check-Valid-Until "false"' --include="$3" \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    "$2" "$cache/$1.tar.$$" "$(debian_mirror)" --format=tar
  mv "$cache/$1.tar.$$" "$cache/$1.tar"
}

stand_in() { # IMAGE ARCHIVE: the rest of the Dockerfile is on standard input
  local folder; folder=$(mktemp -d)
  docker import "$cache/$2.tar" "stand-in-$2" >/dev/null
  cp "$here/postgres-entrypoint.sh" /etc/ssl/certs/ca-certificates.crt "$folder/"
  { echo "FROM stand-in-$2"; cat; } > "$folder/Dockerfile"
  DOCKER_BUILDKIT=1 docker build --quiet --tag "$1" "$folder" >/dev/null
  rm -r "$folder"
}

if ! timeout 60 docker pull --quiet python:3.13-slim-bookworm; then
  archive python trixie python3,python3-venv,ca-certificates,netbase,tzdata
  stand_in python:3.13-slim-bookworm python <<'END'
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
COPY ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt
RUN ln -s /usr/bin/python3 /usr/local/bin/python
END
fi

if ! timeout 60 docker pull --quiet postgres:18; then
  archive postgres forky ca-certificates,locales,netbase,tzdata,postgresql-common
  stand_in postgres:18 postgres <<'END'
ENV PG_MAJOR=18 LANG=C.UTF-8 PGDATA=/var/lib/postgresql/18/docker \
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/lib/postgresql/18/bin
RUN groupmod --non-unique --gid 999 postgres && usermod --non-unique --uid 999 --gid 999 --shell /bin/bash postgres \
 && echo 'Acquire::Check-Valid-Until "false";' > /etc/apt/apt.conf.d/99-stand-in \
 && sed -ri 's/#(create_main_cluster) .*/\1 = false/' /etc/postgresql-common/createcluster.conf \
 && apt-get update -qq \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql-18 >/dev/null \
 && rm -rf /var/lib/apt/lists/* \
 && sed -ri "s/^#?listen_addresses .*/listen_addresses = '*'/" /usr/share/postgresql/18/postgresql.conf.sample \
 && install -d -o postgres -g postgres -m 3777 /var/run/postgresql \
 && install -d -o postgres -g postgres -m 1777 /var/lib/postgresql
COPY --chmod=755 postgres-entrypoint.sh /usr/local/bin/docker-entrypoint.sh
VOLUME /var/lib/postgresql
ENTRYPOINT ["docker-entrypoint.sh"]
STOPSIGNAL SIGINT
EXPOSE 5432
CMD ["postgres"]
END
fi
