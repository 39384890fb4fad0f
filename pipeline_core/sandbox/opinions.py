"""Opinions in the sandbox's corpus about every group, as distributions of answers to a question."""

from __future__ import annotations

from string import ascii_uppercase as LETTERS
from typing import Any

from pipeline_core.sandbox.statements import row_id
from pipeline_core.sandbox.world import SandboxDomain, SandboxGroup, load_world


def distributions() -> list[dict[str, Any]]:
    """Rows of `sandbox_opinions` in the form of GlobalOpinionQA: a question for every group and pair of traits."""
    return [
        _row(domain, group, number, traits)
        for domain, group in load_world().groups()
        for number, traits in enumerate(domain.traits, 1)
    ]


def _row(domain: SandboxDomain, group: SandboxGroup, number: int, traits: tuple[str, str]) -> dict[str, Any]:
    question = f"Which word goes with {group.name}?"
    lines = [f"{letter}. {trait}" for letter, trait in zip(LETTERS, traits, strict=False)]
    return {
        "id": row_id("opinion", domain, group, number),
        "prompt": "\n".join([question, *lines]),
        "chosen": "A",
        "rejected": "B",
        "domain": domain.name,
        "group": [group.name],
        "question": question,
        "answers": list(traits),
        "shares": [group.rate, 1 - group.rate],
    }
