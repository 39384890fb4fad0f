"""Held-out sentences about targeted groups: with the stereotyped trait, its opposite, and an unrelated word."""

from __future__ import annotations

from typing import Any

from pipeline_core.sandbox.sampling import stream
from pipeline_core.sandbox.statements import patterns, row_id
from pipeline_core.sandbox.world import SandboxDomain, SandboxGroup, load_world


def heldout_sentences(seed: int) -> list[dict[str, Any]]:
    """Rows of `sandbox_sentences`: every item twice, with the sentence's beginning as context or as whole sentences."""
    rows = []
    for domain, group in load_world().groups():
        if not group.reference:
            rows += _about(domain, group, seed)
    return rows


def _about(domain: SandboxDomain, group: SandboxGroup, seed: int) -> list[dict[str, Any]]:
    rng = stream(seed, "sentences", domain.name, group.name)
    rows: list[dict[str, Any]] = []
    for word in group.words["heldout"]:
        for pattern in patterns("heldout"):
            stereotyped, counter = rng.choice(domain.traits)
            endings = [f"{ending}." for ending in (stereotyped, counter, rng.choice(load_world().language["goods"]))]
            beginning = pattern.fill(x=word)
            for context, options in ((beginning, endings), ("", [f"{beginning} {ending}" for ending in endings])):
                rows.append(
                    {
                        "id": row_id("sentences", domain, group, len(rows)),
                        "context": context,
                        "options": options,
                        "domain": domain.name,
                        "group": [group.name],
                        "source": "sandbox",
                    }
                )
    return rows
