"""`evenhand data quality`: diversity, balance, coverage and contamination of preference rows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from flows.output import AsJson, print_json, say, table
from pipeline_core.errors import BadInput, GateFailed

if TYPE_CHECKING:
    from datasets import Dataset

    from pipeline_core.data.catalog import Catalog
    from pipeline_core.data.refs import DataRef
    from pipeline_core.quality.model import Quality
    from pipeline_core.quality.settings import QualitySettings

SetsArgument = Annotated[
    list[str], typer.Argument(metavar="NAME|KEY...", help="Catalog entries, or the starts of artifacts' keys.")
]
SET = "ENTRY[/SPLIT]"
KEY = re.compile("[0-9a-f]+")


def quality(
    which: SetsArgument,
    split: Annotated[str | None, typer.Option(help="Part of every entry.")] = None,
    rows: Annotated[int | None, typer.Option(min=1, help="A sample of so many rows, by domain; else all.")] = None,
    embedding: Annotated[str, typer.Option(help="tfidf, minilm, an encoder's folder, or a hub id.")] = "tfidf",
    human: Annotated[str | None, typer.Option(metavar=SET, help="Rows by people, to compare diversity with.")] = None,
    against: Annotated[list[str] | None, typer.Option(metavar=SET, help="Evaluation sets to look for.")] = None,
    gate: Annotated[list[str] | None, typer.Option(metavar="LIMIT=VALUE", help="A limit of `quality.gate`.")] = None,
    as_json: AsJson = False,
) -> None:
    """Report the quality of preference rows: diversity, near-duplicates, balance, coverage, contamination.

    Several sets are shown side by side. A set that breaks a limit ends the command with exit code 3.
    """
    from pipeline_core.data.catalog import Catalog
    from pipeline_core.quality.items import evaluation_items
    from pipeline_core.quality.report import SIMILARITY, measure_quality, repeats_in

    catalog = Catalog.from_environment()
    settings = _settings(embedding, human, _limits(gate or (), bool(against)), catalog)
    tables = dict(_rows(name, split, rows, catalog) for name in which)
    items = evaluation_items(catalog, [_ref(entry, catalog) for entry in against or ()], SIMILARITY)
    compared = catalog.load(settings.human) if settings.human else None
    measured = {
        name: measure_quality(name, {name: data}, settings, compared, repeats_in({name: data}, items, SIMILARITY))
        for name, data in tables.items()
    }
    if as_json:
        documents = [quality.model_dump(mode="json") for quality in measured.values()]
        print_json(documents if len(which) > 1 else documents[0])
    else:
        _show(measured)
    _check(measured.values(), settings)


def _limits(gate: Sequence[str], compared: bool) -> dict[str, float]:
    """Limits parsed from `name=value`; `_settings` checks names and ranges."""
    limits: dict[str, float] = {}
    for limit in gate:
        name, _, value = limit.partition("=")
        if name in limits:
            raise BadInput(f"--gate {name} is given twice; give each limit once")
        try:
            limits[name] = float(value)
        except ValueError:
            raise BadInput(f"--gate {limit}: give a limit as name=value, such as max_near_duplicates=0.05") from None
    if "max_contaminated" in limits and not compared:
        raise BadInput("--gate max_contaminated needs evaluation sets to compare with: name some with --against")
    return limits


def _check(measured: Iterable[Quality], settings: QualitySettings) -> None:
    from pipeline_core.quality.limits import check_gate

    failed = []
    for quality in measured:
        try:
            check_gate(quality, settings.gate)
        except GateFailed as error:
            failed.append(str(error))
    if failed:
        raise GateFailed("\n".join(failed))


def _settings(embedding: str, human: str | None, limits: Mapping[str, float], catalog: Catalog) -> QualitySettings:
    from pydantic import ValidationError

    from pipeline_core.quality.settings import QualityGate, QualitySettings

    compared = _ref(human, catalog) if human else None
    if compared:
        _require_preferences(compared.entry, catalog)
    try:
        return QualitySettings(embedding=embedding, human=compared, gate=QualityGate.model_validate(limits))
    except ValidationError as error:
        fault = error.errors()[0]
        where = f"--gate {'.'.join(map(str, fault['loc']))}" if error.title == "QualityGate" else "--embedding"
        where = "--gate" if "gate." in fault["msg"] else where
        raise BadInput(f"{where}: {fault['msg'].removeprefix('Value error, ')}") from None


def _ref(name: str, catalog: Catalog) -> DataRef:
    """Reference from the text `entry` or `entry/split`."""
    from pipeline_core.data.refs import DataRef

    entry, _, split = name.partition("/")
    catalog.entry(entry)
    return DataRef(entry=entry, split=split or None)


def _rows(which: str, split: str | None, rows: int | None, catalog: Catalog) -> tuple[str, Dataset]:
    """Name and rows of a catalog entry or an artifact."""
    if which not in catalog.entries and KEY.fullmatch(which):  # the name of an entry may look like a key
        if split or rows:
            raise BadInput("--split and --rows are for catalog entries; an artifact is measured as a whole")
        return _of_artifact(which)
    from pipeline_core.data.refs import DataRef

    _require_preferences(which, catalog)
    ref = DataRef(entry=which, split=split, rows=rows, stratify=("domain",) if rows else ())
    return which, catalog.load(ref)


def _require_preferences(name: str, catalog: Catalog) -> None:
    if (kind := catalog.entry(name).rows) != "preference":
        fitting = ", ".join(other for other, entry in catalog.entries.items() if entry.rows == "preference")
        raise BadInput(f"{name} holds {kind} rows, and preference rows are needed (as in {fitting})")


def _of_artifact(prefix: str) -> tuple[str, Dataset]:
    from pipeline_core.data.tables import open_table
    from pipeline_core.store.artifacts import Store

    store = Store.from_environment()
    manifest = store.resolve(prefix)
    if manifest.kind != "preferences":
        raise BadInput(f"artifact {manifest.key[:12]} is of kind {manifest.kind}, and preferences are needed")
    return f"{manifest.label} {manifest.key[:12]}", open_table(store.open(manifest.ref) / "rows.parquet")


def _show(measured: Mapping[str, Quality]) -> None:
    from pipeline_core.quality import tables

    if len(measured) > 1:
        table(f"Side by side. {tables.SIZES}", list(tables.PART_COLUMNS), tables.part_rows(measured))
    for quality in measured.values():
        table(f"Quality of {quality.name}", list(tables.SCOPE_COLUMNS), tables.scope_rows(quality))
        if quality.contamination:
            table("Evaluation sets", list(tables.OVERLAP_COLUMNS), tables.overlap_rows(quality))
        table("Coverage, largest combinations", list(tables.COVERAGE_COLUMNS), tables.coverage_rows(quality))
        for fact in tables.facts(quality):
            say(fact)
