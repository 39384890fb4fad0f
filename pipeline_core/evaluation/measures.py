"""Files of an evaluation: a score per item and the measures computed from them.

`rows.parquet` holds one row per item and score: `item` (stable id, the same for every model), `score` (name of the
score), `value` (float64), `group` (the people concerned, a list), `domain`, `prediction` (the model's choice or text,
if short, on one of an item's scores) and `cluster`, the unit of resampling that the item belongs to: its template,
passage, prompt, document, dialogue or pair, or the item itself. Items of a cluster are drawn together; an item without
a cluster is a cluster of its own. Any table can be computed again from the file without the model, and two models are
compared on their common items. A `Measure` is a function of the mean of one score, a `Relation`
(`pipeline_core.evaluation.relations`) of two scores of each item.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline_core.errors import UnknownName
from pipeline_core.evaluation.entries import by_group, by_label, described, readable
from pipeline_core.evaluation.relations import relate
from pipeline_core.plugin.figures import CLUSTER, ITEM, Axis, Measure, Relation, Score, clusters_of
from pipeline_core.plugin.types import Metrics
from pipeline_core.stats.bootstrap import Bootstrap
from pipeline_core.stats.ranking import RELATIONS
from pipeline_core.stats.resampling import Items
from pipeline_core.stats.statistic import STATISTICS, Statistic

ROWS_FILE = "rows.parquet"
MEASURES_FILE = "measures.json"


def write_evaluation(
    out: Path,
    scores: Sequence[Score],
    measures: Sequence[Measure | Relation],
    seed: int = 0,
    resampled: str | Mapping[str, str] = ITEM,
) -> Metrics:
    """Write `rows.parquet` and `measures.json` (value, n, low, high at 95 %, per group) and return the values.

    `resampled` is the noun for the clusters in the scores (`template`; `pair` if every item is a pair and its own
    cluster; `template or pair` if some items are in templates and others alone), or a mapping from scores to nouns. The
    file stores it for every measure beside the number of clusters, and the report prints it. If a measure's scores name
    no cluster, its noun is `item`.

    With `group_by` the metrics also hold `<name>/worst_group`, `<name>/gap` and `<name>/mean`. A measure without items
    or an undefined relation (an AUC of one class) is null in the file and absent from the returned metrics, never zero;
    `<name>/undefined_groups` counts the groups of an undefined relation. Raises `ValueError` on a score that is not
    finite, an item in two clusters of one score, two measures of one name or `summary_rows` without `group_by`,
    `UnknownName` on an unknown statistic.
    """
    _check(scores, measures)  # before a file is written
    _write_rows(scores, out / ROWS_FILE)
    by_score: dict[str, list[Score]] = defaultdict(list)
    for score in scores:
        by_score[score.score].append(score)
    entries = {
        measure.name: relate(by_score, measure, seed)
        if isinstance(measure, Relation)
        else summarise(by_score.get(measure.score, ()), measure, seed)
        for measure in measures
    }
    for entry in entries.values():
        # of a relation `score` is its x, whose clusters are drawn
        entry["resampled"] = _noun(by_score.get(entry["score"], ()), resampled, entry["score"])
    # undefined is null; a NaN would be no JSON
    text = json.dumps(entries, indent=1, allow_nan=False, ensure_ascii=False)
    (out / MEASURES_FILE).write_text(text + "\n", encoding="utf-8")
    return _flat(entries)


def _noun(scores: Sequence[Score], resampled: str | Mapping[str, str], score: str) -> str:
    """Noun for the resampled clusters, as the suite names them; `item` if scores name no cluster.

    A measure without scores keeps the suite's noun, because another model may have scores.
    """
    noun = resampled if isinstance(resampled, str) else resampled.get(score, ITEM)
    # a noun such as `template` would be untrue of single items (S1)
    if scores and not any(row.cluster for row in scores):
        return ITEM
    return CLUSTER if scores and noun == ITEM else noun


def summarise(scores: Iterable[Score], measure: Measure, seed: int = 0) -> dict[str, Any]:
    """Entry of a measure in `measures.json`."""
    statistic = STATISTICS[measure.statistic]
    chosen = [score for score in scores if measure.selects(score)]
    entry = _estimate(statistic, chosen, seed, measure.mean_over) | described(measure)
    if not measure.group_by:
        return entry
    members = by_label(chosen, measure.group_by)
    return entry | by_group({label: _estimate(statistic, own, seed) for label, own in members.items()}, measure.better)


def _estimate(statistic: Statistic, scores: Sequence[Score], seed: int, mean_over: Axis = "") -> dict[str, Any]:
    groups = [[_by_item(members)] for members in by_label(scores, mean_over).values()]
    items = Items.of_groups(groups, clusters_of(scores))
    return readable(Bootstrap.of(statistic, items, seed=seed).estimate(across="mean" if mean_over else "all"))


def _by_item(scores: Iterable[Score]) -> dict[str, list[float]]:
    by_item: dict[str, list[float]] = defaultdict(list)
    for score in scores:
        by_item[score.item].append(score.value)
    return by_item


def _flat(entries: dict[str, dict[str, Any]]) -> Metrics:
    values: dict[str, float | None] = {}
    for name, entry in entries.items():
        worst = entry.get("worst_group") or {}
        values[name] = entry["value"]
        values[f"{name}/worst_group"] = worst.get("value")
        values[f"{name}/gap"] = entry.get("gap")
        values[f"{name}/mean"] = entry.get("mean")
        # absent where all groups are defined
        values[f"{name}/undefined_groups"] = len(entry.get("undefined") or ()) or None
    return {name: float(value) for name, value in values.items() if value is not None}


def _check(scores: Sequence[Score], measures: Sequence[Measure | Relation]) -> None:
    for score in scores:
        if not math.isfinite(score.value):
            raise ValueError(f"score {score.score!r} of item {score.item!r} is {score.value}: leave the item out")
    for measure in measures:
        known: Mapping[str, Any] = STATISTICS if isinstance(measure, Measure) else RELATIONS
        if measure.statistic not in known:
            raise UnknownName("statistic", measure.statistic, known, where=f"measure {measure.name!r}")
        if measure.summary_rows and not measure.group_by:
            raise ValueError(f"measure {measure.name!r} has rows of groups and no group_by")
        if measure.chance is not None and not measure.group_by:
            raise ValueError(f"measure {measure.name!r} is compared with chance in groups and has no group_by")
    if len({measure.name for measure in measures}) < len(measures):
        raise ValueError(f"two measures share a name: {sorted(measure.name for measure in measures)}")


def _write_rows(scores: Sequence[Score], path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    def place(score: Score) -> tuple[Any, ...]:
        return score.score, score.item, score.groups, score.domain, score.value, score.prediction, score.cluster

    ordered = sorted(scores, key=place)  # the bytes of the file do not depend on the order of scores
    columns = {
        "item": pa.array([score.item for score in ordered], pa.string()),
        "score": pa.array([score.score for score in ordered], pa.string()),
        "value": pa.array([float(score.value) for score in ordered], pa.float64()),
        "group": pa.array([list(score.groups) for score in ordered], pa.list_(pa.string())),
        "domain": pa.array([score.domain for score in ordered], pa.string()),
        "prediction": pa.array([score.prediction for score in ordered], pa.string()),
        "cluster": pa.array([score.cluster for score in ordered], pa.string()),
    }
    pq.write_table(pa.table(columns), path, compression="zstd")
