"""Texts of others in Markdown, read by a Markdown reader that does not remove HTML."""

from __future__ import annotations

import pytest

from pipeline_core.files.markdown_tables import markdown_table
from pipeline_core.files.markdown_text import code_span, fence_of, inert

PLANTED = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[x](javascript:alert(1))",
    "![](http://elsewhere/pixel.png)",
    "\\[x](javascript:alert(1))",
    "[x\\](javascript:alert(1))",
    "[x]\n(javascript:alert(1))",
    "<javascript:alert(1)>",
    "a\n\n<script>alert(1)</script>\n",
    "a\u2028[x]: javascript:alert(1)",
    "| a | `b` | **c**",
    "``` \n<script>alert(1)</script>",
    "`<b>`[x](javascript:alert(1))`",
]


def read(markdown):
    from markdown_it import MarkdownIt

    reader = MarkdownIt("commonmark", {"html": True}).enable("table")
    reader.validateLink = lambda _: True  # readers differ in which addresses they refuse
    return reader.render(markdown)


def acts(html):
    return [mark for mark in ("<script", "<img", "<a ") if mark in html.lower()]


@pytest.mark.parametrize("text", PLANTED)
def test_a_planted_text_does_nothing_where_it_is_printed(text):
    assert acts(read(inert(text))) == []
    assert acts(read(f"- a {inert(text)} b")) == []
    assert acts(read("\n".join(markdown_table(["a", "b"], [[text, text], ["1", "2"]])))) == []
    assert acts(read(code_span(text))) == []
    assert acts(read(f"{fence_of(text)}\n{text}\n{fence_of(text)}")) == []


def test_the_reader_of_this_test_would_see_them():
    assert sum(bool(acts(read(text))) for text in PLANTED) >= 7


@pytest.mark.parametrize("text", ["p < 0.05 [1.2, 3.4]", "`key` **3.5** sandbox_bias", "a <= b -> c", "[x] and (y)"])
def test_our_own_texts_stay(text):
    assert inert(text) == text


@pytest.mark.parametrize("text", PLANTED)
def test_a_text_that_is_inert_stays(text):
    assert inert(inert(text)) == inert(text)
