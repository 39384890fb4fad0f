"""Files and texts of a run, until its server's store of artifacts has taken them."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterable
from pathlib import Path

from pipeline_core.tracking.mlflow.connection import Connection

FileArtifact = tuple[Path, str | None]
"""Path of a file or folder, and its folder among the artifacts."""
FILE_SECONDS = 30.0
"""Pause after a failed upload: tries may take long, and other data wait meanwhile."""


class Uploads:
    """Files, which must stay until they are sent, and texts by their names among the artifacts. Thread-safe."""

    def __init__(self, tracking: Connection) -> None:
        self._tracking = tracking
        self._files: list[FileArtifact] = []
        self._texts: dict[str, str] = {}
        self._due = 0.0
        self._guard = threading.Lock()

    def __len__(self) -> int:
        return len(self._files) + len(self._texts)

    def add_file(self, path: Path, folder: str | None) -> None:
        """Add a file, or a folder with all its files."""
        with self._guard:
            self._files.append((path.absolute(), folder))

    def add_text(self, text: str, name: str) -> None:
        """Add a text, or replace that of the same name."""
        with self._guard:
            self._texts[name] = text

    def files(self) -> list[FileArtifact]:
        """Files that wait."""
        with self._guard:
            return list(self._files)

    def texts(self) -> dict[str, str]:
        """Texts that wait."""
        with self._guard:
            return dict(self._texts)

    def put(self, files: Iterable[FileArtifact], texts: dict[str, str]) -> None:
        """Add files and texts that another process has kept."""
        with self._guard:
            self._files += files
            self._texts |= texts

    def send(self, run_id: str) -> None:
        """Send what waits; a store of artifacts that fails must not hold back other data."""
        if time.monotonic() < self._due and not self._tracking.is_closing:
            return
        for file in self.files():
            if not self._tracking.attempt(self._upload, run_id, *file):
                self._due = time.monotonic() + FILE_SECONDS
                return
            with self._guard:
                self._files.remove(file)
        for name, text in self.texts().items():
            if not self._tracking.attempt(self.upload_text, run_id, text, name):
                self._due = time.monotonic() + FILE_SECONDS
                return
            with self._guard:
                if self._texts.get(name) == text:
                    del self._texts[name]

    def _upload(self, run_id: str, path: Path, folder: str | None = None) -> None:
        client = self._tracking.client
        (client.log_artifacts if path.is_dir() else client.log_artifact)(run_id, str(path), folder)

    def upload_text(self, run_id: str, text: str, name: str) -> None:
        """Upload a text at once; raises MLflow's errors."""
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            file = Path(folder) / Path(name).name
            file.write_text(text, encoding="utf-8", errors="replace")
            self._upload(run_id, file, str(Path(name).parent) if Path(name).parent.name else None)
