"""`evenhand study`: experiments of papers that need no pipeline; run in this process, without Prefect."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.output import AsJson, print_json, say, table

if TYPE_CHECKING:
    from pipeline_core.studies.log_linear.study import Study

app = typer.Typer(help="Studies of the papers.", no_args_is_help=True)
NamesOption = Annotated[str | None, typer.Option(metavar="NAME,NAME", help="Those to run; all where not given.")]


@app.callback()
def study() -> None:
    """Studies of the papers."""


@app.command("log-linear")
def log_linear(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for results, curves and figures.")],
    features: NamesOption = None,
    scenarios: NamesOption = None,
    methods: NamesOption = None,
    chi: Annotated[str, typer.Option(metavar="X,X", help="Trade-offs of the gr_ methods, in [0, 1].")] = "1",
    seeds: Annotated[int, typer.Option(help="Worlds of each kind, 2 or more.")] = 20,
    iterations: Annotated[
        int, typer.Option(help="Steps of the DPO family; the IPO family needs at most 100.")
    ] = 10_000,
    algorithm_1: Annotated[
        int, typer.Option("--algorithm-1", metavar="STEPS", help="Also run stochastic Algorithm 1, this long at most.")
    ] = 0,
    radius: Annotated[float, typer.Option(help="Radius of Algorithm 1's ball of parameters.")] = 5.0,
    as_json: AsJson = False,
) -> None:
    """Group-robust preference methods on log-linear policies (arXiv 2405.20304, synthetic experiments)."""
    from pipeline_core.studies.log_linear.settings import StudySettings

    given = {"features": features, "scenarios": scenarios, "methods": methods}
    chosen = {name: _words(value) for name, value in given.items() if value is not None}
    settings = StudySettings(
        **chosen,
        chi=_numbers(chi),
        seeds=seeds,
        iterations=iterations,
        algorithm_1=algorithm_1,
        radius=radius,
    )
    from flows.environment import prepare

    prepare()
    from pipeline_core.files.atomic import user_path
    from pipeline_core.studies.log_linear.study import run

    study, document = run(settings, user_path(out).resolve(), say)
    if as_json:
        print_json(document)
    else:
        _show(study, out)


def _words(given: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in given.split(",") if word.strip())


def _numbers(given: str) -> tuple[float, ...]:
    from pipeline_core.errors import BadInput

    try:
        return tuple(float(word) for word in _words(given))
    except ValueError:
        raise BadInput(f"chi: must be numbers such as 0,.5,1, not {given!r}") from None


def _show(study: Study, out: Path) -> None:
    from pipeline_core.studies.log_linear.tables import difference_lines, row_lines, stochastic_lines

    table("Means over seeds ± standard error", *row_lines(study.rows))
    table("Paired differences [95 %], seeds below 0", *difference_lines(study.differences))
    if study.stochastic:
        table("Algorithm 1: gap of the average iterate", *stochastic_lines(study.stochastic))
    say(f"results, curves and figures: {out}")
