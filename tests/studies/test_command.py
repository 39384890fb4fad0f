"""`evenhand study log-linear` from the outside."""

import json
import os
import re
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


@pytest.mark.slow
def test_a_study_from_the_command_line(home, tmp_path):
    out = tmp_path / "new" / "folder"
    done = evenhand(home, "--out", out, "--json", *TINY)
    assert done.returncode == 0, done.stderr
    document = strict(done.stdout)
    assert document == strict((out / "results.json").read_text())
    rows = {(row["method"], row["chi"]): row for row in document["rows"]}
    assert set(rows) == {("is_dpo", None), ("gr_dpo", 0.0), ("gr_dpo", 1.0)}
    for row in rows.values():
        assert (row["features"], row["scenario"], row["n_seeds"]) == ("same", "uneven-imbalanced", 2)
        assert all(set(row[measure]) == {"mean", "se"} for measure in MEASURES)
        assert len(row["group_weights"]) == 2
        assert row["seconds"] > 0
    assert {(one["method"], one["base"]) for one in document["differences"]} == {("gr_dpo", "is_dpo")}
    assert [(one["steps"], one["slope"]) for one in document["algorithm_1"]] == [([100], None)], "one point, no slope"
    assert document["versions"]["evenhand"]
    assert document["versions"]["torch"]
    assert re.fullmatch("[0-9a-f]{64}", document["source"])
    assert set(document["files"]) == {"curves.parquet", *(f"figures/same-{name}.png" for name in FIGURES)}
    assert all((out / name).stat().st_size > 1000 for name in document["files"])
    assert {path.name for path in out.iterdir()} - {".study.guard"} == {"curves.parquet", "figures", "results.json"}
    assert re.search(r"dpo family: 6 trainings of 4 iterations, \d+\.\d\d us per training and iteration,", done.stderr)
    check_tracking(home, document, out)


def strict(text):
    """JSON proper, which knows no NaN."""
    return json.loads(text, parse_constant=pytest.fail)


FIGURES = ("dpo", "chi", "algorithm-1")


def expected_metrics(document):
    """Everything of the document by the names of the documentation, the last value of each."""
    labels = {("is_dpo", None): "is_dpo", ("gr_dpo", 0.0): "gr_dpo chi 0", ("gr_dpo", 1.0): "gr_dpo"}
    place = "same/uneven-imbalanced"
    for row in document["rows"]:
        prefix = f"{place}/{labels[row['method'], row['chi']]}"
        values = {name: row[name] for name in MEASURES}
        values |= {f"group/{g}/weight": value for g, value in enumerate(row["group_weights"])}
        yield f"{prefix}/seconds", row["seconds"]
        for name, value in values.items():
            yield f"{prefix}/{name}", value["mean"]
            yield f"{prefix}/{name}_se", value["se"]
    for one in document["differences"]:
        name = f"{place}/{labels[one['method'], one['chi']]}/minus/{one['base']}/{one['measure']}"
        yield name, one["mean"]
        yield from ((f"{name}_{part}", one[part]) for part in ("se", "low", "high"))
    (one,) = document["algorithm_1"]
    values = {name: one[name] for name in ("minimum", "gradient_bound", "loss_bound")}
    values |= {"gap": one["gap"][0]["mean"], "gap_se": one["gap"][0]["se"], "bound": one["bound"][0]}
    yield from ((f"{place}/gr_dpo/algorithm 1/{name}", value) for name, value in values.items())
    yield from ((f"perf/{name}_seconds", value) for name, value in document["seconds"].items())


def check_tracking(home, document, out):
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{home}/mlflow.db")
    run = client.get_run(document["tracking_run"])
    assert (run.info.run_name, run.info.status) == ("log-linear study", "FINISHED")
    assert client.get_experiment(run.info.experiment_id).name == "evenhand"
    assert run.data.params["scenarios"] == "uneven-imbalanced"
    assert run.data.params["versions.torch"] == document["versions"]["torch"]
    assert run.data.params["source"] == document["source"]
    assert run.data.metrics == pytest.approx(dict(expected_metrics(document)))
    for logged, column in (("max_validation_loss", "max_validation_loss"), ("group/1/weight", "weight_1")):
        curve = client.get_metric_history(run.info.run_id, f"same/uneven-imbalanced/gr_dpo/{logged}")
        assert {point.step: point.value for point in curve} == pytest.approx(curve_of(out, column))
    assert {entry.path for entry in client.list_artifacts(run.info.run_id)} == {
        "results.json",
        "curves.parquet",
        "figures",
    }
    assert len(client.list_artifacts(run.info.run_id, "figures")) == len(FIGURES)


def curve_of(out, column):
    """The mean over seeds by iteration, of gr_dpo with chi = 1."""
    from pyarrow import parquet

    values = {}
    for line in parquet.read_table(out / "curves.parquet").to_pylist():
        if (line["method"], line["chi"]) == ("gr_dpo", 1.0):
            values.setdefault(line["iteration"], []).append(line[column])
    assert list(values) == [0, 1, 2, 3, 4]
    return {iteration: sum(seeds) / 2 for iteration, seeds in values.items()}


def test_bad_input_ends_at_once(home, tmp_path, capsys):
    from flows.cli import main

    blocked = tmp_path / "file"
    blocked.write_text("")
    for arguments, message in [
        (["--features", "swapt"], "unknown feature map 'swapt'. Did you mean 'swapped'?"),
        (["--methods", "grdpo"], "unknown method 'grdpo'. Did you mean 'gr_dpo'"),
        (["--chi", "0,2"], "chi: must lie in [0, 1]"),
        (["--chi", "half"], "chi: must be numbers such as 0,.5,1, not 'half'"),
        (["--radius", "inf"], "radius: must be from 0.001 to 1,000,000, not inf"),
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
