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
        return load_document(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise BadInput(f"{where}, line {line}: not UTF-8 text (byte 0x{content[error.start]:02x})") from None
    except yaml.reader.ReaderError as error:
        line = content.decode("utf-8")[: error.position].count("\n") + 1
        raise BadInput(f"{where}, line {line}: {_character(error)} is not allowed in YAML") from None
    except yaml.YAMLError as error:
        place, reason = problem_of(error)
        raise BadInput(f"{where}{f', line {place}' if place else ''}{reason}") from None


def parse_value(text: str, where: str) -> Any:
    """Value of a text that holds a single YAML value.

    Raises:
        BadInput: it is not YAML.
    """
    try:
        return load_document(text)
    except yaml.reader.ReaderError as error:
        raise BadInput(f"{where}: {_character(error)} is not allowed in YAML") from None
    except yaml.YAMLError as error:
        raise BadInput(f"{where}{problem_of(error)[1]}") from None


def _character(error: yaml.reader.ReaderError) -> str:
    return f"character U+{ord(error.character) if isinstance(error.character, str) else error.character:04X}"
