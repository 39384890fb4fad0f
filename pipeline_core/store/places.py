"""Folders and addresses of an installation, from environment variables; defaults lie below `EVENHAND_HOME`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from pipeline_core.errors import BadInput, quoted
from pipeline_core.files.atomic import user_path
from pipeline_core.files.sqlite_addresses import address_of


@dataclass(frozen=True)
class Places:
    """Folders and addresses of one installation."""

    home: Path
    store: Path
    tracking_uri: str
    """Tracking URI of MLflow."""
    artifact_root: str
    data_root: Path | None
    tracking: str = "mlflow"
    """Tracking backend, `NAME` or `NAME:ADDRESS` (`pipeline_core.tracking.opening`)."""
    bucket: str = ""
    """Address of the store if it is a bucket (`s3://bucket/prefix`); `store` is then its cache on this machine."""

    @classmethod
    def from_environment(cls) -> Places:
        """Read `EVENHAND_HOME` (default `~/.evenhand`); `EVENHAND_STORE`, `MLFLOW_TRACKING_URI` replace places in it.

        `EVENHAND_STORE` may be a bucket, its cache is `EVENHAND_CACHE`. `EVENHAND_DATA`: folder of local data files.
        `EVENHAND_TRACKING`: tracking backend (default: MLflow).
        """
        home = _folder("EVENHAND_HOME") or user_path("~/.evenhand").resolve()
        bucket = address if "://" in (address := os.environ.get("EVENHAND_STORE", "")) else ""
        store = (_folder("EVENHAND_CACHE") or home / "cache" / "store") if bucket else _folder("EVENHAND_STORE")
        return cls(
            home=home,
            store=store or home / "store",
            tracking_uri=os.environ.get("MLFLOW_TRACKING_URI") or address_of(home / "mlflow.db"),
            artifact_root=(home / "mlartifacts").as_uri(),
            data_root=_folder("EVENHAND_DATA"),
            tracking=os.environ.get("EVENHAND_TRACKING") or cls.tracking,
            bucket=bucket,
        )

    def check(self, *, writable: bool = False) -> None:
        """Reject a home or store that cannot be a folder; with `writable` also a home without write access.

        Raises:
            BadInput: naming the variable and the path.
        """
        for variable, folder in {"EVENHAND_HOME": self.home, "EVENHAND_STORE": self.store}.items():
            if not (found := nearest(folder)).is_dir():
                raise BadInput(f"{variable} is {quoted(str(folder), 200)}: {quoted(str(found), 200)} is no folder")
        found = nearest(self.home)
        if writable and not os.access(found, os.W_OK | os.X_OK):  # without X_OK no file can be made in a folder
            raise BadInput(
                f"EVENHAND_HOME is {quoted(str(self.home), 200)}, and {quoted(str(found), 200)} cannot be written; "
                "set EVENHAND_HOME to a writable folder"
            )

    @property
    def runs(self) -> Path:
        """Folder of pipeline runs; each has a folder with its report and its result as JSON."""
        return self.home / "runs"


def _folder(variable: str) -> Path | None:
    """Folder named by an environment variable, links resolved; None if it is not set."""
    value = os.environ.get(variable)
    try:
        return user_path(value).resolve() if value else None
    except BadInput as error:
        raise BadInput(f"{variable}: {error}") from None
    except (OSError, RuntimeError):  # a path that is too long, or a loop of links
        raise BadInput(f"{variable}: {quoted(value)} leads to no folder") from None


def nearest(folder: Path) -> Path:
    """The folder itself, else the nearest folder above it that exists."""
    return next(path for path in (folder, *folder.parents) if _is_there(path))


def _is_there(path: Path) -> bool:
    try:
        return path.exists()  # it raises for a folder that may not be looked into
    except OSError:
        return False
