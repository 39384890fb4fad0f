"""Numbers, names and verdicts as text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pipeline_core.evaluation.item_counts import LEFT_OUT, MEASURED
from pipeline_core.gate.names import part_names
from pipeline_core.report.figures.cells import Figure, ReportCell, Topic
from pipeline_core.report.figures.model import ItemCounts

UNDEFINED = "–"
NOISE = 1e-12
"""Rounding error of sums that should be equal."""
LARGE = 999_999.5
"""Numbers from here on are printed as powers of ten: further digits would not be significant."""
ARROWS = {"lower": "↓", "higher": "↑", "neither": ""}
MARKS = {"better": "✓", "worse": "✗", "different": "≠", "unclear": "", "": ""}
SAYS = {
    "better": "better than {against} on items like these",
    "worse": "worse than {against} on items like these",
    "different": "differs from {against} on items like these",
    "unclear": "no clear difference to {against}",
    "": "",
}


def says(verdict: str, against: str) -> str:
    """Verdict of a comparison with `against`, in words."""
    return SAYS[verdict].format(against=against)


def number(value: float | None, unit: str = "", *, sign: bool = False) -> str:
    """`12.3`, `0.047`, `1,234`, `6.25e16`, with a true minus; `–` for None. Percentages get one decimal."""
    if value is None:
        return UNDEFINED
    text = f"{value:+{_form(value, unit)}}" if sign else f"{value:{_form(value, unit)}}"
    if prints_as_zero(value, unit):
        text = text.lstrip("+-")  # no −0.0
    return text.replace("e+0", "e").replace("e+", "e").replace("-", "−")


def prints_as_zero(value: float, unit: str = "") -> bool:
    """True if all printed digits of a value are zero: a mark for better or worse beside it would make no sense."""
    return float(f"{value:{_form(value, unit)}}".replace(",", "")) == 0


def _form(value: float, unit: str) -> str:
    size = abs(value)
    if size < NOISE and not unit:  # 0, where `.3f` would print 0.000
        return ".0f"
    if unit in ("%", "pp", "points") or 10 <= size < 1000:
        return ".1f"
    if size >= 1000:
        return ",.0f" if size < LARGE else ".2e"
    return ".2f" if size >= 1 else ".3f"


def interval(figure: Figure, unit: str = "") -> str:
    """`[10.1, 14.2]`, empty when there is none."""
    if figure.low is None or figure.high is None:
        return ""
    return f"[{number(figure.low, unit)}, {number(figure.high, unit)}]"


def figure(one: Figure, unit: str = "") -> str:
    """`12.3 [10.1, 14.2]`."""
    return f"{number(one.value, unit)} {interval(one, unit)}".rstrip()


def items(figures: Iterable[Figure]) -> str:
    """`2,200`, or `610 to 655` if figures have different numbers of items; empty if none is known."""
    known = [n for one in figures for n in (one.n, one.n_most or one.n) if n]
    ends = dict.fromkeys((min(known), max(known))) if known else {}
    return " to ".join(f"{n:,}" for n in ends)


def items_in(figures: Sequence[Figure], noun: str) -> str:
    """`2,200 in 25 templates`; `1,508 pairs` if every cluster is a single item; `2,200` if items are not clustered."""
    text = items(figures)
    return text + _in_clusters(figures, noun) if text else ""


def _in_clusters(figures: Sequence[Figure], noun: str) -> str:
    """` in 25 templates`; ` pairs` if every cluster is a single item; empty if items are not clustered."""
    counted = [one for one in figures if one.n and one.n_clusters]
    known = {k for one in counted for k in (one.n_clusters, one.n_clusters_most) if k}
    if noun == "item" or not known:
        return ""
    named = noun if max(known) == 1 else plural(noun)
    if all(one.n == one.n_clusters and one.n_most == one.n_clusters_most for one in counted):
        return f" {named}"
    return f" in {' to '.join(f'{k:,}' for k in dict.fromkeys((min(known), max(known))))} {named}"


def plural(noun: str) -> str:
    """`templates`, `stories`, `templates or pairs`."""
    if " or " in noun:
        return " or ".join(map(plural, noun.split(" or ")))
    return f"{noun[:-1]}ies" if noun.endswith("y") and noun[-2:-1] not in "aeiou" else f"{noun}s"


def count(figures: Sequence[Figure], noun: str = "item") -> str:
    """`n = 2,200`, `n = 610 to 655`, `n = 2,200 in 25 templates`; empty if not known."""
    text = items_in(figures, noun)
    return f"n = {text}" if text else ""


def own_count(cell: Figure, cells: Sequence[Figure], noun: str = "item") -> str:
    """`n = 610` of a figure whose number of items differs from that of the others; empty if it does not."""
    own = count([cell], noun)
    return "" if own == count(cells, noun) else own


def plain(name: str | None) -> str:
    """A group's name without underscores; empty for None."""
    return (name or "").replace("_", " ")


def difference(cell: ReportCell, unit: str = "") -> str:
    """`Δ −8.1 ✓`, empty when there is no comparison."""
    if cell.difference is None:
        return ""
    return f"Δ {number(cell.difference, unit, sign=True)} {MARKS[cell.verdict]}".rstrip()


def difference_of(cell: ReportCell) -> Figure:
    """The difference with its interval."""
    return Figure(value=cell.difference, low=cell.difference_low, high=cell.difference_high)


def difference_interval(cell: ReportCell, unit: str = "") -> str:
    """`[−10.2, −6.1]`, of the difference."""
    return interval(difference_of(cell), unit)


def p_value(p: float | None) -> str:
    """`p < 0.001`, `p = 0.031`; empty for None."""
    if p is None:
        return ""
    if p < 0.001:
        return "p < 0.001"
    return f"p = {p:.3f}" if p < 0.0995 else f"p = {min(p, 1):.2f}"  # from there three digits would round to 0.100


def effect(d: float | None) -> str:
    """`d = −0.42`; empty for None."""
    return "" if d is None else f"d = {d:.2f}".replace("-0.00", "0.00").replace("-", "−")


def tested(test: str, p: float | None, difference: Figure) -> str:
    """`p = 0.031`; `equal` if both are equal on every item, which is not tested; empty if no test is possible."""
    if test:
        return p_value(p)
    # A difference of too few clusters is not tested either: it has no interval.
    return "equal" if difference.value == difference.low == difference.high == 0 else ""


def compared(cell: ReportCell) -> str:
    """`p = 0.031, d = −0.42`, of a cell's difference."""
    return ", ".join(
        part for part in (tested(cell.test, cell.p_holm, difference_of(cell)), effect(cell.effect)) if part
    )


def measure(title: str) -> str:
    """`bbq/age/ambiguous_accuracy` as `bbq · age · ambiguous accuracy`."""
    return " · ".join(part.replace("_", " ") for part in title.split("/"))


def heading(row: Topic) -> str:
    """Name of a row without its suite, with unit and direction; `worst domain` for a summary of groups."""
    parts = row.title.split("/")
    name = of_groups(row) if row.part else measure("/".join(parts[1:]) if len(parts) > 1 else row.title)
    unit = f"({row.unit})" if row.unit and not row.part else ""
    return " ".join(part for part in (name, unit, ARROWS[row.better]) if part)


def of_groups(row: Topic) -> str:
    """`worst domain`, `gap`, `mean of domains`."""
    return part_names(row.axis)[row.part]


def full(row: Topic) -> str:
    """`sandbox · bias`, `sandbox · bias, worst domain`."""
    return f"{measure(row.title.rsplit('/', 1)[0])}, {of_groups(row)}" if row.part else measure(row.title)


def section(row: Topic) -> str:
    """Heading that rows share: the first part of their names."""
    return measure(row.title.split("/")[0])


def seconds(value: float) -> str:
    """`0.4 s`, `12 s`, `3 min 05 s`, `2 h 03 min`."""
    if value < 9.95:  # 9.95 would print as 10.0
        return f"{value:.1f} s"
    whole = round(value)
    if whole < 3600:
        return f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(value / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"


def counted(items: ItemCounts, of: int) -> str:
    """`58,476 items; left out: no target 16; cut 3 (dpo)`; models are named if they are fewer than `of`."""
    whole = items.counts.get(MEASURED, 0)
    others = {name: count for name, count in items.counts.items() if count and name != MEASURED}
    why = [f"{plain(name.removeprefix(LEFT_OUT))} {n:,}" for name, n in others.items() if name.startswith(LEFT_OUT)]
    parts = [f"left out: {', '.join(why)}"] if why else []
    parts += [f"{plain(name)} {n:,}" for name, n in others.items() if not name.startswith(LEFT_OUT)]
    models = f" ({', '.join(items.models)})" if len(items.models) < of else ""
    return "; ".join([f"{whole:,} items", *parts]) + models


def why_no_interval(one: Figure, noun: str) -> str:
    """`it rests on one template`, for a value without an interval; empty if it has one or there is no value."""
    if one.value is None or one.low is not None:
        return ""
    if not one.n or one.n_clusters is None:  # the plugin wrote figures alone
        return "there is no table of its items"
    return f"it rests on one {noun}" if one.n_clusters == 1 else "it is undefined in every resample"
