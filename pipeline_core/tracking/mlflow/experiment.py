"""MLflow prepared for runs: its environment, its database, and the experiment, which is made where it is missing."""

from __future__ import annotations

import logging
import os
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from pipeline_core.files.sqlite_addresses import file_of
from pipeline_core.tracking.mlflow.values import clean_name

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "evenhand"
KIND_TAG, KIND = "mlflow.experimentKind", "custom_model_development"
"""Tag of the experiment by which MLflow's pages open it as model training."""
LOCK_SECONDS = 120.0


def quiet() -> None:
    """Make MLflow fail within seconds, without telemetry and migration logs. Variables that the user has set stay."""
    # By default MLflow 3 retries 7 times with 120 seconds each, for minutes after a server has gone.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("DO_NOT_TRACK", "true")
    import mlflow  # noqa: F401 - its own logging set-up must not come after ours

    for name in ("alembic", "urllib3.connectionpool", "mlflow.store.model_registry.abstract_store"):
        logging.getLogger(name).setLevel(logging.ERROR)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # it logs errors that it also raises


def is_embedded(uri: str) -> bool:
    """True for a database that this process opens itself."""
    return not uri.startswith(("http://", "https://", "databricks"))


def alone(uri: str) -> AbstractContextManager[Any]:
    """File lock of an SQLite database: processes that create it, or a version, at the same time would break it."""
    database = file_of(uri)
    if database is None:
        return nullcontext()
    from filelock import FileLock

    database.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(f"{database}.lock", timeout=LOCK_SECONDS)


def experiment_id(client: MlflowClient, artifact_root: str | None) -> str:
    """Id of the experiment; creates or restores it. `artifact_root`: folder of its artifacts, as an address."""
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        try:
            location = f"{artifact_root.rstrip('/')}/{clean_name(EXPERIMENT)}" if artifact_root else None
            return str(client.create_experiment(EXPERIMENT, artifact_location=location, tags={KIND_TAG: KIND}))
        except Exception:
            # Another process may have created it on the server between the two calls.
            experiment = client.get_experiment_by_name(EXPERIMENT)
            if experiment is None:
                raise
    if experiment.lifecycle_stage == "deleted":
        client.restore_experiment(experiment.experiment_id)  # MLflow keeps its name taken, and refuses runs in it
    if KIND_TAG not in experiment.tags:  # of before
        client.set_experiment_tag(experiment.experiment_id, KIND_TAG, KIND)
    return str(experiment.experiment_id)
