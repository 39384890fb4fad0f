import json
import threading

import pytest
from pydantic import BaseModel

from pipeline_core.artifacts import Store
from pipeline_core.catalog import Catalog, DataRef
from pipeline_core.config import Runner
from pipeline_core.errors import ArtifactChanged, BadInput, StageFailed
from pipeline_core.stages import Job, data_fingerprints, key_of, run_stage
from tests.core import probes


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def job(stage="base", name="probe_base", **changes):
    facts = {"label": name, "runner": Runner(launch="in_process"), **changes}
    config = {"name": name, **facts.pop("config", {})}
    return Job(stage=stage, config=config, **facts)


def run(store, registry, *arguments, **changes):
    return run_stage(job(*arguments, **changes), store, registry)


def test_a_stage_is_made_once_and_then_reused(store, registry):
    first = run(store, registry)
    second = run(store, registry)
    assert (first.reused, second.reused) == (False, True)
    assert (first.key, first.digest, first.metrics) == (second.key, second.digest, {"size": 3.0})
    assert probes.CALLS == ["base"]
    assert (first.path / "weights.txt").read_text() == "0 0 0 "


def test_metrics_that_are_not_finite_are_left_out(store, registry):
    assert "undefined" not in run(store, registry).metrics


def test_the_key_holds_what_decides_the_result_and_nothing_else(registry):
    catalog = Catalog.from_environment()
    base = key_of(job(), registry, catalog)
    same = [
        job(config={"label": "x"}),
        job(config={"processes": 2}),
        job(label="other"),
        job(runner=Runner(device="cpu")),
    ]
    assert {key_of(other, registry, catalog) for other in same} == {base}
    ref = {"kind": "model", "key": "k"}
    different = [
        job(config={"size": 4}),
        job(seed=1),
        job(inputs={"model": {**ref, "digest": "d1"}}),
        job(inputs={"model": {**ref, "digest": "d2"}}),
        job(data=DataRef(entry="sandbox_pairs")),
        job(data=DataRef(entry="sandbox_pairs", rows=5)),
    ]
    assert len({base, *(key_of(other, registry, catalog) for other in different)}) == 7


def test_catalog_references_are_found_wherever_they_stand():
    class Part(BaseModel):
        data: DataRef

    class Whole(BaseModel):
        part: Part
        parts: list[Part]
        other: dict[str, DataRef]

    class Known:
        def fingerprint(self, ref):
            return ref.entry.upper()

    whole = Whole(part={"data": "a"}, parts=[{"data": "b"}], other={"x": "c"})
    found = data_fingerprints(whole, DataRef(entry="d"), Known())
    assert sorted(found.values()) == ["A", "B", "C", "D"]


def test_inputs_travel_by_digest_and_are_compared(store, registry):
    base = run(store, registry)
    policy = run(store, registry, "policy", "probe_policy", inputs={"model": base.ref, "reference": base.ref})
    assert (policy.path / "weights.txt").read_text() == "0 0 0 0.5"
    history = (policy.path / "history.jsonl").read_text()
    assert json.loads(history) == {"step": 1, "loss": 0.5}
    (base.path / "weights.txt").write_text("tampered")
    with pytest.raises(ArtifactChanged, match=r"weights\.txt"):
        run(store, registry, "policy", "probe_policy", seed=1, inputs={"model": base.ref, "reference": base.ref})


def test_events_reach_the_caller(store, registry):
    base, seen = run(store, registry), []
    run_stage(job("policy", "probe_policy", inputs={"model": base.ref}), store, registry, seen.append)
    assert [(event["step"], event["metrics"]["loss"]) for event in seen] == [(1, 0.5)]


def test_a_failing_plugin_is_named_and_leaves_nothing_visible(store, registry):
    base = run(store, registry)
    failing = {"config": {"fail": "out of ideas"}, "inputs": {"model": base.ref}}
    with pytest.raises(RuntimeError, match="out of ideas") as caught:
        run(store, registry, "policy", "probe_policy", **failing)
    assert "in the policy plugin 'probe_policy'" in caught.value.__notes__[0]
    assert [manifest.stage for manifest in store.ls()] == ["base"]


def test_a_missing_input_is_named(store, registry):
    with pytest.raises(BadInput, match="needs a 'model' artifact"):
        run(store, registry, "policy", "probe_policy")


def test_a_full_disk_fails_the_stage_with_one_sentence(store, registry, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pipeline_core.artifacts.sync", full)
    with pytest.raises(StageFailed, match="base:probe_base could not be stored: .*No space left on device"):
        run(store, registry)
    monkeypatch.undo()
    assert list(store.ls()) == []
    assert not run(store, registry).reused


def test_two_at_once_make_it_once(store, registry):
    results = []
    threads = [threading.Thread(target=lambda: results.append(run(store, registry))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert probes.CALLS == ["base"]
    assert sorted(result.reused for result in results) == [False, True, True, True]
    assert len({result.digest for result in results}) == 1


def test_the_manifest_says_where_the_artifact_comes_from(store, registry):
    base = run(store, registry)
    policy = run(store, registry, "policy", "probe_policy", inputs={"model": base.ref}, config={"beta": 2})
    manifest = json.loads((policy.path / "manifest.json").read_text())
    assert manifest["inputs"] == {"model": base.digest}
    assert manifest["config"] == {"name": "probe_policy", "beta": 2.0, "fail": ""}
    assert manifest["versions"]["torch"]


def test_jobs_and_results_are_plain_json(store, registry):
    result = run(store, registry)
    assert type(result).model_validate_json(result.model_dump_json()) == result
    assert Job.model_validate_json(job().model_dump_json()) == job()
