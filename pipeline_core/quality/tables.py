"""Tables of a quality report, in Markdown and as rows for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pipeline_core.files.markdown_tables import markdown_table
from pipeline_core.files.markdown_text import inert
from pipeline_core.quality.model import Quality, ScopeQuality, SubsampleRange

UNDEFINED = "–"
SIZES = "Vendi scores can be compared where n is the same."
MOST_CELLS = 20
SCOPE_COLUMNS = (
    *("domain", "rows", "n", "Vendi", "human", "relative", "chosen / rejected length", "chosen longer"),
    *("length AUC", "label mean"),
)
PART_COLUMNS = ("set", *SCOPE_COLUMNS[1:], "near-duplicates", "contaminated")
COVERAGE_COLUMNS = ("domain", "group", "template", "rows")
OVERLAP_COLUMNS = ("evaluation set", "items", "rows found", "how", "by part", "examples (row ~ item)")
WHOLE = "all"


def scope_rows(quality: Quality) -> list[list[str]]:
    """Table rows for the whole set and for every domain, with columns `SCOPE_COLUMNS`."""
    return [_scope(where, scope) for where, scope in quality.scopes.items()]


def _scope(where: str, scope: ScopeQuality) -> list[str]:
    lengths, diverse = scope.lengths, scope.diversity
    return [
        where,
        str(scope.rows),
        str(diverse.n) if diverse else UNDEFINED,
        _spread(diverse.vendi if diverse else None, ".1f"),
        _spread(diverse.human if diverse else None, ".1f"),
        _spread(diverse.relative if diverse else None, ".1%"),
        f"{lengths.chosen:.1f} / {lengths.rejected:.1f}",
        f"{lengths.chosen_longer:.1%}",
        f"{lengths.auc:.3f}",
        f"{scope.labels.mean:.3f} ({scope.labels.labelled})" if scope.labels else UNDEFINED,
    ]


def _spread(spread: SubsampleRange | None, form: str) -> str:
    if spread is None:
        return UNDEFINED
    return f"{spread.mean:{form}} [{spread.low:{form}}, {spread.high:{form}}]"


def coverage_rows(quality: Quality) -> list[list[str]]:
    """Table rows for the most frequent combinations, with columns `COVERAGE_COLUMNS`."""
    cells = quality.coverage.cells[:MOST_CELLS]
    return [[cell.domain, cell.group, cell.template, str(cell.rows)] for cell in cells]


def part_rows(sets: Mapping[str, Quality]) -> list[list[str]]:
    """Table rows for several sets, with columns `PART_COLUMNS`."""
    return [
        [*_scope(name, of.overall), f"{of.near_duplicates:.2%}", _share(of.contaminated)] for name, of in sets.items()
    ]


def _share(value: float | None) -> str:
    return UNDEFINED if value is None else f"{value:.2%}"


def overlap_rows(quality: Quality) -> list[list[str]]:
    """Table rows for the evaluation sets, with columns `OVERLAP_COLUMNS`; for a mix, matches before removal."""
    overlaps = quality.offered.contamination if quality.offered else quality.contamination
    return [
        [
            overlap.entry,
            str(overlap.items),
            str(sum(overlap.parts.values())),
            ", ".join(f"{how} {rows}" for how, rows in overlap.how.items()) or UNDEFINED,
            ", ".join(f"{part} {rows}" for part, rows in overlap.parts.items()) or UNDEFINED,
            ", ".join(f"{example['row']} ~ {example['item']}" for example in overlap.examples) or UNDEFINED,
        ]
        for overlap in overlaps
    ]


def facts(quality: Quality) -> list[str]:
    """Sentences about the set as a whole."""
    human = f", compared with {quality.human}" if quality.human else ""
    cover = quality.coverage
    seen = [] if quality.contaminated is None else [f"With an evaluation item: {quality.contaminated:.2%}."]
    if (offered := quality.offered) is not None:
        seen.append(
            f"Of {offered.rows} rows offered: {offered.duplicates:.2%} equal to another, {offered.near_duplicates:.2%} "
            f"near-duplicates, with an evaluation item: {_share(offered.contaminated)}."
        )
    return [
        f"Vendi score by {quality.embedding}{human}; mean [lowest, highest] of {quality.subsamples} subsamples of n.",
        f"Equal to another row: {quality.duplicates:.2%}; near-duplicates (Jaccard {quality.similarity:g} or more, "
        f"equal ones included): {quality.near_duplicates:.2%}.",
        *seen,
        f"Covered: {cover.groups} groups, {cover.templates} templates, {cover.combinations} combinations.",
        *quality.notes,
    ]


def to_markdown(quality: Quality) -> str:
    """Whole report in Markdown."""
    return "\n".join(map(inert, _lines(quality))) + "\n"


def _lines(quality: Quality) -> Iterator[str]:
    yield from (f"# Quality of {quality.name}", "")
    yield from (f"- {fact}" for fact in facts(quality))
    yield from _table(SCOPE_COLUMNS, scope_rows(quality))
    if quality.parts:
        yield from ("", f"## Parts. {SIZES}")
        yield from _table(PART_COLUMNS, part_rows({WHOLE: quality, **quality.parts}))
    if overlaps := overlap_rows(quality):
        yield from ("", "## Evaluation sets" + (", among the rows offered" if quality.offered else ""))
        yield from _table(OVERLAP_COLUMNS, overlaps)
    yield from ("", f"## Coverage, the {min(MOST_CELLS, len(quality.coverage.cells))} largest combinations")
    yield from _table(COVERAGE_COLUMNS, coverage_rows(quality))


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield ""
    yield from markdown_table(columns, rows)
