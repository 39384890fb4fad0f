"""The log-linear study of arXiv 2405.20304: six methods, three scenarios, three feature maps, many seeds, in one call.

`run` computes the study, writes all files below a folder and records it in tracking as one run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline_core.store.places import Places
from pipeline_core.store.versions import library_versions, source_digest
from pipeline_core.studies.log_linear.figures import FIGURES, draw_all, figure_names
from pipeline_core.studies.log_linear.record import (
    log_curves,
    log_differences,
    log_rows,
    log_stochastic,
    write_curves,
    write_json,
)
from pipeline_core.studies.log_linear.results import MethodDifference, MethodRow, differences, rows
from pipeline_core.studies.log_linear.settings import StudySettings
from pipeline_core.studies.log_linear.stochastic import StochasticRun, run_stochastic, solve_minima
from pipeline_core.studies.log_linear.training import FamilyResult, Worlds, train_family
from pipeline_core.studies.publishing import check_writable, private_folder, publish
from pipeline_core.tracking.opening import open_tracking
from pipeline_core.tracking.protocol import TrackedRun

RUN_NAME = "log-linear study"
RESULTS, CURVES = "results.json", "curves.parquet"
ProgressFunction = Callable[[str], None]


@dataclass(frozen=True)
class Study:
    """Settings, results and timing of a study."""

    settings: StudySettings
    trained: list[FamilyResult]
    rows: list[MethodRow]
    differences: list[MethodDifference]
    stochastic: list[StochasticRun]
    seconds: Mapping[str, float]

    def document(self) -> dict[str, Any]:
        """The study as JSON: settings, the code, rows, paired differences, Algorithm 1, seconds."""
        return {
            "study": "log-linear",
            "settings": self.settings.document(),
            **made_by(),
            "rows": [asdict(row) for row in self.rows],
            "differences": [asdict(difference) for difference in self.differences],
            "algorithm_1": [asdict(stochastic) for stochastic in self.stochastic],
            "seconds": dict(self.seconds),
        }


def run(settings: StudySettings, out: Path, say: ProgressFunction = lambda _: None) -> tuple[Study, dict[str, Any]]:
    """Compute a study, write it below `out` and record it. Returns the study and the document of results.json.

    Files are written to a private folder and moved to their place at the end, so that studies in one `out` do not mix:
    the last one's files stay.

    Raises:
        BadInput: `out` cannot be written to, tracking cannot start, or the radius is out of the solver's reach; nothing
            has been trained by then.
    """
    started = time.perf_counter()
    check_writable(out)
    facts = settings.document() | {"out": str(out)} | made_by()
    with (
        private_folder(out) as work,
        open_tracking(Places.from_environment()) as tracking,
        tracking.start_run(RUN_NAME, facts, {"study": "log-linear"}) as tracked,
    ):
        study = compute(settings, say)
        document = _write(study, work, tracked.id)
        _log(study, work, tracked)
        # files of other names in `out` are the user's
        stale = [f"{FIGURES}/{name}" for name in figure_names() if f"{FIGURES}/{name}" not in document["files"]]
        publish(work, out, [*document["files"], RESULTS], stale)
    if tracked.url:
        say(f"tracking: {tracked.url}")
    say(f"{time.perf_counter() - started:.1f} s in all")
    return study, document


def made_by() -> dict[str, Any]:
    """Versions of this package and of libraries, and a digest of the source code that computes a study."""
    return {"versions": library_versions(), "source": source_digest("pipeline_core.studies")}


def compute(settings: StudySettings, say: ProgressFunction = lambda _: None) -> Study:
    """Compute a study without writing files."""
    started = time.perf_counter()
    worlds = Worlds.draw(settings)
    seconds = {"worlds": time.perf_counter() - started}
    say(f"drew {len(worlds.start)} worlds in {seconds['worlds']:.1f} s")
    # a radius out of reach fails before the trainings
    minima = solve_minima(settings, worlds) if settings.algorithm_1 else {}
    trained = []
    for family in ("dpo", "ipo"):
        if result := train_family(settings, worlds, family):
            trained.append(result)
            seconds[family] = result.seconds
            say(f"{family} family: {_work(result)} in {result.seconds:.1f} s")
    stochastic: list[StochasticRun] = []
    if settings.algorithm_1:
        stochastic, seconds["algorithm_1"] = run_stochastic(settings, worlds, minima)
        say(f"Algorithm 1: {settings.algorithm_1} steps at most, in {seconds['algorithm_1']:.1f} s")
    return Study(
        settings=settings,
        trained=trained,
        rows=[row for family in trained for row in rows(settings, family)],
        differences=[difference for family in trained for difference in differences(settings, family)],
        stochastic=stochastic,
        seconds={name: round(value, 3) for name, value in seconds.items()},
    )


def _work(trained: FamilyResult) -> str:
    trainings, steps = trained.mean_loss.size, trained.iterations[-1]
    each = 1e6 * trained.seconds / (trainings * steps)
    return f"{trainings} trainings of {steps} iterations, {each:.2f} us per training and iteration,"


def _write(study: Study, folder: Path, tracking_run: str) -> dict[str, Any]:
    """Write all files and return the document of results.json."""
    figures = draw_all(study.settings, study.trained, study.rows, study.stochastic, folder / FIGURES)
    write_curves(study.settings, study.trained, folder / CURVES)
    files = [CURVES, *(path.relative_to(folder).as_posix() for path in figures)]
    document = study.document() | {"files": files, "tracking_run": tracking_run}
    write_json(document, folder / RESULTS)
    return document


def _log(study: Study, folder: Path, tracked: TrackedRun) -> None:
    for name in (RESULTS, CURVES):
        tracked.log_artifact(folder / name)
    tracked.log_artifact(folder / FIGURES, FIGURES)
    tracked.flush()  # now: another study may replace the files
    log_rows(study.rows, tracked)
    log_differences(study.differences, tracked)
    for trained in study.trained:
        log_curves(study.settings, trained, tracked)
    log_stochastic(study.stochastic, tracked)
    tracked.log_metrics({f"perf/{name}_seconds": value for name, value in study.seconds.items()})
