"""Evaluations without data of their own measure the held-out part of the run's data, or ask for some."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from pipeline_core.data.catalog import Catalog
from pipeline_core.data.refs import ComparedOnly, DataRef, HeldOutPart, SandboxDefault, places_of
from pipeline_core.errors import BadInput, quoted
from pipeline_core.plugin.specs import LIST_STAGES, PluginConfig

if TYPE_CHECKING:
    from pipeline_core.pipeline.config import PipelineConfig

NAMES = ("heldout", "held_out", "held-out", "test", "validation", "valid", "val", "dev", "eval")
"""Splits that are held out by custom; the first is taken that an entry has and nothing else in the run names."""
TAUGHT_STAGES = tuple(stage for stage in LIST_STAGES if stage != "evaluate")
"""Stages that may learn from the data that they name."""


def with_held_out(config: PipelineConfig, catalog: Catalog) -> PipelineConfig:
    """A copy in which marked settings that are not given name rows.

    Raises:
        BadInput: the run has no data, or none that are known to be held out; says which setting to give.
    """
    changed: dict[str, list[PluginConfig]] = {}
    for stage in LIST_STAGES:
        entries = config.entries(stage)
        filled = [_filled(f"{stage}.{index}", entry, config, catalog) for index, entry in enumerate(entries)]
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
        f"{place}.{name} ({entry.name}): stands for the sandbox's unless it is given, and the run's data are "
        f"{quoted(config.data.entry)}; give {mark.choices}"
        for place, entry in config.placed(*LIST_STAGES)
        for name, field in type(entry).model_fields.items()
        for mark in field.metadata
        if isinstance(mark, SandboxDefault) and name not in entry.model_fields_set
    ]


def _filled(where: str, entry: PluginConfig, config: PipelineConfig, catalog: Catalog) -> PluginConfig:
    fields = type(entry).model_fields
    marked = [name for name in fields if any(isinstance(mark, HeldOutPart) for mark in fields[name].metadata)]
    empty = [name for name in marked if getattr(entry, name) is None]
    update = {name: _held_out(f"{where}.{name} ({entry.name})", config, catalog) for name in empty}
    return entry.model_copy(update=update)


def _held_out(where: str, config: PipelineConfig, catalog: Catalog) -> DataRef:
    if config.data is None:
        raise BadInput(f"{where}: the run has no `data` to hold a part of out; name rows, e.g. `{{entry: mine}}`")
    from pipeline_core.data.reading import known_splits, split_of

    name = config.data.entry
    entry = catalog.entry(name, "data")
    known, trained = known_splits(entry), split_of(config.data, entry)
    refused: dict[str, str] = {}
    for split in (one for one in NAMES if one in known and trained not in (None, one)):
        ref = DataRef(entry=name, split=split)
        taken = _taken_by(ref, config, catalog)
        if not taken:
            return ref
        refused[split] = f"{quoted(split)} {taken}"
    splits = f" beside {quoted(trained)}" if trained else ""
    why = f" ({'; '.join(refused.values())})" if refused else ""
    raise BadInput(
        f"{where}: {quoted(name)} has no part{splits} that is known to be held out{why}; "
        f"{_advice(name, [split for split in known if split != trained and split not in refused])}"
    )


def _advice(name: str, others: Sequence[str]) -> str:
    """What to do about it; a split is named only where the entry has one."""
    if others:
        return f"name rows that nothing is trained on, e.g. `{{entry: {name}, split: {others[0]}}}`"
    return "name rows of another entry, or give this one splits in the catalog (`split_by`, `split_column`)"


def _taken_by(ref: DataRef, config: PipelineConfig, catalog: Catalog) -> str:
    """Why rows are not known to be held out: who else names them, or files of them; empty where nobody does."""
    for where, other in _taught_refs(config):
        if _splits_meet(ref, other, catalog):
            return f"is named by {where}"
        if file := _shared_file(ref, other, catalog):
            return f"shares the file {quoted(file, 200)} with {where}"
    return ""


def _taught_refs(config: PipelineConfig) -> Iterator[tuple[str, DataRef]]:
    """Data that a stage may learn from, by the words for their place."""
    if config.data:
        yield "data", config.data
    for place, entry in config.placed(*TAUGHT_STAGES):
        for path, ref, field in places_of(entry):
            if not any(isinstance(mark, ComparedOnly) for mark in field.metadata):
                yield f"{place}.{path} ({entry.name})", ref


def _splits_meet(ref: DataRef, other: DataRef, catalog: Catalog) -> bool:
    """Whether two references name one split of one entry; without a split all of them are meant."""
    if ref.entry != other.entry:
        return False
    entry = catalog.entries[ref.entry]
    with suppress(BadInput):  # an unknown split is told where it is loaded
        from pipeline_core.data.reading import split_of

        return split_of(other, entry) in (None, split_of(ref, entry))
    return False


def _shared_file(ref: DataRef, other: DataRef, catalog: Catalog) -> str:
    """A file from which both take the same rows; empty where there is none, or where the files are not at hand."""
    of_one = ref.entry == other.entry
    ours = _files(ref, catalog, whole=not of_one)
    return min((file for file in ours & _files(other, catalog, whole=not of_one)), default="") if ours else ""


def _files(ref: DataRef, catalog: Catalog, *, whole: bool) -> set[str]:
    """Files of a split; with `whole` only where all their rows are taken. Of the hub's files the names as written: to
    ask for others would be a request.
    """
    from pipeline_core.data.entries import HubEntry
    from pipeline_core.data.file_entries import Files
    from pipeline_core.data.file_search import files_of
    from pipeline_core.data.reading import split_of

    entry = catalog.entries.get(ref.entry)
    if not isinstance(entry, Files) or entry.split_name or (whole and entry.pick):
        return set()
    with suppress(BadInput):  # a split that is unknown and files that are not there are told where they are loaded
        split = split_of(ref, entry)
        if isinstance(entry, HubEntry):
            return set() if whole else set(entry.patterns(split))
        return {str(file.resolve()) for file in files_of(ref.entry, entry, split)}
    return set()
