"""The run that has made an artifact, found by the tag with the artifact's key."""

from __future__ import annotations

from typing import Any

ORIGIN_TAG = "made_by_run"
"""Id of the run that has made a reused artifact; a run without this tag holds curves and files of its own."""
MOST_RUNS = 200


def origin_of(client: Any, experiment_id: str, key: str, other_than: str = "") -> str:
    """Id of the oldest run that holds the curves and files of the artifact `key`; empty if there is none.

    Raises MLflow's errors.
    """
    runs = client.search_runs(
        [experiment_id], f"tags.key = '{key}'", max_results=MOST_RUNS, order_by=["start_time ASC"]
    )
    own = (run.info.run_id for run in runs if ORIGIN_TAG not in run.data.tags and run.info.run_id != other_than)
    return next(own, "")
