"""Texts written by a template, where names of control tokens are control tokens, and texts of rows within them."""

from __future__ import annotations

from collections.abc import Iterable
from string import Formatter

TextSpan = tuple[int, int]


class Template(str):
    """Text written by a prompt or chat template; names of control tokens in it (`<|im_start|>`) are control tokens.

    `values`: spans (first character, one beyond the last) of filled-in texts. There, as in any other `str`, a control
    token's name is plain text. String methods give plain `str`.
    """

    values: tuple[TextSpan, ...]

    def __new__(cls, text: str, values: Iterable[TextSpan] = ()) -> Template:
        """Make a template of `text` with the spans of filled-in texts."""
        made = super().__new__(cls, text)
        made.values = tuple(values)
        return made

    @property
    def ends_in_a_value(self) -> bool:
        """True if the last character was filled in."""
        return bool(self.values) and self.values[-1][1] == len(self)

    def head(self, length: int) -> Template:
        """The first `length` characters."""
        return Template(self[:length], [(start, min(stop, length)) for start, stop in self.values if start < length])


def as_rendered(texts: Iterable[str]) -> list[str]:
    """Texts as templates: a chat template rendered them, whole."""
    return [Template(text) for text in texts]


def filled(template: str, **fields: str) -> Template:
    """`template.format(**fields)` as a template with the spans of the fields."""
    text, values = "", []
    for literal, name, form, conversion in Formatter().parse(template):
        text += literal
        if name is None:
            continue
        place = name + (f"!{conversion}" if conversion else "") + (f":{form}" if form else "")
        value = f"{{{place}}}".format(**fields)
        values.append((len(text), len(text) + len(value)))
        text += value
    return Template(text, values)


def without_spaces_at_the_end(prompt: str) -> str:
    """Prompt without the spaces at its end; a template stays a template."""
    length = len(prompt.rstrip(" "))
    return prompt.head(length) if isinstance(prompt, Template) else prompt[:length]
