"""Where things are kept. Environment variables decide; everything has a default under `EVENHAND_HOME`."""

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
    """MLflow's."""
    artifact_root: str
    data_root: Path | None
    tracking: str = "mlflow"
    """Name and address of the tracking backend, `NAME:ADDRESS` or `NAME` (`pipeline_core.tracking.opening`)."""

    @classmethod
    def from_environment(cls) -> Places:
        """`EVENHAND_HOME` (default `~/.evenhand`); `EVENHAND_STORE` and `MLFLOW_TRACKING_URI` override parts of it.

        `EVENHAND_DATA` is the folder of local data files, `EVENHAND_TRACKING` another tracking than MLflow's.
        """
        home = _folder("EVENHAND_HOME") or user_path("~/.evenhand").resolve()
        store, data = _folder("EVENHAND_STORE"), _folder("EVENHAND_DATA")
        return cls(
            home=home,
            store=store or home / "store",
            tracking_uri=os.environ.get("MLFLOW_TRACKING_URI") or address_of(home / "mlflow.db"),
            artifact_root=(home / "mlartifacts").as_uri(),
            data_root=data,
            tracking=os.environ.get("EVENHAND_TRACKING") or cls.tracking,
        )

    def check(self, *, writable: bool = False) -> None:
        """Refuse a home or a store that can be no folder, with `writable` also a home that nothing can be put into.

        Raises:
            BadInput: naming the variable and the path.
        """
        for variable, folder in {"EVENHAND_HOME": self.home, "EVENHAND_STORE": self.store}.items():
            nearest = next(path for path in (folder, *folder.parents) if _is_there(path))
            if not nearest.is_dir():
                raise BadInput(f"{variable} is {quoted(str(folder), 200)}: {quoted(str(nearest), 200)} is no folder")
        nearest = next(path for path in (self.home, *self.home.parents) if _is_there(path))
        if writable and not os.access(nearest, os.W_OK | os.X_OK):
            raise BadInput(
                f"EVENHAND_HOME is {quoted(str(self.home), 200)}, and {quoted(str(nearest), 200)} cannot be written; "
                "set EVENHAND_HOME to a writable folder"
            )

    @property
    def runs(self) -> Path:
        """One folder for every pipeline run: its report and its result as JSON."""
        return self.home / "runs"


def _folder(variable: str) -> Path | None:
    """The folder that a variable names, links followed; None where it is not set."""
    value = os.environ.get(variable)
    try:
        return user_path(value).resolve() if value else None
    except BadInput as error:
        raise BadInput(f"{variable}: {error}") from None
    except (OSError, RuntimeError):  # a path that is too long, or links that lead in a circle
        raise BadInput(f"{variable}: {quoted(value)} leads to no folder") from None


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False
