"""Data model of the quality report, `quality.json`.

None means that a value is not defined for these rows; `notes` give the reason. NaN and infinity are not allowed.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

FORMAT = 1
ALL = "all rows"


class _QualityPart(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


class SubsampleRange(_QualityPart):
    """Mean, lowest and highest value of a metric over subsamples."""

    mean: float
    low: float
    high: float


class Diversity(_QualityPart):
    """Vendi scores of subsamples of `n` rows, of the set and of the human set (if given)."""

    n: int
    vendi: SubsampleRange
    human: SubsampleRange | None = None
    relative: SubsampleRange | None = None
    """Ratio of the set's score to the human set's score, per subsample."""


class LengthBalance(_QualityPart):
    """Lengths of completions in characters."""

    chosen: float
    rejected: float
    chosen_longer: float
    """Share of pairs whose chosen completion is the longer one."""
    rejected_longer: float
    """Share of pairs whose rejected completion is the longer one."""
    auc: float
    """Probability that a random chosen completion is longer than a random rejected one; a tie counts 0.5."""


class LabelSummary(_QualityPart):
    """Summary of the column `label` over the rows that have a label."""

    labelled: int
    mean: float
    at_least_half: float
    """Share of labelled rows with a label of 0.5 or more."""


class ScopeQuality(_QualityPart):
    """Quality of all rows or of one domain."""

    rows: int
    lengths: LengthBalance
    labels: LabelSummary | None = None
    diversity: Diversity | None = None


class CoverageCell(_QualityPart):
    """Number of rows of one domain, group and template."""

    domain: str
    group: str
    template: str
    rows: int


class Coverage(_QualityPart):
    """Distribution of rows over domains, groups and templates. A row with several groups counts in each of them."""

    groups: int
    templates: int
    combinations: int
    cells: tuple[CoverageCell, ...]
    """Most frequent combinations; `combinations` is the number of all."""


class Overlap(_QualityPart):
    """Rows that match items of one evaluation set."""

    entry: str
    items: int
    parts: dict[str, int]
    """Number of matching rows by the part they come from."""
    how: dict[str, int]
    """Number of matching rows by kind of match: `alike`, `contained` or `source_id`."""
    examples: tuple[dict[str, str], ...]
    """Example matches: label of the `part`, ids of `row` and `item`, and kind of match (`how`)."""


class OfferedRows(_QualityPart):
    """Rows that a set was selected from, before removal: their number and shares of repeated and contaminated rows."""

    rows: int
    duplicates: float
    near_duplicates: float
    contaminated: float | None = None
    contamination: tuple[Overlap, ...] = ()


class Quality(_QualityPart):
    """Quality report of a set of preference rows."""

    format: int = FORMAT
    name: str
    embedding: str
    human: str | None
    sample: int
    subsamples: int
    similarity: float
    """Jaccard similarity of 5-byte shingles from which two texts count as similar."""
    overall: ScopeQuality
    domains: dict[str, ScopeQuality]
    duplicates: float
    """Share of rows equal to an earlier row; deduplication would drop them."""
    near_duplicates: float
    """Share of rows similar or equal to a row that deduplication keeps."""
    contaminated: float | None = None
    """Share of rows that match an item of an evaluation set."""
    contamination: tuple[Overlap, ...] = ()
    offered: OfferedRows | None = None
    """Shares over the rows that a mix was selected from."""
    coverage: Coverage
    parts: dict[str, Quality] = {}
    """Report of each part of a mix, by label."""
    notes: tuple[str, ...] = ()

    @property
    def scopes(self) -> dict[str, ScopeQuality]:
        """Quality of all rows, then of each domain, by name."""
        return {ALL: self.overall, **self.domains}
