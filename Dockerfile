# The agent as a small image: built in one stage, run in another as a user without rights, on a read-only root.
FROM python:3.12-slim AS build
WORKDIR /src
COPY requirements/build.txt requirements/runtime.txt requirements/
RUN python -m venv /opt/finagent \
    && /opt/finagent/bin/pip install --no-cache-dir --require-hashes -r requirements/runtime.txt \
    && python -m pip install --no-cache-dir --require-hashes -r requirements/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY finagent/ finagent/
RUN python -m pip wheel --no-deps --no-index --no-build-isolation --wheel-dir /wheels . \
    && /opt/finagent/bin/pip install --no-cache-dir --no-deps --no-index /wheels/*.whl \
    && /opt/finagent/bin/python -m compileall -q /opt/finagent/lib

FROM python:3.12-slim
RUN useradd --system --uid 10001 --user-group --no-create-home finagent \
    && install -d -o finagent -g finagent -m 0700 /data
COPY --from=build /opt/finagent /opt/finagent
WORKDIR /app
COPY settings.yaml ./
ENV PATH=/opt/finagent/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp \
    FINAGENT_HOME=/data \
    FINAGENT__API__HOST=0.0.0.0
USER finagent
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/livez', timeout=4)"]
CMD ["python", "-m", "finagent.cli", "orchestrate"]
