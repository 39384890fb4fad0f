"""The real thing: a Prefect server, two workers, an MLflow server, `prefect deploy --all`, and a triggered run."""

import json
from pathlib import Path

import pytest

from tests.flows.serving import serving

pytestmark = pytest.mark.slow


def test_a_triggered_run_completes_and_stands_in_tracking(tmp_path, home):
    overrides = ["base.steps=2", "extend=null", "policy=[{name: dpo, steps: 2}]", "runner.deployment=stage/gpu"]
    with serving(tmp_path, home) as served:
        served.call(
            "prefect", "deployment", "run", "pipeline/on-demand", "--param", "preset=smoke",
            "--param", f"overrides={json.dumps(overrides)}", "--watch", timeout=540,
        )  # fmt: skip
        (run,) = (home / "runs").iterdir()
        record = json.loads((run / "run.json").read_text(encoding="utf-8"))
        assert record["status"] == "completed"
        assert Path(record["report"]).is_file()

        from mlflow import MlflowClient

        client = MlflowClient(served.environment["MLFLOW_TRACKING_URI"])
        runs = client.search_runs([client.get_experiment_by_name("evenhand").experiment_id])
        assert {one.info.status for one in runs} == {"FINISHED"}
        children = {one.info.run_name for one in runs if one.data.tags.get("mlflow.parentRunId") == run.name}
        assert children >= {"base", "reward", "policy:dpo", "evaluate:sandbox_bias:base", "evaluate:sandbox_bias:dpo"}
        listed = served.call("prefect", "flow-run", "ls", "--flow-name", "stage")
        assert listed.count("COMPLETED") == 4, "reward, policy and evaluations ran on the gpu pool"
