"""`evenhand study log-linear` from the outside."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
TINY = ["--features", "same", "--scenarios", "uneven-imbalanced", "--methods", "is_dpo,gr_dpo", "--chi", "0,1",
        "--seeds", "2", "--iterations", "4", "--algorithm-1", "100"]  # fmt: skip
MEASURES = {"max_validation_loss", "mean_validation_loss", "max_reward_error_relative", "max_reward_error_absolute"}


def evenhand(home, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "flows.cli", "study", "log-linear", *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(ROOT), "EVENHAND_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_study_from_the_command_line(home, tmp_path):
    out = tmp_path / "new" / "folder"
    done = evenhand(home, "--out", out, "--json", *TINY)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document == json.loads((out / "results.json").read_text())
    rows = {(row["method"], row["chi"]): row for row in document["rows"]}
    assert set(rows) == {("is_dpo", None), ("gr_dpo", 0.0), ("gr_dpo", 1.0)}
    for row in rows.values():
        assert (row["features"], row["scenario"], row["n_seeds"]) == ("same", "uneven-imbalanced", 2)
        assert all(set(row[measure]) == {"mean", "se"} for measure in MEASURES)
        assert len(row["group_weights"]) == 2
        assert row["seconds"] > 0
    assert {(one["method"], one["base"]) for one in document["differences"]} == {("gr_dpo", "is_dpo")}
    assert [one["steps"] for one in document["algorithm_1"]] == [[100]]
    assert set(document["files"]) == {"curves.parquet", *(f"figures/same-{name}.png" for name in FIGURES)}
    assert all((out / name).stat().st_size > 1000 for name in document["files"])
    check_tracking(home, document)


FIGURES = ("dpo", "chi", "algorithm-1")


def check_tracking(home, document):
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{home}/mlflow.db")
    run = client.get_run(document["tracking_run"])
    assert (run.info.run_name, run.info.status) == ("log-linear study", "FINISHED")
    assert client.get_experiment(run.info.experiment_id).name == "evenhand"
    assert run.data.params["scenarios"] == "uneven-imbalanced"
    (row,) = [row for row in document["rows"] if row["chi"] == 1.0]
    prefix = "same/uneven-imbalanced/gr_dpo"
    assert run.data.metrics[f"{prefix}/max_reward_error_relative"] == row["max_reward_error_relative"]["mean"]
    assert run.data.metrics[f"{prefix}/max_validation_loss"] == pytest.approx(row["max_validation_loss"]["mean"])
    curve = client.get_metric_history(run.info.run_id, f"{prefix}/max_validation_loss")
    assert [point.step for point in curve] == [0, 1, 2, 3, 4]
    assert {entry.path for entry in client.list_artifacts(run.info.run_id)} == {
        "results.json",
        "curves.parquet",
        "figures",
    }
    assert len(client.list_artifacts(run.info.run_id, "figures")) == len(FIGURES)


def test_bad_input_ends_at_once(home, tmp_path, capsys):
    from flows.cli import main

    blocked = tmp_path / "file"
    blocked.write_text("")
    for arguments, message in [
        (["--features", "swapt"], "unknown feature map 'swapt'. Did you mean 'swapped'?"),
        (["--methods", "grdpo"], "unknown method 'grdpo'. Did you mean 'gr_dpo'"),
        (["--chi", "0,2"], "chi: must lie in [0, 1]"),
        (["--chi", "half"], "chi: must be numbers such as 0,.5,1, not 'half'"),
        (["--seeds", "1"], "seeds: a standard error needs 2 or more, not 1"),
        (["--out", str(blocked)], f"out: cannot write to {blocked}"),
    ]:
        with pytest.raises(SystemExit) as left:
            main(["study", "log-linear", "--out", str(tmp_path / "out"), *arguments])
        said = capsys.readouterr().err.strip()
        assert left.value.code == 2
        assert message in said
        assert "\n" not in said
    assert not (tmp_path / "out" / "results.json").exists()
    assert not home.exists(), "nothing was recorded"
