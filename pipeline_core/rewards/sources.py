"""The texts that a reward stage is given: the rows its `data` names, or those of the pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline_core.rewards.scored_text import NOTHING, TextSource, joined

if TYPE_CHECKING:
    from pipeline_core.data.refs import DataRef
    from pipeline_core.plugin.context import Inputs
    from pipeline_core.rewards.scored_text import ScoredText, TrainingTarget


def given_text(inputs: Inputs, data: Sequence[DataRef], target: TrainingTarget = "pair") -> ScoredText:
    """The rows of all references in `data`, or `inputs.preferences` where there are none, as one.

    Raises:
        BadInput: naming the entry, the column and the row at fault.
    """
    if not data and "preferences" not in inputs.folders and inputs.data_ref is not None:
        data = [inputs.data_ref]
    sources = [_source(inputs, ref) for ref in data] or [TextSource(inputs.preferences)]
    return joined(sources, target)


def labelled_text(inputs: Inputs, data: Sequence[DataRef]) -> ScoredText:
    """The same where there are rows that say which texts are better, else no text: prompts alone do not."""
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
