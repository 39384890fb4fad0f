"""Finds preference rows that contain items of evaluation sets of any row kind.

Texts of an item: question with context, and context; or prompt with each completion, and prompt. Texts of a row:
prompt, each completion, and prompt with each completion. All are in lower case with single spaces. A row matches if one
of its texts resembles an item (`alike`), if it contains an item that is long enough (`contained`), or if it was made
from a row of the set (`source_id`, with the same `source`).

Shape suffix: P rows of a piece.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline_core.data.duplicates.shingles import windows_of
from pipeline_core.data.duplicates.sketches import sketch
from pipeline_core.data.texts import RowTexts, digests_of
from pipeline_core.quality.items import PIECE, EvaluationItems, id_of, origins_of, plain
from pipeline_core.quality.model import Overlap

if TYPE_CHECKING:
    from datasets import Dataset

ROW_TEXTS = ((0,), (0, 1), (0, 2), (1,), (2,))
"""Texts of a row that are compared with items, as indices into (prompt, chosen, rejected)."""
WHOLE_TEXTS = (1, 2)
"""Indices into `ROW_TEXTS` of the texts that are searched for contained items; they include all other texts."""
EXAMPLES = 5


class FoundItem(NamedTuple):
    """Match of a row: row number, evaluation set, id of the first matching item, and kind of match."""

    row: int
    known: EvaluationItems
    item: str
    how: str


def contaminated(
    tables: Mapping[str, Dataset], items: Sequence[EvaluationItems], similarity: float
) -> tuple[NDArray[np.bool_], tuple[Overlap, ...]]:
    """Mask (N,), True for rows of all tables that match an item of any set, and the matches of each set."""
    texts = RowTexts(tables)
    found_N = np.zeros(len(texts), bool)
    parts: dict[str, Counter[str]] = defaultdict(Counter)
    how: dict[str, Counter[str]] = defaultdict(Counter)
    examples: dict[str, list[dict[str, str]]] = defaultdict(list)
    for number, known, item, kind in _meetings(tables, texts, items, similarity) if items else ():
        part, row = texts.place_of(number)
        found_N[number] = True
        parts[known.name][part] += 1
        how[known.name][kind] += 1
        if len(examples[known.name]) < EXAMPLES:
            examples[known.name].append({"part": part, "row": id_of(tables[part], row), "item": item, "how": kind})
    overlaps = (
        Overlap(
            entry=known.name,
            items=len(known.rows),
            parts=dict(parts[known.name]),
            how=dict(how[known.name]),
            examples=tuple(examples[known.name]),
        )
        for known in items
    )
    return found_N, tuple(overlaps)


def _meetings(
    tables: Mapping[str, Dataset], texts: RowTexts, items: Sequence[EvaluationItems], similarity: float
) -> Iterator[FoundItem]:
    rows, start = iter(texts), 0
    origins = chain.from_iterable(origins_of(table, "source_id") for table in tables.values())
    while piece := list(islice(rows, PIECE)):
        forms = [(plain([row[field] for field in form]),) for row in piece for form in ROW_TEXTS]
        asked = sketch(forms, len(forms), similarity)  # once for all evaluation sets
        whole = [
            windows_of([forms[row * len(ROW_TEXTS) + form]])[0] for row in range(len(piece)) for form in WHOLE_TEXTS
        ]
        made_from = list(islice(origins, len(piece)))
        digests_P = digests_of(made_from, len(piece))
        for known in items:
            alike = _by_row(known.resembled(forms, asked), len(ROW_TEXTS))
            inside = _by_row(known.contained(whole), len(WHOLE_TEXTS))
            same_P = known.has_origins(digests_P)
            for row, (source, source_id) in enumerate(made_from):
                # rows without an origin would match items without one
                of_source = source_id if source and source_id and same_P[row] else None
                matches = {"alike": alike[row], "contained": inside[row], "source_id": of_source}
                # one kind of match for a row, so that the kinds add up to the rows
                how, item = next(((how, item) for how, item in matches.items() if item is not None), ("", None))
                if item is not None:
                    yield FoundItem(start + row, known, item, how)
        start += len(piece)


def _by_row(items: Sequence[str | None], forms: int) -> list[str | None]:
    """First matching item of each row, over all of its texts."""
    rows = (items[start : start + forms] for start in range(0, len(items), forms))
    return [next((item for item in of_row if item is not None), None) for of_row in rows]
