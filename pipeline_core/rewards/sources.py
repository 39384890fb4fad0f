"""Texts for a reward stage: the rows that its `data` names, or those of the pipeline."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline_core.data.refs import DataRef
from pipeline_core.plugin.context import Inputs
from pipeline_core.rewards.scored_text import NOTHING, ScoredText, TextSource, TrainingTarget, joined


def given_text(inputs: Inputs, data: Sequence[DataRef], target: TrainingTarget = "pair") -> ScoredText:
    """Texts of all references in `data`; without any, of the pipeline's rows (`inputs.preferences`).

    Raises:
        BadInput: rows are unusable; the message names entry, column and row.
    """
    sources = [_source(inputs, ref) for ref in refs_of(inputs, data)] or [TextSource(inputs.preferences)]
    return joined(sources, target)


def refs_of(inputs: Inputs, data: Sequence[DataRef]) -> list[DataRef]:
    """References in `data`; without any, that of the pipeline's rows, or none if a stage made these rows."""
    if data or "preferences" in inputs.folders or inputs.data_ref is None:
        return [*data]
    return [inputs.data_ref]  # not the rows themselves, since the entry tells range and direction of scores


def labelled_text(inputs: Inputs, data: Sequence[DataRef]) -> ScoredText:
    """Texts as from `given_text` if the rows have labels or scores; else `NOTHING`, as for rows with prompts only."""
    return given_text(inputs, data) if _labels_given(inputs, data) else NOTHING


def _labels_given(inputs: Inputs, data: Sequence[DataRef]) -> bool:
    if data:
        return True
    if "preferences" not in inputs.folders and inputs.data_ref is None:
        return False
    return bool({"chosen", "score"} & set(inputs.preferences.column_names))


def _source(inputs: Inputs, ref: DataRef) -> TextSource:
    entry = inputs.catalog.entry(ref.entry)
    return TextSource(inputs.data(ref), ref.entry, entry.score_better, entry.score_range)
