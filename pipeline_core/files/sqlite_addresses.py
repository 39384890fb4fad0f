"""Addresses of SQLite databases as SQLAlchemy, MLflow and Prefect read them, for files of any name."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

SPECIAL = frozenset("?#%")
"""Characters that a plain address cannot hold: it would end at `?`, and libraries disagree about the others."""
QUOTING = {"sqlite": "sqlite+pysqlite", "sqlite+aiosqlite": "sqlite+aiosqlite"}
"""Drivers of quoted addresses. After a plain `sqlite:///` MLflow makes folders of the rest, quoted or not."""
ADDRESS = re.compile(r"sqlite(?:\+\w+)?:///(?P<file>[^?]*)(?:\?(?P<query>.*))?", re.DOTALL)


def address_of(file: Path, driver: str = "sqlite") -> str:
    """Address of a database file; a path with special characters becomes SQLite's quoted URI."""
    if SPECIAL.isdisjoint(str(file)):
        return f"{driver}:///{file}"
    return f"{QUOTING[driver]}:///file:{file.as_uri().removeprefix('file://')}?uri=true"


def file_of(address: str) -> Path | None:
    """File of an address; None for a database in memory or of another kind."""
    match = ADDRESS.fullmatch(address)
    if match is None or match["file"] in ("", ":memory:"):
        return None
    is_uri = match["file"].startswith("file:") and "uri=true" in (match["query"] or "")
    name = unquote(match["file"].removeprefix("file:")) if is_uri else match["file"]
    return None if is_uri and name == ":memory:" else Path(name).resolve()
