"""Groups of a table's rows as tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pipeline_core.data.groups import WITHIN, labels_of

if TYPE_CHECKING:
    from datasets import Dataset


def memberships(table: Dataset, group_by: str) -> tuple[list[str], Tensor, Tensor | None]:
    """Names of the groups of `data.groups.labels_of`, sorted, so that tables with the same groups have the same order;
    share of each row in each group (N, G), equal for a row of several; for groups within domains the domain index of
    each group (G,).
    """
    listed = labels_of(table, group_by)
    names = sorted({name for row in listed for name in row})
    place = {name: index for index, name in enumerate(names)}
    shares_NG = torch.zeros(len(listed), len(names), dtype=torch.float64)
    for index, row in enumerate(listed):
        for name in row:
            shares_NG[index, place[name]] = 1 / len(row)
    if WITHIN not in group_by:
        return names, shares_NG, None
    domains = [name.partition(WITHIN)[0] for name in names]
    numbers = {domain: number for number, domain in enumerate(dict.fromkeys(domains))}
    return names, shares_NG, torch.tensor([numbers[domain] for domain in domains])
