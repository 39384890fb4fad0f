"""Addresses of SQLite databases as SQLAlchemy, MLflow and Prefect read them, for files of any name."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

SPECIAL = frozenset("?#%")
"""A plain address would end at the first, and libraries disagree about the others."""
QUOTING = {"sqlite": "sqlite+pysqlite", "sqlite+aiosqlite": "sqlite+aiosqlite"}
"""Drivers of quoted addresses. After a plain `sqlite:///` MLflow makes folders of whatever follows, quoted or not."""
ADDRESS = re.compile(r"sqlite(?:\+\w+)?:///(?P<file>[^?]*)(?:\?(?P<query>.*))?", re.DOTALL)


def address_of(file: Path, driver: str = "sqlite") -> str:
    """The address of a database file; where its path has special characters, by SQLite's own form of a quoted URI."""
    if SPECIAL.isdisjoint(str(file)):
        return f"{driver}:///{file}"
    return f"{QUOTING[driver]}:///file:{file.as_uri().removeprefix('file://')}?uri=true"


def file_of(address: str) -> Path | None:
    """The file of an address, None for a database in memory or of another kind."""
    found = ADDRESS.fullmatch(address)
    if found is None or found["file"] in ("", ":memory:"):
        return None
    is_uri = found["file"].startswith("file:") and "uri=true" in (found["query"] or "")
    name = unquote(found["file"].removeprefix("file:")) if is_uri else found["file"]
    return None if is_uri and name == ":memory:" else Path(name).resolve()
