"""Tables of a run, such as samples: rows are gathered here, and whole tables sent now and then and at the end."""

from __future__ import annotations

import json
import math
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline_core.tracking.mlflow.values import clean_name

TAG = "mlflow.loggedArtifacts"
"""Where MLflow's pages look for tables among the artifacts."""
SECONDS = 30.0
"""Between two times that a growing table is sent."""


@dataclass
class Table:
    """Rows, and whether some have not been sent."""

    rows: list[Mapping[str, Any]] = field(default_factory=list)
    waiting: bool = False
    sent_at: float = -math.inf

    def is_due(self) -> bool:
        """Whether there is something to send, and it has been some time."""
        return self.waiting and time.monotonic() - self.sent_at >= SECONDS


class Tables:
    """The tables of one run by name. Thread-safe."""

    def __init__(self) -> None:
        self._tables: dict[str, Table] = {}
        self._guard = threading.Lock()

    @property
    def waiting(self) -> bool:
        """Whether rows have not been sent."""
        return any(table.waiting for table in list(self._tables.values()))

    def add(self, name: str, rows: Sequence[Mapping[str, Any]], *, anew: bool = False) -> None:
        """Add rows, or begin the table anew with them."""
        with self._guard:
            table = self._tables.setdefault(name, Table())
            table.rows = [*([] if anew else table.rows), *rows]
            table.waiting = True

    def send(self, upload: Callable[[Path], None], *, all_of_them: bool) -> bool:
        """Write the tables that are due, or all that wait, as files and upload each; whether there were any.

        What `upload` raises goes to the caller, and the table is sent again the next time.
        """
        with self._guard:
            due = [name for name, table in self._tables.items() if table.is_due() or (all_of_them and table.waiting)]
        for name in due:
            table = self._tables[name]
            rows, table.sent_at = table.rows, time.monotonic()
            with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
                file = Path(folder) / file_name(name)
                text = json.dumps(as_table(rows), ensure_ascii=False)
                file.write_text(text, encoding="utf-8", errors="replace")
                upload(file)
            with self._guard:
                table.waiting = table.rows is not rows
        return bool(due)

    @property
    def tag(self) -> str:
        """What MLflow's pages want to know of all tables."""
        return json.dumps([{"path": file_name(name), "type": "table"} for name in self._tables])


def file_name(table: str) -> str:
    """The artifact a table is kept as."""
    return f"{clean_name(table)}.json"


def as_table(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Rows as MLflow's pages read a table: names of columns, and a list of values for each row."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return {"columns": columns, "data": [[row.get(name) for name in columns] for row in rows]}
