"""Writes the reference pages from the code: `python -m flows.reference docs`. A test checks that they are current."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeGuard, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from pipeline_core.data.refs import DataRef
from pipeline_core.gate.settings import Limit, Registration
from pipeline_core.pipeline.config import PipelineConfig
from pipeline_core.plugin.registry import DISTRIBUTION, load_registry
from pipeline_core.plugin.specs import STAGES, PluginConfig, PolicyConfig, Spec
from pipeline_core.stage.settings import ExecutionSettings

SHARED = {"label", "processes", "start_from", "name"}


def pages() -> dict[str, str]:
    """Reference pages by file name."""
    return {"plugins.md": _plugins_page(), "configuration.md": _configuration_page()}


def _plugins_page() -> str:
    lines = [
        "# Plugins",
        "",
        "Made from the code by `make docs`. `evenhand plugins --json` gives the same with JSON schemas.",
        "",
        "Every entry also takes the settings of [all entries](configuration.md#all-entries).",
        "",
    ]
    for stage in STAGES:
        lines += [f"## {stage}", ""]
        for spec in load_registry().specs(stage):
            if load_registry().origin(spec).distribution == DISTRIBUTION:
                lines += _plugin(spec)
    return "\n".join(lines)


def _plugin(spec: Spec) -> Iterator[str]:
    yield f"### `{spec.name}`"
    yield ""
    yield from (" ".join(part.split()) + "\n" for part in (spec.config.__doc__ or "").split("\n\n"))
    fields = {name: field for name, field in spec.config.model_fields.items() if name not in SHARED}
    yield from _table(_with_inner(fields))


def _with_inner(fields: dict[str, FieldInfo]) -> dict[str, FieldInfo]:
    """Fields by dotted name; a field that holds settings is followed by these."""
    flat: dict[str, FieldInfo] = {}
    for name, field in fields.items():
        flat[name] = field
        inner = [part for part in (field.annotation, *get_args(field.annotation)) if _holds_settings(part)]
        nested = (_with_inner(model.model_fields) for model in inner)
        flat |= {f"{name}.{key}": setting for inner_fields in nested for key, setting in inner_fields.items()}
    return flat


def _holds_settings(annotation: Any) -> TypeGuard[type[BaseModel]]:
    # References have a table of their own on the page of configurations.
    return isinstance(annotation, type) and issubclass(annotation, BaseModel) and annotation is not DataRef


def _configuration_page() -> str:
    lines = [
        "# Configuration",
        "",
        "Made from the code by `make docs`. A preset or a YAML file holds these keys;",
        "`evenhand run PRESET key=value` overrides any of them by its dotted path (`policy.0.beta=.1`, `seeds=0,1`).",
        "",
    ]
    tables = {
        "The pipeline": PipelineConfig.model_fields,
        "All entries": {**PluginConfig.model_fields, **PolicyConfig.model_fields},
        "`data`": DataRef.model_fields,
        "`gate`, every limit": Limit.model_fields,
        "`register_as`": Registration.model_fields,
        "`runner`": ExecutionSettings.model_fields,
    }
    for title, fields in tables.items():
        lines += [f"## {title}", "", *_table(fields)]
    return "\n".join(lines)


def _table(fields: dict[str, FieldInfo]) -> Iterator[str]:
    if not fields:
        return
    yield "| setting | default | meaning |"
    yield "|---|---|---|"
    for name, field in fields.items():
        meaning = " ".join((field.description or "").split()).replace("|", "\\|")
        yield f"| `{name}` | {_default(field)} | {meaning} |"
    yield ""


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    default: Any = field.get_default(call_default_factory=True, validated_data={})
    if default is PydanticUndefined or default is None:
        return "–"
    if hasattr(default, "model_dump"):
        default = default.model_dump(exclude_defaults=True) or "defaults"
    return f"`{default}`".replace("|", "\\|").replace("\n", "\\n")


def main(folder: str) -> None:
    """Write all pages below `folder`/reference."""
    target = Path(folder) / "reference"
    target.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (target / name).write_text(text.rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
