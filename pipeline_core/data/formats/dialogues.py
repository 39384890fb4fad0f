"""Rows that need no change, and pairs of whole dialogues (HH-RLHF, arXiv 2204.05862)."""

from __future__ import annotations

import pyarrow as pa

from pipeline_core.data.formats.format import DataFormat, Rows
from pipeline_core.data.row_checks import ValueFault

LAST_TURN = "\n\nAssistant:"


def plain(table: pa.Table) -> Rows:
    """Rows without changes."""
    return table, []


def transcript(table: pa.Table) -> Rows:
    """Pairs of whole dialogues (HH-RLHF, arXiv 2204.05862); the prompt ends with the last assistant turn's mark.

    Dialogues that differ before their last turn have the fault `prompts_differ`.
    """
    chosen, rejected = (_cut(table[name].to_pylist()) for name in ("chosen", "rejected"))
    faults = [
        ValueFault(row, "rejected", "prompts_differ", "continues another prompt than chosen")
        for row, (better, worse) in enumerate(zip(chosen, rejected, strict=True))
        if better[0] != worse[0]
    ]
    columns = {name: table[name] for name in table.column_names} | {
        "prompt": pa.array([prompt for prompt, _ in chosen]),
        "chosen": pa.array([completion for _, completion in chosen]),
        "rejected": pa.array([completion for _, completion in rejected]),
    }
    return pa.table(columns), faults


def _cut(dialogues: list[str | None]) -> list[tuple[str, str]]:
    # Without the mark the prompt is empty, which the row checks report.
    parts = [(dialogue or "").rpartition(LAST_TURN) for dialogue in dialogues]
    return [((head + mark).lstrip("\n"), completion.strip()) for head, mark, completion in parts]


FORMATS = (
    DataFormat("plain", (), plain),
    DataFormat("transcript", ("chosen", "rejected"), transcript),
)
