"""Reads a completion out of an endpoint's answer, or says why there is none.

Servers differ: contents come as a text or a list of parts, with the reasoning beside or within; a filter, a refusal, a
call of a tool or the end of the allowance leave none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from plugins.extend.llm_rotation._journal import ReplyFault
from plugins.extend.llm_rotation._prompts import STOP

TRUNCATED = frozenset({"length", "max_tokens", "model_length", "max_output_tokens"})
"""Reasons to finish, in lower case: no more tokens were allowed."""
FILTERED = frozenset({"content_filter", "safety", "recitation", "prohibited_content", "blocklist", "sensitive"})
"""Reasons to finish: a filter of contents."""
LONGEST_TEXT = 100_000
"""Characters of a text; a longer one is no pair, and is not kept."""
MOST_TOKENS = 1 << 40
"""Tokens that a server may count; a larger number is none."""
TEXT_PARTS = ("text", "output_text")
INSTEAD = ("tool_calls", "function_call", "reasoning_content", "reasoning", "reasoning_details", "audio")
"""Fields of a message that may stand in place of a text."""


@dataclass(frozen=True)
class Completion:
    """The text of a completion, or other words and why there is no text; tokens as the server counts them."""

    text: str
    fault: ReplyFault = ""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


def completion_of(content: bytes, *, completes: bool) -> Completion | None:
    """The completion in the body of an answer, of text (`completes`) or of a chat; None where it is no completion."""
    try:
        document = json.loads(content)
        choice = document["choices"][0]
        message = choice if completes else choice["message"]
        said = _text(message["text"] if completes else message.get("content"))
        reason = str(choice.get("finish_reason") or "").lower()
        text, fault = _judged(said, message, reason, completes=completes)
        usage = document.get("usage")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None
    return Completion(text[:LONGEST_TEXT], fault, _count(usage, "prompt_tokens"), _count(usage, "completion_tokens"))


def _judged(said: str, message: Mapping[str, Any], reason: str, *, completes: bool) -> tuple[str, ReplyFault]:
    """The text that counts and what is wrong with it."""
    # Not every endpoint stops where it is told to: what is cut here was whole before it was cut short there.
    stops = [place for stop in STOP if (place := said.find(stop)) >= 0] if completes else []
    if stops and said[: min(stops)].strip():
        return said[: min(stops)], ""
    if reason in FILTERED:
        return said or f"finish_reason {reason}", "filtered"
    if reason in TRUNCATED:
        return said or _instead(message, reason), "truncated"
    if refusal := _text(message.get("refusal")):
        return refusal, "refused"
    if len(said) > LONGEST_TEXT:
        return said, "truncated"
    return (said, "") if said.strip() else (_instead(message, reason), "no_text")


def _text(content: Any) -> str:
    """Contents as one text: a list has parts, of which those of another type (reasoning, pictures) are left out."""
    if isinstance(content, str):
        return content
    if isinstance(content, Mapping):
        inner = content.get("text") if content.get("type", "text") in TEXT_PARTS else None
        return _text(inner.get("value") if isinstance(inner, Mapping) else inner)
    return "".join(map(_text, content)) if isinstance(content, Sequence) else ""


def _instead(message: Mapping[str, Any], reason: str) -> str:
    """What a message has in place of a text, in its server's words."""
    found = [f"{name}: {_words(message[name])}" for name in INSTEAD if message.get(name)]
    return "; ".join([*found, f"finish_reason {reason or 'none'}"])


def _words(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _count(usage: Any, name: str) -> int | None:
    value = usage.get(name) if isinstance(usage, dict) else None
    return value if isinstance(value, int) and 0 <= value <= MOST_TOKENS else None
