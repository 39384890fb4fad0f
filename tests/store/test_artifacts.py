import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_core.errors import ArtifactChanged, BadInput, EvenhandError, StageFailed
from pipeline_core.files.digests import canonical_json, digest_of
from pipeline_core.store.artifacts import MANIFEST, Manifest, Store
from pipeline_core.store.locks import Stopped, TakenOver

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


def rewritten(store, changes, key="k1"):
    """The manifest's file, with `changes` in it."""
    file = store.folder("model", key) / MANIFEST
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
    return file


def test_the_folders_of_a_store(tmp_path, monkeypatch):
    """Stores outlive versions: the names of their folders stay."""
    monkeypatch.setenv("EVENHAND_STORE", str(tmp_path))
    store = Store.from_environment()
    store.prepare()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".locks", ".partial", ".scratch", ".trash"]
    assert store.folder("model", "k1") == tmp_path / "model" / "k1"
    assert store.partial("k1") == tmp_path / ".partial" / "k1"
    assert store.lock_file("k1") == tmp_path / ".locks" / "k1.lock"


def test_an_artifact_that_is_used_is_young_again(store):
    manifest, folder = commit(store), store.folder("model", "k1")
    for use in (lambda: store.use("model", "k1"), lambda: store.open(manifest.ref)):
        os.utime(folder, (1, 1))
        use()
        assert folder.stat().st_mtime > 1e9
    assert store.use("model", "k1") == manifest
    assert store.use("model", "k9") is None


@pytest.mark.parametrize("damage", ["shorter", "empty", "removed", "a file in place of its folder"])
def test_a_file_of_another_size_is_noticed_when_an_artifact_is_used(store, damage):
    commit(store)
    folder = store.folder("model", "k1")
    name = "a.txt" if damage == "shorter" else "sub/b.txt"
    if damage in ("shorter", "empty"):
        (folder / name).write_text("")
    else:
        (folder / name).unlink()
    if damage.startswith("a file"):
        (folder / "sub").rmdir()
        (folder / "sub").write_text("b")
    with pytest.raises(ArtifactChanged) as error:
        store.use("model", "k1")
    assert str(error.value) == f"{folder / name} has changed since it was made; remove {folder} to make it again"


def test_a_lock_is_not_waited_for_once_the_artifact_is_there(store):
    with store.lock("model", "k1") as first:
        assert first.held and store.lock_file("k1").exists()
        waited = []
        lock = store.lock("model", "k1", lambda owner: (waited.append(owner["pid"]), commit(store)))
        with lock as second:
            assert not second.held
        assert waited == [os.getpid()]
    with store.lock("model", "k2"), pytest.raises(Stopped):
        store.lock("model", "k2", stopping=lambda: True).__enter__()


def test_who_was_taken_over_commits_nothing(store):
    work = store.partial("k1")
    work.mkdir(parents=True)
    (work / "a.txt").write_text("x")
    with store.lock("model", "k1") as lock:
        store.lock_file("k1").write_text("{}")  # another process's by now
        with pytest.raises(TakenOver):
            store.commit("model", "k1", work, lock, **FACTS)
    assert store.find("model", "k1") is None


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


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("files", {"": {"sha256": "0", "size": 1}}, "names no file below the artifact's folder"),
        ("files", {"/etc/passwd": {"sha256": "0", "size": 1}}, "names no file below the artifact's folder"),
        ("files", {"a/../../b": {"sha256": "0", "size": 1}}, "names no file below the artifact's folder"),
        ("files", {"a\0b": {"sha256": "0", "size": 1}}, "names no file below the artifact's folder"),
        ("files", {"a": {"sha256": "0", "size": -1}}, "size"),
        ("data", {"[]": "0"}, "is no reference to catalog rows"),
        ("data", {'{"entry": 1}': "0"}, "is no reference to catalog rows"),
        ("data", {"{": "0"}, "data"),
        ("metrics", {"loss": float("nan")}, "metrics"),
        ("config", {"beta": float("inf")}, "config"),
        ("seed", -1, "seed"),
        ("created", 3e11, "created"),
        ("seconds", -1, "seconds"),
        ("key", "k2", "it is the manifest of model/'k2'"),
    ],
)
def test_a_manifest_with_an_impossible_value_is_named_and_its_remedy(store, field, value, words):
    commit(store)
    file = rewritten(store, {field: value})
    with pytest.raises(ArtifactChanged) as error:
        store.find("model", "k1")
    assert str(error.value).startswith(f"{file} cannot be read: ") and words in str(error.value)
    assert str(error.value).endswith(f"; remove {file.parent} to make the artifact again")


def test_references_to_rows_are_kept(store):
    data = {'{"entry": "bbq", "rows": 5}': "0" * 64}
    assert commit(store, data=data).data == data == store.find("model", "k1").data


def test_a_metric_that_is_no_number_is_not_committed(store):
    with pytest.raises(ValueError, match="JSON"):
        commit(store, metrics={"loss": float("nan")})
    assert store.find("model", "k1") is None


def test_artifacts_are_listed_from_the_newest_on(store):
    for key, created in (("k1", 20), ("k2", 30), ("k3", 10)):
        commit(store, key)
        rewritten(store, {"created": created}, key)
    assert [manifest.key for manifest in store.ls()] == ["k2", "k1", "k3"]


def test_a_folder_can_be_discarded_twice(store):
    for key in ("k1", "k2", "k2"):
        (store.folder("model", key) / "sub").mkdir(parents=True, exist_ok=key == "k1")
        store.discard(store.folder("model", key))
    store.discard(store.folder("model", "k9"))
    assert not list((store.root / ".trash").iterdir())
    assert not list((store.root / "model").iterdir())


def test_a_key_can_be_shortened_while_it_is_unique(store):
    commit(store, "abc1")
    commit(store, "abd2")
    assert store.resolve("abc").key == "abc1"
    with pytest.raises(BadInput, match="2 artifacts"):
        store.resolve("ab")
    with pytest.raises(BadInput, match="0 artifacts in .* have a key that starts with 'x'"):
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
    with pytest.raises(StageFailed, match="^the plugin wrote no file into its output folder$"):
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


def test_a_store_without_write_access_is_named_with_its_remedy(store, monkeypatch):
    store.prepare()  # a second time, over its folders
    monkeypatch.setattr(os, "access", lambda path, mode: (path, mode) != (store.root, os.W_OK))
    with pytest.raises(EvenhandError) as error:
        store.prepare()
    assert str(error.value) == (
        f"the store {store.root} cannot be written: not writable; "
        "set EVENHAND_HOME or EVENHAND_STORE to a writable folder"
    )
    assert error.value.__cause__.filename == str(store.root)


def test_what_is_not_there_or_another_is_named_by_twelve_digits(store):
    manifest = commit(store, "k" * 64)
    gone = manifest.ref.model_copy(update={"key": "g" * 64})
    with pytest.raises(BadInput) as error:
        store.open(gone)
    assert str(error.value) == f"artifact model/{'g' * 12} is not in the store {store.root}"
    with pytest.raises(ArtifactChanged) as error:
        store.open(manifest.ref.model_copy(update={"digest": "d" * 64}))
    folder = store.folder("model", "k" * 64)
    assert str(error.value) == f"{folder}: digest {manifest.digest[:12]} where {'d' * 12} was used before"


def test_an_artifact_of_a_read_only_store_is_used(store, monkeypatch, caplog):
    manifest, folder = commit(store), store.folder("model", "k1")

    def refuse(path):
        raise PermissionError(30, "Read-only file system")

    with monkeypatch.context() as patch, caplog.at_level("DEBUG"):
        patch.setattr(os, "utime", refuse)
        assert store.open(manifest.ref) == folder
    assert f"{folder} cannot be marked as used" in caplog.text.splitlines()[-1]


def test_a_manifest_is_one_line_for_each_fact_in_order(store):
    """People compare manifests, and so do tools that go by lines."""
    commit(store, config={"b": "é", "a": 1})
    text = (store.folder("model", "k1") / MANIFEST).read_bytes().decode("ascii")
    assert text == json.dumps(json.loads(text), indent=1, sort_keys=True)


def test_all_files_and_folders_are_on_the_disk_before_the_artifact_is_there(store, monkeypatch):
    synced = []
    monkeypatch.setattr("pipeline_core.store.artifacts.sync", lambda path: synced.append((path, target.exists())))
    target, work = store.folder("model", "k1"), store.partial("k1") / "work"
    (work / "sub").mkdir(parents=True)
    (work / "sub" / "b.txt").write_text("b")
    (work / "leads nowhere").symlink_to(work / "not there")
    store.commit("model", "k1", work, **FACTS)
    before = {path for path, is_there in synced if not is_there}
    assert before == {work, work / "sub", work / "sub" / "b.txt", work / MANIFEST}
    assert synced[-1] == (target.parent, True)


def test_an_artifact_that_goes_while_all_are_listed_hides_no_other(store, monkeypatch):
    for key in ("k1", "k2", "k3"):
        commit(store, key)
    read, gone = Manifest.read, []

    def read_once(file):
        if not gone:
            gone.append(file)
            raise FileNotFoundError(file)
        return read(file)

    monkeypatch.setattr(Manifest, "read", read_once)
    assert len(list(store.ls())) == 2


def test_an_artifact_that_cannot_be_read_is_named_in_a_line(store, caplog):
    commit(store)
    file = store.folder("model", "k1") / MANIFEST
    file.write_text("{")
    assert list(store.ls()) == []
    assert caplog.messages[0].startswith(f"left out: {file} cannot be read: ")
