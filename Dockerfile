# Evenhand's commands and flows, for Docker and Kubernetes work pools (docs/containers.md).
#   docker build --tag evenhand:0.1.0 .
#   docker build --tag evenhand:0.1.0 --build-arg TORCH="torch==2.13.0 --index-url <the wheel index of your choice>" .
ARG PYTHON=3.12

FROM python:${PYTHON}-slim AS build
ARG TORCH="torch==2.13.0"
ARG EXTRAS="postgres"
RUN python -m venv /opt/evenhand
ENV PATH=/opt/evenhand/bin:$PATH PIP_NO_CACHE_DIR=1
WORKDIR /build
# torch first: its layer stays when the source changes.
RUN pip install ${TORCH}
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY pipeline_core ./pipeline_core
COPY plugins ./plugins
COPY flows ./flows
COPY data_catalog ./data_catalog
RUN pip install --constraint constraints.txt ".[${EXTRAS}]"

FROM python:${PYTHON}-slim
RUN useradd --create-home --uid 1000 evenhand && install --directory --owner=evenhand /var/lib/evenhand
COPY --from=build /opt/evenhand /opt/evenhand
ENV PATH=/opt/evenhand/bin:$PATH \
    EVENHAND_HOME=/var/lib/evenhand \
    PYTHONUNBUFFERED=1 \
    DO_NOT_TRACK=true \
    PREFECT_SERVER_ANALYTICS_ENABLED=false
USER evenhand
WORKDIR /home/evenhand
# `prefect --no-prompt deploy --all` in a container registers the deployments of exactly this version.
COPY prefect.yaml ./
VOLUME /var/lib/evenhand
CMD ["evenhand", "--help"]
