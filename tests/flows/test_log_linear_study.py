"""The log-linear study as a Prefect flow."""

import json

import pytest

from pipeline_core.errors import UnknownName


@pytest.mark.usefixtures("prefect_server", "shared_tracking")
def test_the_flow_runs_a_study_and_keeps_it_at_home(home):
    from flows.log_linear_study import log_linear_study

    given = {"features": ["same"], "scenarios": ["uneven-balanced"], "methods": ["ipo", "gr_ipo"]}
    document = log_linear_study(**given, seeds=2, iterations=2)
    assert [row["method"] for row in document["rows"]] == ["ipo", "gr_ipo"]
    written = json.loads((home / "studies" / "log-linear" / "results.json").read_text(encoding="utf-8"))
    assert written == document
    with pytest.raises(UnknownName):
        log_linear_study(methods=["gripo"])
