"""How the rows of well-known data sets become rows of our contract, a column at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from pipeline_core.catalog import opinions, reward_suites, scored_halves
from pipeline_core.catalog.files import Chunk
from pipeline_core.records.checks import Fault

Shape = Callable[[pa.Table], tuple[pa.Table, list[Fault]]]

NEEDS: Mapping[str, tuple[str, ...]] = {
    "plain": (),
    "transcript": ("chosen", "rejected"),
    "bbq": (
        *("category", "example_id", "context", "question", "ans0", "ans1", "ans2", "label", "target_loc"),
        *("answer_info", "additional_metadata", "context_condition", "question_polarity", "label_type"),
        "question_index",
    ),
    "opinions": opinions.NEEDS,
    **dict.fromkeys(scored_halves.SHAPES, scored_halves.NEEDS),
    "hatecheck": reward_suites.HATECHECK_NEEDS,
    "madlibs": reward_suites.MADLIBS_NEEDS,
    "hhh": reward_suites.HHH_NEEDS,
}
"""Columns a shape reads, besides those of the row contract."""

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


CONDITION = {"ambig": "ambiguous", "disambig": "disambiguated"}


def bbq(table: pa.Table) -> tuple[pa.Table, list[Fault]]:
    """Questions of BBQ (arXiv 2110.08193) joined with the released `target_loc`.

    `target_loc` is the index of the biased answer for both polarities: it is already flipped for non-negative
    questions. Items without it (16 of Gender_identity) get `biased` = -1. Proper-name items have `names` set.
    `tags` (the group tag of every option) and `stereotyped` (tags of the stereotyped groups) serve the group rule.
    """
    info = table["answer_info"].combine_chunks()
    tags = [pc.list_element(pc.struct_field(info, option), 1) for option in ("ans0", "ans1", "ans2")]
    metadata = table["additional_metadata"].combine_chunks()
    stereotyped = pc.struct_field(metadata, "stereotyped_groups")
    target = pc.cast(pc.replace_with_mask(*_blank_as(table["target_loc"], "-1")), pa.int64())
    condition = [CONDITION.get(value, value) for value in table["context_condition"].to_pylist()]
    columns = {
        "id": pc.binary_join_element_wise(table["category"], pc.cast(table["example_id"], pa.string()), "/"),
        "context": table["context"],
        "question": table["question"],
        "options": _lists([table["ans0"], table["ans1"], table["ans2"]]),
        "label": table["label"],
        "biased": target,
        "unknown": _index_of("unknown", tags),
        "condition": pa.array(condition),
        "polarity": table["question_polarity"],
        "domain": table["category"],
        "group": stereotyped,
        "names": pc.equal(table["label_type"], "name"),
        "question_index": pc.cast(table["question_index"], pa.string()),
        "tags": _lists(tags),
        "stereotyped": stereotyped,
    }
    return pa.table(columns), []


def _blank_as(column: pa.ChunkedArray, value: str) -> tuple[pa.Array, pa.Array, pa.Scalar]:
    text = pc.fill_null(pc.cast(column, pa.string()), "").combine_chunks()
    return text, pc.equal(text, ""), pa.scalar(value)


def _lists(columns: list[pa.ChunkedArray]) -> pa.Array:
    return pa.array([list(values) for values in zip(*(column.to_pylist() for column in columns), strict=True)])


def _index_of(wanted: str, tags: list[pa.Array]) -> pa.Array:
    rows = zip(*(column.to_pylist() for column in tags), strict=True)
    return pa.array([row.index(wanted) if wanted in row else -1 for row in rows])


SHAPES: Mapping[str, Shape] = {
    "plain": plain,
    "transcript": transcript,
    "bbq": bbq,
    "opinions": opinions.opinions,
    **scored_halves.SHAPES,
    "hatecheck": reward_suites.hatecheck,
    "madlibs": reward_suites.madlibs,
    "hhh": reward_suites.hhh,
}

UNFOLDINGS: Mapping[str, Callable[[str, Chunk], Chunk]] = {
    "opinions": opinions.unfolded,
    "scored_halves": scored_halves.unfolded,
    "hhh": reward_suites.with_subset,
}
"""What is done with a piece of a file before rows are selected: a row that stands for several becomes these."""
