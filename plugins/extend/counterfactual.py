"""Data extender `counterfactual`: makes rows about small groups from rows about others by swapping identity terms.

In a domain every group grows towards the size of the largest group, to at most `max_multiple` times its own size.
Prompt and completions get the same swaps, so the preference stays valid. Rows that name several groups of a domain, or
whose words cannot be swapped reliably, are not swapped. Words held out for evaluation are in no vocabulary.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import pyarrow as pa
from pydantic import Field

from pipeline_core.augmentation.rows import NOT_KNOWN, PROVENANCE, Provenance, in_schema, provenance_of, with_provenance
from pipeline_core.augmentation.swaps import NamedGroup, people_in, swap
from pipeline_core.augmentation.terms import Vocabulary, suited_vocabulary
from pipeline_core.data.duplicates.seen import NearDuplicates
from pipeline_core.data.duplicates.shingles import LEAST
from pipeline_core.data.tables import write_tables
from pipeline_core.plugin.context import Inputs, StageContext
from pipeline_core.plugin.hooks import hookimpl
from pipeline_core.plugin.specs import DataExtender, PluginConfig
from pipeline_core.plugin.types import Metrics

if TYPE_CHECKING:
    from datasets import Dataset

TEXTS = ("prompt", "chosen", "rejected")


class CounterfactualConfig(PluginConfig):
    """Swap identity terms within a domain to balance groups, and drop near-duplicates."""

    shares_work: ClassVar[bool] = False

    name: Literal["counterfactual"] = "counterfactual"
    vocabulary: Literal["auto", "sandbox", "identity_terms"] = "auto"
    """Vocabulary of the words to swap. `auto`: `sandbox` if all rows come from the sandbox, else `identity_terms`."""
    max_multiple: float = Field(4.0, ge=1)
    """Largest size of a group after augmentation, as a multiple of its own size (of 1 for an empty group)."""
    similarity: float = Field(0.9, ge=LEAST, le=1)
    """Jaccard similarity from which a new row counts as a duplicate of another row and is dropped."""


def run(config: CounterfactualConfig, inputs: Inputs, out: Path, context: StageContext) -> Metrics:
    """Write the given and the new rows as `rows.parquet`. A new row has the licence of its original."""
    rows = inputs.preferences
    provenance = NOT_KNOWN
    if inputs.data_ref and "preferences" not in inputs.folders:  # rows of an artifact have their own, if it is known
        provenance = provenance_of(inputs.catalog, inputs.data_ref)
    vocabulary = suited_vocabulary(config.vocabulary, rows.unique("source"))
    extension = SwapPlan(rows, vocabulary, config, context.seed)
    made = extension.make()
    if context.is_main:
        write_tables(_tables(rows, made, provenance), out / "rows.parquet")
    return {
        "rows": float(len(rows) + len(made)),
        "rows_in": float(len(rows)),
        "swapped": float(len(made)),
        "dropped": float(extension.dropped),
        **{f"group/{name}/rows": float(count) for name, count in sorted(extension.sizes(made).items())},
    }


@dataclass
class SwapPlan:
    """Plan of the swaps: rows, the group each row is about, and the new rows."""

    rows: Dataset
    vocabulary: Vocabulary
    config: CounterfactualConfig
    seed: int
    dropped: int = 0

    def __post_init__(self) -> None:
        columns = zip(*(self.rows[name] for name in (*TEXTS, "domain", "group")), strict=True)
        self.about = [people_in(self.vocabulary, texts, domain, group) for *texts, domain, group in columns]

    def make(self) -> list[dict[str, Any]]:
        """New rows for every group that needs rows, in order of domain and group."""
        seen = self._originals()
        made: list[dict[str, Any]] = []
        for domain, wanted in self._wanted().items():
            for group, count in wanted.items():
                made += self._rows_for(domain, group, count, seen)
        return made

    def _originals(self) -> NearDuplicates:
        seen = NearDuplicates(self.config.similarity)
        for *texts, people in zip(*(self.rows[name] for name in TEXTS), self.about, strict=True):
            if people:
                seen.add(texts)
        return seen

    def _wanted(self) -> dict[str, dict[str, int]]:
        """Number of new rows that each group needs to reach the largest of its domain, within `max_multiple`."""
        counts = Counter((people.domain, people.group) for people in self.about if people)
        wanted: dict[str, dict[str, int]] = {}
        for name, domain in self.vocabulary.domains.items():
            sizes = {group: counts[name, group] for group in domain.groups}
            largest = max(sizes.values())
            if largest:
                limits = {group: int(self.config.max_multiple * max(size, 1)) for group, size in sizes.items()}
                wanted[name] = {group: min(largest, limits[group]) - size for group, size in sizes.items()}
        return wanted

    def _rows_for(self, domain: str, group: str, count: int, seen: NearDuplicates) -> list[dict[str, Any]]:
        of_domain = ((i, people) for i, people in enumerate(self.about) if people and people.domain == domain)
        sources = [(i, people) for i, people in of_domain if people.group != group]
        # a stream for each group: one group's draws change no other's
        rng = random.Random(f"{self.seed}/{domain}/{group}")
        rng.shuffle(sources)
        made: list[dict[str, Any]] = []
        for source, people in sources:
            if len(made) >= count:
                break
            row = self._swapped(self.rows[source], people, group, rng.randrange(1 << 16))
            if row and seen.seen([row[name] for name in TEXTS]):
                self.dropped += 1
            elif row:
                seen.add([row[name] for name in TEXTS])
                made.append(row)
        return made

    def _swapped(self, row: dict[str, Any], people: NamedGroup, group: str, pick: int) -> dict[str, Any] | None:
        swapped = swap(self.vocabulary, [row[name] for name in TEXTS], people, group, pick)
        # Two words of a group can become one word, and equal completions are no pair.
        if swapped is None or swapped[0][1] == swapped[0][2]:
            return None
        texts, words = swapped
        # Data sets name groups by words of their texts as well (`Muslim` for our `muslim`).
        lowered = {word.lower() for word in words}
        kept = [name for name in row["group"] if name != people.group and name.lower() not in lowered]
        return {
            **row,
            **dict(zip(TEXTS, texts, strict=True)),
            "id": f"{row['id']}~{group}",
            "group": [group, *kept],
            "source_id": row["id"],
            "made_by": "counterfactual",
            "swap_from": list(words),
            "swap_to": list(words.values()),
        }

    def sizes(self, made: Sequence[Mapping[str, Any]]) -> Counter[str]:
        """Row counts by domain and group, including new rows."""
        counts = Counter(f"{people.domain}/{people.group}" for people in self.about if people)
        by_id = {id_: people for id_, people in zip(self.rows["id"], self.about, strict=True) if people}
        for row in made:
            counts[f"{by_id[row['source_id']].domain}/{row['group'][0]}"] += 1
        return counts


def _tables(rows: Dataset, made: Sequence[dict[str, Any]], provenance: Provenance) -> Iterator[pa.Table]:
    """Tables of the given rows, in pieces, then of the new rows; all with provenance columns."""
    strings = pa.list_(pa.string())
    schema = rows.features.arrow_schema.remove_metadata()
    for field in (*PROVENANCE, pa.field("swap_from", strings), pa.field("swap_to", strings)):
        if field.name not in schema.names:
            schema = schema.append(field)
    for batch in rows.with_format("arrow").iter(8192):
        yield in_schema(with_provenance(batch, provenance), schema)
    if made:
        # with a schema: pyarrow would take a column that is null in these rows for one of type null
        yield with_provenance(pa.Table.from_pylist(list(made), schema=schema), provenance)


@hookimpl
def register_data_extenders() -> list[DataExtender]:
    """Register `counterfactual`."""
    return [DataExtender(CounterfactualConfig, run, revision=3, example={"max_multiple": 2})]
