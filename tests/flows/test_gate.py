"""Runs with a gate, against Prefect's own server and a real MLflow registry: events, versions, and what fails."""

import asyncio
import json
import time

import pytest

from pipeline_core.errors import GateFailed
from pipeline_core.store.places import Places

pytestmark = pytest.mark.usefixtures("prefect_server", "shared_tracking", "shared_store")

SMALL = [
    "runner.launch=in_process",
    "base.steps=2",
    "base.data.rows=100",
    "reward=null",
    "extend=null",
    "policy=[{name: dpo, steps: 2}]",
]
EASY = "{measure: sandbox/invalid_share, at_most: 100}"


def run(*overrides):
    from flows.pipeline import pipeline

    return pipeline(preset="smoke", overrides=[*SMALL, *overrides])


def client():
    from mlflow import MlflowClient

    return MlflowClient(Places.from_environment().tracking_uri)


def versions(name):
    return client().search_model_versions(f"name = '{name}'")


def events(name, run_id):
    """Events of a run by name, once the server has stored them."""
    from prefect.client.orchestration import get_client

    async def read():
        async with get_client() as api:
            answer = await api._client.post("/events/filter", json={"filter": {"event": {"name": [name]}}, "limit": 50})
        return [event for event in answer.json()["events"] if event["payload"]["run"] == run_id]

    for _ in range(60):
        if found := asyncio.run(read()):
            return found
        time.sleep(0.5)
    return []


def test_a_broken_gate_fails_the_run_and_registers_nothing():
    from flows.pipeline import RunFailed

    limit = "{measure: sandbox/invalid_share/worst_domain, at_most: -1}"
    with pytest.raises(RunFailed, match="the run's gate was not passed") as caught:
        run(f"gate=[{EASY}, {limit}]", "register_as=broken")
    record = caught.value.record
    assert caught.value.exit_code == GateFailed.exit_code == 3
    assert [verdict.outcome for verdict in record.gate] == ["passed", "failed"]
    assert record.status == "failed"
    assert set(record.failures) == {"gate"}
    worst = record.gate[1]
    for word in ("dpo", "sandbox · invalid share, worst domain", worst.group, "at most −1 %"):
        assert word in record.failures["gate"]
    assert record.registered == []
    assert versions("broken") == []
    page = (Places.from_environment().runs / record.run_id / "report.html").read_text(encoding="utf-8")
    assert "limit: at most −1 %" in page
    (event,) = events("evenhand.gate.failed", record.run_id)
    assert event["resource"]["prefect.resource.id"].startswith("prefect.flow-run.")
    assert event["resource"]["evenhand.model"] == "dpo"
    assert event["payload"]["broken"] == record.failures["gate"].splitlines()
    assert client().get_run(record.run_id).data.tags["gate/dpo"] == "failed"


def test_a_passed_gate_registers_one_version_that_loads_and_is_found_again():
    import mlflow
    from transformers import AutoModelForCausalLM, AutoTokenizer

    def passing(*more):
        return run(f"gate=[{EASY}, {{measure: sandbox/perplexity, worse_by_share: 9}}]", "register_as=passing", *more)

    first, second = passing(), passing()
    assert (first.status, first.failures) == ("completed", {})
    (one,), (again,) = first.registered, second.registered
    assert (one.new, again.new, one.version, again.version) == (True, False, "1", "1")
    (version,) = versions("passing")
    assert client().get_model_version_by_alias("passing", "candidate").version == version.version
    policy = next(stage for stage in first.stages if stage.stage == "policy")
    tags = version.tags
    assert (tags["evenhand.key"], tags["evenhand.digest"], tags["evenhand.seed"]) == (policy.key, policy.digest, "0")
    assert [stage["stage"] for stage in json.loads(tags["evenhand.stages"])] == ["base", "policy"]
    assert any(ref["entry"] == "sandbox_pairs" and ref["fingerprint"] for ref in json.loads(tags["evenhand.data"]))
    assert (version.run_id, tags["evenhand.run"]) == (first.run_id, second.run_id), (
        "made by one, passed last in the other"
    )
    (event,) = events("evenhand.gate.passed", second.run_id)
    assert event["payload"]["broken"] == []

    mlflow.set_tracking_uri(Places.from_environment().tracking_uri)
    folder = mlflow.artifacts.download_artifacts("models:/passing@candidate")
    assert folder == str(Places.from_environment().store / "model" / policy.key), "the store's own folder, no copy"
    assert AutoModelForCausalLM.from_pretrained(folder).num_parameters() > 0
    assert AutoTokenizer.from_pretrained(folder)("She is late").input_ids


def test_of_several_seeds_the_first_is_registered_if_it_passes_alone():
    from flows.pipeline import RunFailed

    two = "seeds=3,1"
    record = run(two, f"gate={EASY}", "register_as={name: seeds, alias: best-of-none}")
    assert [(verdict.seed, verdict.outcome) for verdict in record.gate] == [(None, "passed"), (3, "passed")]
    assert [(one.seed, one.alias) for one in record.registered] == [(3, "best-of-none")]
    perplexity = {
        stage.seed: stage.metrics["sandbox/perplexity"]
        for stage in record.stages
        if (stage.stage, stage.label) == ("evaluate", "dpo")
    }
    high, low = sorted(perplexity, key=lambda seed: -perplexity[seed])
    between = (perplexity[high] + sum(perplexity.values()) / 2) / 2  # the mean keeps to it, the higher one does not
    with pytest.raises(RunFailed, match=f"dpo, seed {high} alone") as caught:
        run(f"seeds={high},{low}", f"gate={{measure: sandbox/perplexity, at_most: {between}}}", "register_as=lonely")
    assert [verdict.outcome for verdict in caught.value.record.gate] == ["passed", "failed"]
    assert versions("lonely") == []


def test_a_stage_that_fails_keeps_the_others_unregistered():
    from flows.pipeline import RunFailed

    wild = "{name: dpo, label: wild, steps: 20, learning_rate: 1.0e+30, max_grad_norm: 1.0e+30}"
    with pytest.raises(RunFailed, match="policy:wild") as caught:
        run(f"policy=[{{name: dpo, steps: 2}}, {wild}]", f"gate={EASY}", "register_as=held-{model}")
    record = caught.value.record
    assert caught.value.exit_code == 1
    assert {verdict.model: verdict.outcome for verdict in record.gate} == {"dpo": "passed", "wild": "undefined"}
    assert "wild was not evaluated" in record.failures["gate"]
    assert versions("held-dpo") == []


def test_what_is_registered_stays_in_the_store():
    from flows.records import keys_in_use

    record = run(f"gate={EASY}", "register_as=kept")
    (one,) = record.registered
    assert keys_in_use(Places.from_environment().runs, 0) == {one.key}
