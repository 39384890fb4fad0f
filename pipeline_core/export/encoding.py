"""The code that turns texts into token ids, as one file that needs no Evenhand: exports read texts as the stage did."""

from __future__ import annotations

import ast
import re
from importlib.resources import files

MODULES = ("joining", "templates", "control", "ids", "frames", "encoding")
"""Modules of `pipeline_core.models.tokens`. No two of them give one name to different things."""
HEAD = '''"""How prompts and completions become token ids: the modules of Evenhand's `pipeline_core.models.tokens`."""

from __future__ import annotations

from transformers import PreTrainedTokenizerBase


class BadInput(ValueError):
    """A text or a tokenizer that cannot be used."""
'''


def encoding_code() -> str:
    """The modules one after the other, without imports of each other."""
    package = files("pipeline_core.models.tokens")
    codes = [(package / f"{name}.py").read_text(encoding="utf-8") for name in MODULES]
    return re.sub(r"\n{4,}", "\n\n\n", "\n\n".join([HEAD, *map(_standing_alone, codes)]))


def _standing_alone(code: str) -> str:
    """A module without its imports of Evenhand, and without those that only type checkers read."""
    lines = code.splitlines()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, (ast.ImportFrom, ast.If)) and _is_left_out(node):
            lines[node.lineno - 1 : node.end_lineno] = [""] * ((node.end_lineno or 0) - node.lineno + 1)
    return "\n".join(lines) + "\n"


def _is_left_out(node: ast.ImportFrom | ast.If) -> bool:
    if isinstance(node, ast.If):
        return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    return node.module == "__future__" or (node.module or "").startswith("pipeline_core")
