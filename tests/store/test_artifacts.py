import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_core.errors import ArtifactChanged, BadInput, EvenhandError, StageFailed
from pipeline_core.files.digests import canonical_json, digest_of
from pipeline_core.store.artifacts import MANIFEST, Store

FACTS = {
    "stage": "base",
    "plugin": "probe",
    "label": "probe",
    "seed": 0,
    "config": {},
    "inputs": {},
    "data": {},
    "metrics": {"loss": 1.0},
    "seconds": 2.0,
}


def commit(store, key="k1", text="hello", **facts):
    work = store.partial(key) / "work"
    (work / "sub").mkdir(parents=True)
    (work / "a.txt").write_text(text)
    (work / "sub" / "b.txt").write_text("b")
    return store.commit("model", key, work, **{**FACTS, **facts})


def test_what_is_committed_can_be_found_and_opened(store):
    manifest = commit(store)
    assert store.find("model", "k1") == manifest
    folder = store.open(manifest.ref)
    assert (folder / "sub" / "b.txt").read_text() == "b"
    assert set(manifest.files) == {"a.txt", "sub/b.txt"}
    assert manifest.size == 6


def test_the_digest_covers_files_and_not_times_or_keys(store):
    first, second = commit(store, "k1"), commit(store, "k2", seconds=9.0, label="other")
    assert first.digest == second.digest
    assert commit(store, "k3", "hello!").digest != first.digest


def test_nothing_is_visible_before_the_manifest(store):
    work = store.partial("k1") / "work"
    work.mkdir(parents=True)
    (work / "a.txt").write_text("half")
    assert store.find("model", "k1") is None
    assert list(store.ls()) == []


@pytest.mark.parametrize("damage", ["change", "remove", "add"])
def test_a_changed_artifact_is_an_error_that_names_the_file(store, damage):
    manifest = commit(store)
    folder = store.folder("model", "k1")
    name = {"change": "a.txt", "remove": "a.txt", "add": "new.txt"}[damage]
    if damage == "remove":
        (folder / name).unlink()
    else:
        (folder / name).write_text("hellO")
    with pytest.raises(ArtifactChanged, match=name):
        store.open(manifest.ref)


def test_another_digest_than_the_one_used_before_is_an_error(store):
    ref = commit(store).ref
    with pytest.raises(ArtifactChanged, match="was used before"):
        store.open(ref.model_copy(update={"digest": "0" * 64}))
    with pytest.raises(BadInput, match="is not in the store"):
        store.open(ref.model_copy(update={"key": "k9"}))


def test_a_second_committer_takes_what_is_there(store):
    first = commit(store, "k1", "first")
    assert commit(store, "k1", "second") == first
    assert (store.folder("model", "k1") / "a.txt").read_text() == "first"
    assert not (store.partial("k1") / "work").exists()


def test_a_manifest_that_cannot_be_read_is_an_error(store):
    commit(store)
    (store.folder("model", "k1") / MANIFEST).write_text("{")
    with pytest.raises(ArtifactChanged, match="cannot be read"):
        store.find("model", "k1")


def test_a_key_can_be_shortened_while_it_is_unique(store):
    commit(store, "abc1")
    commit(store, "abd2")
    assert store.resolve("abc").key == "abc1"
    with pytest.raises(BadInput, match="2 artifacts"):
        store.resolve("ab")
    with pytest.raises(BadInput, match="0 artifacts"):
        store.resolve("x")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_store_is_said_so(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(EvenhandError, match="cannot be written"):
        Store(tmp_path / "store").prepare()


def test_a_store_that_cannot_be_a_folder_is_said_so(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(EvenhandError, match="cannot be written: Not a directory.*EVENHAND_STORE"):
        Store(tmp_path / "file" / "store").prepare()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), json_values, max_size=5))
def test_canonical_json_does_not_depend_on_order_and_round_trips(value):
    shuffled = dict(reversed(list(value.items())))
    assert digest_of(shuffled) == digest_of(value)
    assert json.loads(canonical_json(value)) == value


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), {1, 2}])
def test_what_is_not_json_has_no_digest(value):
    with pytest.raises((TypeError, ValueError)):
        digest_of({"x": value})


def test_remains_without_a_manifest_do_not_keep_an_artifact_from_being_made(store):
    (store.folder("model", "k1") / "sub").mkdir(parents=True)
    (store.folder("model", "k1") / "sub" / "half removed.txt").write_text("x")
    manifest = commit(store)
    assert store.open(manifest.ref)
    assert not list((store.root / ".trash").iterdir())


def test_nothing_is_no_artifact(store):
    work = store.partial("k1") / "work"
    (work / "empty folder").mkdir(parents=True)
    with pytest.raises(StageFailed, match="wrote no file"):
        store.commit("model", "k1", work, **FACTS)


def test_a_manifest_of_a_newer_version_can_be_read(store):
    manifest = commit(store)
    file = store.folder("model", "k1") / MANIFEST
    file.write_text(json.dumps({**json.loads(file.read_text()), "mood": "sunny"}))
    assert store.find("model", "k1") == manifest


def test_one_manifest_that_cannot_be_read_does_not_hide_the_others(store, caplog):
    commit(store, "k1")
    commit(store, "k2")
    (store.folder("model", "k1") / MANIFEST).write_text("[]")
    assert [manifest.key for manifest in store.ls()] == ["k2"]
    assert "k1" in caplog.text
    assert store.resolve("k").key == "k2"


def test_whoever_may_read_the_manifest_may_read_every_file(store):
    """Libraries that write by way of `mkstemp` leave files that one user alone can read."""
    work = store.partial("k1")
    work.mkdir(parents=True)
    (work / "model.safetensors").write_bytes(b"weights")
    (work / "model.safetensors").chmod(0o600)
    (elsewhere := store.root.parent / "private.txt").write_text("mine")
    elsewhere.chmod(0o600)
    (work / "link.txt").symlink_to(elsewhere)
    store.commit("model", "k1", work, **FACTS)
    folder = store.folder("model", "k1")
    bits = {file.name: file.stat().st_mode & 0o444 for file in folder.iterdir()}
    assert bits["model.safetensors"] == bits["manifest.json"]
    assert elsewhere.stat().st_mode & 0o777 == 0o600, "what a link points at is left as it is"
