"""Index of the items of an evaluation set: finds items that a text resembles, contains or was made from.

Shape suffixes: N items, Q queries.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline_core.data.contract import RowKind
from pipeline_core.data.duplicates.contained import ContainmentIndex
from pipeline_core.data.duplicates.lookup import SimilarityIndex
from pipeline_core.data.duplicates.shingles import Shingles
from pipeline_core.data.duplicates.sketches import Sketches, sketch
from pipeline_core.data.texts import digests_of, occurrence_of

if TYPE_CHECKING:
    from datasets import Dataset

    from pipeline_core.data.catalog import Catalog
    from pipeline_core.data.refs import DataRef

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
        self._wanted = _first_of_each(((text,) for text in self._all_texts()), len(rows) * len(self._forms))
        self._numbers = np.flatnonzero(self._wanted)
        self._lookup = SimilarityIndex(sketch(self._texts(), len(self._numbers), similarity), self._read)
        self._contained = ContainmentIndex(self._texts, self._read, similarity, FEWEST_WINDOWS)

    def resembled(self, texts: Sequence[tuple[str]], asked: Sketches) -> list[str | None]:
        """Id of an item that each text resembles, or None."""
        return self._ids(self._lookup.alike(texts, asked))

    def contained(self, texts: Sequence[Shingles]) -> list[str | None]:
        """Id of an item that each text contains, or None; a text is given as its windows in order."""
        return self._ids([self._contained.first_in(windows) for windows in texts])

    def has_origins(self, origins_Q: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Mask (Q,), True where the set has a row with this source and id; queries are `digests_of` the two."""
        return np.isin(origins_Q, self._origins)

    @cached_property
    def _origins(self) -> NDArray[np.uint64]:
        if not {"source", "id"} <= set(self.rows.column_names):
            return np.zeros(0, np.uint64)
        pieces = self.rows.select_columns(["source", "id"]).iter(PIECE) if len(self.rows) else ()
        pairs = (pair for piece in pieces for pair in zip(piece["source"], map(str, piece["id"]), strict=True))
        return digests_of(((source or "", id_) for source, id_ in pairs), len(self.rows))

    def _ids(self, numbers: Sequence[int | None]) -> list[str | None]:
        rows = (None if n is None else int(self._numbers[n]) // len(self._forms) for n in numbers)
        return [None if row is None else id_of(self.rows, row) for row in rows]

    def _texts(self) -> Iterator[tuple[str]]:
        """Distinct, non-empty item texts, in order of first occurrence."""
        return ((text,) for text, is_wanted in zip(self._all_texts(), self._wanted, strict=True) if is_wanted)

    def _all_texts(self) -> Iterator[str]:
        for piece in self._table.iter(PIECE) if len(self._table) else ():
            columns = {name: piece[name].to_pylist() for name in piece.column_names}
            for row in range(piece.num_rows):
                yield from (plain([columns[name][row] for name in form]) for form in self._forms)

    def _read(self, number: int) -> tuple[str]:
        row, form = divmod(int(self._numbers[number]), len(self._forms))
        piece = self._table[row]
        return (plain([piece[name][0].as_py() for name in self._forms[form]]),)


def _first_of_each(texts: Iterator[tuple[str]], count: int) -> NDArray[np.bool_]:
    """Mask, True at the first occurrence of every non-empty text."""
    digests_N = digests_of(texts, count)
    # an empty text would resemble every other empty one
    return (occurrence_of(digests_N) == 0) & (digests_N != digests_of([("",)], 1))


def evaluation_items(catalog: Catalog, refs: Sequence[DataRef], similarity: float) -> list[EvaluationItems]:
    """Item indexes of catalog entries of any row kind."""
    return [EvaluationItems(ref.name, catalog.load(ref), catalog.entry(ref.entry).rows, similarity) for ref in refs]


def id_of(rows: Dataset, row: int) -> str:
    """Id of a row; its number (from 1) if the table has no ids."""
    return str(rows[row]["id"]) if "id" in rows.column_names else str(row + 1)
