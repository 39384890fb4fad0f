"""Evaluations without data of their own measure the held-out part of the run's data, or ask for some."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pipeline_core.catalog import Catalog, DataRef
from pipeline_core.errors import BadInput, quoted
from pipeline_core.specs import LIST_STAGES, PluginConfig

if TYPE_CHECKING:
    from pipeline_core.config import PipelineConfig

NAMES = ("heldout", "held_out", "held-out", "test", "validation", "valid", "val", "dev", "eval")
"""Splits that nothing is trained on, the first of them that an entry has and the run does not take."""


@dataclass(frozen=True)
class HeldOut:
    """Marks a setting that stands for the held-out part of the run's data where it is not given."""


@dataclass(frozen=True)
class OfTheSandbox:
    """Marks a setting whose default is about the sandbox; with other data it has to be given, as `choices` says."""

    choices: str


HeldOutRef = Annotated[DataRef | None, HeldOut()]


def given(ref: DataRef | None) -> DataRef:
    """The reference of a marked setting, which is filled in when a configuration is read.

    Raises:
        BadInput: a plugin is run by hand and without it.
    """
    if ref is None:
        raise BadInput("`data` is not given, and outside a run there is no other to take a held-out part of")
    return ref


def with_held_out(config: PipelineConfig, catalog: Catalog) -> PipelineConfig:
    """A copy in which marked settings that are not given name rows.

    Raises:
        BadInput: the run has no data, or none that are known to be held out; says which setting to give.
    """
    changed: dict[str, list[PluginConfig]] = {}
    for stage in LIST_STAGES:
        entries: list[PluginConfig] = getattr(config, stage)
        filled = [_filled(f"{stage}.{index}", entry, config.data, catalog) for index, entry in enumerate(entries)]
        if filled != entries:
            changed[stage] = filled
    return config.model_copy(update=changed)


def sandbox_problems(config: PipelineConfig, catalog: Catalog) -> list[str]:
    """Settings that would speak of the sandbox's invented peoples though the run's rows are others."""
    if config.data is None or config.data.entry not in catalog.entries:
        return []
    if catalog.entries[config.data.entry].kind == "sandbox":
        return []
    return [
        f"{stage}.{index}.{name} ({entry.name}): stands for the sandbox's unless it is given, and the run's data are "
        f"{quoted(config.data.entry)}; give {mark.choices}"
        for stage in LIST_STAGES
        for index, entry in enumerate(getattr(config, stage))
        for name, field in type(entry).model_fields.items()
        for mark in field.metadata
        if isinstance(mark, OfTheSandbox) and name not in entry.model_fields_set
    ]


def _filled(where: str, entry: PluginConfig, data: DataRef | None, catalog: Catalog) -> PluginConfig:
    fields = type(entry).model_fields
    marked = [name for name in fields if any(isinstance(mark, HeldOut) for mark in fields[name].metadata)]
    update: dict[str, Any] = {}
    for name in marked:
        if getattr(entry, name) is None:
            update[name] = _held_out(f"{where}.{name} ({entry.name})", data, catalog)
    return entry.model_copy(update=update)


def _held_out(where: str, data: DataRef | None, catalog: Catalog) -> DataRef:
    if data is None:
        raise BadInput(f"{where}: the run has no `data` to hold a part of out; name rows, e.g. `{{entry: mine}}`")
    from pipeline_core.catalog.reading import known_splits, split_of

    entry = catalog.entry(data.entry, "data")
    known, trained = known_splits(entry), split_of(data, entry)
    split = next((name for name in NAMES if name in known and trained not in (None, name)), None)
    if split is None:
        splits = f" beside {quoted(trained)}" if trained else ""
        raise BadInput(
            f"{where}: {quoted(data.entry)} has no part{splits} that is known to be held out; name rows that "
            f"nothing is trained on, e.g. `{{entry: {data.entry}, split: test}}`"
        )
    return DataRef(entry=data.entry, split=split)
