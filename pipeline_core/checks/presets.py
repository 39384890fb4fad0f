"""Configurations from shipped presets (by name) or YAML files (by path)."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from pipeline_core.errors import BadInput, UnknownName, quoted
from pipeline_core.files.atomic import user_path
from pipeline_core.files.yaml_files import parse_yaml, read_yaml

SUFFIXES = (".yaml", ".yml")


def preset_names() -> list[str]:
    """Names of the shipped presets."""
    return sorted(Path(item.name).stem for item in _folder().iterdir() if item.name.endswith(SUFFIXES))


def read_source(source: str | Path | Mapping[str, Any]) -> dict[str, Any]:
    """Document of a preset (by name) or a YAML file (by path), or a copy of a mapping."""
    if isinstance(source, Mapping):
        return dict(source)
    path = user_path(source)
    if path.suffix in SUFFIXES or len(path.parts) > 1:
        if not path.is_file():
            raise BadInput(f"there is no configuration file {quoted(str(path))}")
        return _document(read_yaml(path), str(path), path.stem)
    if str(source) not in preset_names():
        raise UnknownName("preset", str(source), preset_names(), note="A file is given by its path, e.g. ./my.yaml.")
    where = f"preset {source}"
    return _document(parse_yaml((_folder() / f"{source}.yaml").read_bytes(), where), where, str(source))


def _folder() -> Any:
    return resources.files("data_catalog") / "presets"


def _document(document: Any, where: str, name: str) -> dict[str, Any]:
    if not isinstance(document, dict):
        raise BadInput(f"{where}: expected keys such as `base:` and `policy:`, found {type(document).__name__}")
    return {"name": name, **document}
