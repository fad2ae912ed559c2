# The service and every other command of parcelwatch, as a user without rights. Data: /data.

FROM python:3.12-slim AS build
WORKDIR /build
RUN python -m venv /opt/parcelwatch
# Before the sources: these layers stay cached while the code changes.
COPY requirements.lock ./
RUN /opt/parcelwatch/bin/pip install --no-cache-dir --require-hashes --requirement requirements.lock
COPY pyproject.toml README.md ./
COPY schemas ./schemas
COPY places ./places
COPY detectors ./detectors
COPY pipeline ./pipeline
RUN /opt/parcelwatch/bin/pip install --no-cache-dir --no-deps .

FROM python:3.12-slim
RUN useradd --system --uid 10001 --home-dir /data --create-home --shell /usr/sbin/nologin parcelwatch
COPY --from=build /opt/parcelwatch /opt/parcelwatch
ENV PATH=/opt/parcelwatch/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PARCELWATCH_DB=/data/parcelwatch.duckdb \
    PARCELWATCH_HTTP_HOST=0.0.0.0 \
    PARCELWATCH_HTTP_PORT=9464
USER parcelwatch
WORKDIR /data
VOLUME /data
EXPOSE 9464
# Finishes the batch, commits and exits 0.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=4 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://localhost:9464/healthz', timeout=4)"]
ENTRYPOINT ["parcelwatch"]
CMD ["run"]
