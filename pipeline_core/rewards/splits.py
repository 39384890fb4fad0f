"""What a split must keep together: texts of one prompt or template, and rows that were made from one another."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

FEWEST_TEMPLATES = 50
"""With fewer templates a tenth of them is a handful and says little; then prompts are held out instead."""


def usable_templates(templates: Sequence[str]) -> list[str]:
    """The templates (N) of one source, all empty where they are few."""
    return list(templates) if len(set(templates)) >= FEWEST_TEMPLATES else [""] * len(templates)


def split_units(
    prompts: Sequence[str],
    templates: Sequence[str],
    ids: Sequence[str],
    sources: Sequence[str],
) -> list[str]:
    """The unit (N) of every row, by name; columns a table lacks are empty strings.

    Rows are of one unit when they share a template (a prompt, where they have none) or an origin: a row
    whose `source` is another row's id is that row with some words exchanged, and knows its answer. A unit is called by
    the first of its templates or prompts, whatever the order of the rows.
    """
    names = [template or prompt for template, prompt in zip(templates, prompts, strict=True)]
    known = set(sources) - {""}  # ids that nothing was made from say nothing
    origins = [id_ if id_ in known else "" for id_ in ids]
    keys = [("name", name) for name in names], [("id", id_) for id_ in origins], [("id", source) for source in sources]
    unit_N = _connected([[key for key in row if key[1]] for row in zip(*keys, strict=True)])
    first: dict[Any, str] = {}
    for unit, name in zip(unit_N, names, strict=True):
        first[unit] = min(name, first.get(unit, name))
    return [first[unit] for unit in unit_N]


def _connected(keys: Sequence[Sequence[Hashable]]) -> list[int]:
    """Number of the component of every row, where rows that share a key belong together."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    rows = [row for row, owned in enumerate(keys) for _ in owned]
    place: dict[Hashable, int] = {}
    columns = [len(keys) + place.setdefault(key, len(place)) for owned in keys for key in owned]
    size = len(keys) + len(place)
    graph = coo_matrix((np.ones(len(rows), dtype=np.int8), (rows, columns)), shape=(size, size))
    numbers: list[int] = connected_components(graph, directed=False)[1][: len(keys)].tolist()
    return numbers
