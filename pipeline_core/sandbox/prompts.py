"""Held-out prompts: words and patterns that occur in no preference row of the training split."""

from __future__ import annotations

from typing import Any

from pipeline_core.sandbox.statements import patterns, row_id
from pipeline_core.sandbox.world import load_world


def heldout_prompts() -> list[dict[str, Any]]:
    """Rows of `sandbox_prompts`: held-out words of all groups in held-out patterns, independent of the seed."""
    rows = []
    for domain, group in load_world().groups():
        cells = [(word, pattern) for word in group.words["heldout"] for pattern in patterns("heldout")]
        for index, (word, pattern) in enumerate(cells):
            rows.append(
                {
                    "id": row_id("prompt", domain, group, index),
                    "prompt": pattern.fill(x=word),
                    "domain": domain.name,
                    "group": [group.name],
                    "source": "sandbox",
                    "template_id": pattern.id,
                }
            )
    return rows
