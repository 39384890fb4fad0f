"""Reads the artifacts of a run's stages."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pipeline_core.evaluation.measures import MEASURES_FILE, ROWS_FILE
from pipeline_core.report.figures.cells import BASE
from pipeline_core.report.figures.model import ReportStage

ValuesByItem = dict[str, list[float]]


class ScoreLine(NamedTuple):
    """Line of `rows.parquet`: the score of an item."""

    item: str
    value: float
    group: tuple[str, ...]
    domain: tuple[str, ...]
    cluster: str = ""


@dataclass(frozen=True)
class ModelEvaluation:
    """Evaluation of a model or a reward by a suite."""

    label: str
    seed: int | None
    suite: str
    plugin: str
    measures: Mapping[str, Mapping[str, Any]]
    scores: Mapping[str, Sequence[ScoreLine]]
    subject: Literal["model", "reward"] = "model"
    """Kind of the artifact that `label` names."""

    def title(self, measure: str) -> str:
        """Title of a measure; the suite's label leads where it differs from the plugin's name."""
        return measure if self.suite == self.plugin else f"{self.suite}: {measure}"

    def values(self, entry: Mapping[str, Any], axis: str = "", label: str = "") -> ValuesByItem:
        """Values of a measure by item, filtered by its `only` and, if `axis` is given, by one label of that axis."""
        narrowed = [*dict(entry.get("only", {})).items(), *([(axis, label)] if axis else [])]
        score = entry.get("score", "")
        # By the last label: if a group is asked for, it is the group, and few lines are left to filter.
        chosen = self._index.get((score, *narrowed[-1]), []) if narrowed else self.scores.get(score, ())
        values_by_item: ValuesByItem = defaultdict(list)
        for scored in chosen:
            if all(value in getattr(scored, name) for name, value in narrowed):
                values_by_item[scored.item].append(scored.value)
        return dict(values_by_item)

    def clusters(self, entry: Mapping[str, Any]) -> dict[str, str]:
        """Cluster by item, for items with one. In older artifacts `cluster` names a score with the cluster's number."""
        if name := entry.get("cluster"):
            return {line.item: f"{line.value:g}" for line in self.scores.get(name, ())}
        return {line.item: line.cluster for line in self.scores.get(entry.get("score", ""), ()) if line.cluster}

    def labels(self, entry: Mapping[str, Any], axis: str) -> set[str]:
        """Labels of an axis in the lines of the measure's score."""
        return {label for score, name, label in self._index if (score, name) == (entry.get("score", ""), axis)}

    @cached_property
    def _index(self) -> dict[tuple[str, str, str], list[ScoreLine]]:
        """Lines by score, axis and label, because a large suite is filtered hundreds of times."""
        index: dict[tuple[str, str, str], list[ScoreLine]] = defaultdict(list)
        for score, lines in self.scores.items():
            for scored in lines:
                for axis in ("group", "domain"):
                    for label in getattr(scored, axis):
                        index[score, axis, label].append(scored)
        return index


@dataclass(frozen=True)
class Curve:
    """The training curve of one model and seed."""

    label: str
    plugin: str
    seed: int
    points: Sequence[Mapping[str, float]]

    def series(self, name: str) -> tuple[list[float], list[float]]:
        """Steps and values at which `name` was logged."""
        logged = [(point["step"], point[name]) for point in self.points if name in point]
        return [step for step, _ in logged], [value for _, value in logged]


@dataclass
class ReportData:
    """Data that a report is made from."""

    stages: list[ReportStage] = field(default_factory=list)
    evaluations: list[ModelEvaluation] = field(default_factory=list)
    """Evaluations of models and of rewards."""
    curves: list[Curve] = field(default_factory=list)
    manifests: list[dict[str, Any]] = field(default_factory=list)

    def about(self, subject: Literal["model", "reward"]) -> list[ModelEvaluation]:
        """The evaluations of models, or those of rewards."""
        return [evaluation for evaluation in self.evaluations if evaluation.subject == subject]

    @property
    def made(self) -> Iterator[tuple[ReportStage, dict[str, Any]]]:
        """Every stage with the manifest of its artifact."""
        return zip(self.stages, self.manifests, strict=True)


def collect(results: Iterable[Any] | Mapping[str, Any]) -> ReportData:
    """Read the artifacts of `results`: stage results, or mappings with their fields, optionally by stage id.

    An evaluation's `suite` and `model_seed` are taken from the result, else from its stage id and its manifest.
    """
    named = results.items() if isinstance(results, Mapping) else (("", result) for result in results)
    facts = [_facts(name, result) for name, result in named]
    # An evaluation names its model by digest; its own seed says nothing of the model's.
    made = {(fact["label"], fact["digest"]): fact["seed"] for fact in facts if fact["stage"] == "policy"}
    collected = ReportData()
    for fact in facts:
        folder = Path(fact["path"])
        manifest = _json(folder / "manifest.json")
        collected.manifests.append(manifest)
        collected.stages.append(ReportStage(**{name: fact[name] for name in ReportStage.model_fields}))
        if fact["stage"] == "evaluate":
            model = (fact["label"], manifest.get("inputs", {}).get("model"))
            seed = fact.get("model_seed", made.get(model, None if fact["label"] == BASE else fact["seed"]))
            collected.evaluations.append(_evaluated(fact, seed, folder, manifest.get("inputs", {})))
        elif points := _history(folder):  # a base and rewards may have been trained too
            collected.curves.append(Curve(fact["label"], fact["plugin"], fact["seed"], points))
    return collected


def _facts(name: str, result: Any) -> dict[str, Any]:
    fact = dict(result) if isinstance(result, Mapping) else dict(result.model_dump())
    parts = name.split(":")
    # Ids of the plan: evaluate:SUITE:MODEL, with :seedN for a policy.
    from_id = parts[1] if len(parts) > 2 and parts[0] == "evaluate" else ""
    fact["suite"] = fact.get("suite") or from_id or (fact["plugin"] if fact["stage"] == "evaluate" else "")
    # A `model_seed` of None counts as not given: it is found by the digest.
    return {key: value for key, value in fact.items() if key != "model_seed" or value is not None}


def _evaluated(fact: Mapping[str, Any], seed: int | None, folder: Path, inputs: Mapping[str, str]) -> ModelEvaluation:
    # A reward beside a model only scores the model's texts (ADR 14).
    subject: Literal["model", "reward"] = "reward" if "reward" in inputs and "model" not in inputs else "model"
    measures = _json(folder / MEASURES_FILE) or _bare_measures(fact["metrics"])
    scores = _scores(folder / ROWS_FILE)
    return ModelEvaluation(fact["label"], seed, fact["suite"], fact["plugin"], measures, scores, subject)


def _bare_measures(metrics: Mapping[str, float]) -> dict[str, dict[str, Any]]:
    """Measures without intervals, for a plugin that returns figures and writes no table."""
    return {name: {"value": value, "n": 0, "better": "neither", "headline": True} for name, value in metrics.items()}


def _scores(file: Path) -> dict[str, list[ScoreLine]]:
    if not file.exists():
        return {}
    import pyarrow.parquet as pq

    columns = pq.read_table(file).to_pydict()
    columns.setdefault("cluster", [""] * len(columns["item"]))  # older tables have no such column
    lines: dict[str, list[ScoreLine]] = defaultdict(list)
    for item, score, value, group, domain, cluster in zip(
        *(columns[name] for name in ("item", "score", "value", "group", "domain", "cluster")), strict=True
    ):
        lines[score].append(ScoreLine(item, value, tuple(group or ()), (domain,) if domain else (), cluster or ""))
    return dict(lines)


def _json(file: Path) -> dict[str, Any]:
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.exists() else {}


def _history(folder: Path) -> list[dict[str, float]]:
    file = folder / "history.jsonl"
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []
