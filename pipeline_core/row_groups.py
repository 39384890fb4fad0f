"""Which groups of people rows belong to, and whether they can be weighed by them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from pipeline_core.errors import BadInput

if TYPE_CHECKING:
    from datasets import Dataset

NONE = "none"
"""Name of the group of rows that have none."""


def labels_of(table: Dataset, group_by: str) -> list[list[str]]:
    """Names of every row's groups, sorted, each once: by the column `domain` or `group`, or by `domain/group`, where
    groups lie within domains. A row of none is of the group `none`.
    """
    domain_N, group_N = (_column(table, column) for column in ("domain", "group"))
    if group_by == "domain/group":
        rows = zip(domain_N, group_N, strict=True)
        return [[f"{domain}/{group}" for domain in domains for group in groups] for domains, groups in rows]
    return domain_N if group_by == "domain" else group_N


def counts_of(table: Dataset, group_by: str) -> dict[str, int]:
    """Rows of every group, the largest first; a row of several groups counts in each."""
    return dict(Counter(name for row in labels_of(table, group_by) for name in row).most_common())


def require_groups(table: Dataset, group_by: str) -> None:
    """Refuse rows that a weighting of groups can do nothing with.

    Raises:
        BadInput: rows without a group, or one group only; says how to mend it.
    """
    listed = labels_of(table, group_by)
    bare = [index for index, row in enumerate(listed) if _has_none(row)]
    mends = f"{_other_axis(table, group_by)}an algorithm without groups (dpo, ipo)"
    if bare and len(bare) == len(listed):
        raise BadInput(
            f"group_by: none of the {len(listed)} rows has a {group_by}, and groups are to be weighed. Use data with "
            f"that column, {mends}"
        )
    if bare:
        first = f"row {bare[0]}" + (f" (id {table['id'][bare[0]]!r})" if "id" in table.column_names else "")
        raise BadInput(
            f"group_by: {len(bare)} of the {len(listed)} rows have no {group_by}, the first is {first}, and groups are "
            f"to be weighed. Fill the column, leave these rows out, or use {mends}"
        )
    names = {name for row in listed for name in row}
    if len(names) == 1:
        raise BadInput(
            f"group_by: all {len(listed)} rows belong to one {group_by} ({names.pop()!r}); a weighting needs at least "
            f"two groups. Use {mends}"
        )


def _has_none(labels: list[str]) -> bool:
    return any(NONE in name.split("/") for name in labels)


def _other_axis(table: Dataset, group_by: str) -> str:
    """The other column as advice, where it would do."""
    other = "group" if group_by == "domain" else "domain"
    listed = labels_of(table, other)
    usable = len({name for row in listed for name in row}) > 1 and not any(map(_has_none, listed))
    return f"`group_by: {other}`, or " if usable else ""


def require_same_groups(held_out: Dataset, table: Dataset, group_by: str, where: str) -> None:
    """Refuse held-out rows whose groups are not those of the training rows.

    Raises:
        BadInput: naming a group that only one of the two has.
    """
    found, known = counts_of(held_out, group_by), counts_of(table, group_by)
    if foreign := next((name for name in found if name not in known), None):
        raise BadInput(
            f"{where}: group {foreign!r} has {found[foreign]} row(s) there and none among the training rows "
            f"(groups: {', '.join(sorted(known))}). Train on it, or leave these rows out"
        )
    if absent := next((name for name in known if name not in found), None):
        raise BadInput(f"{where}: group {absent!r} of the training rows has no row there, so its loss is unknown")


def _column(table: Dataset, column: str) -> list[list[str]]:
    values = table[column] if column in table.column_names else [None] * len(table)
    return [sorted({value} if isinstance(value, str) else set(value or ())) or [NONE] for value in values]
