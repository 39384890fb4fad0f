"""Two processes equal one, and a killed training goes on to the same bytes."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pipeline_core.plugin.checkpoints import Checkpoints
from tests.training import driver
from tests.training.tiny import file_bytes

ROOT = Path(__file__).parents[2]
NAMES = ("dpo", "gr_dpo", "grpo", "ppo", "online_dpo", "rloo")


@pytest.fixture(scope="module")
def undisturbed(model_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    return folder, {name: driver.train(name, model_folder, folder) for name in NAMES}


@pytest.fixture(scope="module")
def two_processes(model_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = run([*launcher, "-m", "tests.training.driver", str(model_folder), str(folder), *NAMES])
    assert done.returncode == 0, done.stderr
    return folder


def run(arguments):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env=environment, cwd=ROOT, check=False
    )


@pytest.mark.parametrize("name", NAMES)
def test_two_processes_give_the_losses_and_gradients_of_one(name, undisturbed, two_processes):
    alone = undisturbed[1][name]
    first, second = (json.loads((two_processes / name / f"seen{rank}.json").read_text()) for rank in (0, 1))
    assert first["world_size"] == second["world_size"] == 2
    assert alone["world_size"] == 1
    gradient = torch.tensor(alone["gradient"])
    assert gradient.abs().max() > 1e-3
    for seen in (first, second):
        assert torch.allclose(torch.tensor(seen["gradient"]), gradient, atol=1e-5)
        assert len(seen["history"]) == len(alone["history"])
        for ours, theirs in zip(seen["history"], alone["history"], strict=True):
            assert ours.keys() == theirs.keys()
            assert ours == pytest.approx(theirs, abs=1e-5, rel=1e-5)
    if name == "gr_dpo":
        rates = [entry["learning_rate"] for entry in alone["history"][1:]]
        assert len(rates) == 6  # measured at the start, slowed at five plateaus, stopped
        assert rates[-1] < 0.3**4 * rates[0] * 10
        assert alone["metrics"]["validation/best_step"] == 0
    assert sorted(file_bytes(two_processes / name / "out")) == sorted(file_bytes(undisturbed[0] / name / "out"))


QUICK, SLOW = ("gr_dpo", "ppo"), [pytest.mark.slow]


@pytest.mark.parametrize("name", [pytest.param(name, marks=[] if name in QUICK else SLOW) for name in NAMES])
def test_kill_and_resume_leaves_the_same_bytes(name, undisturbed, model_folder, tmp_path):
    done = run(["-m", "tests.training.driver", str(model_folder), str(tmp_path), name, "--kill", "5"])
    assert done.returncode == -signal.SIGKILL
    state = Checkpoints(tmp_path / name / "checkpoint").load()
    assert state["step"] == 4
    assert not (tmp_path / name / "out" / "model.safetensors").exists()
    resumed = driver.train(name, model_folder, tmp_path)
    assert resumed["gradient"] != undisturbed[1][name]["gradient"]  # it went on from step 4
    files = file_bytes(tmp_path / name / "out")
    expected = file_bytes(undisturbed[0] / name / "out")
    assert files.keys() == expected.keys() >= {"model.safetensors", "history.jsonl"}
    assert [file for file in files if files[file] != expected[file]] == []
