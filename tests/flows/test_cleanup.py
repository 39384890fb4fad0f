import json
import os
import subprocess
import sys
import textwrap
import time

import pytest

from flows import cleanup as garbage
from flows.cleanup import find_waste, remove
from pipeline_core.store.artifacts import MANIFEST, Store
from tests.store.test_artifacts import commit

DAY = 86400.0


def age(path, days=40.0):
    then = time.time() - days * DAY
    os.utime(path, (then, then))
    return path


def write(path, text="x"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def found(store, *keep, days=0.0):
    return {(waste.what, waste.path.name) for waste in find_waste(store, keep, days * DAY)}


def test_artifacts_go_by_their_last_use_and_what_runs_keep_stays(store):
    for key in ("kept", "used", "old"):
        commit(store, key)
        age(store.folder("model", key))
        store.discard(store.partial(key))
    store.use("model", "used")
    assert found(store, "kept", days=30) == {("artifact", "old")}
    store.open(store.find("model", "old").ref)
    assert found(store, "kept", days=30) == set()


def test_work_that_goes_on_is_no_waste(store):
    commit(store, "input")
    store.discard(store.partial("input"))
    order = {"folders": {"model": str(store.folder("model", "input"))}}
    age(write(store.partial("k") / "attempt" / "order.json", json.dumps(order)).parent)
    age(store.partial("k"))
    with store.lock("model", "k"):
        assert found(store) == set()
        assert remove(store, [garbage.Removable(store.partial("k"), "unfinished work", time.time(), "k")]) == {}
    assert store.partial("k").exists()
    assert found(store, days=30) == {("unfinished work", "k")}
    write(store.partial("k") / "checkpoint" / "checkpoint.pt")
    assert found(store, days=30) == set(), "its checkpoint is young"
    remove(store, [waste for waste in find_waste(store) if waste.key == "k"])
    assert not store.partial("k").exists()


def test_what_came_to_use_after_it_was_listed_stays(store):
    commit(store, "k1")
    age(store.folder("model", "k1"))
    waste = find_waste(store)
    store.use("model", "k1")
    remove(store, [one for one in waste if one.what == "artifact"])
    assert store.find("model", "k1")


def test_an_interrupted_removal_leaves_nothing_half_visible(store, monkeypatch):
    commit(store, "k1")

    def interrupt(path):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("pipeline_core.store.artifacts.delete", interrupt)
        remove(store, [one for one in find_waste(store) if one.what == "artifact"])
    assert list(store.ls()) == []
    assert [waste.what for waste in find_waste(store, unused_seconds=DAY)] == ["remains"]
    assert commit(store, "k1").key == "k1"
    remove(store, find_waste(store, unused_seconds=DAY))
    assert not list((store.root / ".trash").iterdir())
    assert store.find("model", "k1")


def test_a_folder_without_a_manifest_is_listed_and_goes(store):
    age(write(store.folder("model", "k1") / "half.txt").parent)
    assert found(store, days=30) == {("incomplete artifact", "k1")}
    remove(store, find_waste(store, unused_seconds=30 * DAY))
    assert not store.folder("model", "k1").exists()


def test_caches_logs_and_files_of_locks_go_by_age(store):
    for name in (".scratch/reference/a", ".scratch/.b.partial", ".logs/k.txt", ".locks/k.guard", ".locks/.k.partial"):
        age(write(store.root / name))
    write(store.root / ".locks" / "young.guard")
    dead = write(store.root / ".locks" / "dead.lock", "{}")
    age(dead)
    age(write(dead.with_suffix(".guard")))
    files = {("cache", "a"), ("cache", ".b.partial"), ("log", "k.txt")}
    locks = {("lock", "k.guard"), ("lock", ".k.partial"), ("lock", "dead.lock")}
    assert found(store, days=30) == files | locks
    assert found(store) == files | locks, "a young guard may be in use"
    remove(store, find_waste(store, unused_seconds=30 * DAY))
    left = {path.name for path in store.root.rglob("*") if path.is_file()}
    assert left == {"young.guard", "dead.guard"}


def test_a_manifest_that_cannot_be_read_is_not_taken_for_garbage_of_its_key(store):
    commit(store, "k1")
    (store.folder("model", "k1") / MANIFEST).write_text("{")
    assert ("artifact", "k1") in found(store)
    assert found(store, "k1") == {("unfinished work", "k1")}


def test_a_file_among_the_folders_of_work_goes_like_these(store):
    stray = age(write(store.root / ".partial" / "stray"))
    assert found(store, days=30) == {("unfinished work", "stray")}
    remove(store, find_waste(store, unused_seconds=30 * DAY))
    assert not stray.exists()


FULL_DISK = textwrap.dedent(
    """
    import resource, signal, sys
    from flows.cli import main
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))  # no file takes a byte
    main(sys.argv[1:])
    """
)


def test_r3_a_full_disk_is_cleaned_up(store):
    commit(store, "old")
    age(store.folder("model", "old"))
    age(write(store.partial("w") / "attempt" / "events.jsonl").parent)
    age(store.partial("w"))
    for name in (".logs/k.txt", ".scratch/a", ".locks/dead.lock", ".trash/b"):
        age(write(store.root / name))
    environment = {**os.environ, "EVENHAND_HOME": str(store.root.parent), "EVENHAND_STORE": str(store.root)}
    command = [sys.executable, "-c", FULL_DISK, "store", "gc", "--keep-days", "1"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr.count("stays")) == (0, 0), ended.stderr
    assert [path for path in store.root.rglob("*") if path.is_file() and path.suffix != ".guard"] == []


def test_r3_what_cannot_be_removed_is_named_and_does_not_hold_up_the_rest(store, monkeypatch, caplog):
    for key in ("first", "second"):
        commit(store, key)
        age(store.folder("model", key))
        store.discard(store.partial(key))
    discard = Store.discard

    def fail_once(self, path):
        if path.name == "first":
            raise OSError(28, "No space left on device")
        discard(self, path)

    monkeypatch.setattr(Store, "discard", fail_once)
    freed = remove(store, find_waste(store, unused_seconds=DAY))
    assert store.folder("model", "second") in freed
    assert store.folder("model", "first") not in freed
    assert f"{store.folder('model', 'first')} stays: No space left on device" in caplog.text


@pytest.mark.parametrize("name", [".logs", "model", ".scratch", ".trash", ".partial", ".locks"])
def test_r5_what_a_link_leads_out_of_the_store_stays(store, tmp_path_factory, caplog, name):
    outside = tmp_path_factory.mktemp("outside")
    age(write(outside / "k" / "file.lock"))
    age(write(outside / "mine.lock"))
    age(outside / "k")
    commit(store, "k1")
    age(store.folder("model", "k1"))
    link = store.root / name
    if link.exists():
        link.rename(store.root / "aside")
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(outside)
    remove(store, find_waste(store))
    assert {"file.lock", "k", "mine.lock"} <= {path.name for path in outside.rglob("*")}
    assert link.is_symlink()
    assert caplog.text.count(f"left as it is, since it leads out of the store: {link}\n") == 1


def test_r5_a_store_behind_a_link_is_cleaned_up(store, tmp_path):
    commit(store, "k1")
    age(store.folder("model", "k1"))
    (tmp_path / "link").symlink_to(store.root)
    behind = Store(tmp_path / "link")
    assert remove(behind, find_waste(behind, unused_seconds=DAY))
    assert not store.folder("model", "k1").exists()
