"""Groups of people that rows belong to, and checks that rows can be weighted by group."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from pipeline_core.errors import BadInput

if TYPE_CHECKING:
    from datasets import Dataset

NONE = "none"
"""Name of the group of rows without a group."""
WITHIN = "/"
"""Separator between a domain and its group."""
IDENTITY = ("prompt", "chosen", "rejected")


def labels_of(table: Dataset, group_by: str) -> list[list[str]]:
    """Group names of every row, sorted and distinct: by the column `domain` or `group`, or by `domain/group` for groups
    within domains (all combinations, if a row has several of both). Rows without a group belong to `none`.

    Raises:
        BadInput: a domain's name contains the separator `/`.
    """
    columns = [_column(table, column) for column in group_by.split(WITHIN)]
    if len(columns) == 1:
        return [names or [NONE] for names in columns[0]]
    if odd := next((name for names in columns[0] for name in names if WITHIN in name), None):
        raise BadInput(
            f"group_by: the domain {odd!r} has a {WITHIN!r} in its name; rename it, or use `group_by: group`"
        )
    rows = zip(*columns, strict=True)
    return [[f"{d}{WITHIN}{g}" for d in domains or [NONE] for g in groups or [NONE]] for domains, groups in rows]


def counts_of(table: Dataset, group_by: str) -> dict[str, int]:
    """Number of rows of every group, the largest first; a row of several groups counts in each."""
    return dict(Counter(name for row in labels_of(table, group_by) for name in row).most_common())


def require_groups(table: Dataset, group_by: str) -> None:
    """Refuse rows that cannot be weighted by group.

    Raises:
        BadInput: some rows have no group, or all belong to a single group; suggests a remedy.
    """
    count, bare = len(table), _without(table, group_by)
    mends = f"{_other_axis(table, group_by)}an algorithm without groups (dpo, ipo)"
    if bare and len(bare) == count:
        raise BadInput(
            f"group_by: none of the {count} rows has a {group_by}, and groups are to be weighed. Use data with that "
            f"column, {mends}"
        )
    if bare:
        first = f"row {bare[0]}" + (f" (id {table['id'][bare[0]]!r})" if "id" in table.column_names else "")
        raise BadInput(
            f"group_by: {len(bare)} of the {count} rows have no {group_by}, the first is {first}, and groups are to be "
            f"weighed. Fill the column, leave these rows out, or use {mends}"
        )
    names = list(counts_of(table, group_by))
    if len(names) == 1:
        raise BadInput(
            f"group_by: all {count} rows belong to one {group_by} ({names[0]!r}); a weighting needs at least two "
            f"groups. Use {mends}"
        )


def require_known_groups(held_out: Dataset, table: Dataset, group_by: str, where: str, *, all_of_them: bool) -> None:
    """Refuse held-out rows of a group without training rows; with `all_of_them`, also if a training group is absent.

    Raises:
        BadInput: names the group.
    """
    counts, known = counts_of(held_out, group_by), counts_of(table, group_by)
    if foreign := next((name for name in counts if name not in known), None):
        raise BadInput(
            f"{where}: group {foreign!r} has {counts[foreign]} row(s) there and none among the training rows "
            f"(groups: {', '.join(sorted(known))}). Train on it, or leave these rows out"
        )
    if all_of_them and (absent := next((name for name in known if name not in counts), None)):
        raise BadInput(f"{where}: group {absent!r} of the training rows has no row there, so its loss is unknown")


def require_apart(held_out: Dataset, table: Dataset, where: str) -> None:
    """Refuse held-out pairs that are trained on.

    Raises:
        BadInput: gives their number.
    """
    trained, measured = (set(zip(*(rows[name] for name in IDENTITY), strict=True)) for rows in (table, held_out))
    if shared := len(trained & measured):
        raise BadInput(f"{where}: {shared} of its {len(measured)} pairs are trained on; use rows of another split")


def _without(table: Dataset, group_by: str) -> list[int]:
    """Indices of the rows without a name in one of the columns."""
    columns = [_column(table, column) for column in group_by.split(WITHIN)]
    return [index for index, names in enumerate(zip(*columns, strict=True)) if not all(names)]


def _other_axis(table: Dataset, group_by: str) -> str:
    """Advice to use the other column; empty if that would not work either."""
    other = "group" if group_by == "domain" else "domain"
    usable = len(counts_of(table, other)) > 1 and not _without(table, other)
    return f"`group_by: {other}`, or " if usable else ""


def _column(table: Dataset, column: str) -> list[list[str]]:
    values = table[column] if column in table.column_names else [None] * len(table)
    return [sorted({value} - {""} if isinstance(value, str) else set(value or ())) for value in values]
