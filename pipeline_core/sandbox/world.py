"""The sandbox's people and language, read from `data_catalog/sandbox/*.yaml`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import yaml

SandboxSplit = Literal["train", "heldout"]
SPLITS: tuple[SandboxSplit, SandboxSplit] = ("train", "heldout")
REFERENCE_RATE = 0.5  # no leaning in either direction


@dataclass(frozen=True)
class SandboxGroup:
    """People of one identity within a domain, and the words for them."""

    name: str
    domain: str
    words: Mapping[SandboxSplit, tuple[str, ...]]
    rate: float
    """Share of stereotyped statements about the group in the corpus."""
    size: int
    """Number of training pairs about the group; 0 for a reference group."""
    reference: bool = False


@dataclass(frozen=True)
class SandboxDomain:
    """Groups that share one stereotype; a trait is a pair (stereotyped word, counter word)."""

    name: str
    rate: float
    traits: tuple[tuple[str, str], ...]
    groups: tuple[SandboxGroup, ...]
    reference: SandboxGroup

    def words(self, stereotyped: bool) -> tuple[str, ...]:
        """Trait words of one side: the stereotyped or the counter word of every pair."""
        return tuple(pair[0 if stereotyped else 1] for pair in self.traits)

    @property
    def people(self) -> tuple[SandboxGroup, ...]:
        """Targeted groups and the reference group."""
        return (*self.groups, self.reference)


@dataclass(frozen=True)
class SandboxWorld:
    """All domains by name, and the sentence patterns."""

    domains: Mapping[str, SandboxDomain]
    language: Mapping[str, Any]

    def groups(self) -> Iterator[tuple[SandboxDomain, SandboxGroup]]:
        """Every targeted and every reference group with its domain."""
        for domain in self.domains.values():
            for group in domain.people:
                yield domain, group


def read(name: str) -> Any:
    """Content of a YAML file in `data_catalog/sandbox`."""
    return yaml.safe_load((files("data_catalog") / "sandbox" / name).read_text(encoding="utf-8"))


def _words(entry: Mapping[str, Any], domains: Mapping[str, Any]) -> dict[SandboxSplit, tuple[str, ...]]:
    if "compose" not in entry:
        return {split: tuple(entry[split]) for split in SPLITS}
    parts = []
    for path in entry["compose"]:
        domain, name = path.split("/")
        # the halves of a composed identity, by the order of words
        parts.append({**domains[domain]["groups"], **domains[domain]["reference"]}[name])
    return {
        split: tuple(" ".join(pair) for pair in zip(*(part[split] for part in parts), strict=True)) for split in SPLITS
    }


def _domain(name: str, entry: Mapping[str, Any], domains: Mapping[str, Any]) -> SandboxDomain:
    groups = tuple(
        SandboxGroup(group, name, _words(words, domains), entry["rate"], size)
        for (group, words), size in zip(entry["groups"].items(), entry["sizes"], strict=True)
    )
    ((reference, words),) = entry["reference"].items()
    return SandboxDomain(
        name=name,
        rate=entry["rate"],
        traits=tuple((stereotyped, counter) for stereotyped, counter in entry["traits"]),
        groups=groups,
        reference=SandboxGroup(reference, name, _words(words, domains), REFERENCE_RATE, 0, reference=True),
    )


@cache
def load_world() -> SandboxWorld:
    """Sandbox world of this installation."""
    domains = read("domains.yaml")
    return SandboxWorld({name: _domain(name, entry, domains) for name, entry in domains.items()}, read("language.yaml"))
