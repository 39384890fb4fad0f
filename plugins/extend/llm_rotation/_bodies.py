"""Extracts the completion from the body of an endpoint's response, or the reason why it has none.

Servers differ. Content is a string or a list of parts; reasoning is in the content or in a separate field. A content
filter, a refusal, a tool call or the token limit can leave no content.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from plugins.extend.llm_rotation._journal import ReplyFault
from plugins.extend.llm_rotation._prompts import STOP

TRUNCATED = frozenset({"length", "max_tokens", "model_length", "max_output_tokens"})
"""Values of `finish_reason`, in lower case, for a reply cut at the token limit."""
FILTERED = frozenset({"content_filter", "safety", "recitation", "prohibited_content", "blocklist", "sensitive"})
"""Values of `finish_reason`, in lower case, for a reply removed by a content filter."""
LONGEST_TEXT = 100_000
"""Largest number of characters of a text; a longer text is not a pair and is cut."""
MOST_TOKENS = 1 << 40
"""Largest plausible token count of a server; a larger number is ignored."""
TEXT_PARTS = ("text", "output_text")
INSTEAD = ("tool_calls", "function_call", "reasoning_content", "reasoning", "reasoning_details", "audio")
"""Fields that a message can have instead of a text."""


@dataclass(frozen=True)
class Completion:
    """Text of a completion. If `fault` is set, `text` has the server's words instead. Token counts: the server's."""

    text: str
    fault: ReplyFault = ""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


def completion_of(content: bytes, *, completes: bool) -> Completion | None:
    """Completion in a response body, of the text API (`completes`) or the chat API; None if the body has none."""
    try:
        document = json.loads(content)
        choice = document["choices"][0]
        message = choice if completes else choice["message"]
        reply = _text(message["text"] if completes else message.get("content"))
        reason = str(choice.get("finish_reason") or "").lower()  # Gemini's are in capitals (`SAFETY`)
        text, fault = _judged(reply, message, reason, completes=completes)
        usage = document.get("usage")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):  # json reads nested lists by recursion
        return None
    return Completion(text[:LONGEST_TEXT], fault, _count(usage, "prompt_tokens"), _count(usage, "completion_tokens"))


def _judged(reply: str, message: Mapping[str, Any], reason: str, *, completes: bool) -> tuple[str, ReplyFault]:
    """Text of the completion, and its fault."""
    # Some endpoints ignore `stop`: text up to a stop string is complete, even if the server truncated the rest.
    stops = [place for stop in STOP if (place := reply.find(stop)) >= 0] if completes else []
    if stops and reply[: min(stops)].strip():
        return reply[: min(stops)], ""
    if reason in FILTERED:
        return reply or f"finish_reason {reason}", "filtered"
    if reason in TRUNCATED:
        return reply or _instead(message, reason), "truncated"
    if refusal := _text(message.get("refusal")):
        return refusal, "refused"
    if len(reply) > LONGEST_TEXT:
        return reply, "truncated"
    return (reply, "") if reply.strip() else (_instead(message, reason), "no_text")


def _text(content: Any) -> str:
    """Content as one text. In a list of parts, parts of other types (reasoning, images) are left out."""
    if isinstance(content, str):  # before Sequence, which a text is too
        return content
    if isinstance(content, Mapping):
        inner = content.get("text") if content.get("type", "text") in TEXT_PARTS else None
        return _text(inner.get("value") if isinstance(inner, Mapping) else inner)
    return "".join(map(_text, content)) if isinstance(content, Sequence) else ""


def _instead(message: Mapping[str, Any], reason: str) -> str:
    """Description of a message without text: its `INSTEAD` fields and finish reason."""
    fields = [f"{name}: {_words(message[name])}" for name in INSTEAD if message.get(name)]
    return "; ".join([*fields, f"finish_reason {reason or 'none'}"])


def _words(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _count(usage: Any, name: str) -> int | None:
    value = usage.get(name) if isinstance(usage, dict) else None
    return value if isinstance(value, int) and 0 <= value <= MOST_TOKENS else None
