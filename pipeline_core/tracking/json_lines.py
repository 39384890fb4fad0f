"""Records runs as plain files, without MLflow: `EVENHAND_TRACKING=json-lines`, or `json-lines:FOLDER`.

Every run, of a pipeline or of a stage, has a folder named by its id: `run.json` (name, parent, status, times, process,
parameters, tags), `metrics.jsonl` (a line `{"step", "time", "metrics"}` for every call) and `artifacts/`, where a table
is a file `NAME.jsonl`. While a run goes on `owner.json` names its process.
"""

from __future__ import annotations

import errno
import json
import math
import os
import shutil
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pydantic import TypeAdapter

from pipeline_core.errors import BadInput, quoted
from pipeline_core.files.atomic import replace_file, user_path
from pipeline_core.files.json_files import read_as
from pipeline_core.store.places import Places, nearest
from pipeline_core.store.processes import Process
from pipeline_core.tracking.lineage import StageLineage, TrackedData
from pipeline_core.tracking.protocol import TrackedRun, Tracking, TrackingStatus
from pipeline_core.tracking.values import finite

RUN, METRICS, ARTIFACTS, OWNER = "run.json", "metrics.jsonl", "artifacts", "owner.json"
FACTS = TypeAdapter(dict[str, Any])


class JsonLinesRun(TrackedRun):
    """A run in the folder `folder`."""

    title = "Tracked files"

    def __init__(self, tracking: Backend, name: str, facts: Mapping[str, Any]) -> None:
        super().__init__(uuid.uuid4().hex, name)
        self.folder = tracking.folder / self.id
        self._tracking = tracking
        self._guard = threading.Lock()
        self._facts = {"id": self.id, "name": name, "status": "RUNNING", "started": time.time(), "ended": None, **facts}

    @property
    def url(self) -> str:
        """The address of the folder."""
        return self.folder.as_uri()

    def create(self) -> None:
        """Create the folder. `owner.json` comes first, so that a run whose process dies in between is found."""
        write_json(self.folder / OWNER, self._facts["process"])
        write_json(self.folder / RUN, self._facts)

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0, seconds: float | None = None) -> None:
        """Append a line; a NaN or infinite metric is counted under `nonfinite/<name>` instead."""
        line = {"step": step, "time": seconds or time.time(), "metrics": finite(metrics)}
        with self._in_turn():
            append(self.folder / METRICS, [line])

    def set_tags(self, tags: Mapping[str, object]) -> None:
        """Write the tags into `run.json`."""
        with self._in_turn():
            self._facts["tags"] = self._facts["tags"] | {name: str(value) for name, value in tags.items()}
            write_json(self.folder / RUN, self._facts)

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """Copy a file, or all files below a folder, to `artifacts/FOLDER`."""
        to = self.folder / ARTIFACTS / (folder or "")
        with self._in_turn():
            to.mkdir(parents=True, exist_ok=True)
            if path.is_dir():
                shutil.copytree(path, to, dirs_exist_ok=True)
            else:
                shutil.copyfile(path, to / path.name)

    def log_rows(self, table: str, rows: Sequence[Mapping[str, Any]], *, anew: bool = False) -> None:
        """Append rows to a table; numbers that are not finite become null. `anew`: replace earlier rows."""
        file = self.folder / ARTIFACTS / f"{quote(table, safe=' ')}.jsonl"
        with self._in_turn():
            file.parent.mkdir(parents=True, exist_ok=True)
            if anew:
                file.unlink(missing_ok=True)
            append(file, [finite_only(dict(row)) for row in rows])

    def log_data(self, data: Sequence[TrackedData]) -> None:
        """Write the data that the run reads into `run.json`."""
        self._add_facts(data=list(data))

    def log_models(self, models: StageLineage, metrics: Mapping[str, float], seconds: float) -> None:  # noqa: ARG002
        """Write the models that the run makes and uses into `run.json`; the figures are those of the run."""
        self._add_facts(models=dict(models))

    def _add_facts(self, **facts: Any) -> None:
        with self._in_turn():
            self._facts |= facts
            write_json(self.folder / RUN, self._facts)

    def finish(self, status: TrackingStatus = "FINISHED") -> None:
        """Write status and end time into `run.json`; later calls change neither."""
        with self._in_turn():
            super().finish(status)
            self._facts |= {"status": self.status, "ended": self._facts["ended"] or time.time()}
            write_json(self.folder / RUN, self._facts)
            # After `run.json`: if the process ends between the two, the next start removes the file.
            (self.folder / OWNER).unlink(missing_ok=True)
            self._tracking.forget(self)

    @contextmanager
    def _in_turn(self) -> Iterator[None]:
        """Admit a single thread at a time; an error becomes a warning."""
        try:
            with self._guard:
                yield
        except Exception as error:
            self._tracking.warn(error)


class Backend(Tracking):
    """A folder with a folder for every run."""

    advice = "EVENHAND_TRACKING=json-lines:FOLDER names another folder"

    def __init__(self, folder: Path) -> None:
        super().__init__(str(folder))
        self.folder = folder
        self._end_abandoned()

    @classmethod
    def at(cls, address: str, places: Places) -> Backend:
        """Runs in the folder `address`, by default `EVENHAND_HOME/tracking`.

        Raises:
            BadInput: the folder is relative, so workers would use different folders.
        """
        return cls(_folder(address, places))

    @classmethod
    def described(cls, address: str, places: Places) -> str:
        """The folder in words, writable or not."""
        folder = _folder(address, places)
        access = "writable" if os.access(nearest(folder), os.W_OK) else "NOT WRITABLE"
        return f"{folder} ({access}; JSON lines, no MLflow)"

    def begin(self, name: str, params: Mapping[str, Any], tags: Mapping[str, str], parent: str) -> JsonLinesRun:
        """Create the run's folder."""
        process = asdict(Process.current())
        facts = {"parent": parent or None, "process": process, "params": dict(params), "tags": dict(tags)}
        run = JsonLinesRun(self, name, facts)
        run.create()
        return run

    def delete_run(self, run_id: str) -> None:
        """Delete the folder of a run and those of its stages."""
        for file in self.folder.glob(f"*/{RUN}"):
            with suppress(FileNotFoundError):
                if read_as(FACTS, file).get("parent") == run_id:
                    shutil.rmtree(file.parent)
        if run_id:
            shutil.rmtree(self.folder / run_id, ignore_errors=not (self.folder / run_id).exists())

    def _end_abandoned(self) -> None:
        """Mark runs as KILLED whose process is known to be gone: after `kill -9` it cannot do so itself."""
        for owner in self.folder.glob(f"*/{OWNER}"):
            try:
                process, run = Process.read(read_as(FACTS, owner)), owner.with_name(RUN)
                if process is None or process.lives() is not False:
                    continue
                if run.exists() and (facts := read_as(FACTS, run))["status"] == "RUNNING":
                    write_json(run, facts | {"status": "KILLED", "ended": time.time()})
                owner.unlink(missing_ok=True)
            except FileNotFoundError:
                continue  # another process marks the run, or the run has just ended
            except Exception as error:
                self.warn(error)


def write_json(file: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON file atomically, by a rename."""
    with replace_file(file, synced=False) as partial:
        text = json.dumps(value, indent=1, ensure_ascii=False, default=str, skipkeys=True)
        partial.write_text(text + "\n", encoding="utf-8", errors="replace")


def append(file: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    """Append JSON lines, all of them or none.

    Raises:
        OSError: the lines cannot be written.
    """
    text = "".join(json.dumps(line, ensure_ascii=False, default=str, skipkeys=True) + "\n" for line in lines)
    data = text.encode("utf-8", errors="replace")
    with file.open("ab", buffering=0) as out:  # unbuffered: a full disk is met here, not when the file closes
        end = out.tell()
        if out.write(data) != len(data):  # the disk is full: half a line would spoil the next
            out.truncate(end)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(file))


def finite_only(value: Any) -> Any:
    """A JSON value in which numbers that are not finite are null, at any depth."""
    if isinstance(value, Mapping):
        return {name: finite_only(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite_only(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _folder(address: str, places: Places) -> Path:
    folder = user_path(address) if address else places.home / "tracking"
    if not folder.is_absolute():
        raise BadInput(f"EVENHAND_TRACKING: json-lines needs an absolute folder, not {quoted(address)}")
    return folder
