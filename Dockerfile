# One image for every part: `zmesh api`, `zmesh listener`, `zmesh migrate`.

FROM python:3.13-slim-bookworm AS build
# The compiler stays in this stage. Its version follows the base image, whose C library the code is for.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends gcc libc6-dev \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY requirements requirements
RUN python -m venv /opt/build \
 && /opt/build/bin/pip install --no-cache-dir --require-hashes -r requirements/build.txt \
 && python -m venv /opt/zmesh \
 && /opt/zmesh/bin/pip install --no-cache-dir --require-hashes -r requirements/runtime.txt
COPY . .
RUN /opt/build/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheels . \
 && /opt/zmesh/bin/pip install --no-cache-dir --no-deps --no-index /wheels/*.whl

FROM python:3.13-slim-bookworm
# The API and the migration run as this user. A listener wants root: it gives each run a user of its own, and drops root
# before any function's code is loaded. As another user it starts too, with a weaker sandbox; see docs/concepts.md.
RUN useradd --system --uid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin zmesh
COPY --from=build /opt/zmesh /opt/zmesh
COPY --chmod=755 deploy/listener_health.py /usr/local/bin/zmesh-listener-health
ENV PATH=/opt/zmesh/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    ZMESH_HOST=0.0.0.0
USER 10001
EXPOSE 8700
ENTRYPOINT ["zmesh"]
CMD ["api"]
