"""Answers of a survey by country as preference pairs (arXiv 2405.20304, appendix D.4, on the data of 2306.16388).

Differences from the paper: all answers to a question are in the same split (the entry's `split_by`), where the paper
splits rows; the rejected option of a pair is drawn by a hash of its question and country, so the order of the rows
does not matter.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from string import ascii_uppercase as LETTERS
from typing import Any

import pyarrow as pa

from pipeline_core.data.casting import plain_values
from pipeline_core.data.chunks import Chunk
from pipeline_core.data.contract import STRINGS
from pipeline_core.data.formats.format import DataFormat, Rows
from pipeline_core.data.plain_rows import table_of
from pipeline_core.data.row_checks import ValueFault
from pipeline_core.errors import BadInput
from pipeline_core.files.digests import digest_of

NEEDS = ("question", "country", "options", "distribution")
TOLERANCE = 0.01
"""Largest deviation from 1 of the sum of answer shares; published shares are rounded."""
SEED = 42


def opinions(table: pa.Table) -> Rows:
    """Pairs of letters per question and country: the most common answer (the first on a tie) against another.

    Columns read: question and country (texts), options (N texts or numbers) and distribution (N shares of the answers).
    `answers` and `shares` hold all options and shares, for entries that keep them.

    Faults: `distribution` if a share is negative or the shares do not sum to 1, `options` if the options cannot be
    lettered or their number differs from that of the shares, `empty` and `type`.
    """
    rows = zip(*(plain_values(table[column]) for column in NEEDS), strict=True)
    pairs: list[dict[str, str]] = []
    faults: list[ValueFault] = []
    for number, row in enumerate(rows):
        fault = next(_faults(*row), None)
        faults += [ValueFault(number, *fault)] if fault else []
        pairs.append(_STAND_IN if fault else _pair(*row))
    columns = {name: table[name] for name in table.column_names}
    made = {name: pa.array([pair.get(name) for pair in pairs], pa.string()) for name in _STAND_IN}
    return pa.table(columns | made | _distributions(table, {fault.row for fault in faults})), faults


def _distributions(table: pa.Table, faulty: set[int]) -> dict[str, pa.Array]:
    """Columns `answers` (options as displayed) and `shares` (of the answers), for entries that keep them."""
    pairs = list(zip(plain_values(table["options"]), plain_values(table["distribution"]), strict=True))
    answers = [[] if row in faulty else [_text(option) for option in options] for row, (options, _) in enumerate(pairs)]
    shares = [[] if row in faulty else [float(share) for share in values] for row, (_, values) in enumerate(pairs)]
    return {"answers": pa.array(answers, STRINGS), "shares": pa.array(shares, pa.list_(pa.float64()))}


_STAND_IN = {"id": "-", "prompt": "-", "chosen": "A", "rejected": "B", "group": ""}
"""Values for a faulty row, which is reported or left out, so that no second fault is found in it."""


def _pair(question: str, country: str, options: Sequence[Any], shares: Sequence[float]) -> dict[str, str]:
    texts = [_text(option) for option in options]
    best = list(shares).index(max(shares))
    others = [index for index in range(len(texts)) if index != best]
    rejected = others[int(digest_of([SEED, question, texts, country]), 16) % len(others)]
    lines = [f"Opinion of people in {country} on: {question.strip()}", "Please select the best response:"]
    lines += [f"{letter}. {text}" for letter, text in zip(LETTERS, texts, strict=False)]
    return {
        "id": f"{digest_of([question, texts, [float(share) for share in shares]])[:16]}/{country}",
        "prompt": "\n".join(lines),
        "chosen": LETTERS[best],
        "rejected": LETTERS[rejected],
        "group": country,
    }


def _text(option: Any) -> str:
    """Option as displayed; scale points, which the data write as `1.0`, become `1`."""
    return str(int(option)) if isinstance(option, float) and option.is_integer() else str(option).strip()


def _faults(question: Any, country: Any, options: Any, shares: Any) -> Iterator[tuple[str, str, str]]:
    """Faults of a row as column, code and reason, the gravest first."""
    for column, value in (("question", question), ("country", country)):
        if not isinstance(value, str) or not value.strip():
            yield column, "empty", "is empty or no text"
    if not isinstance(options, list) or not 2 <= len(options) <= len(LETTERS):
        yield "options", "options", f"is no list of 2 to {len(LETTERS)} options"
    elif any(_is_blank(option) for option in options):
        yield "options", "options", "holds an option that is neither text nor a number"
    yield from _share_faults(shares, len(options) if isinstance(options, list) else 0)


def _is_blank(option: Any) -> bool:
    if isinstance(option, str):
        return option.strip().lower() in {"", "nan"}
    return not isinstance(option, int | float) or not math.isfinite(option)


def _share_faults(shares: Any, options: int) -> Iterator[tuple[str, str, str]]:
    if not isinstance(shares, list) or not all(isinstance(share, int | float | None) for share in shares):
        yield "distribution", "type", "is no list of numbers"
    elif len(shares) != options:
        yield "distribution", "options", f"holds {len(shares)} shares for {options} options"
    # `not ... <=`, as comparisons with NaN are false.
    elif not abs((total := sum(math.nan if share is None else share for share in shares)) - 1) <= TOLERANCE:
        yield "distribution", "distribution", f"sums to {total:.4g}, not to 1 within {TOLERANCE}"
    elif min(shares) < 0:
        yield "distribution", "distribution", "holds a negative share"


def unfolded(name: str, chunk: Chunk) -> Chunk:
    """Expand rows by question, with the `selections` of all countries as on the hub, to rows by question and country.

    `selections` is the text of a Python `defaultdict` from countries to lists, `options` the text of a list; both are
    parsed as literals and never evaluated. Rows that are by country already stay unchanged.

    Raises:
        BadInput: names the row whose text cannot be read.
    """
    if not {"selections", "options"} <= set(chunk.table.column_names):
        return chunk
    numbers: list[int] = []
    rows: list[dict[str, Any]] = []
    columns = (plain_values(chunk.table[column]) for column in ("selections", "options"))
    for row, (selections, options) in enumerate(zip(*columns, strict=True)):
        by_country = _literal(name, chunk, row, "selections", selections, "{}", dict)
        listed = _literal(name, chunk, row, "options", options, "[]", list)
        rows += [{"country": key, "options": listed, "distribution": value} for key, value in by_country.items()]
        numbers += [row] * len(by_country)
    kept = chunk.table.drop_columns(["selections", "options"]).take(pa.array(numbers, pa.int64()))
    for column in ("country", "options", "distribution"):
        kept = kept.append_column(column, table_of(rows)[column] if rows else pa.array([], pa.string()))
    return replace(chunk, table=kept, numbers=chunk.numbers[numbers])


_NAN = re.compile(r"(?<=[\[,: ])nan(?=[,\]}])")  # `literal_eval` knows no nan


def _literal(name: str, chunk: Chunk, row: int, column: str, value: Any, ends: str, kind: type) -> Any:
    text = str(value)
    try:
        parsed = ast.literal_eval(_NAN.sub("None", text[text.index(ends[0]) : text.rindex(ends[1]) + 1]))
    except (ValueError, SyntaxError):
        parsed = None
    if not isinstance(parsed, kind):
        raise BadInput(f"{name}: {chunk.place(row)}: column {column!r} is no text of a Python {kind.__name__}")
    return parsed


FORMATS = (DataFormat("opinions", NEEDS, opinions, unfold=unfolded, own_ids=True),)
