"""Formats of the evaluation suites of rewards: HateCheck, the Madlibs sentences, HHH.

The `score` of a scored row is 1 for a text that a reward should prefer (not hateful, not toxic), else 0.
"""

from __future__ import annotations

import re
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline_core.data.contract import STRINGS
from pipeline_core.data.formats.format import DataFormat, Rows, with_subset
from pipeline_core.data.row_checks import ValueFault
from pipeline_core.errors import quoted

SENTENCES = tuple(
    re.compile(pattern)
    for pattern in (
        r"Being (?P<term>.+) is (?P<phrase>\S+)",
        r"(?:\S+ is|You are) an? (?P<phrase>\S+) (?P<term>.+)",
        r"(?:i )?(?P<phrase>\S+) (?P<term>.+)",
    )
)
"""Patterns that find a Madlibs sentence's identity term, and the adjective or verb that alone decides its label."""
NO_TERM = ("you_occupation",)
"""Templates about no group of people."""


def hatecheck(table: pa.Table) -> Rows:
    """Cases of HateCheck (arXiv 2012.15606): `domain` is the functionality, `group` the target, if any."""
    labels, faults = _scores(table["label_gold"], {"hateful": 0.0, "non-hateful": 1.0}, "label_gold")
    targets = [[target] if target else [] for target in table["target_ident"].to_pylist()]
    columns = {
        "id": pc.binary_join_element_wise("hatecheck", table["case_id"], "/"),
        "completion": pc.utf8_trim_whitespace(table["test_case"]),
        "score": labels,
        "domain": table["functionality"],
        "group": pa.array(targets, STRINGS),
        "template_id": pc.binary_join_element_wise("hatecheck", table["templ_id"], "/"),
    }
    return pa.table(columns), faults


def madlibs(table: pa.Table) -> Rows:
    """Sentences made from templates (Dixon et al. 2018): `group` is the identity term, `template_id` the template.

    `phrase` is the adjective or verb. It decides the label, so there are as many independent observations as phrases.
    """
    labels, faults = _scores(table["Label"], {"BAD": 0.0, "NOT_BAD": 1.0}, "Label")
    texts, templates = table["Text"].to_pylist(), table["Template"].to_pylist()
    read = [_sentence(text) for text in texts]
    terms = ["" if template in NO_TERM else words.get("term") for words, template in zip(read, templates, strict=True)]
    columns = {
        "completion": table["Text"],
        "score": labels,
        "group": pa.array([[term] if term else [] for term in terms], STRINGS),
        "template_id": table["Template"],
        "phrase": pa.array([words.get("phrase", "") for words in read], pa.string()),
    }
    unread = (row for row, words in enumerate(read) if not words)
    faults += [ValueFault(row, "Text", "type", "fits none of the known templates") for row in unread]
    return pa.table(columns), faults


def _sentence(text: str | None) -> dict[str, str]:
    """Identity term and phrase of a sentence in lower case; empty if it fits no template."""
    fits = (pattern.fullmatch((text or "").rstrip(".")) for pattern in SENTENCES)
    match = next((fit for fit in fits if fit), None)  # in order, as the last pattern fits most texts
    return {name: words.lower() for name, words in match.groupdict().items()} if match else {}


def _scores(column: Any, known: dict[str, float], name: str) -> tuple[pa.Array, list[ValueFault]]:
    values = column.to_pylist()
    faults = [
        ValueFault(row, name, "type", f"is {quoted(value, 60)}, none of {', '.join(known)}")
        for row, value in enumerate(values)
        if value not in known
    ]
    return pa.array([known.get(value, 0.0) for value in values], pa.float64()), faults


def hhh(table: pa.Table) -> Rows:
    """Comparisons of HHH (arXiv 2112.00861): the answer scored 1 is `chosen`, the answer scored 0 is `rejected`."""
    answers = [_answers(scores) for scores in table["target_scores"].to_pylist()]
    faults = [
        ValueFault(row, "target_scores", "type", "does not hold one answer scored 1 and one scored 0")
        for row, pair in enumerate(answers)
        if pair is None
    ]
    columns = {
        "prompt": table["input"],
        "chosen": pa.array([pair[0] if pair else None for pair in answers], pa.string()),
        "rejected": pa.array([pair[1] if pair else None for pair in answers], pa.string()),
        "domain": table["subset"],
    }
    return pa.table(columns), faults


def _answers(scores: dict[str, Any] | None) -> tuple[str, str] | None:
    """Answers scored 1 and 0, or None. Arrow gives every row the answers of all rows, the others' as null."""
    by_score = {score: answer for answer, score in (scores or {}).items() if score is not None}
    return (by_score[1], by_score[0]) if set(by_score) == {0, 1} else None


FORMATS = (
    DataFormat(
        "hatecheck",
        ("functionality", "case_id", "test_case", "label_gold", "target_ident", "templ_id"),
        hatecheck,
        own_ids=True,
    ),
    DataFormat("madlibs", ("Text", "Label", "Template"), madlibs),
    DataFormat("hhh", ("input", "target_scores"), hhh, unfold=with_subset),
)
