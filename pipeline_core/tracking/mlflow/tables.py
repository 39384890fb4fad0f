"""Tables of a run, such as samples: rows are buffered; whole tables are sent at intervals and at the end."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pipeline_core.tracking.mlflow.values import clean_name

TAG = "mlflow.loggedArtifacts"
"""Tag by which MLflow's pages find tables among the artifacts."""
SECONDS = 30.0
"""Seconds between two uploads of a growing table."""


class TrackedTables:
    """The tables of one run by name. Thread-safe."""

    def __init__(self) -> None:
        self._rows: dict[str, list[Mapping[str, Any]]] = {}
        self._sent: dict[str, list[Mapping[str, Any]]] = {}
        self._sent_at: dict[str, float] = {}
        self._guard = threading.Lock()

    @property
    def waiting(self) -> list[str]:
        """Names of the tables with rows that have not been sent."""
        with self._guard:
            return [name for name, rows in self._rows.items() if self._sent.get(name) is not rows]

    def kept(self) -> dict[str, list[dict[str, Any]]]:
        """Rows of all tables if some have not been sent: a table is sent as a whole, and the tag names all."""
        return {name: [dict(row) for row in rows] for name, rows in self._rows.items()} if self.waiting else {}

    def add(self, name: str, rows: Sequence[Mapping[str, Any]], *, anew: bool = False) -> None:
        """Add rows to a table. `anew`: replace earlier rows."""
        with self._guard:
            # A new list, not a longer one: `waiting` tells by identity what has been sent.
            self._rows[name] = [*([] if anew else self._rows.get(name, [])), *rows]

    def send(self, upload: Callable[[str, str], None], *, all_of_them: bool) -> bool:
        """Upload tables that are due, or all with unsent rows: text and file name of each. True if there were any.

        Errors of `upload` are raised, and the table is sent again at a later call.
        """
        now = time.monotonic()
        due = [name for name in self.waiting if all_of_them or now - self._sent_at.get(name, -math.inf) >= SECONDS]
        for name in due:
            rows, self._sent_at[name] = self._rows[name], now  # now, so that a failed upload waits its turn too
            upload(json.dumps(as_table(rows), ensure_ascii=False), file_name(name))
            self._sent[name] = rows
        return bool(due)

    @property
    def tag(self) -> str:
        """Value of `TAG`: paths of all tables as JSON."""
        return json.dumps([{"path": file_name(name), "type": "table"} for name in self._rows])


def file_name(table: str) -> str:
    """File name of a table among the artifacts."""
    return f"{clean_name(table)}.json"


def as_table(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Rows as MLflow's pages read a table: names of columns, and a list of values for each row."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return {"columns": columns, "data": [[row.get(name) for name in columns] for row in rows]}
