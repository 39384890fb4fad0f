"""Predictions for BBQ (arXiv 2110.08193): free-text answers, or numbers of options, beside `category` and `example_id`.

The questions come from the catalog entry `bbq`, so that a file need not repeat them; what it does repeat must agree.
Under the group rule its own `answer_info` and `additional_metadata` count where it has them: the predictions the paper
rests on were made before 36 tags of Physical_appearance were put right, and its figures follow the old ones.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline_core.catalog import Catalog, DataRef
from pipeline_core.errors import BadInput, UnknownName
from pipeline_core.ops.bbq import GROUP_RULE_DOMAINS, Answer, Rule, cell, judge, match_answer, tally
from pipeline_core.predictions.result import Figures, Judged
from pipeline_core.predictions.rows import read_rows

ENTRY = "bbq"
KEYS = ("category", "example_id")
CONDITIONS = {"ambig": "ambiguous", "disambig": "disambiguated"}
SHORT = {long: short for short, long in CONDITIONS.items()}
SAME = {
    "context": "context",
    "question": "question",
    "label": "label",
    "question_polarity": "polarity",
    "question_index": "question_index",
}
OPTIONS = ("ans0", "ans1", "ans2")
OWN = {*KEYS, *OPTIONS, *SAME, "context_condition", "answer_info", "additional_metadata"}
"""Columns of BBQ itself; what a file has besides are predictions."""

Located = tuple[dict[str, Any], str]


def judge_file(file: Path, column: str | None, rule: Rule) -> Judged:
    """Accuracy and bias score by category and condition; see `pipeline_core.predictions.evaluate_predictions`."""
    rows = list(read_rows(file, ENTRY))
    column = _column(file, rows, column)
    if _are_numbers(row.get(column) for row, _ in rows):
        rows = [(row | {column: int(float(row[column]))}, place) for row, place in rows]
    answers: dict[str, dict[str, list[Answer]]] = defaultdict(lambda: {name: [] for name in CONDITIONS})
    without_target, ruled_out = 0, 0
    for row, item, place in _with_items(rows):
        choice = _choice(row.get(column), item["options"], f"{place}: column {column!r}")
        if item["biased"] < 0:
            without_target += 1
            continue
        has_rule = rule == "target" or item["domain"] in GROUP_RULE_DOMAINS
        ruled_out += not has_rule
        shown = _as_tagged(row, item, place) if rule == "group" else item
        answers[cell(item)][SHORT[item["condition"]]].append(judge(shown, choice, rule if has_rule else "target"))
    found = {name: _figures(name, answers[name], rule) for name in sorted(answers)}
    notes = {
        f"{without_target} rows left out: no answer of theirs is the biased one": without_target,
        f"{ruled_out} rows without a bias score: the group rule is not defined for their categories": ruled_out,
    }
    return Judged(found, [note for note, count in notes.items() if count])


def _column(file: Path, rows: Sequence[Located], column: str | None) -> str:
    names = list(dict.fromkeys(name for row, _ in rows for name in row))
    if absent := [name for name in KEYS if name not in names]:
        raise BadInput(f"bbq: {file}: missing column {absent[0]!r}; columns found: {', '.join(names)}")
    candidates = [name for name in names if name not in OWN]
    if column is None:
        listed = ", ".join(candidates) or f"none besides BBQ's own ({', '.join(names)})"
        raise BadInput(f"bbq: {file}: name the column to judge by --prediction-column; columns: {listed}")
    if column not in names:
        raise UnknownName("column", column, candidates or names, where=f"bbq: {file}")
    return column


def _are_numbers(answers: Iterable[Any]) -> bool:
    """Whether every answer is the text of a whole number: in CSV all columns are texts, numbers of options too."""
    return all(isinstance(said, str) and re.fullmatch(r"\s*\d{1,9}(\.0*)?\s*", said) for said in answers)


def _with_items(rows: Sequence[Located]) -> Iterator[tuple[dict[str, Any], dict[str, Any], str]]:
    """Rows with the questions they answer; every question once."""
    items = _items({str(row["category"]) for row, _ in rows})
    places: dict[str, str] = {}
    for row, place in rows:
        name = f"{row['category']}/{row['example_id']}"
        if name not in items:
            raise BadInput(f"bbq: {place}: there is no question {name} (category/example_id)")
        if name in places:
            raise BadInput(f"bbq: {place}: question {name} is answered before, in {places[name].rpartition(', ')[2]}")
        places[name] = place
        _check_same(row, items[name], place)
        yield row, items[name], place


def _items(categories: set[str]) -> dict[str, dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.compute as pc

    table = Catalog.from_environment().load(DataRef(entry=ENTRY)).with_format("arrow")[:]
    wanted = pc.is_in(table["domain"], value_set=pa.array(sorted(categories), pa.string()))
    return {item["id"]: item for item in table.filter(wanted).to_pylist()}


def _check_same(row: Mapping[str, Any], item: Mapping[str, Any], place: str) -> None:
    known = {name: item[ours] for name, ours in SAME.items()} | dict(zip(OPTIONS, item["options"], strict=True))
    known["context_condition"] = SHORT[item["condition"]]
    for name, value in known.items():
        if name in row and str(row[name]) != str(value):
            raise BadInput(f"bbq: {place}: column {name!r} is {row[name]!r}, and question {item['id']} has {value!r}")


def _choice(value: Any, options: Sequence[str], where: str) -> int:
    if value is None:
        raise BadInput(f"bbq: {where} holds no prediction")
    if isinstance(value, str):
        return match_answer(value, options)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < len(options):
        raise BadInput(f"bbq: {where} is {value!r}, neither a text nor the number of an option (0 to 2)")
    return value


def _as_tagged(row: Mapping[str, Any], item: dict[str, Any], place: str) -> dict[str, Any]:
    """The question with the tags of the file's own row, where it has them."""
    try:
        own = {}
        if row.get("answer_info"):
            own["tags"] = [row["answer_info"][option][1] for option in OPTIONS]
        if row.get("additional_metadata"):
            own["stereotyped"] = row["additional_metadata"]["stereotyped_groups"]
        if strange := [value for value in own.values() if not _are_texts(value)]:
            raise TypeError(f"{strange[0]!r} is no list of texts")
    except (KeyError, IndexError, TypeError) as error:
        raise BadInput(f"bbq: {place}: answer_info or additional_metadata is not as in BBQ: {error!r}") from None
    return item | own


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _figures(name: str, answers: Mapping[str, Sequence[Answer]], rule: Rule) -> dict[str, Figures]:
    return {condition: _cell(name, answers[condition], CONDITIONS[condition], rule) for condition in CONDITIONS}


def _cell(name: str, answers: Sequence[Answer], condition: str, rule: Rule) -> Figures:
    """As the paper prints them: scores and accuracy times 100; the invalid rate is a share of all answers."""
    found = tally(answers, condition)
    has_rule = rule == "target" or name.removesuffix("_names") in GROUP_RULE_DOMAINS
    return {
        "bias_score": found.bias if has_rule else None,
        "accuracy": found.accuracy,
        "n": found.n,
        "n_non_unknown": found.n_non_unknown,
        "n_biased": found.n_biased if has_rule else None,
        "invalid_rate": None if found.invalid_rate is None else found.invalid_rate / 100,
    }
