"""Ranks that die, stop, hang or take long: real torchrun, real signals."""

import logging
import os
import shutil
import threading
import time

import psutil
import pytest

from pipeline_core.errors import StageFailed
from pipeline_core.plugin.registry import PluginOrigin, Registry
from pipeline_core.stage.key import Job
from pipeline_core.stage.run import run_stage
from pipeline_core.stage.settings import ExecutionSettings
from pipeline_core.store.artifacts import Store
from tests.ranks import step_plugin

UNDISTURBED = "21.0 by 2"


@pytest.fixture(autouse=True)
def plugin_path(tmp_path, monkeypatch):
    """The test plugin as an installed distribution on PYTHONPATH."""
    site = tmp_path / "site"
    info = site / "steps-1.0.dist-info"
    info.mkdir(parents=True)
    shutil.copy(step_plugin.__file__, site / "steps_module.py")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: steps\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[evenhand.plugins]\nsteps = steps_module\n")
    monkeypatch.setenv("PYTHONPATH", f"{site}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")


def run(store, processes=2, deadline=60.0, **config):
    registry = Registry()
    registry.add(step_plugin, PluginOrigin("step_plugin", "steps", "1.0"))
    runner = ExecutionSettings(threads=2, progress_seconds=deadline)
    job = Job(
        stage="base", label="steps", config={"name": "steps", "processes": processes, **config}, seed=1, runner=runner
    )
    return run_stage(job, store, registry)


class Attempt:
    """The processes of the attempt in a store, once its ranks have reached a step; `act` runs beside the stage."""

    def __init__(self, store, act, step=2):
        self.failed = None
        self.family = []
        self._store, self._act, self._step = store, act, step
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._thread.join()
        if self.failed:
            raise self.failed

    def _run(self):
        try:
            folder = self._reached()
            self.ranks = [psutil.Process(int(file.read_text())) for file in sorted(folder.glob("rank*"))]
            self.torchrun = self.ranks[0].parent()
            self.family = [self.torchrun, *self.ranks]
            self._act(self)
        except Exception as error:
            self.failed = error

    def _reached(self):
        end = time.monotonic() + 120
        while time.monotonic() < end:
            for file in self._store.root.glob(".partial/*/*/step"):
                if int(file.read_text() or 0) >= self._step:
                    return file.parent
            time.sleep(0.05)
        raise AssertionError("no rank began its second step")

    def all_gone(self):
        _, alive = psutil.wait_procs(self.family, timeout=20)
        return [process for process in alive if process.is_running() and process.status() != psutil.STATUS_ZOMBIE] == []


def digest_of_undisturbed(tmp_path, **config):
    result = run(Store(tmp_path / "undisturbed"), **config)
    assert (result.path / "total.txt").read_text() == UNDISTURBED
    return result.digest


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("rank", r"rank 1 was ended by SIGKILL \(out of memory, if nobody sent it\)"),
        ("torchrun", "torchrun, which runs the ranks, was ended by SIGKILL"),
    ],
)
def test_a_kill_is_told_leaves_nothing_and_is_made_good_by_the_next_attempt(store, tmp_path, name, said):
    def kill(attempt):
        (attempt.ranks[1] if name == "rank" else attempt.torchrun).kill()

    with Attempt(store, kill) as attempt, pytest.raises(StageFailed, match=said):
        run(store)
    assert attempt.all_gone()
    assert list(store.root.glob(".partial/*/checkpoint/checkpoint.pt"))
    assert run(store).digest == digest_of_undisturbed(tmp_path)


@pytest.mark.parametrize(
    ("fault", "said"), [("exit", "rank 1 ended with exit code 3"), ("raise", "ValueError: seven is not a tensor")]
)
def test_the_error_of_a_stage_is_that_of_the_rank_that_failed(store, fault, said):
    with pytest.raises(StageFailed, match=f"^{said}"):
        run(store, fault=fault)


def test_a_stopped_rank_is_told_of_soon_and_ends_the_stage_at_the_deadline(store, caplog):
    with (
        Attempt(store, lambda attempt: attempt.ranks[1].suspend()) as attempt,
        pytest.raises(StageFailed) as caught,
    ):
        run(store, deadline=6)
    assert attempt.all_gone(), "SIGKILL ends a stopped process too"
    stopped = f"rank 1 (process {attempt.ranks[1].pid}) is stopped (state T) since"
    said = str(caught.value)
    assert said.startswith(f"no sign of progress for 6 s (runner.progress_seconds): {stopped}")
    assert f"rank 0 (process {attempt.ranks[0].pid}) stands, innermost first:\n" in said
    assert "in all_reduce" in said
    (warning,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warning.startswith(f"base:steps: {stopped}")
    assert f"`kill -CONT {attempt.ranks[1].pid}` lets it go on" in warning


@pytest.mark.slow
def test_a_rank_that_goes_on_before_the_deadline_costs_nothing(store, tmp_path, caplog):
    def pause(attempt):
        attempt.ranks[1].suspend()
        end = time.monotonic() + 30
        while "is stopped" not in caplog.text and time.monotonic() < end:
            time.sleep(0.1)
        attempt.ranks[1].resume()

    with Attempt(store, pause):
        result = run(store, deadline=24)
    assert "rank 1 goes on after" in caplog.text
    assert result.digest == digest_of_undisturbed(tmp_path)


def test_a_rank_that_hangs_is_shown_where_it_stands(store):
    with pytest.raises(StageFailed, match="no sign of progress for 4 s") as caught:
        run(store, deadline=4, fault="hang")
    said = str(caught.value)
    assert 'steps_module.py", line' in said
    assert "in wait_for_ever" in said
    assert "in all_reduce" in said


@pytest.mark.slow
def test_a_single_worker_has_the_deadline_too(store):
    with pytest.raises(StageFailed, match="no sign of progress for 4 s.*\nthe worker|: the worker") as caught:
        run(store, processes=1, deadline=4, fault="hang")
    assert "in wait_for_ever" in str(caught.value)


@pytest.mark.slow
def test_a_step_that_computes_for_longer_than_the_deadline_is_not_ended(store):
    result = run(store, deadline=3, steps=1, busy=9.0)
    assert (result.path / "total.txt").read_text() == "1.0 by 2"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("step", "deadline"), [({"busy": 300.0}, 60.0), ({"rest": 300.0}, ExecutionSettings().progress_seconds)]
)
def test_a_healthy_step_of_five_minutes_is_not_ended(store, step, deadline):
    result = run(store, deadline=deadline, steps=1, **step)
    assert (result.path / "total.txt").read_text() == "1.0 by 2"
