"""What an entry of `measures.json` says, of a measure and of a relation alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pipeline_core.plugin.figures import Measure, Relation

if TYPE_CHECKING:
    from pipeline_core.stats.estimates import Estimate


def declared(measure: Measure | Relation) -> dict[str, Any]:
    """What was declared before anything was measured."""
    entry: dict[str, Any] = {
        "better": measure.better,
        "unit": measure.unit,
        "headline": measure.headline,
        "statistic": measure.statistic,
        "score": measure.x if isinstance(measure, Relation) else measure.score,
    }
    if isinstance(measure, Relation):
        entry["against"] = measure.y
    entry["only"] = dict(measure.only)
    if measure.mean_over:
        entry["mean_over"] = measure.mean_over
    if measure.chance is not None:
        entry["chance"] = measure.chance
    if measure.group_by:
        entry |= {"group_by": measure.group_by, "summary_rows": list(measure.summary_rows)}
    return entry


def across_groups(groups: Mapping[str, Mapping[str, Any]], better: str) -> tuple[dict[str, Any], dict[str, float]]:
    """The groups' estimates with the worst of them and the gap, and the values of those that are defined."""
    values = {label: entry["value"] for label, entry in groups.items() if entry["value"] is not None}
    worst = None
    if values and better != "neither":
        worst = (max if better == "lower" else min)(values, key=lambda label: values[label])
    return {
        "groups": groups,
        "worst_group": {"name": worst, **groups[worst]} if worst is not None else None,
        "gap": max(values.values()) - min(values.values()) if values else None,
    }, values


def readable(found: Estimate) -> dict[str, Any]:
    """An estimate as JSON; bounds go through long sums and quantiles, and twelve digits are the same everywhere."""
    facts = asdict(found)
    return facts | {end: None if facts[end] is None else float(f"{facts[end]:.12g}") for end in ("low", "high")}
