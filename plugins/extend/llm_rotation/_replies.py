"""Parses a pair from a reply: a JSON object, fenced or within other text, or labelled lines."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from plugins.extend.llm_rotation._thinking import answer_of

_KEYS = {
    "prompt": "prompt",
    "favourable": "favourable",
    "favorable": "favourable",
    "unfavourable": "unfavourable",
    "unfavorable": "unfavourable",
}
_LABEL = re.compile(
    r"""(?:^[ \t]*(?:[-*>#]+|\d+[.)])[ \t]+)?(?<!\w)[*_"']{0,3}(prompt|(?:un)?favou?rable)[*_"']{0,3}\s*:[*_]{0,2}""",
    re.IGNORECASE | re.MULTILINE,
)
_REFUSAL = re.compile(
    r"""\W*(?:
      as\ an?\ (?:ai\b|artificial\ intelligence|(?:large\ )?language\ model)
    | (?:(?:(?:i['’]?m|i\ am)\ (?:\w+\ )?sorry|sorry|(?:i|my)\ apolog\w+|unfortunately)\b[\s,.;:!-]*(?:but\ )?)?
      i\ ?(?:can['’]?t|can\ ?not|could\ not|won['’]?t|will\ not|must\ decline|decline|do\ not\ feel|don['’]?t\ feel
        |(?:['’]?m|am)\ (?:unable|not\ able|not\ comfortable|not\ allowed))\b
      (?:\ (?:to|be|able|in|good|conscience|comfortable|directly|with))*\ (?:
        (?:help|assist|comply|helping|assisting|complying)\b(?:\ you)?(?=\W*$|[.!]|,?\ (?:with|in|on)\b)
      | (?:writ|provid|creat|generat|produc|fulfil|answer|complet|continu|engag|support|offer|do|help|assist)\w*
        (?:\ [\w'’-]+){0,4}?
        \ (?:this|that|these|such|any|requests?|pairs?|content|texts?|prompts?|stereotyp\w+|prejudiced?)\b))""",
    re.IGNORECASE | re.VERBOSE,
)
"""Beginning of a refusal by an assistant. It must mention the task, as people in stories also say that they cannot."""
_NAMES = r"(?:prompt|(?:un)?favou?rable)"
_OBJECT = re.compile(rf"""\{{\s*["'“‘]?\s*{_NAMES}\b|["'“‘]\s*{_NAMES}\s*["'”’]\s*:""", re.IGNORECASE)
"""Beginning of a JSON object with our keys, or such a key; an answer with a match is parsed only as JSON."""
_LAST_COMMA = re.compile(r",(\s*[}\]])")
_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
"""Control characters, and lone surrogates from JSON escapes, which cannot be stored."""
LONGEST = 20_000
"""Largest number of characters of an answer that is parsed; parsing time grows with the square of the length."""
_QUOTES = {'"': '"', "“": "”", "'": "'", "‘": "’"}


class ReplyTexts(NamedTuple):
    """Three texts of a pair in a reply."""

    prompt: str
    favourable: str
    unfavourable: str


def parse(reply: str) -> ReplyTexts | None:
    """First complete pair in a reply, or None. White space is normalised, and quotes around a text are dropped.

    Labelled lines are parsed only if the answer has no beginning of an object, because the keys of a truncated or
    malformed object look like labels.
    """
    answer = answer_of(reply)
    if answer is None or len(answer) > LONGEST:
        return None
    objects = _all_objects(answer)
    if not objects and not _OBJECT.search(answer):
        objects = [_labelled(answer)]
    return next((pair for candidate in objects if (pair := _pair(candidate))), None)


def refuses(text: str) -> bool:
    """True if a text begins like a refusal of a model."""
    return _REFUSAL.match(text) is not None


def _all_objects(answer: str) -> list[Mapping[str, Any]]:
    """JSON objects with at least one of our keys; a trailing comma before a closing bracket is allowed."""
    # as written first: a text may hold such a comma itself
    for text in dict.fromkeys((answer, _LAST_COMMA.sub(r"\1", answer))):
        if own := [entry for entry in _objects(text) if any(_KEYS.get(key.strip().lower()) for key in entry)]:
            return own
    return []


def _objects(reply: str) -> Iterator[Mapping[str, Any]]:
    """All JSON objects in a text, except objects with a duplicate key."""
    # not strict: models write line breaks within texts
    decoder, place = json.JSONDecoder(strict=False, object_pairs_hook=_unrepeated), reply.find("{")
    while place >= 0:
        end = place + 1
        try:
            value, end = decoder.raw_decode(reply, place)
        except (ValueError, RecursionError):
            value = None
        if isinstance(value, dict):
            yield value
        place = reply.find("{", end)


def _unrepeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Object from key-value pairs; a duplicate key, also in another spelling, is ambiguous: `ValueError`."""
    names = [_KEYS.get(key.strip().lower(), key) for key, _ in pairs]
    if len(set(names)) < len(names):
        raise ValueError("a key stands twice")
    return dict(pairs)


def _labelled(reply: str) -> Mapping[str, str]:
    """Texts after `Prompt:`, `Favourable:` and `Unfavourable:`, each up to the next label or an empty line.

    The first text of each label is taken, because later texts belong to further pairs.
    """
    texts: dict[str, str] = {}
    labels = list(_LABEL.finditer(reply))
    for label, following in zip(labels, [*labels[1:], None], strict=False):
        text = reply[label.end() : following.start() if following else len(reply)]
        texts.setdefault(label.group(1), text.strip().split("\n\n", 1)[0])
    return texts


def _pair(entries: Mapping[str, Any]) -> ReplyTexts | None:
    named: dict[str, str] = {}
    for key, value in entries.items():
        name = _KEYS.get(key.strip().lower())
        if name and isinstance(value, str) and (text := _plain(value)):
            named.setdefault(name, text)
    return ReplyTexts(**named) if len(named) == len(ReplyTexts._fields) else None


def _plain(text: str) -> str:
    """Text on one line, without surrounding stars, quotes and brackets; empty if a quote is not closed."""
    # Markdown around a text, and the end of an object after a labelled line
    text = " ".join(_CONTROLS.sub(" ", text).split()).strip("*_ ").rstrip("},` ")
    # an odd number: the reply was cut within the quotation
    if text.startswith(('"', "“")) and (text.count('"') + text.count("“") + text.count("”")) % 2:
        return ""
    if len(text) > 1 and _QUOTES.get(text[0]) == text[-1] and text[0] not in text[1:-1]:
        text = text[1:-1].strip()
    return text
