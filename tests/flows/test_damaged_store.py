"""R10, R11: damaged manifests, records and locks are named and passed over by every command that meets them."""

from __future__ import annotations

import json
import logging
import os
import random
import time
from dataclasses import asdict

import pytest

from flows.cleanup import find_waste
from flows.records import RunRecord, StageRecord, all_runs
from pipeline_core.checks.foresee import foresee
from pipeline_core.checks.whole import load_config
from pipeline_core.conformance.kit import commit_folder
from pipeline_core.errors import ArtifactChanged
from pipeline_core.store import locks
from pipeline_core.store.artifacts import MANIFEST, Manifest, Store
from pipeline_core.store.locks import Lock, owner_of
from pipeline_core.store.places import Places
from pipeline_core.store.processes import Process
from tests.flows.test_cli import call

GOOD, BAD = "aa11", "bb22"
WRONG = {
    **{f"{name} null": {name: None} for name in ("files", "metrics", "digest", "created", "config", "data", "seed")},
    "a date after all dates": {"created": 1e300},
    "a negative date": {"created": -1},
    "a text for a number": {"seconds": "long"},
    "a list for files": {"files": []},
    "a file without facts": {"files": {"x.txt": None}},
    "a file without size": {"files": {"x.txt": {"sha256": "0"}}},
    "a file elsewhere": {"files": {"../../x": {"sha256": "0", "size": 1}}},
    "an absolute file": {"files": {"/etc/passwd": {"sha256": "0", "size": 1}}},
    "a figure that is a text": {"metrics": {"loss": "small"}},
    "a figure that is infinite": {"metrics": {"loss": float("inf")}},
    "a setting that is infinite": {"config": {"beta": float("nan")}},
    "data that are no reference": {"data": {"mine": "0"}},
    "another key": {"key": "cc33"},
    "another kind": {"kind": "reward"},
    "a key that is a path": {"key": "../../x"},
    "a label that is a list": {"label": ["x"]},
}
BYTES = {
    "nothing": b"",
    "no JSON": b"{",
    "a list": b"[]",
    "null": b"null",
    "a number": b"1e999",
    "no text": b'{"kind": "\xff"}',
    "half a character": b'{"kind": "\\ud800"}',
    "deep nesting": b'{"config": ' + b'{"a":' * 5000 + b"1" + b"}" * 5000 + b"}",
    "a long number": b'{"seed": ' + b"9" * 5000 + b"}",
}


@pytest.fixture
def store(home):
    store = Store(Places.from_environment().store)
    store.prepare()
    for key in (GOOD, BAD):
        work = store.partial(key)
        work.mkdir(parents=True)
        (work / "x.txt").write_text(key)
        commit_folder(store, "model", key, work)
    return store


def manifest_of(store, key=BAD):
    return store.folder("model", key) / MANIFEST


def damaged(store, change):
    file = manifest_of(store)
    file.write_bytes(
        change if isinstance(change, bytes) else json.dumps(json.loads(file.read_text()) | change).encode()
    )
    return file


@pytest.mark.parametrize("change", [*WRONG.values(), *BYTES.values()], ids=[*WRONG, *BYTES])
def test_r10_a_manifest_that_cannot_be_understood_is_named_and_passed_over(store, change, capsys, caplog):
    file = damaged(store, change)
    assert call("store", "ls", "--json") == 0
    assert [row["key"] for row in json.loads(capsys.readouterr().out)] == [GOOD]
    (warning,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert str(file) in warning and "cannot be read" in warning and len(warning) < 600
    assert "Traceback" not in warning and "\n" not in warning
    for command in (["show", BAD], ["export", BAD, "out"]):
        assert call(*command) == 2
        assert "0 artifacts" in capsys.readouterr().err
    assert call("show", GOOD, "--json") == 0
    assert call("store", "gc", "--keep-days", "0", "--keep-runs", "0", "--dry-run", "--json") == 0
    with pytest.raises(ArtifactChanged, match="to make the artifact again"):
        store.use("model", BAD)


def test_r10_a_manifest_that_is_a_folder(store, capsys, caplog):
    manifest_of(store).unlink()
    manifest_of(store).mkdir()
    assert call("store", "ls") == 0
    assert "Is a directory" in caplog.text
    with pytest.raises(ArtifactChanged, match="Is a directory"):
        store.find("model", BAD)


def test_r10_any_change_of_any_byte_is_read_or_named(store):
    """A seeded walk over damaged manifests: no other error than the one that names the file."""
    file = manifest_of(store)
    whole = file.read_bytes()
    rng = random.Random(0)
    for _ in range(400):
        changed = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            place = rng.randrange(len(changed))
            piece = rng.choice([b"", b"null", b"[", b"}", b"-1", b"1e400", b"\xff", b'"', bytes([rng.randrange(256)])])
            changed[place : place + rng.randint(0, 6)] = piece
        file.write_bytes(bytes(changed))
        try:
            manifest = store.find("model", BAD)
        except ArtifactChanged:
            continue
        assert isinstance(manifest, Manifest)
        json.dumps(asdict(manifest), allow_nan=False)
        time.localtime(manifest.created)


def test_r10_check_names_a_damaged_artifact_and_shows_the_rest(store, capsys):
    assert call("check", "smoke", "--json") == 0
    base = json.loads(capsys.readouterr().out)["stages"][0]
    folder = store.folder("model", base["key"])
    folder.mkdir(parents=True)
    (folder / MANIFEST).write_text('{"files": null}')
    assert call("check", "smoke", "--json") == 0
    stages = json.loads(capsys.readouterr().out)["stages"]
    assert (stages[0]["state"], stages[0]["in_store"]) == ("damaged", False)
    assert str(folder) in stages[0]["damaged"]
    assert call("check", "smoke") == 0
    assert "to make the artifact again" in " ".join(capsys.readouterr().err.split())


def test_r10_records_of_runs_are_read_or_passed_over(store, capsys, caplog):
    runs = Places.from_environment().runs
    stage = StageRecord(
        stage="evaluate", plugin="p", label="l", seed=0, key=BAD, digest="d", reused=False, seconds=1, metrics={}
    )
    RunRecord.begin("run1", "name", {}).model_copy(update={"stages": [stage], "status": "completed"}).write(runs)
    for name, content in {
        **BYTES,
        "wrong": b'{"run_id": 1, "name": "n"}',
        "pid": b'{"process": {"pid": 1e999}}',
    }.items():
        (runs / name).mkdir()
        (runs / name / "run.json").write_bytes(content)
    (runs / "folder" / "run.json").mkdir(parents=True)
    assert [record.run_id for record in all_runs(runs)] == ["run1"]
    assert caplog.text.count("left out: ") == len(BYTES) + 3
    for command in (["show", "last"], ["store", "gc", "--dry-run"]):
        assert call(*command) == 0
    damaged(store, {"metrics": None})
    assert call("compare", "last", "l", "base") == 2
    assert "unknown model 'base'" in capsys.readouterr().err


def test_r10_what_work_under_way_has_opened_may_be_damaged_too(store):
    for number, order in enumerate(BYTES.values()):
        file = store.partial(f"k{number}") / "attempt" / "order.json"
        file.parent.mkdir(parents=True)
        file.write_bytes(order)
        store.lock_file(f"k{number}").write_text(json.dumps(asdict(Process.current())))
    assert find_waste(store, (GOOD, BAD)) == []


ME = asdict(Process.current())
LOCKS = {
    "infinite": {**ME, "pid": float("inf")},
    "no number": {**ME, "pid": float("nan")},
    "half a process": {**ME, "pid": os.getpid() + 0.5},
    "huge": {**ME, "pid": 10**400},
    "beyond C": {**ME, "pid": 2**63},
    "negative": {**ME, "pid": -1},
    "every process": {**ME, "pid": 0},
    "a text": {**ME, "pid": "seven"},
    "a list": {**ME, "pid": [1]},
    "a host that is a number": {**ME, "host": 3},
    "a space that is null": {**ME, "space": None},
    "no start": {key: value for key, value in ME.items() if key != "started"},
}


@pytest.mark.parametrize("content", [*LOCKS.values(), *BYTES.values()], ids=[*LOCKS, *BYTES])
def test_r11_a_lock_that_names_no_process_is_garbage(tmp_path, content, monkeypatch):
    path = tmp_path / "key.lock"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    assert owner_of(path) is not None, "somebody may be writing it just now"
    monkeypatch.setattr(locks, "monotonic", lambda: time.monotonic() + locks.SILENT_SECONDS)
    assert owner_of(path) is None
    os.utime(path, (time.time() + 1e9,) * 2)
    assert owner_of(path) is None
    with Lock(path) as lock:
        assert lock.held


def test_r11_a_heartbeat_from_the_far_future_keeps_nobody_out(tmp_path):
    path = tmp_path / "key.lock"
    path.write_text(json.dumps({**ME, "space": "another machine"}))
    for ahead, blocks in ((3600, True), (10 * 86400, False)):  # clocks may differ by an hour, not by days
        os.utime(path, (time.time() + ahead,) * 2)
        assert (owner_of(path) is not None) == blocks


@pytest.mark.parametrize("metrics", [{}, {"rows": 1e300}, {"rows": 2}, {"rows": -1.5}])
def test_r10_an_extension_whose_manifest_counts_no_rows_is_checked(metrics, home, capsys):
    store = Store(Places.from_environment().store)
    store.prepare()
    config = load_config({"base": "tiny_lm", "data": "sandbox_pairs", "extend": "counterfactual", "policy": "dpo"})
    for kind, stage in (("preferences", "extend"), ("model", "base")):
        key = {seen.planned.id: seen.key for seen in foresee(config)}[stage]
        work = store.partial(key)
        work.mkdir()
        (work / "x.txt").write_text("made")
        commit_folder(store, kind, key, work)
        manifest = store.folder(kind, key) / "manifest.json"
        manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"metrics": metrics}))
    (home / "run.yaml").write_text(json.dumps(config.model_dump(mode="json")))
    assert call("check", str(home / "run.yaml")) == 0, capsys.readouterr().err
    assert "policy" in capsys.readouterr().out


def test_r10_a_long_label_and_its_control_characters_stay_within_a_line(home, capsys):
    store = Store(Places.from_environment().store)
    store.prepare()
    work = store.partial("ab12")
    work.mkdir()
    (work / "x.txt").write_text("made")
    commit_folder(store, "model", "ab12", work)
    manifest = store.folder("model", "ab12") / "manifest.json"
    label = "\x1b[2J\n\u0646\u200c\u0647" + "x" * 100_000
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"label": label}))
    assert call("store", "ls") == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert len(line) < 400
    assert "\\x1b[2J\\n\u0646\u200c\u0647xx" in line
