"""Where things are kept. Environment variables decide; everything has a default under `EVENHAND_HOME`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from pipeline_core.files import user_path
from pipeline_core.sqlite_addresses import address_of


@dataclass(frozen=True)
class Places:
    """Folders and addresses of one installation."""

    home: Path
    store: Path
    tracking_uri: str
    artifact_root: str
    data_root: Path | None

    @classmethod
    def from_environment(cls) -> Places:
        """`EVENHAND_HOME` (default `~/.evenhand`); `EVENHAND_STORE` and `MLFLOW_TRACKING_URI` override parts of it.

        `EVENHAND_DATA` is the folder of local data files.
        """
        home = user_path(os.environ.get("EVENHAND_HOME") or "~/.evenhand").resolve()
        store = os.environ.get("EVENHAND_STORE")
        data = os.environ.get("EVENHAND_DATA")
        return cls(
            home=home,
            store=user_path(store).resolve() if store else home / "store",
            tracking_uri=os.environ.get("MLFLOW_TRACKING_URI") or address_of(home / "mlflow.db"),
            artifact_root=(home / "mlartifacts").as_uri(),
            data_root=user_path(data).resolve() if data else None,
        )

    @property
    def runs(self) -> Path:
        """One folder for every pipeline run: its report and its result as JSON."""
        return self.home / "runs"
