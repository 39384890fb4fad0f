import json
import threading
from dataclasses import asdict
from pathlib import Path

import pytest
from pydantic import BaseModel

from pipeline_core.data.catalog import Catalog
from pipeline_core.data.refs import DataRef
from pipeline_core.errors import ArtifactChanged, BadInput, EvenhandError, StageFailed
from pipeline_core.plugin.registry import Registry
from pipeline_core.plugin.revisions import CORE_REVISIONS
from pipeline_core.stage import launch
from pipeline_core.stage.execute import place_of
from pipeline_core.stage.key import Job, data_fingerprints, key_of
from pipeline_core.stage.run import run_stage
from pipeline_core.stage.settings import ExecutionSettings
from pipeline_core.store.artifacts import Store
from pipeline_core.store.locks import Stopped, TakenOver
from pipeline_core.store.processes import Process
from tests.stage import probes


def job(stage="base", name="probe_base", **changes):
    facts = {"label": name, "runner": ExecutionSettings(launch="in_process"), **changes}
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


def test_metrics_that_are_not_finite_are_left_out_and_named(store, registry, caplog):
    assert "undefined" not in run(store, registry).metrics
    assert "not finite: undefined" in caplog.text


def test_metrics_of_the_machine_are_reported_but_no_part_of_the_artifact(store, registry):
    base = run(store, registry)
    made = run(store, registry, "policy", "probe_policy", inputs={"model": base.ref})
    assert made.metrics == {"loss": 0.5, "perf/tokens_per_second": 9.0}
    assert store.find("model", made.key).metrics == {"loss": 0.5}
    assert run(store, registry, "policy", "probe_policy", inputs={"model": base.ref}).metrics == {"loss": 0.5}


def test_the_key_holds_what_decides_the_result_and_nothing_else(registry):
    catalog = Catalog.from_environment()
    base = key_of(job(), registry, catalog)
    same = [
        job(config={"label": "x"}),
        job(config={"processes": 2}),
        job(label="other"),
        job(runner=ExecutionSettings(device="cpu")),
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


def test_the_key_holds_the_cores_revision_and_a_foreign_package(registry, monkeypatch):
    catalog = Catalog.from_environment()
    base, policy = job(), job("policy", "probe_policy")
    before = key_of(base, registry, catalog), key_of(policy, registry, catalog)
    monkeypatch.setitem(CORE_REVISIONS, "training.preference", CORE_REVISIONS["training.preference"] + 1)
    after = key_of(base, registry, catalog), key_of(policy, registry, catalog)
    assert (after[0] == before[0], after[1] == before[1]) == (True, False)
    packages = []
    for name in ("evenhand", "probe-package", "another-package"):
        other = Registry()
        other.add(probes.Probes(), probes.origin(distribution=name))
        packages.append(key_of(base, other, catalog))
    assert len(set(packages)) == 3
    assert packages[1] == before[0]


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


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        ("no file", StageFailed, "wrote no file"),
        ("no metrics", StageFailed, "returned NoneType in place of its metrics; is a `return` missing"),
        ("no number", StageFailed, "its metric 'loss' is no number: 'low'"),
        ("missing file", FileNotFoundError, r"missing\.txt"),
    ],
)
def test_a_plugin_at_fault_is_told_what_it_did(store, registry, fault, error, words):
    base = run(store, registry)
    with pytest.raises(error, match=words) as caught:
        run(store, registry, "policy", "probe_policy", inputs={"model": base.ref}, config={"fail": fault})
    assert fault == "no file" or "in the policy plugin 'probe_policy'" in caught.value.__notes__[0]
    assert [manifest.stage for manifest in store.ls()] == ["base"]


def test_a_launcher_around_the_caller_is_not_taken_for_the_stages_own(store, registry, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "4")
    base = run(store, registry)
    assert run(store, registry, "policy", "probe_policy", inputs={"model": base.ref}).metrics["loss"] == 0.5
    assert place_of(1) == (0, 1)
    assert place_of(4) == (1, 4)
    with pytest.raises(StageFailed, match="asks for 2 processes and was started as 4"):
        place_of(2)


def test_an_input_in_two_roles_is_opened_once(store, registry, monkeypatch):
    base, opened = run(store, registry), []
    open_before = Store.open
    monkeypatch.setattr(Store, "open", lambda self, ref: opened.append(ref) or open_before(self, ref))
    run(store, registry, "policy", "probe_policy", inputs={"model": base.ref, "reference": base.ref})
    assert opened == [base.ref]


def test_a_display_that_fails_costs_one_warning(store, registry, caplog):
    def broken(event):
        raise ZeroDivisionError

    base = run(store, registry)
    result = run_stage(job("policy", "probe_policy", inputs={"model": base.ref}), store, registry, broken)
    assert result.metrics["loss"] == 0.5
    assert [record.message for record in caplog.records if "event" in record.message] == [
        "an event is not shown: ZeroDivisionError()"
    ]


def test_a_file_that_was_cut_short_is_noticed_when_it_is_reused(store, registry):
    base = run(store, registry)
    (base.path / "weights.txt").write_text("0")
    with pytest.raises(ArtifactChanged, match=r"weights\.txt"):
        run(store, registry)


def test_a_store_that_may_only_be_read_gives_what_it_has(store, registry, monkeypatch):
    first = run(store, registry)

    def read_only(*_, **__):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", read_only)
    monkeypatch.setattr("os.utime", read_only)
    assert run(store, registry).key == first.key
    with pytest.raises(EvenhandError, match="cannot be written: Read-only file system"):
        run(store, registry, seed=1)


def test_who_was_taken_over_while_it_worked_commits_nothing(store, registry, monkeypatch):
    def taken_over(config, inputs, out, context):
        (out / "weights.txt").write_text("from one that was suspended")
        (lock,) = (store.root / ".locks").glob("*.lock")
        lock.write_text(json.dumps({**asdict(Process.current()), "token": "successor"}))
        return {}

    spec = registry.get("base", "probe_base")
    monkeypatch.setitem(spec.__dict__, "run", taken_over)
    with pytest.raises(TakenOver):
        run(store, registry)
    assert list(store.ls()) == []
    assert list((store.root / ".locks").glob("*.lock")), "the successor keeps its lock"


def test_an_attempt_does_not_touch_the_folder_of_another(store, registry, monkeypatch):
    folders = []

    def note(config, inputs, out, context):
        folders.append(out)
        (out / "weights.txt").write_text("x")
        if len(folders) == 1:
            raise RuntimeError
        return {}

    spec = registry.get("base", "probe_base")
    monkeypatch.setitem(spec.__dict__, "run", note)
    with pytest.raises(RuntimeError):
        run(store, registry)
    run(store, registry)
    assert folders[0] != folders[1]
    assert folders[0].parent.parent == folders[1].parent.parent


def test_a_run_that_waits_for_another_can_be_stopped(store, registry):
    store.prepare()
    key, seen = key_of(job(), registry, Catalog.from_environment()), []
    with store.lock("model", key), pytest.raises(Stopped):
        run_stage(job(), store, registry, on_wait=seen.append, stopping=lambda: bool(seen))
    with store.lock("model", key):
        threading.Timer(0.5, launch.terminate_all).start()
        with pytest.raises(Stopped):
            run(store, registry)
    assert run(store, registry).reused is False, "a later stage starts again"


def test_a_missing_input_is_named(store, registry):
    with pytest.raises(BadInput, match="needs a 'model' artifact"):
        run(store, registry, "policy", "probe_policy")


def test_a_full_disk_fails_the_stage_with_one_sentence(store, registry, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pipeline_core.store.artifacts.sync", full)
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
