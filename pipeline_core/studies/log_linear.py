"""The log-linear study of arXiv 2405.20304: six methods, three scenarios, three feature maps, many seeds, in one call.

`run` computes, writes everything below a folder and records it in MLflow as one run.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline_core.errors import BadInput
from pipeline_core.places import Places
from pipeline_core.studies.log_linear_figures import draw_all
from pipeline_core.studies.log_linear_record import log_curves, log_rows, log_stochastic, write_curves, write_json
from pipeline_core.studies.log_linear_results import Difference, Row, differences, rows
from pipeline_core.studies.log_linear_settings import Settings
from pipeline_core.studies.log_linear_stochastic import Stochastic, run_stochastic
from pipeline_core.studies.log_linear_training import Trained, Worlds, train_family
from pipeline_core.tracking import Tracking
from pipeline_core.tracking.run import TrackedRun

RUN_NAME = "log-linear study"
RESULTS, CURVES = "results.json", "curves.parquet"
Say = Callable[[str], None]


@dataclass(frozen=True)
class Study:
    """Everything a study found, and the files it wrote."""

    settings: Settings
    trained: list[Trained]
    rows: list[Row]
    differences: list[Difference]
    stochastic: list[Stochastic]
    seconds: Mapping[str, float]

    def document(self) -> dict[str, Any]:
        """As JSON: settings, rows, paired differences, Algorithm 1, seconds."""
        return {
            "study": "log-linear",
            "settings": self.settings.document(),
            "rows": [asdict(row) for row in self.rows],
            "differences": [asdict(difference) for difference in self.differences],
            "algorithm_1": [asdict(one) for one in self.stochastic],
            "seconds": dict(self.seconds),
        }


def run(settings: Settings, out: Path, say: Say = lambda _: None) -> tuple[Study, dict[str, Any]]:
    """Compute a study, write it below `out` and record it; returns it and the document that stands in results.json.

    Raises:
        BadInput: `out` cannot be written to, or tracking cannot start; nothing has been computed by then.
    """
    started = time.perf_counter()
    check_writable(out)
    facts = settings.document() | {"out": str(out)}
    with (
        Tracking.at(Places.from_environment()) as tracking,
        tracking.start_run(RUN_NAME, facts, {"study": "log-linear"}) as tracked,
    ):
        study = compute(settings, say)
        figures = draw_all(settings, study.trained, study.rows, study.stochastic, out / "figures")
        write_curves(settings, study.trained, out / CURVES)
        names = [path.relative_to(out).as_posix() for path in (out / CURVES, *figures)]
        document = study.document() | {"files": names, "tracking_run": tracked.id}
        write_json(document, out / RESULTS)
        _log(study, tracked)
        for path in (out / RESULTS, out / CURVES, *figures):
            tracked.log_artifact(path, "figures" if path in figures else None)
    say(f"{time.perf_counter() - started:.1f} s in all")
    return study, document


def compute(settings: Settings, say: Say = lambda _: None) -> Study:
    """The numbers alone."""
    started = time.perf_counter()
    worlds = Worlds.draw(settings)
    seconds = {"worlds": time.perf_counter() - started}
    say(f"drew {len(worlds.start)} worlds in {seconds['worlds']:.1f} s")
    trained = []
    for family in ("dpo", "ipo"):
        if found := train_family(settings, worlds, family):
            trained.append(found)
            seconds[family] = found.seconds
            say(f"{family} family: {_work(found)} in {found.seconds:.1f} s")
    stochastic: list[Stochastic] = []
    if settings.algorithm_1:
        stochastic, seconds["algorithm_1"] = run_stochastic(settings, worlds)
        say(f"Algorithm 1: {settings.algorithm_1} steps at most, in {seconds['algorithm_1']:.1f} s")
    return Study(
        settings=settings,
        trained=trained,
        rows=[row for family in trained for row in rows(settings, family)],
        differences=[one for family in trained for one in differences(settings, family)],
        stochastic=stochastic,
        seconds={name: round(value, 3) for name, value in seconds.items()},
    )


def _work(trained: Trained) -> str:
    trainings, steps = trained.mean_loss.size, trained.iterations[-1]
    return f"{trainings} trainings of {steps} iterations, {1e6 * trained.seconds / (trainings * steps):.2f} us each"


def check_writable(out: Path) -> None:
    """Make the folder, and a file in it, which does not stay.

    Raises:
        BadInput: naming the folder and the reason.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise BadInput(f"out: cannot write to {out}: {error.strerror}") from error


def _log(study: Study, tracked: TrackedRun) -> None:
    log_rows(study.rows, tracked)
    for trained in study.trained:
        log_curves(study.settings, trained, tracked)
    log_stochastic(study.stochastic, tracked)
    tracked.log_metrics({f"perf/{name}_seconds": value for name, value in study.seconds.items()})
