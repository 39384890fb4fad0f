"""Reading of YAML that people wrote; an error is one sentence with the file and the place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from pipeline_core.errors import BadInput
from pipeline_core.files.yaml_reading import load_document, problem_of


def read_yaml(path: Path) -> Any:
    """Content of a YAML file.

    Raises:
        BadInput: the file cannot be read, is not UTF-8 or holds a lone surrogate (with the line), or is not YAML.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}") from None
    return parse_yaml(content, str(path))


def parse_yaml(content: bytes, where: str) -> Any:
    """Content of YAML text (`pipeline_core.files.yaml_reading`); `where` names it in messages.

    Raises:
        BadInput: see `read_yaml`.
    """
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise BadInput(f"{where}, line {line}: not UTF-8 text (byte 0x{content[error.start]:02x})") from None
    return parse_value(text, where, lines=True)


def parse_value(text: str, where: str, *, lines: bool = False) -> Any:
    """Value of a YAML text; with `lines` messages name the line.

    Raises:
        BadInput: it is not YAML.
    """
    try:
        return load_document(text)
    except yaml.reader.ReaderError as error:
        code = ord(error.character) if isinstance(error.character, str) else error.character
        line: int | None = text[: error.position].count("\n") + 1
        reason = f": character U+{code:04X} is not allowed in YAML"
    except yaml.YAMLError as error:
        line, reason = problem_of(error)
    raise BadInput(f"{where}{f', line {line}' if lines and line else ''}{reason}")
