"""Rows that resemble items of evaluation sets, whatever kind of rows these hold.

An item is compared as its texts (a question with its context, and the context; a prompt with each completion), a row as
its prompt, its completions, and the prompt with each of them; in small letters and with single spaces.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline_core.near_duplicates.lookup import Lookup
from pipeline_core.near_duplicates.sketches import Sketches, sketch
from pipeline_core.quality.model import Overlap
from pipeline_core.records import RowKind
from pipeline_core.row_texts import RowTexts, digests_of, occurrence_of

if TYPE_CHECKING:
    from datasets import Dataset

    from pipeline_core.catalog import Catalog, DataRef

ITEM_TEXTS: Mapping[RowKind, tuple[tuple[str, ...], ...]] = {
    "preference": (("prompt", "chosen"), ("prompt", "rejected")),
    "prompt": (("prompt",),),
    "scored": (("prompt", "completion"),),
    "question": (("context", "question"), ("context",)),
    "text": (("text",),),
    "choice": (("prompt",),),
}
"""Columns whose joined texts stand for an item."""
ROW_TEXTS = ((0,), (0, 1), (0, 2), (1,), (2,))
"""The same for a row, of prompt, chosen and rejected."""
PIECE = 256
EXAMPLES = 5


def plain(texts: Sequence[str | None]) -> str:
    """Joined texts in small letters with single spaces."""
    return " ".join(" ".join(text or "" for text in texts).lower().split())


class EvaluationItems:
    """The texts of an evaluation set's items, each text once, ready to be looked up."""

    def __init__(self, name: str, rows: Dataset, kind: RowKind, similarity: float) -> None:
        self.name, self.rows = name, rows
        self._forms = ITEM_TEXTS[kind]
        self._table = rows.select_columns(sorted({c for form in self._forms for c in form})).with_format("arrow")
        wanted = _first_of_each(((text,) for text in self._texts()), len(rows) * len(self._forms))
        self._numbers = np.flatnonzero(wanted)
        texts = ((text,) for text, is_wanted in zip(self._texts(), wanted, strict=True) if is_wanted)
        self._lookup = Lookup(sketch(texts, len(self._numbers), similarity), self._read)

    def resembled(self, texts: Sequence[tuple[str]], asked: Sketches) -> list[str | None]:
        """For every text the id of an item that it resembles, or None."""
        return [None if number is None else self._id(number) for number in self._lookup.alike(texts, asked)]

    def _id(self, number: int) -> str:
        row = int(self._numbers[number]) // len(self._forms)
        return _id(self.rows, row)

    def _texts(self) -> Iterator[str]:
        for piece in self._table.iter(PIECE) if len(self._table) else ():
            columns = {name: piece[name].to_pylist() for name in piece.column_names}
            for row in range(piece.num_rows):
                yield from (plain([columns[name][row] for name in form]) for form in self._forms)

    def _read(self, number: int) -> tuple[str]:
        row, form = divmod(int(self._numbers[number]), len(self._forms))
        piece = self._table[row]
        return (plain([piece[name][0].as_py() for name in self._forms[form]]),)


def _first_of_each(texts: Iterator[tuple[str]], count: int) -> NDArray[np.bool_]:
    """True where a text that is not empty stands for the first time."""
    digests_N = digests_of(texts, count)
    return (occurrence_of(digests_N) == 0) & (digests_N != digests_of([("",)], 1))


def evaluation_items(catalog: Catalog, refs: Sequence[DataRef], similarity: float) -> list[EvaluationItems]:
    """The items of catalog entries of any kind."""
    return [EvaluationItems(ref.name, catalog.load(ref), catalog.entry(ref.entry).rows, similarity) for ref in refs]


def _id(rows: Dataset, row: int) -> str:
    return str(rows[row]["id"]) if "id" in rows.column_names else str(row + 1)


def contaminated(
    tables: Mapping[str, Dataset], items: Sequence[EvaluationItems], similarity: float
) -> tuple[NDArray[np.bool_], tuple[Overlap, ...]]:
    """Which rows of all tables resemble an item of any set, (N,), and what was found for each set."""
    texts = RowTexts(tables)
    found_N = np.zeros(len(texts), bool)
    parts: dict[str, Counter[str]] = defaultdict(Counter)
    examples: dict[str, list[dict[str, str]]] = defaultdict(list)
    for number, known, item in _meetings(texts, items, similarity) if items else ():
        part, row = texts.place_of(number)
        found_N[number] = True
        parts[known.name][part] += 1
        if len(examples[known.name]) < EXAMPLES:
            examples[known.name].append({"part": part, "row": _id(tables[part], row), "item": item})
    overlaps = (
        Overlap(
            entry=known.name, items=len(known.rows), parts=dict(parts[known.name]), examples=tuple(examples[known.name])
        )
        for known in items
    )
    return found_N, tuple(overlaps)


def _meetings(
    texts: RowTexts, items: Sequence[EvaluationItems], similarity: float
) -> Iterator[tuple[int, EvaluationItems, str]]:
    """Number of a row, the set and the id of the first of its items that the row resembles."""
    rows, start = iter(texts), 0
    while piece := list(islice(rows, PIECE)):
        forms = [(plain([row[field] for field in form]),) for row in piece for form in ROW_TEXTS]
        asked = sketch(forms, len(forms), similarity)
        for known in items:
            found = known.resembled(forms, asked)
            for row in range(len(piece)):
                met = [item for item in found[row * len(ROW_TEXTS) : (row + 1) * len(ROW_TEXTS)] if item is not None]
                if met:
                    yield start + row, known, met[0]
        start += len(piece)
