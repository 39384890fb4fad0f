"""Which groups of people the rows of a table belong to."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pipeline_core.errors import BadInput

if TYPE_CHECKING:
    from datasets import Dataset

NONE = "none"
"""Name of the group of rows that have none."""


@dataclass(frozen=True)
class Membership:
    """Names of the G groups, every row's share in them (N, G), rows summing to 1, and the number of each group's
    domain (G,) where groups lie within domains.
    """

    names: list[str]
    shares_NG: Tensor
    domain_G: Tensor | None = None


def memberships(table: Dataset, group_by: str) -> Membership:
    """Groups by the column `domain` or `group`, or by `domain/group`, where groups lie within domains.

    A row of several groups counts in equal parts; a row of none is of the group `none`.
    """
    listed = _labels(table, group_by)
    names = sorted({name for row in listed for name in row})
    place = {name: index for index, name in enumerate(names)}
    shares_NG = torch.zeros(len(listed), len(names), dtype=torch.float64)
    for index, row in enumerate(listed):
        for name in row:
            shares_NG[index, place[name]] = 1 / len(row)
    if group_by != "domain/group":
        return Membership(names, shares_NG)
    domains = [name.partition("/")[0] for name in names]
    numbers = {domain: number for number, domain in enumerate(dict.fromkeys(domains))}
    return Membership(names, shares_NG, torch.tensor([numbers[domain] for domain in domains]))


def require_groups(table: Dataset, group_by: str) -> None:
    """Refuse rows that a weighting of groups can do nothing with.

    Raises:
        BadInput: rows without a group, or one group only; says how to mend it.
    """
    listed = _labels(table, group_by)
    bare = [index for index, row in enumerate(listed) if any(NONE in name.split("/") for name in row)]
    other = {"domain": "`group_by: group`", "group": "`group_by: domain`"}.get(group_by, "`group_by: domain`")
    if bare and len(bare) == len(listed):
        raise BadInput(
            f"group_by: none of the {len(listed)} rows has a {group_by}, and groups are to be weighed. Use {other}, "
            "data with that column, or an algorithm without groups (dpo, ipo)"
        )
    if bare:
        first = f"row {bare[0]}" + (f" (id {table['id'][bare[0]]!r})" if "id" in table.column_names else "")
        raise BadInput(
            f"group_by: {len(bare)} of the {len(listed)} rows have no {group_by}, the first is {first}, and groups are "
            f"to be weighed. Fill the column, leave these rows out, or use {other}"
        )
    counts = Counter(name for row in listed for name in row)
    if len(counts) == 1:
        raise BadInput(
            f"group_by: all {len(listed)} rows belong to one {group_by} ({next(iter(counts))!r}); a weighting needs at "
            f"least two groups. Use {other}, or an algorithm without groups (dpo, ipo)"
        )


def aligned(found: Membership, names: list[str], where: str) -> Membership:
    """`found` with the groups of the training rows in their order.

    Raises:
        BadInput: naming a group that only one of the two has.
    """
    counts = dict(zip(found.names, found.shares_NG.gt(0).sum(0).tolist(), strict=True))
    if foreign := [name for name in found.names if name not in names]:
        raise BadInput(
            f"{where}: group {foreign[0]!r} has {counts[foreign[0]]} rows there and none among the training rows "
            f"(groups: {', '.join(names)}). Train on it, or leave these rows out"
        )
    if absent := [name for name in names if name not in counts]:
        raise BadInput(f"{where}: group {absent[0]!r} of the training rows has no row there, so its loss is unknown")
    order = [found.names.index(name) for name in names]
    return Membership(names, found.shares_NG[:, order])


def _labels(table: Dataset, group_by: str) -> list[list[str]]:
    """Names of every row's groups, sorted, each once."""
    domain_N, group_N = (_column(table, column) for column in ("domain", "group"))
    if group_by == "domain/group":
        rows = zip(domain_N, group_N, strict=True)
        return [[f"{domain}/{group}" for domain in domains for group in groups] for domains, groups in rows]
    return domain_N if group_by == "domain" else group_N


def _column(table: Dataset, column: str) -> list[list[str]]:
    values = table[column] if column in table.column_names else [None] * len(table)
    return [sorted({value} if isinstance(value, str) else set(value or ())) or [NONE] for value in values]
