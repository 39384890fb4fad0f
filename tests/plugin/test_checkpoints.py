import sys
import types

import pytest

from pipeline_core.plugin import checkpoints
from pipeline_core.plugin.checkpoints import WORTH, Checkpoints
from pipeline_core.store import versions
from pipeline_core.store.versions import source_digest

MADE_BY = {"revision": "1", "source": "abc", "device": "cpu", "torch": "2.6"}


def test_what_was_saved_comes_back(tmp_path):
    Checkpoints(tmp_path / "new", made_by=lambda: MADE_BY).save({"step": 3, "names": ["a"]})
    assert Checkpoints(tmp_path / "new", made_by=lambda: MADE_BY).load() == {"step": 3, "names": ["a"]}
    assert Checkpoints(tmp_path / "none").load() is None


@pytest.mark.parametrize("name", MADE_BY)
def test_a_checkpoint_something_else_has_made_is_left_aside(tmp_path, caplog, name):
    Checkpoints(tmp_path, made_by=lambda: MADE_BY).save({"step": 3})
    assert Checkpoints(tmp_path, made_by=lambda: MADE_BY | {name: "new"}).load() is None
    assert f"{name} ({MADE_BY[name]}, now new)" in caplog.text


def test_a_checkpoint_that_cannot_be_read_is_left_aside(tmp_path, caplog):
    (tmp_path / "checkpoint.pt").write_text("no checkpoint")
    assert Checkpoints(tmp_path).load() is None
    assert "cannot be read" in caplog.text


def test_r4_no_byte_of_a_checkpoint_can_change_unseen(tmp_path):
    kept, state = Checkpoints(tmp_path), {"step": 7, "name": "abc", "weights": [0.5, 0.25]}
    kept.save(state)
    (file,) = tmp_path.iterdir()
    good = file.read_bytes()
    assert kept.load() == state
    for place in range(len(good)):
        file.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        assert kept.load() is None, place
    for length in range(0, len(good), 50):
        file.write_bytes(good[:length])
        assert kept.load() is None, length


def test_a_full_disk_keeps_the_last_checkpoint(tmp_path, monkeypatch):
    kept = Checkpoints(tmp_path)
    kept.save({"step": 1})

    def full(*_):
        raise RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed")

    with monkeypatch.context() as patch:
        patch.setattr("torch.save", full)
        kept.save({"step": 2})
    assert kept.load() == {"step": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_saving_takes_a_small_share_of_the_time(tmp_path, monkeypatch):
    clock = types.SimpleNamespace(now=0.0)
    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: clock.now)
    kept = Checkpoints(tmp_path, every_seconds=60.0)

    def slow(content, path):
        clock.now += 30
        path.write_bytes(b"")

    monkeypatch.setattr("torch.save", slow)
    clock.now = 60.0
    assert kept.due(1)
    kept.save({})
    clock.now += 30 * WORTH - 1
    assert not kept.due(2)
    clock.now += 1
    assert kept.due(2)


def test_the_source_of_a_plugin_is_told_apart(tmp_path, monkeypatch):
    module = types.ModuleType("some_plugin")
    module.__file__ = str(tmp_path / "some_plugin.py")
    monkeypatch.setitem(sys.modules, "some_plugin", module)
    digests = []
    for text in ("loss = 1", "loss = 2", "loss = 1"):
        (tmp_path / "some_plugin.py").write_text(text)
        source_digest.cache_clear()
        digests.append(source_digest("some_plugin"))
    assert digests[0] == digests[2] != digests[1]
    assert versions.library_versions()["torch"]


def test_a_durable_file_stands_beside_the_checkpoint(tmp_path):
    kept = Checkpoints(tmp_path / "new", made_by=lambda: MADE_BY)
    kept.durable_file("journal.jsonl").write_text("one\n")
    assert Checkpoints(tmp_path / "new").durable_file("journal.jsonl").read_text() == "one\n"
    assert Checkpoints(None).durable_file("journal.jsonl") is None
