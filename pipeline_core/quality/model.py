"""What a quality report holds. None: not defined for these rows; `notes` say why.

Shape of the JSON file `quality.json`, which is strict: no NaN and no infinity can be in it.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

FORMAT = 1
ALL = "all rows"


class _QualityPart(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


class SubsampleRange(_QualityPart):
    """A figure over several subsamples: their mean, the lowest and the highest."""

    mean: float
    low: float
    high: float


class Diversity(_QualityPart):
    """Vendi scores of subsamples of `n` rows of the set, and of the human set where there is one."""

    n: int
    vendi: SubsampleRange
    human: SubsampleRange | None = None
    relative: SubsampleRange | None = None
    """Of the set, as a share of the human set's, subsample by subsample."""


class LengthBalance(_QualityPart):
    """Lengths of completions in characters."""

    chosen: float
    rejected: float
    chosen_longer: float
    """Share of pairs whose chosen completion is the longer one."""
    rejected_longer: float
    """Share of pairs whose rejected completion is the longer one."""
    auc: float
    """Probability that some chosen completion is longer than some rejected one, ties half."""


class LabelSummary(_QualityPart):
    """The column `label`, where rows have one."""

    labelled: int
    mean: float
    at_least_half: float
    """Share of labelled rows with a label of one half or more."""


class ScopeQuality(_QualityPart):
    """All rows, or those of a domain."""

    rows: int
    lengths: LengthBalance
    labels: LabelSummary | None = None
    diversity: Diversity | None = None


class CoverageCell(_QualityPart):
    """Rows of one domain, group and template."""

    domain: str
    group: str
    template: str
    rows: int


class Coverage(_QualityPart):
    """How rows spread over domains, groups and templates; a row of several groups counts in each."""

    groups: int
    templates: int
    combinations: int
    cells: tuple[CoverageCell, ...]
    """The most frequent combinations; `combinations` counts all."""


class Overlap(_QualityPart):
    """Rows that hold items of one evaluation set."""

    entry: str
    items: int
    parts: dict[str, int]
    """Rows by where they come from."""
    how: dict[str, int]
    """Rows by how they were found: `alike`, `contained`, or by their `source_id`."""
    examples: tuple[dict[str, str], ...]
    """A few of them: `part`, `row` and `item` by their ids, and `how`."""


class OfferedRows(_QualityPart):
    """What a set was taken from, before rows were removed."""

    rows: int
    duplicates: float
    near_duplicates: float
    contaminated: float | None = None
    contamination: tuple[Overlap, ...] = ()


class Quality(_QualityPart):
    """A set of preference rows, measured."""

    format: int = FORMAT
    name: str
    embedding: str
    human: str | None
    sample: int
    subsamples: int
    similarity: float
    """Jaccard similarity of 5-byte shingles from which texts resemble each other."""
    overall: ScopeQuality
    domains: dict[str, ScopeQuality]
    duplicates: float
    """Share of rows equal to another one, which dropping them would take."""
    near_duplicates: float
    """The same for rows that resemble another one, equal ones included."""
    contaminated: float | None = None
    """Share of rows that resemble an item of an evaluation set."""
    contamination: tuple[Overlap, ...] = ()
    offered: OfferedRows | None = None
    """The same of the rows that a mix was taken from."""
    coverage: Coverage
    parts: dict[str, Quality] = {}
    """Each part of a mix by itself, by its label."""
    notes: tuple[str, ...] = ()

    @property
    def scopes(self) -> dict[str, ScopeQuality]:
        """All rows, then every domain by its name."""
        return {ALL: self.overall, **self.domains}
