"""How the rows of well-known data sets become rows of our contract, a column at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pyarrow as pa

from pipeline_core.data.files import Chunk
from pipeline_core.data.formats import bbq, bold, opinions, reward_suites, scored_halves, sentence_sets, truthfulqa
from pipeline_core.data.row_checks import Fault

Shape = Callable[[pa.Table], tuple[pa.Table, list[Fault]]]

NEEDS: Mapping[str, tuple[str, ...]] = {
    "plain": (),
    "transcript": ("chosen", "rejected"),
    "bbq": bbq.NEEDS,
    "bbq_pairs": bbq.NEEDS,
    "bold": bold.NEEDS,
    "opinions": opinions.NEEDS,
    **dict.fromkeys(scored_halves.SHAPES, scored_halves.NEEDS),
    "hatecheck": reward_suites.HATECHECK_NEEDS,
    "madlibs": reward_suites.MADLIBS_NEEDS,
    "hhh": reward_suites.HHH_NEEDS,
    **sentence_sets.NEEDS,
    "truthfulqa": truthfulqa.NEEDS,
}
"""Columns a shape reads, besides those of the row contract."""

OWN_IDS = frozenset({"bbq", "bbq_pairs", "bold", "hatecheck", "opinions", "stereoset", "winobias"})
"""Shapes that make ids of what the rows hold, not of the names of files."""

LAST_TURN = "\n\nAssistant:"


def plain(table: pa.Table) -> tuple[pa.Table, list[Fault]]:
    """Rows as they are."""
    return table, []


def transcript(table: pa.Table) -> tuple[pa.Table, list[Fault]]:
    """Pairs of whole dialogues (HH-RLHF, arXiv 2204.05862): prompt = all up to the last assistant turn's mark.

    Dialogues that differ before their last turn are no pair of completions: fault `prompts_differ`.
    """
    chosen, rejected = (_cut(table[name].to_pylist()) for name in ("chosen", "rejected"))
    faults = [
        Fault(row, "rejected", "prompts_differ", "continues another prompt than chosen")
        for row, (one, other) in enumerate(zip(chosen, rejected, strict=True))
        if one[0] != other[0]
    ]
    columns = {name: table[name] for name in table.column_names} | {
        "prompt": pa.array([prompt for prompt, _ in chosen]),
        "chosen": pa.array([completion for _, completion in chosen]),
        "rejected": pa.array([completion for _, completion in rejected]),
    }
    return pa.table(columns), faults


def _cut(dialogues: list[str | None]) -> list[tuple[str, str]]:
    parts = [(dialogue or "").rpartition(LAST_TURN) for dialogue in dialogues]
    return [((head + mark).lstrip("\n"), completion.strip()) for head, mark, completion in parts]


SHAPES: Mapping[str, Shape] = {
    "plain": plain,
    "transcript": transcript,
    "bbq": bbq.questions,
    "bbq_pairs": bbq.pairs,
    "bold": bold.sentences,
    "opinions": opinions.opinions,
    **scored_halves.SHAPES,
    "hatecheck": reward_suites.hatecheck,
    "madlibs": reward_suites.madlibs,
    "hhh": reward_suites.hhh,
    **sentence_sets.SHAPES,
    "truthfulqa": truthfulqa.truthfulqa,
}

UNFOLDINGS: Mapping[str, Callable[[str, Chunk], Chunk]] = {
    "bold": reward_suites.with_subset,
    "opinions": opinions.unfolded,
    "scored_halves": scored_halves.unfolded,
    "hhh": reward_suites.with_subset,
    "winobias": sentence_sets.with_anti,
}
"""What is done with a piece of a file before rows are selected: a row that stands for several becomes these."""
