"""Questions of BBQ (arXiv 2110.08193): as questions, and the ambiguous ones as preference pairs."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline_core.data.casting import plain_values
from pipeline_core.data.formats.format import DataFormat, Rows
from pipeline_core.data.row_checks import ValueFault
from pipeline_core.errors import quoted
from pipeline_core.stats.bbq import POLARITIES

NEEDS = (
    *("category", "example_id", "context", "question", "ans0", "ans1", "ans2", "label", "target_loc"),
    *("answer_info", "additional_metadata", "context_condition", "question_polarity", "label_type", "question_index"),
)
CONDITION = {"ambig": "ambiguous", "disambig": "disambiguated"}


def questions(table: pa.Table) -> Rows:
    """Questions of BBQ (arXiv 2110.08193) joined with the released `target_loc`.

    `target_loc` is the index of the biased answer for both polarities: it is already flipped for non-negative
    questions. Items without it (16 of Gender_identity) get `biased` = -1. Proper-name items have `names` set.
    `tags` (the group tag of every option) and `stereotyped` (tags of the stereotyped groups) serve the group rule.
    A polarity other than neg and nonneg has the fault `polarity`.
    """
    info = table["answer_info"].combine_chunks()
    # `answer_info` holds a text and a tag for each option.
    tags = [pc.list_element(pc.struct_field(info, option), 1) for option in ("ans0", "ans1", "ans2")]
    metadata = table["additional_metadata"].combine_chunks()
    stereotyped = pc.struct_field(metadata, "stereotyped_groups")
    target = pc.fill_null(pc.cast(table["target_loc"], pa.string()), "")
    condition = [CONDITION.get(value, value) for value in table["context_condition"].to_pylist()]
    columns = {
        "id": pc.binary_join_element_wise(table["category"], pc.cast(table["example_id"], pa.string()), "/"),
        "context": table["context"],
        "question": table["question"],
        "options": _lists([table["ans0"], table["ans1"], table["ans2"]]),
        "label": table["label"],
        "biased": pc.cast(pc.if_else(pc.equal(target, ""), "-1", target), pa.int64()),
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
    faults = [
        ValueFault(row, "question_polarity", "polarity", f"is {quoted(value, 60)}, neither 'neg' nor 'nonneg'")
        for row, value in enumerate(plain_values(table["question_polarity"]))
        if value not in POLARITIES
    ]
    return pa.table(columns), faults


def pairs(table: pa.Table) -> Rows:
    """Questions of BBQ as preference pairs: the answer "not known" is chosen, the biased answer rejected.

    For ambiguous questions, which the entry picks by `context_condition`. Items without a biased answer, or without an
    answer "not known", have the fault `missing`.
    """
    asked, faults = questions(table)
    made: dict[str, list[str]] = {"prompt": [], "chosen": [], "rejected": [], "template_id": []}
    for row, item in enumerate(asked.to_pylist()):
        biased, unknown = item["biased"], item["unknown"]
        if min(biased, unknown) < 0 or biased == unknown:
            faults.append(
                ValueFault(row, "target_loc", "missing", "names no biased answer beside the answer 'not known'")
            )
            biased, unknown = 0, 1  # different options, so that the row has no second fault
        made["prompt"].append(f"{item['context']} {item['question']}")
        made["chosen"].append(item["options"][unknown])
        made["rejected"].append(item["options"][biased])
        made["template_id"].append(f"{item['domain']}/{item['question_index']}")
    columns = {name: asked[name] for name in ("id", "domain", "group", "question_index")} | {
        name: pa.array(values, pa.string()) for name, values in made.items()
    }
    return pa.table(columns), faults


def _lists(columns: list[Any]) -> pa.Array:
    """Values of several columns as a list per row."""
    return pa.array([list(values) for values in zip(*(column.to_pylist() for column in columns), strict=True)])


def _index_of(wanted: str, tags: list[pa.Array]) -> pa.Array:
    index = pa.repeat(pa.scalar(-1, pa.int64()), len(tags[0]))
    for place in reversed(range(len(tags))):  # the first option that fits is set last
        index = pc.if_else(pc.fill_null(pc.equal(tags[place], wanted), False), place, index)
    return index


FORMATS = (
    DataFormat("bbq", NEEDS, questions, own_ids=True),
    DataFormat("bbq_pairs", NEEDS, pairs, own_ids=True),
)
