"""Reads a pair out of a reply: a JSON object, fenced or among other text, or labelled lines."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

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
"""An assistant that will not do what is asked: people in stories cannot do many things, but seldom `this request`."""
_QUOTES = {'"': '"', "“": "”", "'": "'", "‘": "’"}


class Pair(NamedTuple):
    """The three texts of a reply."""

    prompt: str
    favourable: str
    unfavourable: str


def parse(reply: str) -> Pair | None:
    """The first whole pair in a reply, or None; white space is evened out and quotes around a text are dropped."""
    objects = [found for found in _objects(reply) if any(_KEYS.get(key.strip().lower()) for key in found)]
    # Labels are looked for where no whole object is there: one with a wrong value is wrong in any form.
    found = (_pair(one) for one in objects or [_labelled(reply)])
    return next((pair for pair in found if pair), None)


def refuses(text: str) -> bool:
    """Whether a text begins as a model does that declines."""
    return _REFUSAL.match(text) is not None


def _objects(reply: str) -> Iterator[Mapping[str, Any]]:
    """Every JSON object in a text, whatever stands around it."""
    decoder, place = json.JSONDecoder(strict=False), reply.find("{")
    while place >= 0:
        end = place + 1
        try:
            found, end = decoder.raw_decode(reply, place)
        except (ValueError, RecursionError):
            found = None
        if isinstance(found, dict):
            yield found
        place = reply.find("{", end)


def _labelled(reply: str) -> Mapping[str, str]:
    """Texts after `Prompt:`, `Favourable:` and `Unfavourable:`, each up to the next label or an empty line."""
    found: dict[str, str] = {}
    labels = list(_LABEL.finditer(reply))
    for label, following in zip(labels, [*labels[1:], None], strict=False):
        text = reply[label.end() : following.start() if following else len(reply)]
        found.setdefault(label.group(1), text.strip().split("\n\n", 1)[0])
    return found


def _pair(found: Mapping[str, Any]) -> Pair | None:
    named: dict[str, str] = {}
    for key, value in found.items():
        name = _KEYS.get(key.strip().lower())
        if name and isinstance(value, str) and (text := _plain(value)):
            named.setdefault(name, text)
    return Pair(**named) if len(named) == len(Pair._fields) else None


def _plain(text: str) -> str:
    """One line without what a reply puts around it: stars, quotes, and the rest of an object cut short."""
    text = " ".join(text.split()).strip("*_ ").rstrip("},` ")
    if len(text) > 1 and _QUOTES.get(text[0]) == text[-1] and text[0] not in text[1:-1]:
        text = text[1:-1].strip()
    # A lone surrogate (an escape of half a character) cannot be stored.
    return text.encode("utf-8", "ignore").decode()
