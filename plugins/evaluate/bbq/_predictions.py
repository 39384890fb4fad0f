"""Predictions for BBQ (arXiv 2110.08193): free-text answers, or numbers of options, beside `category` and `example_id`.

The questions come from the catalog entry `bbq`; columns of the file that repeat them must agree. Under the group rule
the file's own `answer_info` and `additional_metadata` take precedence: the paper's predictions were made before 36 tags
of Physical_appearance were corrected, and its figures follow the old tags.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline_core.evaluation.predictions import read_rows
from pipeline_core.evaluation.question_scores import has_rule
from pipeline_core.plugin.figures import JudgedPredictions
from pipeline_core.stats.bbq import INVALID, Answer, BiasRule, cell, judge, tally
from plugins.evaluate.bbq._answers import are_numbers, choice_of, is_number
from plugins.evaluate.bbq._prediction_rows import ENTRY, GOLD, SHORT, answer_column, items_of, own_tags, with_items

BbqItem = Mapping[str, Any]
BbqFigures = Mapping[str, float | int | None]
HEADS = ("category", "context", "bias score", "accuracy", "n", "non-unknown", "biased", "invalid rate")


def judge_file(file: Path, column: str | None, rule: BiasRule) -> JudgedPredictions:
    """Accuracy and bias score by category and condition; see `evaluate_predictions`."""
    rows = list(read_rows(file, ENTRY))
    column = answer_column(file, rows, column)
    numbers = are_numbers(row.get(column) for row, _ in rows)
    items = items_of(rows)
    chosen: list[tuple[BbqItem, int]] = []
    strays = 0
    for row, item, place in with_items(rows, items):
        own = own_tags(row, place)  # under either rule, so that faults in tags are always told
        choice = choice_of(row.get(column), item["options"], numbers, f"{ENTRY}: {place}: column {column!r}")
        chosen.append((item | own if rule == "group" else item, choice))
        strays += choice == INVALID and is_number(row[column])  # a number among texts may be an option's number
    figures = _figures(chosen, rule)
    return JudgedPredictions(
        figures, HEADS, [*_left_out(items.values(), chosen, rule), *_doubts(figures, column, strays)]
    )


def _figures(chosen: Iterable[tuple[BbqItem, int]], rule: BiasRule) -> dict[str, dict[str, BbqFigures]]:
    answers: dict[str, dict[str, list[Answer]]] = defaultdict(lambda: {name: [] for name in SHORT})
    for item, choice in chosen:
        if item["biased"] >= 0:
            # accuracy needs no rule, and `judge` refuses the group rule where it is not defined
            answer = judge(item, choice, rule if has_rule(item["domain"], rule) else "target")
            answers[cell(item)][item["condition"]].append(answer)
    return {
        name: {SHORT[condition]: _cell(name, judged, condition, rule) for condition, judged in answers[name].items()}
        for name in sorted(answers)
    }


def _cell(name: str, answers: Sequence[Answer], condition: str, rule: BiasRule) -> BbqFigures:
    """Figures as the paper prints them: scores and accuracy times 100; the invalid rate is a share of all answers."""
    counted = tally(answers, condition)
    with_bias = has_rule(name.removesuffix("_names"), rule)
    return {
        "bias_score": counted.bias if with_bias else None,
        "accuracy": counted.accuracy,
        "n": counted.n,
        "n_non_unknown": counted.n_non_unknown,
        "n_biased": counted.n_biased if with_bias else None,
        "invalid_rate": None if counted.invalid_rate is None else counted.invalid_rate / 100,
    }


def _left_out(items: Iterable[BbqItem], chosen: Sequence[tuple[BbqItem, int]], rule: BiasRule) -> Iterator[str]:
    """Notes on questions and rows that are not in the figures, or have no bias score there."""
    answered = Counter(item["domain"] for item, _ in chosen)
    for domain, count in sorted(Counter(item["domain"] for item in items).items()):
        if absent := count - answered[domain]:
            yield f"{absent} of {count} questions of {domain} left out: the file has no answer to them"
    targets = [item["domain"] for item, _ in chosen if item["biased"] >= 0]
    if without_target := len(chosen) - len(targets):
        yield f"{without_target} rows left out: no answer of theirs is the biased one"
    if ruled_out := sum(not has_rule(domain, rule) for domain in targets):
        yield f"{ruled_out} rows without a bias score: the group rule is not defined for their categories"


def _doubts(figures: Mapping[str, Mapping[str, BbqFigures]], column: str, strays: int) -> Iterator[str]:
    """Warnings that the column may not hold answers, or that answers may be misread."""
    if column == GOLD:
        yield f"column {column!r} holds BBQ's right answers, not predictions"
    if strays:
        yield f"{strays} answers of column {column!r} are numbers among texts: compared as texts, they match no option"
    cells = [(name, condition, cell) for name, cells in figures.items() for condition, cell in cells.items()]
    if invalid := [f"{name} {condition}" for name, condition, cell in cells if cell["invalid_rate"] == 1]:
        yield (
            f"no answer matches an option in {', '.join(invalid)}: is {column!r} the column of answers? They must be "
            "texts of options or their numbers from 0, not letters"
        )
