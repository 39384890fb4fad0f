"""The data catalog: names of data sets, the source of their rows, and their row contracts."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from importlib import resources
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from pipeline_core.data.patterns import is_file
from pipeline_core.errors import BadInput, UnknownName, quoted
from pipeline_core.files.atomic import user_path
from pipeline_core.files.digests import digest_of
from pipeline_core.files.yaml_files import parse_yaml, read_yaml

if TYPE_CHECKING:
    from datasets import Dataset

    from pipeline_core.data.entries import CatalogEntry
    from pipeline_core.data.refs import DataRef


class Catalog:
    """Catalog entries by name: the built-in `data_catalog/catalog.yaml`, overridden by the user's files."""

    def __init__(self, entries: Mapping[str, CatalogEntry], origins: Mapping[str, str] | None = None) -> None:
        self.entries = dict(entries)
        self._origins = dict(origins or {})

    @classmethod
    def from_environment(cls) -> Catalog:
        """Built-in entries, overridden by those of the files in `EVENHAND_CATALOG` (separated as in PATH).

        Raises:
            BadInput: a catalog file is missing or malformed; names the place.
        """
        listed = os.environ.get("EVENHAND_CATALOG", "")
        return _read_catalog(tuple(path for path in listed.split(os.pathsep) if path))

    def entry(self, name: str, where: str = "") -> CatalogEntry:
        """Entry of a name.

        Raises:
            UnknownName: names the nearest known entries and `where`, the place that uses the name.
        """
        if name not in self.entries:
            raise UnknownName("catalog entry", name, self.entries, where, "`evenhand data ls` lists them.")
        return self.entries[name]

    def origin(self, name: str) -> str:
        """Catalog file an entry was read from."""
        return self._origins.get(name, "")

    def load(self, ref: DataRef) -> Dataset:
        """Rows of `ref` as a `datasets.Dataset` in the columns of the entry's row contract.

        The rows are memory-mapped from a checked Arrow copy below `EVENHAND_HOME/cache`.

        Raises:
            UnknownName: no such entry or split; BadInput: a file is missing or a row is faulty (entry, file, row,
            column, reason).
        """
        # Imported in the methods: it loads pyarrow and all formats, slow for commands that only name data.
        from pipeline_core.data.reading import load_rows

        return load_rows(ref, self.entry(ref.entry))

    def left_out(self, ref: DataRef) -> dict[str, int]:
        """Number of rows `load` leaves out, by fault: those that an entry lists under `skip`, before any sampling."""
        from pipeline_core.data.reading import left_out

        return left_out(ref, self.entry(ref.entry))

    def known_rows(self, ref: DataRef) -> int | None:
        """Number of rows of `ref` if known without reading files (generated or cached rows, a fixed size) or None."""
        from pipeline_core.data.reading import known_rows

        return known_rows(ref, self.entry(ref.entry))

    def fingerprint(self, ref: DataRef) -> str:
        """Digest that identifies the rows without loading them: of file digests, hub commit, or generator version."""
        from pipeline_core.data.identity import identity_of, sample_of

        return digest_of({**identity_of(ref, self.entry(ref.entry)), **sample_of(ref)})

    def describe(self, name: str) -> dict[str, Any]:
        """Facts for `evenhand data show`: kind, licence, citation, splits, columns, and the location of the rows."""
        from pipeline_core.data.reading import describe_entry

        return {**describe_entry(name, self.entry(name)), "origin": self.origin(name)}


BUILT_IN = "data_catalog/catalog.yaml"


@functools.cache
def _built_in() -> Mapping[str, CatalogEntry]:
    content = (resources.files("data_catalog") / "catalog.yaml").read_bytes()
    return read_entries(parse_yaml(content, BUILT_IN), BUILT_IN)


@functools.cache
def _read_catalog(paths: tuple[str, ...]) -> Catalog:
    sources: list[tuple[str, Any]] = []
    for given in paths:
        try:
            path = user_path(given)
        except BadInput as error:
            raise BadInput(f"EVENHAND_CATALOG: {error}") from None
        if not is_file(path):
            raise BadInput(f"EVENHAND_CATALOG lists {quoted(given, 200)}, which is no file")
        sources.append((str(path), read_yaml(path)))
    entries = dict(_built_in())  # a copy, as the built-in catalog is cached
    origins = dict.fromkeys(entries, BUILT_IN)
    for origin, document in sources:
        read = read_entries(document, origin)
        entries |= read
        origins |= dict.fromkeys(read, origin)
    return Catalog(entries, origins)


def read_entries(document: Any, origin: str) -> dict[str, CatalogEntry]:
    """Entries of a catalog file's document.

    Raises:
        BadInput: names the file, the entry, and the place in it.
    """
    from pipeline_core.data.entries import ENTRY

    if not isinstance(document, dict | None):
        raise BadInput(f"{origin}: a mapping from entry names to entries is needed")
    entries: dict[str, CatalogEntry] = {}
    for name, value in (document or {}).items():
        try:
            entries[str(name)] = ENTRY.validate_python(value)
        except ValidationError as error:
            from pipeline_core.data.entry_faults import faults_of_entry

            faults = faults_of_entry(str(name), value, error)
            raise BadInput("\n".join(f"{origin}: {fault}" for fault in faults)) from None
    return entries
