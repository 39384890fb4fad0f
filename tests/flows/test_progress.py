"""Progress artifacts against Prefect's own server."""

from __future__ import annotations

import logging

from prefect import flow, task
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.progress import Progress


def artifacts(key):
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[key])))
    return [(artifact.type, float(artifact.data), artifact.task_run_id is not None) for artifact in found]


def steps(progress, last, total=4):
    for step in range(1, last + 1):
        progress.on_event({"step": step, "total": total, "metrics": {}})


def test_a_training_has_one_progress_artifact_also_after_a_retry(prefect_server):
    seen = []

    @task(retries=1)
    def training():
        with Progress("policy:twice") as progress:
            steps(progress, 2)
            if not seen:
                progress._thread.join(0)
                seen.append(1)
                raise ValueError("once")
            steps(progress, 3)

    @flow
    def run():
        training()

    run()
    assert artifacts("progress-policy-twice") == [("progress", 100.0, True)]


def test_a_failed_training_keeps_the_progress_it_had(prefect_server):
    @task
    def training():
        with Progress("policy:fails") as progress:
            steps(progress, 2)
            raise ValueError("broken")

    @flow
    def run():
        return training(return_state=True).is_failed()

    assert run()
    assert artifacts("progress-policy-fails") == [("progress", 50.0, True)]


def test_a_stage_without_steps_or_outside_of_prefect_has_none(prefect_server):
    with Progress("policy:alone") as progress:
        steps(progress, 4)

    @flow
    def run():
        with Progress("policy:table") as progress:
            progress.on_event({"table": "samples", "rows": []})
            progress.on_event({"step": 1, "total": None})

    run()
    assert artifacts("progress-policy-alone") == artifacts("progress-policy-table") == []


def test_a_server_that_is_away_fails_no_stage(prefect_server, caplog):
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):  # a flow would keep the client that it has
        progress = Progress("policy:away")
        progress._own = ArtifactFilter(key=ArtifactFilterKey(any_=["progress-policy-away"]))
        with caplog.at_level(logging.DEBUG, "flows.progress"), progress:
            steps(progress, 4)
    progress._thread.join(60)
    assert not progress._thread.is_alive()
    assert "Prefect took no progress of policy:away" in caplog.text
    assert artifacts("progress-policy-away") == []
