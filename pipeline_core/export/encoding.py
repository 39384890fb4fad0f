"""Code that turns texts into token ids, as one file without Evenhand, so that exports encode texts like the stage."""

from __future__ import annotations

import ast
import re
from importlib.resources import files

MODULES = ("joining", "templates", "control", "ids", "frames", "encoding")
"""Modules of `pipeline_core.models.tokens`. A name must not stand for different things in two of them."""
HEAD = '''"""Turns prompts and completions into token ids: the modules of Evenhand's `pipeline_core.models.tokens`."""

from __future__ import annotations

from transformers import PreTrainedTokenizerBase


class BadInput(ValueError):
    """A text or a tokenizer that cannot be used."""
'''


def encoding_code() -> str:
    """Code of the modules in this order, without imports of each other."""
    package = files("pipeline_core.models.tokens")
    codes = [(package / f"{name}.py").read_text(encoding="utf-8") for name in MODULES]
    return re.sub(r"\n{4,}", "\n\n\n", "\n\n".join([HEAD, *map(_standing_alone, codes)]))  # removed imports leave gaps


def _standing_alone(code: str) -> str:
    """Code of a module without imports of Evenhand and without imports for type checkers only."""
    lines = code.splitlines()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, (ast.ImportFrom, ast.If)) and _is_left_out(node):
            # Blank lines in their place keep the line numbers of later nodes.
            lines[node.lineno - 1 : node.end_lineno] = [""] * ((node.end_lineno or 0) - node.lineno + 1)
    return "\n".join(lines) + "\n"


def _is_left_out(node: ast.ImportFrom | ast.If) -> bool:
    if isinstance(node, ast.If):
        return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    # `HEAD` has it, and it may stand at the top alone.
    return node.module == "__future__" or (node.module or "").startswith("pipeline_core")
