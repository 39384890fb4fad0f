"""Entries of `measures.json`: the description of a figure, and its values by group with worst, gap and mean."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from pipeline_core.plugin.figures import Measure, Relation, Score
from pipeline_core.stats.estimates import Estimate


def described(asked: Measure | Relation) -> dict[str, Any]:
    """Description of a figure, without its values."""
    scores = {"score": asked.score} if isinstance(asked, Measure) else {"score": asked.x, "against": asked.y}
    entry: dict[str, Any] = {
        "better": asked.better,
        "unit": asked.unit,
        "headline": asked.headline,
        "statistic": asked.statistic,
        **scores,
        "only": dict(asked.only),
    }
    if asked.mean_over:
        entry["mean_over"] = asked.mean_over
    if asked.chance is not None:
        entry["chance"] = asked.chance
    if asked.group_by:
        entry |= {"group_by": asked.group_by, "summary_rows": list(asked.summary_rows)}
    return entry


def by_group(groups: Mapping[str, Mapping[str, Any]], better: str) -> dict[str, Any]:
    """Estimates of groups by label, with the worst group, the gap and the mean of those that are defined."""
    values = {label: entry["value"] for label, entry in groups.items() if entry["value"] is not None}
    worst = None
    if values and better != "neither":
        worst = (max if better == "lower" else min)(values, key=lambda label: values[label])
    return {
        "groups": groups,
        "worst_group": {"name": worst, **groups[worst]} if worst is not None else None,
        "gap": max(values.values()) - min(values.values()) if values else None,
        "mean": math.fsum(values.values()) / len(values) if values else None,  # the same for any order of groups
    }


def by_label(scores: Sequence[Score], axis: str) -> dict[str, list[Score]]:
    """Scores by label of an axis, in the order of the labels; without an axis, all under the label ""."""
    members: dict[str, list[Score]] = defaultdict(list)
    for score in scores:
        for label in score.labels(axis) if axis else ("",):
            members[label].append(score)
    return dict(sorted(members.items()))


def readable(found: Estimate) -> dict[str, Any]:
    """An estimate as JSON; bounds are rounded to twelve digits, which are equal on every machine."""
    facts = asdict(found)
    return facts | {end: None if facts[end] is None else float(f"{facts[end]:.12g}") for end in ("low", "high")}
