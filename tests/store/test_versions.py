"""Digests of the source that decides numbers: what a checkpoint depends on."""

import sys
from types import ModuleType

import pytest

from pipeline_core.store.versions import library_versions, source_digest


@pytest.fixture
def digest_after(tmp_path, monkeypatch):
    """`digest_after(main, {file: text})`: digest of the module in `main` once these files are written."""

    def digest(main, files):
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(text)
        module = ModuleType("a_plugin")
        module.__file__ = str(tmp_path / main)
        monkeypatch.setitem(sys.modules, "a_plugin", module)
        return source_digest.__wrapped__("a_plugin")

    return digest


@pytest.mark.parametrize("main", ["own/plugin.py", "own/__init__.py"])
def test_a_plugin_in_a_folder_is_all_files_of_the_folder(digest_after, main):
    first = digest_after(main, {main: "a = 1", "own/_private.py": "b = 1", "beside.py": "c = 1"})
    assert digest_after(main, {"beside.py": "c = 2"}) == first
    assert digest_after(main, {"own/notes.md": "d"}) == first
    assert digest_after(main, {"own/_private.py": "b = 2"}) != first


def test_a_plugin_in_a_file_is_that_file(digest_after):
    first = digest_after("own/dpo.py", {"own/dpo.py": "a = 1", "own/other.py": "b = 1"})
    assert digest_after("own/dpo.py", {"own/other.py": "b = 2"}) == first
    assert digest_after("own/dpo.py", {"own/dpo.py": "a = 2"}) != first


def test_what_has_no_file_adds_nothing():
    assert source_digest.__wrapped__("sys", "no_such_module") == source_digest.__wrapped__()


def test_versions_of_what_affects_numbers():
    versions = library_versions()
    assert {"python", "evenhand", "torch", "transformers", "numpy", "scikit-learn"} <= versions.keys()
    assert versions["python"] == ".".join(map(str, sys.version_info[:3]))
