# One image for every process of Sésame; the command says which: docs/how-to/run-in-containers.md
# It holds Python, the locked packages and the program: no compiler, nothing that builds.
ARG PYTHON_IMAGE=python:3.13.7-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
# Packages first: they change seldom. Each is checked against its hash; nothing is built, but the program itself.
COPY requirements.runtime.lock scripts/build.lock ./
# A site's own pip settings (an index, a certificate) may be given as a build secret; nothing of them stays.
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    --mount=type=secret,id=ca.pem,target=/run/secrets/ca.pem \
    python3 -m venv /opt/sesame && \
    python3 -m venv /opt/build && \
    /opt/sesame/bin/python -m pip install --only-binary :all: --require-hashes -r requirements.runtime.lock && \
    /opt/build/bin/python -m pip install --only-binary :all: --require-hashes -r build.lock
COPY pyproject.toml README.md LICENSE ./
COPY schemas schemas
COPY pipeline pipeline
COPY consumers consumers
COPY producers producers
COPY sesame sesame
COPY ops/systemd ops/systemd
RUN /opt/build/bin/python -m hatchling build -t wheel -d /dist && \
    /opt/sesame/bin/python -m pip install --no-deps --no-index /dist/*.whl && \
    /opt/sesame/bin/python -m compileall -q /opt/sesame/lib && \
    /opt/sesame/bin/python -m pip uninstall --yes pip setuptools

FROM ${PYTHON_IMAGE}
# Nobody's number, the same on every host: whoever mounts secrets gives them to it, or to its group.
RUN groupadd --system --gid 10001 sesame && \
    useradd --system --uid 10001 --gid 10001 --home-dir /var/lib/sesame --shell /usr/sbin/nologin sesame && \
    install -d -m 0700 -o 10001 -g 10001 /var/lib/sesame && \
    install -d -m 0755 /etc/sesame
# The base image leaves out the bytecode of Python's own library, and who runs Sésame may not write it.
RUN python3 -m compileall -q -x '/(site-packages|tests?)/' \
    "$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"
COPY --from=build /opt/sesame /opt/sesame
ENV PATH=/opt/sesame/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    SESAME_HTTP__HOST=0.0.0.0 \
    SESAME_OBSERVABILITY__LOG_FORMAT=json
USER 10001:10001
WORKDIR /var/lib/sesame
VOLUME /var/lib/sesame
EXPOSE 9464
HEALTHCHECK --interval=10s --timeout=6s --start-period=60s --retries=3 \
  CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:9464/readyz', timeout=5)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["sesame"]
CMD ["run"]
