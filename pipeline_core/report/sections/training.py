"""The run's trainings: logged quantities over the steps, averaged over seeds, as plots; first and last values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline_core.evaluation.item_counts import TRAINING
from pipeline_core.report.figures.cells import BASE
from pipeline_core.report.figures.collect import Curve
from pipeline_core.report.figures.model import TrainingSummary
from pipeline_core.report.render import wording
from pipeline_core.report.render.charts import colours, file_name
from pipeline_core.report.render.curves import GroupCurve, groups_chart, line_of, seeds_chart
from pipeline_core.report.render.notes import counted_lines
from pipeline_core.report.render.tables import Table
from pipeline_core.report.section import Names, Section, Shown
from pipeline_core.report.sections.steadiness import NOTE

ENDS = {"loss": "loss", "reward/mean": "reward", "reward/std": "reward spread", "kl": "kl"}
"""Quantities in the table of first and last values: logged name and heading."""
WATCHED = (*ENDS, "worst_group/loss")
"""Quantities whose first and last values are part of the report."""
MOST = 8
"""Maximum number of groups in a plot."""
HEAVIEST, LIGHTEST = 3, 2
"""Numbers of groups chosen for the largest and the smallest final weight, if weights were logged."""
WINDOW = 0.1
"""Running mean, as a share of the training steps. Single batches are noisy: they hold few rows of a group."""


@dataclass(frozen=True)
class Quantity:
    """Logged quantity; `*` in its name stands for a group. `band`: name of its spread. `smooth`: as a running mean."""

    name: str
    title: str = ""
    band: str = ""
    smooth: bool = False

    def of(self, group: str) -> str:
        """Logged name for a group."""
        return self.name.replace("*", group)

    def groups(self, curves: Sequence[Curve]) -> list[str]:
        """Sorted names of the groups it was logged for; a name may contain slashes."""
        before, after = self.name.split("*")
        names = (name for name in _logged(curves) if name.startswith(before) and name.endswith(after))
        return sorted(name[len(before) : -len(after)] for name in names)


QUANTITIES = (
    Quantity("loss"),
    Quantity("mean_loss"),
    Quantity("reward/mean", band="reward/std"),
    Quantity("kl"),
    Quantity("worst_group/loss", "worst group of each batch · loss", smooth=True),
    Quantity("validation/loss"),
    Quantity("validation/worst_group/loss"),
)
LOSS = Quantity("group/*/loss", "loss by group", smooth=True)
REWARD = Quantity("group/*/reward", "reward by group", smooth=True)
WEIGHT = Quantity("group/*/weight", "weight of groups")
HELD_OUT = Quantity("validation/group/*/loss", "held-out loss by group")
BY_GROUP = (LOSS, REWARD, WEIGHT, HELD_OUT)


@dataclass(frozen=True)
class Plot:
    """Chart with title, explanatory note and file name (empty: it is not written as a file)."""

    title: str
    svg: str
    note: str = ""
    file: str = ""


@dataclass(frozen=True)
class TrainingPlots:
    """Plots of one trained model, such as a policy or a reward."""

    label: str
    plugin: str
    plots: list[Plot]


def _training(curve: Curve) -> TrainingSummary:
    series = {name: curve.series(name)[1] for name in WATCHED}
    return TrainingSummary(
        label=curve.label,
        plugin=curve.plugin,
        seed=curve.seed,
        steps=int(max(point["step"] for point in curve.points)),
        first={name: values[0] for name, values in series.items() if values},
        last={name: values[-1] for name, values in series.items() if values},
    )


def _draw(shown: Shown[list[TrainingSummary]]) -> dict[str, Any] | None:
    trained = training_plots(shown.curves, colours([model.label for model in shown.report.models]))
    if not trained:
        return None
    items = counted_lines(shown.report, TRAINING)
    return {"trained": trained, "items": items, "ends": _ends(shown.part), "steadiness_note": NOTE}


def _ends(trainings: Sequence[TrainingSummary]) -> Table:
    rows = [
        [training.label, str(training.seed), str(training.steps)]
        + [f"{wording.number(training.first.get(name))} → {wording.number(training.last.get(name))}" for name in ENDS]
        for training in trainings
    ]
    return Table(["model", "seed", "steps", *ENDS.values()], "lrr" + "r" * len(ENDS), rows)


def training_plots(curves: Sequence[Curve], palette: Mapping[str, str]) -> list[TrainingPlots]:
    """Plots of every training that logged a quantity to draw; labels without a colour get the base's."""
    trained = []
    for label, plugin in dict.fromkeys((curve.label, curve.plugin) for curve in curves):
        mine = [curve for curve in curves if (curve.label, curve.plugin) == (label, plugin)]
        plots = [*_plots_of(mine, palette.get(label, palette[BASE])), *_plots_of_groups(mine)]
        trained += [TrainingPlots(label, plugin, plots)] if plots else []
    return trained


def _logged(curves: Sequence[Curve]) -> set[str]:
    return {name for curve in curves for point in curve.points for name in point}


def _plots_of(curves: Sequence[Curve], colour: str) -> Iterator[Plot]:
    logged = _logged(curves)
    for quantity in QUANTITIES:
        if quantity.name in logged:
            band = quantity.band if quantity.band in logged else ""
            title = quantity.title or wording.measure(quantity.name).replace("validation", "held-out")
            title += " and its spread" if band else ""
            window = _window(curves, quantity)
            # A window of one step does not smooth.
            svg = seeds_chart(curves, quantity.name, colour, band, window if window > 1 else 0)
            yield Plot(title, svg, _running(window))


def _plots_of_groups(curves: Sequence[Curve]) -> Iterator[Plot]:
    """Plots of quantities logged by group, for two or more groups."""
    shown, of = shown_groups(curves)
    for quantity in BY_GROUP:
        lines = _lines(curves, quantity, shown)
        if len(lines) > 1:  # a single group is all rows, which the plots above show
            svg = groups_chart(lines, shown, quantity.title, level=1 / of if quantity == WEIGHT else None)
            yield Plot(quantity.title, svg, _note(curves, quantity, shown, of), quantity.title.replace(" ", "_"))


def _lines(curves: Sequence[Curve], quantity: Quantity, groups: Sequence[str]) -> dict[str, GroupCurve]:
    """Curve by group; groups without values are left out."""
    lines = {group: line_of(curves, quantity.of(group), _window(curves, quantity)) for group in groups}
    return {group: line for group, line in lines.items() if line is not None}


def _window(curves: Sequence[Curve], one: Quantity) -> int:
    """Steps of the running mean; 0 for none."""
    return max(1, round(WINDOW * max(point["step"] for curve in curves for point in curve.points))) if one.smooth else 0


def shown_groups(curves: Sequence[Curve]) -> tuple[list[str], int]:
    """Sorted names of the groups to show, and the number of all groups.

    Of more than `MOST` groups, the first are those with the largest and smallest final weights, if weights were logged.
    The others are those with the highest final loss, or with the lowest final reward if no loss was logged.
    """
    every = sorted({group for quantity in BY_GROUP for group in quantity.groups(curves)})
    if len(every) <= MOST:
        return every, len(every)
    weights = _last(curves, WEIGHT, every)
    light_first = sorted(weights, key=lambda group: (weights[group], group))
    chosen = dict.fromkeys([*reversed(light_first[-HEAVIEST:]), *light_first[:LIGHTEST]])
    chosen |= dict.fromkeys(_worst_first(curves, every))
    return sorted(list(chosen)[:MOST]), len(every)


def _worst_first(curves: Sequence[Curve], groups: Sequence[str]) -> list[str]:
    # Losses of learned rows may be low by heart.
    losses = _last(curves, HELD_OUT, groups) or _last(curves, LOSS, groups)
    if not losses:
        losses = {group: -value for group, value in _last(curves, REWARD, groups).items()}
    return sorted(losses, key=lambda group: (-losses[group], group))


def _last(curves: Sequence[Curve], quantity: Quantity, groups: Sequence[str]) -> dict[str, float]:
    return {group: line.mean[-1] for group, line in _lines(curves, quantity, groups).items()}


def _note(curves: Sequence[Curve], quantity: Quantity, shown: Sequence[str], of: int) -> str:
    seeds = len({curve.seed for curve in curves})
    ends = {max(point["step"] for point in curve.points) for curve in curves}
    by_weight = "the largest and smallest weights at the end, then the worst"
    why = by_weight if WEIGHT.groups(curves) else "those that are worst at the end"
    sentences = [
        _running(_window(curves, quantity)),
        f"Mean of {seeds} seeds; the band reaches from the lowest to the highest." if seeds > 1 else "",
        f"Drawn to step {min(ends):g}, where the first seed ended." if len(ends) > 1 else "",
        "Dashed: equal weights." if quantity == WEIGHT else "",
        f"{len(shown)} of {of} groups: {why}." if len(shown) < of else "",
    ]
    return " ".join(part for part in sentences if part)


def _running(window: int) -> str:
    return f"Running mean over {window} steps." if window > 1 else ""


def _files(names: Names) -> Iterator[tuple[str, str]]:
    for model in names["trained"]:
        # Two models may have a plot of one name.
        yield from ((f"{file_name(model.label)}/{plot.file}", plot.svg) for plot in model.plots if plot.file)


SECTION = Section(
    name="training",
    title="Training",
    order=70,
    part=list[TrainingSummary],
    build=lambda sources: [_training(curve) for curve in sources.collected.curves],
    template="training.html.j2",
    draw=_draw,
    files=_files,
)
