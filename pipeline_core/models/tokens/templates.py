"""Texts that a template wrote, in which control tokens are meant, and the texts of rows within them."""

from __future__ import annotations

from collections.abc import Iterable
from string import Formatter

TextSpan = tuple[int, int]


class Template(str):
    """What a prompt or chat template wrote: a control token that stands in it (`<|im_start|>`) is one.

    `values` are the spans (first character, one beyond the last) of what was filled in. There, as in any other `str`,
    a control token's name is plain text. String methods give plain `str`.
    """

    values: tuple[TextSpan, ...]

    def __new__(cls, text: str, values: Iterable[TextSpan] = ()) -> Template:
        """`text` with the spans of what was filled in."""
        made = super().__new__(cls, text)
        made.values = tuple(values)
        return made

    @property
    def ends_in_a_value(self) -> bool:
        """Whether the last character was filled in."""
        return bool(self.values) and self.values[-1][1] == len(self)

    def head(self, length: int) -> Template:
        """The first `length` characters."""
        return Template(self[:length], [(start, min(stop, length)) for start, stop in self.values if start < length])


def as_rendered(texts: Iterable[str]) -> list[str]:
    """Texts that a chat template has rendered, whole."""
    return [Template(text) for text in texts]


def filled(template: str, **fields: str) -> Template:
    """`template.format(**fields)` that knows which parts are the fields'."""
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
    """The prompt up to its last character that is no space; a template stays one."""
    length = len(prompt.rstrip(" "))
    return prompt.head(length) if isinstance(prompt, Template) else prompt[:length]
