"""`evenhand data quality`: how diverse, balanced, covered and clean a set of preference rows is."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

import typer

from flows.output import AsJson, print_json, say, table
from pipeline_core.errors import BadInput

if TYPE_CHECKING:
    from datasets import Dataset

    from pipeline_core.catalog import Catalog, DataRef
    from pipeline_core.quality.model import Quality
    from pipeline_core.quality.settings import QualitySettings

Which = Annotated[str, typer.Argument(metavar="NAME|KEY", help="A catalog entry, or the start of an artifact's key.")]
SET = "ENTRY[/SPLIT]"
KEY = re.compile("[0-9a-f]+")


def quality(
    which: Which,
    split: Annotated[str | None, typer.Option(help="Part of the entry.")] = None,
    rows: Annotated[int | None, typer.Option(min=1, help="A sample of so many rows, by domain; else all.")] = None,
    embedding: Annotated[str, typer.Option(help="tfidf, minilm, an encoder's folder, or a hub id.")] = "tfidf",
    human: Annotated[str | None, typer.Option(metavar=SET, help="Rows by people, to compare diversity with.")] = None,
    against: Annotated[list[str] | None, typer.Option(metavar=SET, help="Evaluation sets to look for.")] = None,
    as_json: AsJson = False,
) -> None:
    """Report the quality of preference rows: diversity, near-duplicates, balance, coverage, contamination."""
    from pipeline_core.catalog import Catalog
    from pipeline_core.quality.items import evaluation_items
    from pipeline_core.quality.report import SIMILARITY, measure_quality, repeats_in

    catalog = Catalog.from_environment()
    settings = _settings(embedding, human, catalog)
    name, found = _rows(which, split, rows, catalog)
    items = evaluation_items(catalog, [_ref(entry, catalog) for entry in against or ()], SIMILARITY)
    repeats = repeats_in({name: found}, items, SIMILARITY)
    compared = catalog.load(settings.human) if settings.human else None
    measured = measure_quality(name, {name: found}, settings, compared, repeats)
    print_json(measured.model_dump(mode="json")) if as_json else _show(measured)


def _settings(embedding: str, human: str | None, catalog: Catalog) -> QualitySettings:
    from pydantic import ValidationError

    from pipeline_core.quality.settings import QualitySettings

    compared = _ref(human, catalog) if human else None
    if compared:
        _require_preferences(compared.entry, catalog)
    try:
        return QualitySettings(embedding=embedding, human=compared)
    except ValidationError as error:
        raise BadInput(f"--embedding: {error.errors()[0]['msg'].removeprefix('Value error, ')}") from None


def _ref(name: str, catalog: Catalog) -> DataRef:
    """`entry`, or `entry/split`."""
    from pipeline_core.catalog import DataRef

    entry, _, split = name.partition("/")
    catalog.entry(entry)
    return DataRef(entry=entry, split=split or None)


def _rows(which: str, split: str | None, rows: int | None, catalog: Catalog) -> tuple[str, Dataset]:
    """Rows of a catalog entry or of an artifact, and what they are called."""
    if which not in catalog.entries and KEY.fullmatch(which):
        if split or rows:
            raise BadInput("--split and --rows are for catalog entries; an artifact is measured as a whole")
        return _of_artifact(which)
    from pipeline_core.catalog import DataRef

    _require_preferences(which, catalog)
    ref = DataRef(entry=which, split=split, rows=rows, stratify=("domain",) if rows else ())
    return which, catalog.load(ref)


def _require_preferences(name: str, catalog: Catalog) -> None:
    if (kind := catalog.entry(name).rows) != "preference":
        fitting = ", ".join(other for other, entry in catalog.entries.items() if entry.rows == "preference")
        raise BadInput(f"{name} holds {kind} rows, and preference rows are needed (as in {fitting})")


def _of_artifact(prefix: str) -> tuple[str, Dataset]:
    from pipeline_core.artifacts import Store
    from pipeline_core.places import Places
    from pipeline_core.records import open_table

    store = Store(Places.from_environment().store)
    manifest = store.resolve(prefix)
    if manifest.kind != "preferences":
        raise BadInput(f"artifact {manifest.key[:12]} is of kind {manifest.kind}, and preferences are needed")
    return f"{manifest.label} {manifest.key[:12]}", open_table(store.open(manifest.ref) / "rows.parquet")


def _show(measured: Quality) -> None:
    from pipeline_core.quality import tables

    table(f"Quality of {measured.name}", list(tables.SCOPE_COLUMNS), tables.scope_rows(measured))
    if measured.contamination:
        table("Evaluation sets", list(tables.OVERLAP_COLUMNS), tables.overlap_rows(measured))
    table("Coverage, largest combinations", list(tables.COVERAGE_COLUMNS), tables.coverage_rows(measured))
    for fact in tables.facts(measured):
        say(fact)
