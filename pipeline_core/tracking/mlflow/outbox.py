"""Outbox of data that a server has not taken: a file for each run, written while it is away, sent by a later process.

A file names its server and the process that wrote it: another process sends it only when that one is gone.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from pydantic import TypeAdapter
from typing_extensions import TypedDict

from pipeline_core.files.atomic import replace_file
from pipeline_core.files.exclusive import alone
from pipeline_core.files.json_files import Damaged, read_as
from pipeline_core.store.processes import Process
from pipeline_core.tracking.mlflow.kept import KeptRun

log = logging.getLogger(__name__)


class Parcel(TypedDict):
    """Contents of a file: the server (without credentials), the process that wrote it, and what is to be sent."""

    place: str
    process: Process
    run: KeptRun


_PARCELS = TypeAdapter(Parcel)


class Outbox:
    """The files of one server in a folder."""

    def __init__(self, folder: Path, place: str) -> None:
        self._folder = folder
        self._place = place

    def put(self, run: KeptRun) -> Path:
        """Write or replace the file of a run."""
        parcel = {"place": self._place, "process": asdict(Process.current()), "run": run}
        file = self._folder / f"{run['token']}.json"
        with replace_file(file) as partial:
            partial.write_text(json.dumps(parcel, ensure_ascii=False, default=str), encoding="utf-8", errors="replace")
        return file

    def remove(self, token: str) -> None:
        """Remove the file of a run, if there is one."""
        (self._folder / f"{token}.json").unlink(missing_ok=True)

    def left(self) -> list[KeptRun]:
        """Runs of processes that are not known to go on, oldest first: a model is made before it is measured.

        Unreadable files are named and passed over.
        """
        found = []
        for file in sorted(self._folder.glob("*.json")):
            try:
                parcel = read_as(_PARCELS, file)
            except FileNotFoundError:  # sent meanwhile
                continue
            except Damaged as error:
                log.warning("left out: %s cannot be read: %s", file, error)
                continue
            if parcel["place"] == self._place and not parcel["process"].lives():
                found.append(parcel["run"])
        return sorted(found, key=lambda run: run["started"])

    @contextmanager
    def alone(self) -> Iterator[bool]:
        """Block in which no other process sends these files; False if one does already."""
        with alone(self._folder / ".lock") as is_alone:
            yield is_alone
