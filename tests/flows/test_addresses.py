"""D12, R12: addresses of databases and servers: quoted where a path is odd, told where they are none, never in full."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from flows import server
from flows.server import prefect_api
from pipeline_core.checks.whole import load_config
from pipeline_core.errors import BadInput
from pipeline_core.network.addresses import answers


@pytest.mark.slow
def test_d12_a_whole_run_in_a_home_of_an_odd_name(tmp_path, evenhand):
    """Its tracking, its private Prefect server, its store and its report lie inside, and nothing beside it."""
    home = tmp_path / "a?b#c%20d é\"x'"
    changes = ["policy=[{name: dpo, steps: 2}]", "evaluate.0.samples_per_prompt=1"]
    done = evenhand("run", "smoke", *changes, "--json", timeout=900, EVENHAND_HOME=f"{home}/", MLFLOW_TRACKING_URI="")
    assert done.returncode == 0, done.stderr
    assert Path(json.loads(done.stdout)["report"]).is_relative_to(home)
    assert [entry.name for entry in tmp_path.iterdir()] == [home.name]
    assert {"mlflow.db", "prefect.db", "mlartifacts", "store", "runs"} <= {entry.name for entry in home.iterdir()}
    for database, table in (("mlflow.db", "runs"), ("prefect.db", "flow_run")):
        with sqlite3.connect(home / database) as connection:
            assert connection.execute(f"select count(*) from {table}").fetchone()[0]


@pytest.mark.parametrize(
    "address", ["", "nonsense", "http://", "http://[", "http://host:port", "http://a b", "file:///x"]
)
def test_nobody_answers_at_what_is_no_address(address):
    assert not answers(address)


def test_r12_the_credentials_of_a_prefect_server_are_not_shown(monkeypatch):
    monkeypatch.setattr(server, "configured_url", lambda: "http://me:my pass@127.0.0.1:1/api?sig=abc")
    with (
        pytest.raises(BadInput, match="no Prefect server answers at http://127.0.0.1:1/api") as caught,
        prefect_api(Path()),
    ):
        pass
    assert "pass" not in str(caught.value) and "abc" not in str(caught.value)


def test_d18_a_document_of_a_server_that_is_nested_too_deep():
    deep = {}
    for _ in range(5000):
        deep = {"a": deep}
    with pytest.raises(BadInput, match="nested too deep"):
        load_config({"base": deep})
