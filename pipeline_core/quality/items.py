"""Index of the items of an evaluation set: finds items that a text resembles, contains or was made from.

Shape suffixes: N items, Q queries.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import repeat
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline_core.data.catalog import Catalog
from pipeline_core.data.contract import RowKind
from pipeline_core.data.duplicates.contained import ContainmentIndex
from pipeline_core.data.duplicates.lookup import SimilarityIndex
from pipeline_core.data.duplicates.shingles import Shingles
from pipeline_core.data.duplicates.sketches import Sketches, sketch
from pipeline_core.data.refs import DataRef
from pipeline_core.data.texts import digests_of, occurrence_of

if TYPE_CHECKING:
    from datasets import Dataset

ITEM_TEXTS: Mapping[RowKind, tuple[tuple[str, ...], ...]] = {
    "preference": (("prompt", "chosen"), ("prompt", "rejected"), ("prompt",)),
    "prompt": (("prompt",),),
    "scored": (("prompt", "completion"), ("prompt",)),
    "question": (("context", "question"), ("context",)),
    "text": (("text",),),
    "choice": (("prompt",),),
}
"""Columns whose joined text represents an item. The prompt alone counts, as online training samples completions."""
FEWEST_WINDOWS = 36
"""Distinct 5-byte windows (40 bytes) an item needs for the containment search. Shorter items occur in many texts."""
PIECE = 256


def plain(texts: Sequence[str | None]) -> str:
    """Texts joined, in lower case, with single spaces."""
    return " ".join(" ".join(text or "" for text in texts).lower().split())


class EvaluationItems:
    """Distinct texts of the items of an evaluation set, with the ids of their rows."""

    def __init__(self, name: str, rows: Dataset, kind: RowKind, similarity: float) -> None:
        self.name, self.rows = name, rows
        self._forms = ITEM_TEXTS[kind]
        self._table = rows.select_columns(sorted({c for form in self._forms for c in form})).with_format("arrow")
        digests = digests_of(((text,) for text in self._all_texts()), len(rows) * len(self._forms))
        # an empty text would resemble every other empty one
        self._wanted = (occurrence_of(digests) == 0) & (digests != digests_of([("",)], 1))
        self._numbers = np.flatnonzero(self._wanted)
        self._lookup = SimilarityIndex(sketch(self._texts(), len(self._numbers), similarity), self._read)
        self._contained = ContainmentIndex(self._texts, self._read, similarity, FEWEST_WINDOWS)
        self._origins = digests_of(origins_of(rows, "id"), len(rows))

    def resembled(self, texts: Sequence[tuple[str]], asked: Sketches) -> list[str | None]:
        """Id of an item that each text resembles, or None."""
        return self._ids(self._lookup.alike(texts, asked))

    def contained(self, texts: Sequence[Shingles]) -> list[str | None]:
        """Id of an item that each text contains, or None; a text is given as its windows in order."""
        return self._ids([self._contained.first_in(windows) for windows in texts])

    def has_origins(self, origins_Q: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Mask (Q,), True where the set has a row with this source and id; queries are `digests_of` the two."""
        return np.isin(origins_Q, self._origins)

    def _ids(self, numbers: Sequence[int | None]) -> list[str | None]:
        rows = (None if n is None else int(self._numbers[n]) // len(self._forms) for n in numbers)
        return [None if row is None else id_of(self.rows, row) for row in rows]

    def _texts(self) -> Iterator[tuple[str]]:
        """Distinct, non-empty item texts, in order of first occurrence."""
        return ((text,) for text, is_wanted in zip(self._all_texts(), self._wanted, strict=True) if is_wanted)

    def _all_texts(self) -> Iterator[str]:
        for piece in self._table.iter(PIECE):
            columns = {name: piece[name].to_pylist() for name in piece.column_names}
            for row in range(piece.num_rows):
                yield from (plain([columns[name][row] for name in form]) for form in self._forms)

    def _read(self, number: int) -> tuple[str]:
        row, form = divmod(int(self._numbers[number]), len(self._forms))
        piece = self._table[row]
        return (plain([piece[name][0].as_py() for name in self._forms[form]]),)


def origins_of(rows: Dataset, column: str) -> Iterator[tuple[str, str]]:
    """`source` and the id in `column` of every row; empty strings where one is missing."""
    if not {"source", column} <= set(rows.column_names):
        yield from repeat(("", ""), len(rows))
        return
    for piece in rows.select_columns(["source", column]).iter(PIECE):
        yield from ((source or "", id_ or "") for source, id_ in zip(piece["source"], piece[column], strict=True))


def evaluation_items(catalog: Catalog, refs: Sequence[DataRef], similarity: float) -> list[EvaluationItems]:
    """Item indexes of catalog entries of any row kind."""
    return [EvaluationItems(ref.name, catalog.load(ref), catalog.entry(ref.entry).rows, similarity) for ref in refs]


def id_of(rows: Dataset, row: int) -> str:
    """Id of a row; its number (from 1) if the table has no ids."""
    return str(rows[row]["id"]) if "id" in rows.column_names else str(row + 1)
