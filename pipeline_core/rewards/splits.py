"""Units that a split keeps together: texts of one prompt or template, and rows that were made from one another."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

FEWEST_TEMPLATES = 50
"""Smallest number of templates to split by; a tenth of fewer is too few to measure on, so prompts are split instead."""


def usable_templates(templates: Sequence[str]) -> list[str]:
    """Templates (N) of one source; all empty if there are fewer than `FEWEST_TEMPLATES` distinct ones."""
    return list(templates) if len(set(templates)) >= FEWEST_TEMPLATES else [""] * len(templates)


def split_units(
    prompts: Sequence[str],
    templates: Sequence[str],
    ids: Sequence[str],
    sources: Sequence[str],
) -> list[str]:
    """Unit name (N) of every row; missing columns are given as empty strings.

    Rows are in one unit if they share a template (a prompt, if they have none) or an origin: a row whose `source` is
    another row's id is that row with some words exchanged, so it reveals its answer. A unit is named after its first
    template or prompt in alphabetical order, so names do not depend on the row order.
    """
    names = [template or prompt for template, prompt in zip(templates, prompts, strict=True)]
    known = set(sources) - {""}  # ids of rows that no other row was made from connect nothing
    origins = [id_ if id_ in known else "" for id_ in ids]
    keys = [("name", name) for name in names], [("id", id_) for id_ in origins], [("id", source) for source in sources]
    unit_N = _connected([[key for key in row if key[1]] for row in zip(*keys, strict=True)])
    first: dict[Any, str] = {}
    for unit, name in zip(unit_N, names, strict=True):
        first[unit] = min(name, first.get(unit, name))
    return [first[unit] for unit in unit_N]


def _connected(keys: Sequence[Sequence[Hashable]]) -> list[int]:
    """Connected component number of every row; rows that share a key are connected."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    rows = [row for row, owned in enumerate(keys) for _ in owned]
    place: dict[Hashable, int] = {}
    # a graph of rows and keys: linear in rows, where pairs of rows would be quadratic
    columns = [len(keys) + place.setdefault(key, len(place)) for owned in keys for key in owned]
    size = len(keys) + len(place)
    graph = coo_matrix((np.ones(len(rows), dtype=np.int8), (rows, columns)), shape=(size, size))
    numbers: list[int] = connected_components(graph, directed=False)[1][: len(keys)].tolist()
    return numbers
