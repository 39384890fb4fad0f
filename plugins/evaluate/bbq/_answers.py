"""Answers to questions with options: free texts, or numbers of options, which a CSV holds as texts too."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from pipeline_core.errors import BadInput, quoted
from pipeline_core.stats.bbq import match_answer

NUMBER = re.compile(r"[-+]?\d+(\.\d*)?(e[-+]?\d+)?", re.ASCII | re.IGNORECASE)
OPTION_NUMBER = re.compile(r"(\d{1,9})(\.0*)?", re.ASCII)  # nine digits: `int` refuses thousands of them


def are_numbers(answers: Iterable[Any]) -> bool:
    """True where more than half of the answers that are not blank are numbers."""
    given = [answer for answer in answers if not _is_blank(answer)]
    return 2 * sum(map(is_number, given)) > len(given)


def is_number(answer: Any) -> bool:
    """True for a number or the text of a number."""
    if isinstance(answer, str):
        return NUMBER.fullmatch(answer.strip()) is not None
    return isinstance(answer, int | float) and not isinstance(answer, bool)  # True is an int


def choice_of(answer: Any, options: Sequence[str], numbers: bool, where: str) -> int:
    """Index of the option that an answer means; `INVALID` for a text that matches none.

    In a column of `numbers` every answer must be one; elsewhere texts are matched, and JSON numbers are numbers.

    Raises:
        BadInput: no answer, or neither a text nor the number of an option; begins with `where`.
    """
    if answer is None or (numbers and _is_blank(answer)):
        raise BadInput(f"{where} holds no prediction")
    if isinstance(answer, str) and not numbers:
        return match_answer(answer, options)
    number = _option_number(answer)
    if number is None or number >= len(options):
        told = quoted(answer, 60)
        allowed = f"the number of an option (0 to {len(options) - 1})"
        if numbers:
            raise BadInput(f"{where} is {told}, not {allowed}, and most of its answers are numbers")
        raise BadInput(f"{where} is {told}, neither a text nor {allowed}")
    return number


def _is_blank(answer: Any) -> bool:
    return answer is None or (isinstance(answer, str) and not answer.strip())


def _option_number(answer: Any) -> int | None:
    """Whole number from 0 up that an answer is, also written as 1.0 or as text; None for other answers."""
    if isinstance(answer, bool) or not isinstance(answer, str | int | float):
        return None
    match = OPTION_NUMBER.fullmatch(str(answer).strip())
    return int(match[1]) if match else None
