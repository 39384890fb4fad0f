"""Reads YAML that people wrote; what is wrong with it is one sentence with the file and the place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from pipeline_core.errors import BadInput


def read_yaml(path: Path) -> Any:
    """What a YAML file holds.

    Raises:
        BadInput: the file cannot be read, is not UTF-8 (with the line), or is not YAML.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}") from None
    return parse_yaml(content, str(path))


def parse_yaml(content: bytes, where: str) -> Any:
    """What YAML text holds; `where` is how messages call it.

    Raises:
        BadInput: see `read_yaml`.
    """
    try:
        return yaml.safe_load(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise BadInput(f"{where}, line {line}: not UTF-8 text (byte 0x{content[error.start]:02x})") from None
    except yaml.YAMLError as error:
        raise BadInput(f"{where} is not YAML: {error}") from None
