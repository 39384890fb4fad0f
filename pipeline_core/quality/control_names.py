"""Counts rows whose texts contain the names of control tokens, such as `<|im_end|>` or `</s>`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from pipeline_core.errors import BadInput
from pipeline_core.models.tokens.control import KNOWN
from pipeline_core.models.tokens.frames import named_controls

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

APART = ("id", "source_id", "template_id")
"""Columns that are not searched, because they hold identifiers and not texts."""


class ControlNameCounts:
    """Row counts for each control token name: well-known names, and those of the tokenizer in a model folder.

    Raises:
        BadInput: the folder has no tokenizer.
    """

    def __init__(self, model: Path | None) -> None:
        self._tokenizer = _tokenizer(model) if model else None
        self._found: Counter[str] = Counter()

    def look(self, table: pa.Table) -> None:
        """Count the rows of a table."""
        names = [field.name for field in table.schema if field.name not in APART and _holds_text(field.type)]
        for row in table.select(names).to_pylist():
            texts = [text for value in row.values() for text in (value if isinstance(value, list) else [value]) if text]
            own = named_controls(self._tokenizer, texts) if self._tokenizer else set()
            # a set: a row counts once for each name
            self._found.update(own | {name for text in texts for name in KNOWN.findall(text)})

    @property
    def rows(self) -> dict[str, int]:
        """Row counts by control token name, largest first."""
        return dict(self._found.most_common())


def _holds_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or (pa.types.is_list(kind) and pa.types.is_string(kind.value_type)))


def _tokenizer(model: Path) -> PreTrainedTokenizerBase:
    from pipeline_core.models.foreign import LOADING_ERRORS
    from pipeline_core.models.loading import load_tokenizer

    try:
        return load_tokenizer(model)
    except LOADING_ERRORS as error:
        raise BadInput(f"--model {model}: no tokenizer can be read there: {str(error)[:200]}") from None
