"""Names and words: a class name means one thing, and a docstring begins with the thing it is about."""

import ast
import re
from collections import defaultdict

import pytest

from tests.architecture.rooms import modules

RIDDLES = r"(What|Whether|Which|Who|How|Where|When|The same|Those|That|Nothing|It|They|One)\b"
"""Openings that put off the noun."""


def test_a_class_name_means_one_thing():
    found = defaultdict(list)
    for name, file in modules().items():
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                found[node.name].append(name)
    assert {name: where for name, where in found.items() if len(where) > 1} == {}


@pytest.mark.parametrize("name", modules())
def test_docstrings_begin_with_a_noun_or_a_verb(name):
    tree = ast.parse(modules()[name].read_text(encoding="utf-8"))
    lists = [body for node in ast.walk(tree) if isinstance(body := getattr(node, "body", None), list)]
    texts = [
        statement.value.value.strip()
        for body in lists
        for statement in body
        if isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    ]
    assert [text.splitlines()[0] for text in texts if re.match(RIDDLES, text)] == []
