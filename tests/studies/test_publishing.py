"""A study's files: of one run, whole, and none of an earlier one."""

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, replace

import pytest

from pipeline_core.errors import BadInput
from pipeline_core.store.processes import Process
from pipeline_core.studies.log_linear import study as log_linear
from pipeline_core.studies.log_linear.settings import StudySettings
from pipeline_core.studies.publishing import OLD_SECONDS, OWNER, check_writable, private_folder, publish

SMALL = StudySettings(features=("same",), scenarios=("uneven-balanced",), methods=("gr_dpo",), seeds=2, iterations=2)


def seen(out):
    return {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()} - {".study.guard"}


def test_two_studies_in_one_folder_keep_apart(tmp_path, monkeypatch):
    """A second study runs from start to end while the first one records: each run's artifacts are its own."""
    from mlflow import MlflowClient

    log, inner = log_linear._log, []

    def interrupted(study, folder, tracked):
        if not inner:
            inner.append(None)
            inner[0] = log_linear.run(replace(SMALL, chi=(0.5, 1.0)), tmp_path / "out")[1]
        log(study, folder, tracked)

    monkeypatch.setattr(log_linear, "_log", interrupted)
    _, outer = log_linear.run(SMALL, tmp_path / "out")
    client = MlflowClient(f"sqlite:///{os.environ['EVENHAND_HOME']}/mlflow.db")
    for document in (outer, inner[0]):
        kept = client.download_artifacts(document["tracking_run"], "", str(tmp_path))
        assert json.loads((tmp_path / "results.json").read_text()) == document
        assert {entry.path for entry in client.list_artifacts(document["tracking_run"], "figures")} == {
            name for name in document["files"] if name.startswith("figures/")
        }
        assert kept
    assert json.loads((tmp_path / "out" / "results.json").read_text()) == outer
    assert seen(tmp_path / "out") == {"results.json", *outer["files"]}
    assert "figures/same-chi.png" in inner[0]["files"], "what the second one left is gone"


@pytest.fixture
def out(tmp_path):
    folder = tmp_path / "out"
    check_writable(folder)
    return folder


def filled(folder, **texts):
    for name, text in texts.items():
        (folder / "figures").mkdir(exist_ok=True)
        (folder / name.replace("_", "/")).write_text(text)
    return [name.replace("_", "/") for name in texts]


def test_what_an_earlier_run_left_goes_and_what_is_the_users_stays(out):
    filled(out, results="old", figures_a="old", figures_b="old", figures_mine="kept")
    with private_folder(out) as folder:
        files = filled(folder, figures_a="new", results="new")
        assert (out / "results").read_text() == "old", "nothing moves before the end"
        publish(folder, out, files, ["figures/b", "figures/c"])
    assert seen(out) == {"results", "figures/a", "figures/mine"}
    assert (out / "figures" / "a").read_text() == (out / "results").read_text() == "new"


def test_results_never_stand_beside_figures_of_another_run(out, monkeypatch):
    """Killed at any of the moves: either all is old, or results.json is not there."""
    replace_file = type(out).replace
    for moves in range(3):
        filled(out, results="old", figures_a="old", figures_b="old")
        left = iter(range(moves))

        def dies(path, target, left=left):
            if next(left, None) is None:
                raise KeyboardInterrupt
            return replace_file(path, target)

        with private_folder(out) as folder, monkeypatch.context() as patch:
            files = filled(folder, figures_a="new", figures_b="new", results="new")
            patch.setattr(type(out), "replace", dies)
            with pytest.raises(KeyboardInterrupt):
                publish(folder, out, files, [])
        assert not (out / "results").exists()


def test_folders_of_the_dead_are_cleared_away_and_those_of_the_living_stay(out):
    script = "import sys, os\nfrom pathlib import Path\nfrom pipeline_core.studies.publishing import private_folder\n"
    script += "with private_folder(Path(sys.argv[1])):\n    os._exit(9)\n"
    subprocess.run([sys.executable, "-c", script, str(out)], check=False, timeout=60)
    (dead,) = out.glob(".study-*.partial")
    (out / ".study-half.partial").mkdir()
    with private_folder(out) as mine:
        assert not dead.exists()
        assert not (out / ".study-half.partial").exists()
        with private_folder(out) as other:
            assert mine.exists()
            assert mine != other
    assert seen(out) == set()


@pytest.mark.parametrize(("age", "stays"), [(0.0, True), (OLD_SECONDS + 60, False)])
def test_a_folder_of_another_host_stays_for_a_day(out, age, stays):
    folder = out / ".study-far.partial"
    folder.mkdir()
    elsewhere = replace(Process.current(), space="another host")
    (folder / OWNER).write_text(json.dumps(asdict(elsewhere)))
    then = time.time() - age
    os.utime(folder, (then, then))
    with private_folder(out):
        assert folder.exists() == stays


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match=r"out: cannot write to .*file/below"):
        check_writable(tmp_path / "file" / "below")
