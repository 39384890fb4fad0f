"""Builds a report from a run's results and writes it in three forms."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline_core.data.catalog import Catalog
from pipeline_core.errors import EvenhandError
from pipeline_core.evaluation.item_counts import TRAINING, counts_in
from pipeline_core.files.digests import digest_of
from pipeline_core.plugin.specs import STAGES
from pipeline_core.report.figures.calibration import calibration_chart, calibration_tables
from pipeline_core.report.figures.collect import Collected, Curve, collect
from pipeline_core.report.figures.compare import tables_of
from pipeline_core.report.figures.model import BASE, Items, Model, Report, ReportPaths, Rewards, Training
from pipeline_core.report.figures.steadiness import steadiness
from pipeline_core.report.figures.verdicts import verdicts
from pipeline_core.report.render import charts
from pipeline_core.report.render.notes import Truncated, notes, reward_notes
from pipeline_core.report.render.training_plots import Trained, training_plots

Results = Iterable[Any] | Mapping[str, Any]

WATCHED = ("loss", "reward/mean", "reward/std", "kl", "worst_group/loss")
"""What the training table shows of a curve's two ends."""


def write_report(
    results: Results, config: Mapping[str, Any], out: Path, run_info: Mapping[str, Any] | None = None
) -> ReportPaths:
    """Write `report.json`, `report.md`, `report.html` (self-contained), `model_card.md` where a policy was trained, and
    the plots of groups and calibration as SVG files into `out`.

    Args:
        results: Stage results, or a mapping from the plan's stage ids to them; reused ones as well.
        config: The pipeline's configuration as JSON.
        out: Folder, made when missing.
        run_info: Facts of the run: `run_id`, `command`, `created` (epoch seconds or text), `data` (a list with
            `entry`, `licence`, `citation`), anything else is shown as it is.
    """
    from pipeline_core.report.render.card import to_card
    from pipeline_core.report.render.markdown import to_markdown
    from pipeline_core.report.render.page import to_html

    collected = collect(results)
    report = _build(collected, config, run_info or {})
    out.mkdir(parents=True, exist_ok=True)
    palette = charts.colours([model.label for model in report.models])
    trained = training_plots(collected.curves, palette, palette[BASE])
    figures = (*_write_figures(trained, out / "figures"), *_write_calibration(report, out / "figures"))
    card = out / "model_card.md" if any(stage.stage == "policy" for stage in report.stages) else None
    paths = ReportPaths(out / "report.html", out / "report.md", out / "report.json", report, figures, card)
    if card:
        card.write_text(to_card(report), encoding="utf-8")
    paths.json.write_text(json.dumps(report.model_dump(mode="json"), indent=1, allow_nan=False), encoding="utf-8")
    paths.markdown.write_text(to_markdown(report), encoding="utf-8")
    paths.html.write_text(to_html(report, trained), encoding="utf-8")
    return paths


def _write_figures(trained: Sequence[Trained], folder: Path) -> Iterator[Path]:
    """The plots that have a file name, as `LABEL/NAME.svg`."""
    from pipeline_core.report.render.page import style

    for one in trained:
        for plot in (plot for plot in one.plots if plot.file):
            path = folder / _folder_name(one.label) / f"{plot.file}.svg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(charts.standalone(plot.svg, style()), encoding="utf-8")
            yield path


def _write_calibration(report: Report, folder: Path) -> Iterator[Path]:
    """The calibration curves, as `calibration/SUITE.svg`."""
    from pipeline_core.report.render.page import style

    for table in report.calibration:
        path = folder / "calibration" / f"{_folder_name(table.suite)}.svg"
        path.parent.mkdir(parents=True, exist_ok=True)
        chart = calibration_chart(table, report.calibrated)
        path.write_text(charts.standalone(chart, style()), encoding="utf-8")
        yield path


def _folder_name(label: str) -> str:
    """The label in what file systems take; where letters are replaced its digest keeps it apart from others."""
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", label)[:80]
    return plain if plain == label else f"{plain}-{digest_of(label)[:8]}"


def build_report(results: Results, config: Mapping[str, Any], run_info: Mapping[str, Any] | None = None) -> Report:
    """The report as data, nothing written."""
    return _build(collect(results), config, run_info or {})


def _build(collected: Collected, config: Mapping[str, Any], info: Mapping[str, Any]) -> Report:
    models = _models(collected)
    labels = [model.label for model in models]
    tables = tables_of(collected.about("model"), labels)
    return Report(
        name=str(config.get("name", "pipeline")),
        description=str(config.get("description", "")),
        run_id=str(info.get("run_id", "")),
        created=_moment(info.get("created")),
        command=str(info.get("command") or _command(config)),
        models=models,
        gate=list(verdicts(config, tables.found, collected.about("model"))),
        rows=tables.rows,
        details=tables.details,
        group_tables=tables.group_tables,
        items=list(_items(collected)),
        rewards=_rewards(collected),
        calibration=calibration_tables(collected.evaluations),
        training=[_training(curve) for curve in collected.curves],
        steadiness=steadiness(collected.curves),
        stages=collected.stages,
        data=list(info.get("data") or _data(collected)),
        versions=_versions(collected),
        config=dict(config),
        info={name: value for name, value in info.items() if name not in ("run_id", "created", "command", "data")},
        notes=notes(models, tables) if models else [],
    )


def _models(collected: Collected) -> list[Model]:
    """The base first, then policies in the order of the plan."""
    trained = [stage for stage in collected.stages if stage.stage == "policy"]
    base = next((stage for stage in collected.stages if stage.stage == "base"), None)
    plugins = {stage.label: stage.plugin for stage in trained} | {BASE: base.plugin if base else ""}
    measured = dict.fromkeys(one.label for one in collected.about("model"))
    order = [BASE, *dict.fromkeys(stage.label for stage in trained), *measured]
    return [
        Model(label=label, plugin=plugins.get(label, ""), seeds=_seeds(collected, label))
        for label in dict.fromkeys(order)
        if label in measured
    ]


def _seeds(collected: Collected, label: str) -> list[int]:
    return sorted({one.seed for one in collected.about("model") if one.label == label and one.seed is not None})


def _items(collected: Collected) -> Iterator[Items]:
    """What suites of models and trainings counted, models of equal counts together; of several seeds the largest."""
    found: dict[str, dict[str, dict[str, int]]] = {}
    for stage, manifest in zip(collected.stages, collected.manifests, strict=True):
        if stage.stage in ("evaluate", "policy") and (counts := counts_in(manifest.get("metrics", {}))):
            known = found.setdefault(stage.suite or TRAINING, {}).setdefault(stage.label, {})
            known |= {name: max(count, known.get(name, 0)) for name, count in counts.items()}
    for suite, by_model in found.items():
        alike: dict[str, list[str]] = {}
        for model, counts in by_model.items():
            alike.setdefault(json.dumps(counts), []).append(model)
        yield from (Items(suite=suite, models=models, counts=json.loads(text)) for text, models in alike.items())


def _rewards(collected: Collected) -> Rewards | None:
    """In the order of the plan."""
    evaluations = collected.about("reward")
    plugins = {stage.label: stage.plugin for stage in collected.stages if stage.stage == "reward"}
    measured = {one.label for one in evaluations}
    labels = [label for label in plugins if label in measured]
    if not labels:
        return None
    tables = tables_of(evaluations, labels, against=labels[0], group_by_group=True)
    models = [Model(label=label, plugin=plugins[label]) for label in labels]
    made = zip(collected.stages, collected.manifests, strict=True)
    found = [(stage, manifest.get("metrics", {})) for stage, manifest in made]
    trained = {stage.label: metrics for stage, metrics in found if stage.stage == "reward"}
    cut = [
        Truncated(stage.label, stage.suite, int(count), int(metrics.get(f"{stage.plugin}/texts", 0)))
        for stage, metrics in found
        if stage.stage == "evaluate" and (count := metrics.get(f"{stage.plugin}/truncated"))
    ]
    return Rewards(
        models=models,
        rows=tables.rows,
        details=tables.details,
        group_tables=tables.group_tables,
        notes=reward_notes(models, tables, trained, cut),
    )


def _training(curve: Curve) -> Training:
    series = {name: curve.series(name)[1] for name in WATCHED}
    return Training(
        label=curve.label,
        plugin=curve.plugin,
        seed=curve.seed,
        steps=int(max(point["step"] for point in curve.points)),
        first={name: values[0] for name, values in series.items() if values},
        last={name: values[-1] for name, values in series.items() if values},
    )


def _data(collected: Collected) -> list[dict[str, Any]]:
    """Catalog entries that the artifacts were made from, with licence and source where the catalog still has them."""
    used: dict[str, set[str]] = {}
    for stage, manifest in zip(collected.stages, collected.manifests, strict=True):
        for ref in manifest.get("data", {}):
            used.setdefault(json.loads(ref)["entry"], set()).add(stage.stage)
    by = {name: ", ".join(stage for stage in STAGES if stage in used[name]) for name in sorted(used)}
    return [{"entry": name, "used": stages} | _described(name) for name, stages in by.items()]


def _described(name: str) -> dict[str, Any]:
    try:
        facts = Catalog.from_environment().describe(name)
    except EvenhandError:
        return {}
    return {key: str(facts[key]) for key in ("licence", "citation") if facts.get(key)}


def _versions(collected: Collected) -> dict[str, str]:
    found: dict[str, set[str]] = {}
    for manifest in collected.manifests:
        for name, version in manifest.get("versions", {}).items():
            found.setdefault(name, set()).add(version)
    return {name: ", ".join(sorted(versions)) for name, versions in sorted(found.items())}


def _moment(created: Any) -> str:
    if isinstance(created, str):
        return created
    when = datetime.fromtimestamp(created, UTC) if created else datetime.now(UTC)
    return when.strftime("%Y-%m-%d %H:%M UTC")


def _command(config: Mapping[str, Any]) -> str:
    return shlex.join(["evenhand", "run", str(config.get("name", "pipeline"))])
