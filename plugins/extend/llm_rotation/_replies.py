"""Reads a pair out of a reply's answer: a JSON object, fenced or among other text, or labelled lines."""

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
"""An assistant that will not do what is asked: people in stories cannot do many things, but seldom `this request`."""
_NAMES = r"(?:prompt|(?:un)?favou?rable)"
_OBJECT = re.compile(rf"""\{{\s*["'“‘]?\s*{_NAMES}\b|["'“‘]\s*{_NAMES}\s*["'”’]\s*:""", re.IGNORECASE)
"""The beginning of an object, or one of its keys: what stands there is read as JSON or not at all."""
_LAST_COMMA = re.compile(r",(\s*[}\]])")
_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
"""Characters that no line of text holds; half characters, which come from escapes, cannot be stored."""
LONGEST = 20_000
"""Characters of an answer that is read; a longer one is no pair, and would take time that grows with its square."""
_QUOTES = {'"': '"', "“": "”", "'": "'", "‘": "’"}


class ReplyTexts(NamedTuple):
    """The three texts of a reply."""

    prompt: str
    favourable: str
    unfavourable: str


def parse(reply: str) -> ReplyTexts | None:
    """The first whole pair in a reply, or None; white space is evened out and quotes around a text are dropped.

    Labels are looked for only where no object begins: one that is cut short, or has a wrong value, is wrong in any
    form, and its keys look like labels.
    """
    answer = answer_of(reply)
    if answer is None or len(answer) > LONGEST:
        return None
    objects = _all_objects(answer)
    if not objects and not _OBJECT.search(answer):
        objects = [_labelled(answer)]
    return next((pair for one in objects if (pair := _pair(one))), None)


def refuses(text: str) -> bool:
    """Whether a text begins as a model does that declines."""
    return _REFUSAL.match(text) is not None


def _all_objects(answer: str) -> list[Mapping[str, Any]]:
    """The objects with a key of ours; a comma before a closing bracket, which some writers leave, is passed over."""
    for text in dict.fromkeys((answer, _LAST_COMMA.sub(r"\1", answer))):
        if own := [one for one in _objects(text) if any(_KEYS.get(key.strip().lower()) for key in one)]:
            return own
    return []


def _objects(reply: str) -> Iterator[Mapping[str, Any]]:
    """Every JSON object in a text without a key that stands twice, whatever stands around it."""
    decoder, place = json.JSONDecoder(strict=False, object_pairs_hook=_unrepeated), reply.find("{")
    while place >= 0:
        end = place + 1
        try:
            found, end = decoder.raw_decode(reply, place)
        except (ValueError, RecursionError):
            found = None
        if isinstance(found, dict):
            yield found
        place = reply.find("{", end)


def _unrepeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; of a key that stands twice, in two spellings too, nobody knows which value is meant."""
    names = [_KEYS.get(key.strip().lower(), key) for key, _ in pairs]
    if len(set(names)) < len(names):
        raise ValueError("a key stands twice")
    return dict(pairs)


def _labelled(reply: str) -> Mapping[str, str]:
    """Texts after `Prompt:`, `Favourable:` and `Unfavourable:`, each up to the next label or an empty line.

    Of several texts with one label the first is taken: later ones belong to further pairs.
    """
    found: dict[str, str] = {}
    labels = list(_LABEL.finditer(reply))
    for label, following in zip(labels, [*labels[1:], None], strict=False):
        text = reply[label.end() : following.start() if following else len(reply)]
        found.setdefault(label.group(1), text.strip().split("\n\n", 1)[0])
    return found


def _pair(found: Mapping[str, Any]) -> ReplyTexts | None:
    named: dict[str, str] = {}
    for key, value in found.items():
        name = _KEYS.get(key.strip().lower())
        if name and isinstance(value, str) and (text := _plain(value)):
            named.setdefault(name, text)
    return ReplyTexts(**named) if len(named) == len(ReplyTexts._fields) else None


def _plain(text: str) -> str:
    """One line without what a reply puts around it (stars, quotes, brackets); empty where a quote is never closed."""
    text = " ".join(_CONTROLS.sub(" ", text).split()).strip("*_ ").rstrip("},` ")
    if text.startswith(('"', "“")) and (text.count('"') + text.count("“") + text.count("”")) % 2:
        return ""
    if len(text) > 1 and _QUOTES.get(text[0]) == text[-1] and text[0] not in text[1:-1]:
        text = text[1:-1].strip()
    return text
