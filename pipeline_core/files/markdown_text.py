"""Texts of others in Markdown: what people and models have written stays text, and becomes no markup that acts."""

from __future__ import annotations

import re

TAG = re.compile(r"<(?=[A-Za-z/!?])")
"""Begin of an HTML tag or of a link in angle brackets; `p < 0.05` is neither."""
LINK = re.compile(r"\](?=[(:])")
"""End of a link's text, also that of an image or of a reference: an address would follow."""
BREAK = re.compile(r"[ \t]*[\r\n\v\f\x85\u2028\u2029]+[ \t]*")


def inert(text: str) -> str:
    """`text` on one line without HTML, links and images of its own; emphasis and code spans stay.

    A link's text loses its address by a backslash before it, which a reader of Markdown does not show.
    """
    return LINK.sub(r"]\\", TAG.sub("&lt;", BREAK.sub(" ", text)))


def code_span(text: str) -> str:
    """`text` as a code span; a reader of Markdown takes nothing in it for markup."""
    text = BREAK.sub(" ", text)
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    return f"{fence} {text} {fence}" if longest else f"`{text}`"


def fence_of(text: str) -> str:
    """Backticks that fence a code block, more than any run of backticks in `text`."""
    return "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))


class Verbatim(str):
    """Text that a template prints as it is: Markdown of our own, or the content of a code block."""


def finalized(value: object) -> object:
    """`finalize` of a jinja environment for Markdown: all that a template prints is inert, unless it is `Verbatim`."""
    return value if isinstance(value, Verbatim) else inert(str(value))
