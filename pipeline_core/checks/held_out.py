"""Fills in held-out data for evaluations without data of their own, or asks the user for some."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress

from pipeline_core.data.catalog import Catalog
from pipeline_core.data.entries import HubEntry
from pipeline_core.data.file_entries import Files
from pipeline_core.data.file_search import files_of
from pipeline_core.data.identity import known_splits, split_of
from pipeline_core.data.refs import ComparedOnly, DataRef, HeldOutPart, SandboxDefault, places_of
from pipeline_core.errors import BadInput, quoted
from pipeline_core.pipeline.config import PipelineConfig
from pipeline_core.plugin.specs import LIST_STAGES, PluginConfig

NAMES = ("heldout", "held_out", "held-out", "test", "validation", "valid", "val", "dev", "eval")
"""Usual names of held-out splits. The first one is taken that the entry has and no other setting of the run names."""
TAUGHT_STAGES = tuple(stage for stage in LIST_STAGES if stage != "evaluate")
"""Stages that may learn from the data named in their settings."""


def with_held_out(config: PipelineConfig, catalog: Catalog) -> PipelineConfig:
    """Copy of a configuration in which unset settings marked `HeldOutPart` name held-out rows.

    Raises:
        BadInput: the run has no data, or no part known to be held out; the message names the setting to give.
    """
    changed: dict[str, list[PluginConfig]] = {}
    for stage in LIST_STAGES:
        entries = config.entries(stage)
        filled = [_filled(f"{stage}.{index}", entry, config, catalog) for index, entry in enumerate(entries)]
        if filled != entries:
            changed[stage] = filled
    return config.model_copy(update=changed)


def sandbox_problems(config: PipelineConfig, catalog: Catalog) -> list[str]:
    """Messages about unset settings whose default suits only the sandbox's invented peoples, in runs on other rows."""
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
    name = config.data.entry
    entry = catalog.entry(name, "data")
    known, trained = known_splits(entry), split_of(config.data, entry)
    refused: dict[str, str] = {}
    for split in (usual for usual in NAMES if usual in known and trained not in (None, usual)):  # None reads all
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
    """Remedy for the error message; it names a split if the entry has another one."""
    if others:
        return f"name rows that nothing is trained on, e.g. `{{entry: {name}, split: {others[0]}}}`"
    return "name rows of another entry, or give this one splits in the catalog (`split_by`, `split_column`)"


def _taken_by(ref: DataRef, config: PipelineConfig, catalog: Catalog) -> str:
    """Reason why rows are not known to be held out: the setting that names them or a file of theirs; else empty."""
    for where, other in _taught_refs(config):
        if _splits_meet(ref, other, catalog):
            return f"is named by {where}"
        if file := _shared_file(ref, other, catalog):
            return f"shares the file {quoted(file, 200)} with {where}"
    return ""


def _taught_refs(config: PipelineConfig) -> Iterator[tuple[str, DataRef]]:
    """Places and references of data that a stage may learn from."""
    if config.data:
        yield "data", config.data
    for place, entry in config.placed(*TAUGHT_STAGES):
        for path, ref, field in places_of(entry):
            if not any(isinstance(mark, ComparedOnly) for mark in field.metadata):
                yield f"{place}.{path} ({entry.name})", ref


def _splits_meet(ref: DataRef, other: DataRef, catalog: Catalog) -> bool:
    """True if two references share a split of an entry; a reference without a split means all splits."""
    if ref.entry != other.entry:
        return False
    entry = catalog.entries[ref.entry]
    with suppress(BadInput):  # loading an unknown split raises an error
        return split_of(other, entry) in (None, split_of(ref, entry))
    return False


def _shared_file(ref: DataRef, other: DataRef, catalog: Catalog) -> str:
    """A file from which both references take rows; empty if there is none or the files are not available."""
    same_entry = ref.entry == other.entry
    ours = _files(ref, catalog, whole=not same_entry)
    return min((file for file in ours & _files(other, catalog, whole=not same_entry)), default="") if ours else ""


def _files(ref: DataRef, catalog: Catalog, *, whole: bool) -> set[str]:
    """Files of a split; with `whole` none unless all their rows are taken. Hub files are the patterns as written:
    resolving them would need a request.
    """
    entry = catalog.entries.get(ref.entry)
    # Splits that are drawn or told by a column share files and no rows; `pick` takes some rows of a file.
    if not isinstance(entry, Files) or entry.split_name or (whole and entry.pick):
        return set()
    with suppress(BadInput):  # loading unknown splits or missing files raises an error
        split = split_of(ref, entry)
        if isinstance(entry, HubEntry):
            return set() if whole else set(entry.patterns(split))
        return {str(file.resolve()) for file in files_of(ref.entry, entry, split)}
    return set()
