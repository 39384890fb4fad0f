"""The log-linear study as a Prefect flow, for schedules. `evenhand study log-linear` runs the study without a server,
because starting one takes longer than most studies.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow
from prefect.artifacts import create_table_artifact
from prefect.logging import get_run_logger
from prefect.runtime import deployment

from flows.environment import refuse_relative_places
from flows.naming import run_name
from pipeline_core.errors import BadInput
from pipeline_core.files.atomic import user_path
from pipeline_core.store.places import Places
from pipeline_core.studies.log_linear.settings import StudySettings
from pipeline_core.studies.log_linear.study import run
from pipeline_core.studies.log_linear.tables import difference_lines


@flow(name="log-linear-study", flow_run_name=run_name, persist_result=False)
def log_linear_study(
    features: list[str] | None = None,
    scenarios: list[str] | None = None,
    methods: list[str] | None = None,
    chi: list[float] | None = None,
    seeds: int = 20,
    iterations: int = 10_000,
    algorithm_1: int = 0,
    radius: float = 5.0,
    out: str | None = None,
) -> dict[str, Any]:
    """Run all methods of arXiv 2405.20304 on log-linear policies.

    Args:
        features: Feature maps (default: all).
        scenarios: Scenarios (default: all).
        methods: Methods (default: all).
        chi: Trade-offs of the gr_ methods (default: 1).
        seeds: Number of worlds of each kind.
        iterations: Steps of the DPO family.
        algorithm_1: Longest run of the stochastic algorithm, 0 for none.
        radius: Radius of the stochastic algorithm's ball of parameters.
        out: Absolute folder on the worker (default: `studies/log-linear` in `EVENHAND_HOME`).
    """
    if deployment.id:
        refuse_relative_places()
    given = {"features": features, "scenarios": scenarios, "methods": methods, "chi": chi}
    chosen: dict[str, Any] = {name: tuple(value) for name, value in given.items() if value is not None}
    settings = StudySettings(**chosen, seeds=seeds, iterations=iterations, algorithm_1=algorithm_1, radius=radius)
    study, document = run(settings, _folder(out), get_run_logger().info)
    columns, lines = difference_lines(study.differences)
    create_table_artifact([dict(zip(columns, line, strict=True)) for line in lines], key="paired-differences")
    return document


def _folder(out: str | None) -> Path:
    """Folder of the results.

    Raises:
        BadInput: a relative folder, which would lie in the worker's temporary folder.
    """
    if not out:
        return Places.from_environment().home / "studies" / "log-linear"
    folder = user_path(out)
    if not folder.is_absolute():
        raise BadInput(f"out: a worker needs an absolute folder, not {out!r}")
    return folder
