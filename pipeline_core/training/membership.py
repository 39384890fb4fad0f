"""Groups of a table's rows as tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pipeline_core.data.groups import WITHIN, labels_of

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class Membership:
    """Group names, share of each row in each group (N, G; rows sum to 1), and for groups within domains the domain
    index of each group (G,).
    """

    names: list[str]
    shares_NG: Tensor
    domain_G: Tensor | None = None


def memberships(table: Dataset, group_by: str) -> Membership:
    """Groups from `data.groups.labels_of`, sorted by name; a row of several groups has equal shares in them.

    Tables with the same groups have them in the same order.
    """
    listed = labels_of(table, group_by)
    names = sorted({name for row in listed for name in row})
    place = {name: index for index, name in enumerate(names)}
    shares_NG = torch.zeros(len(listed), len(names), dtype=torch.float64)
    for index, row in enumerate(listed):
        for name in row:
            shares_NG[index, place[name]] = 1 / len(row)
    if WITHIN not in group_by:
        return Membership(names, shares_NG)
    domains = [name.partition(WITHIN)[0] for name in names]
    numbers = {domain: number for number, domain in enumerate(dict.fromkeys(domains))}
    return Membership(names, shares_NG, torch.tensor([numbers[domain] for domain in domains]))
