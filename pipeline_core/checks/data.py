"""Checks of a configuration's data against the catalog, without reading rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pydantic.fields import FieldInfo

from pipeline_core.data.catalog import Catalog
from pipeline_core.data.refs import DataRef, TakesRows, places_of
from pipeline_core.errors import suggestion
from pipeline_core.pipeline.config import PipelineConfig, label_of
from pipeline_core.plugin.registry import Registry
from pipeline_core.plugin.specs import MergingConfig, PluginConfig

OWN_ROWS = "data"
"""Label of the pipeline's own rows among parts to combine."""


def plugin_entries(config: PipelineConfig) -> Iterator[tuple[str, PluginConfig]]:
    """Place, such as `policy.0 (dpo)`, and configuration of every plugin entry."""
    return ((f"{place} ({entry.name})", entry) for place, entry in config.placed())


def takers_of_rows(config: PipelineConfig) -> Iterator[tuple[str, PluginConfig]]:
    """Entries that take the pipeline's rows: rewards and policies without data of their own.

    With extensions, only the extensions take them; rewards and policies take the extended rows.
    """
    stages = ("extend",) if config.extend else ("reward", "policy")
    for where, entry in plugin_entries(config):
        if where.startswith(stages) and not getattr(entry, "data", None):
            yield where, entry


def data_problems(config: PipelineConfig, catalog: Catalog) -> list[str]:
    """Messages about the data of a configuration: wrong kind of rows, unknown columns to stratify by.

    Unknown catalog entries are skipped here; loading them raises an error.
    """
    problems = [problem for where, entry in plugin_entries(config) for problem in _problems_in(where, entry, catalog)]
    if config.data and config.data.entry in catalog.entries:
        takers = [(where, entry) for where, entry in takers_of_rows(config) if entry.row_kinds]
        for where, entry in takers:
            problems += _kind_problem(f"data, which {where} takes", config.data, entry.row_kinds, catalog)
        problems += _column_problems("data", config.data, catalog)
    return problems


def _problems_in(where: str, entry: PluginConfig, catalog: Catalog) -> list[str]:
    problems: list[str] = []
    place, _, plugin = where.partition(" ")
    for path, ref, field in places_of(entry):
        if ref.entry in catalog.entries:
            at = f"{place}.{path} {plugin}"
            problems += _kind_problem(at, ref, _kinds_of(field, catalog), catalog)
            problems += _column_problems(at, ref, catalog)
    return problems


def _kinds_of(field: FieldInfo, catalog: Catalog) -> Sequence[str]:
    """Kinds of rows a setting takes: declared ones, else the kind of its default; empty if unknown."""
    if declared := next((mark for mark in field.metadata if isinstance(mark, TakesRows)), None):
        return declared.kinds
    default = field.default
    known = isinstance(default, DataRef) and default.entry in catalog.entries
    return (catalog.entries[default.entry].rows,) if known else ()


def _kind_problem(where: str, ref: DataRef, kinds: Sequence[str], catalog: Catalog) -> list[str]:
    kind = catalog.entries[ref.entry].rows
    if not kinds or kind in kinds:
        return []
    fitting = [name for name, entry in catalog.entries.items() if entry.rows in kinds]
    words = " or ".join(kinds)
    return [f"{where}: {ref.entry!r} holds {kind} rows, and {words} rows are needed (as in {', '.join(fitting)})"]


def _column_problems(where: str, ref: DataRef, catalog: Catalog) -> list[str]:
    columns = catalog.entries[ref.entry].row_columns()
    unknown = [column for column in ref.stratify if column not in columns]
    place, _, plugin = where.partition(" ")
    at = f"{place}.stratify {plugin}".strip()
    return [f"{at}: {ref.entry!r} has no column {column!r}. {suggestion(column, columns)}" for column in unknown]


def hub_needs(config: PipelineConfig, catalog: Catalog) -> list[str]:
    """Downloads of a configuration from the hub, data first, without repetitions."""
    refs = [ref for _, entry in plugin_entries(config) for _, ref, _ in places_of(entry)]
    entries = {ref.entry: catalog.entries.get(ref.entry) for ref in [*([config.data] if config.data else []), *refs]}
    data = [f"data {name} ({entry.repo})" for name, entry in entries.items() if entry and entry.kind == "hub"]
    return list(dict.fromkeys([*data, *(need for _, entry in plugin_entries(config) for need in entry.needs_hub())]))


def merging_entries(
    config: PipelineConfig, registry: Registry
) -> Iterator[tuple[int, MergingConfig, dict[str, PluginConfig | None]]]:
    """Combining extensions: position, configuration, and the entry that makes each part, by label (None: `data`)."""
    parts: dict[str, PluginConfig | None] = {OWN_ROWS: None} if config.data else {}
    for place, entry in enumerate(config.extend):
        if not registry.combines("extend", entry.name):
            parts = parts | {label_of(entry): entry}
            continue
        if isinstance(entry, MergingConfig):
            yield place, entry, parts
        parts = {label_of(entry): entry}
