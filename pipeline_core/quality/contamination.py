"""Rows that hold items of evaluation sets, whatever kind of rows these have.

An item is compared as its texts (a question with its context, and the context; a prompt with each completion, and the
prompt), a row as its prompt, its completions, and the prompt with each of them; in small letters, with single spaces. A
row is found because one of its texts resembles an item (`alike`), because a longer item stands in it (`contained`), or
because it was made from a row of the set (`source_id`, of the same `source`).

Shape suffix: P rows of a piece.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline_core.data.duplicates.shingles import windows_of
from pipeline_core.data.duplicates.sketches import sketch
from pipeline_core.data.texts import RowTexts, digests_of
from pipeline_core.quality.items import PIECE, EvaluationItems, id_of, plain
from pipeline_core.quality.model import Overlap

if TYPE_CHECKING:
    from datasets import Dataset

ROW_TEXTS = ((0,), (0, 1), (0, 2), (1,), (2,))
"""Texts of a row, of prompt, chosen and rejected, that an item may resemble."""
WHOLE_TEXTS = (1, 2)
"""Numbers of those that hold all others, where items are looked for inside."""
EXAMPLES = 5


class FoundItem(NamedTuple):
    """A row by its number, the set, the id of the first item found, and how it was found."""

    row: int
    known: EvaluationItems
    item: str
    how: str


def contaminated(
    tables: Mapping[str, Dataset], items: Sequence[EvaluationItems], similarity: float
) -> tuple[NDArray[np.bool_], tuple[Overlap, ...]]:
    """Which rows of all tables hold an item of any set, (N,), and what was found for each set."""
    texts = RowTexts(tables)
    found_N = np.zeros(len(texts), bool)
    parts: dict[str, Counter[str]] = defaultdict(Counter)
    how: dict[str, Counter[str]] = defaultdict(Counter)
    examples: dict[str, list[dict[str, str]]] = defaultdict(list)
    for number, known, item, found in _meetings(tables, texts, items, similarity) if items else ():
        part, row = texts.place_of(number)
        found_N[number] = True
        parts[known.name][part] += 1
        how[known.name][found] += 1
        if len(examples[known.name]) < EXAMPLES:
            examples[known.name].append({"part": part, "row": id_of(tables[part], row), "item": item, "how": found})
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
    rows, origins, start = iter(texts), _origins(tables), 0
    while piece := list(islice(rows, PIECE)):
        forms = [(plain([row[field] for field in form]),) for row in piece for form in ROW_TEXTS]
        asked = sketch(forms, len(forms), similarity)
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
                of_source = source_id if source and source_id and same_P[row] else None
                found = {"alike": alike[row], "contained": inside[row], "source_id": of_source}
                how, item = next(((how, item) for how, item in found.items() if item is not None), ("", None))
                if item is not None:
                    yield FoundItem(start + row, known, item, how)
        start += len(piece)


def _by_row(found: Sequence[str | None], forms: int) -> list[str | None]:
    """The first item found for any of a row's texts."""
    rows = (found[start : start + forms] for start in range(0, len(found), forms))
    return [next((item for item in of_row if item is not None), None) for of_row in rows]


def _origins(tables: Mapping[str, Dataset]) -> Iterator[tuple[str, str]]:
    """Source and `source_id` of every row, empty where it has none."""
    for table in tables.values():
        if not {"source", "source_id"} <= set(table.column_names):
            yield from (("", "") for _ in range(len(table)))
            continue
        for piece in table.select_columns(["source", "source_id"]).iter(PIECE) if len(table) else ():
            pairs = zip(piece["source"], piece["source_id"], strict=True)
            yield from ((source or "", source_id or "") for source, source_id in pairs)
