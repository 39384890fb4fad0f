import logging
import os
import stat

import pytest

from pipeline_core.files import atomic as files
from pipeline_core.files.atomic import replace_file, write_optional


@pytest.fixture(autouse=True)
def nothing_told(monkeypatch):
    monkeypatch.setattr(files, "_told", set())


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new folder" / "file.txt"
    with replace_file(path) as partial:
        partial.write_text("one")
        assert not path.exists()
    with pytest.raises(ZeroDivisionError), replace_file(path) as partial:
        partial.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "one"
    assert [file.name for file in path.parent.iterdir()] == ["file.txt"]


def test_two_writers_of_one_file_do_not_meet(tmp_path):
    path = tmp_path / "file.txt"
    with replace_file(path) as first, replace_file(path) as second:
        first.write_text("first")
        second.write_text("second")
    assert path.read_text() == "first"


def test_others_may_read_what_the_umask_lets_them(tmp_path):
    before = os.umask(0o022)
    try:
        with replace_file(tmp_path / "file.txt") as partial:
            partial.write_text("x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file.txt").stat().st_mode) == 0o644


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("file write failed")])
def test_an_optional_file_that_cannot_be_written_costs_one_warning(tmp_path, caplog, error):
    def full(partial):
        partial.write_text("half")
        raise error

    with caplog.at_level(logging.WARNING):
        assert not write_optional(tmp_path / "a.bin", full)
        assert not write_optional(tmp_path / "b.bin", full)
        assert write_optional(tmp_path / "c.bin", lambda partial: partial.write_bytes(b"c"))
    assert [record.message.partition(":")[0] for record in caplog.records] == [
        f"{tmp_path / 'a.bin'} could not be written, which costs time only"
    ]
    assert [file.name for file in tmp_path.iterdir()] == ["c.bin"]


def test_a_folder_that_cannot_be_made_costs_a_warning_too(tmp_path):
    (tmp_path / "file").write_text("")
    assert not write_optional(tmp_path / "file" / "cache.bin", lambda partial: partial.write_bytes(b""))
