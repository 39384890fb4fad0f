"""Files and folders that their owner alone may read, since they hold secrets or may come to hold some."""

from __future__ import annotations

import os
from pathlib import Path

from pipeline_core.files.atomic import replace_file

FOLDER_MODE, FILE_MODE = 0o700, 0o600


def private_folder(folder: Path) -> None:
    """Create a folder, and close it to all but its owner."""
    folder.mkdir(parents=True, exist_ok=True)
    if folder.stat().st_mode & 0o077:
        folder.chmod(FOLDER_MODE)


def private_file(file: Path) -> None:
    """Create an empty file if it is missing, and close it to all but its owner. The folder must exist."""
    os.close(os.open(file, os.O_WRONLY | os.O_CREAT, FILE_MODE))
    if file.stat().st_mode & 0o077:
        file.chmod(FILE_MODE)


def write_private(file: Path, text: str) -> None:
    """Write a file in one rename; at no time may others read it."""
    with replace_file(file) as partial:
        private_file(partial)
        partial.write_text(text, encoding="utf-8")
