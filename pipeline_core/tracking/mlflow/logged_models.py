"""Logged models of MLflow: one for each artifact, found by its key and digest. The weights stay in the store."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

from pipeline_core.tracking.lineage import TrackedModel
from pipeline_core.tracking.mlflow.origins import origin_of
from pipeline_core.tracking.mlflow.registered import DIGEST_TAG
from pipeline_core.tracking.mlflow.values import TAG_LENGTH, cut

KEY_TAG = "evenhand.key"
CARD = "README.md"
READY = "READY"


def logged_model_id(client: Any, experiment_id: str, model: TrackedModel, run_id: str = "") -> str:
    """Id of an artifact's logged model, which is created if there is none.

    `run_id`: the run that has made the artifact; if it is empty, the run is looked for. Raises MLflow's errors.
    """
    found = find_logged_models(client, experiment_id, model["key"], model["digest"])
    if not found:
        client.create_logged_model(
            experiment_id,
            name=clean_model_name(model["name"]),
            source_run_id=run_id or origin_of(client, experiment_id, model["key"]) or None,
            tags=_tags(model),
            params=model["params"],
            model_type=model["type"],
        )
        # Another process, or a proxy that sends requests twice, may have created one as well: the oldest stays.
        found = find_logged_models(client, experiment_id, model["key"], model["digest"])
        for double in found[1:]:
            client.delete_logged_model(double.model_id)
    if str(found[0].status) != READY:
        _complete(client, found[0].model_id, model)
    return str(found[0].model_id)


def find_logged_models(client: Any, experiment_id: str, key: str, digest: str) -> list[Any]:
    """Logged models of an artifact, oldest first."""
    same = f"tags.`{KEY_TAG}` = '{key}' and tags.`{DIGEST_TAG}` = '{digest}'"
    models = client.search_logged_models([experiment_id], same)
    return sorted(models, key=lambda model: (model.creation_timestamp, model.model_id))


def clean_model_name(name: str) -> str:
    """`name` without the characters that MLflow refuses in names of models."""
    return re.sub(r"[/:.%\"']", "-", name) or "model"


def _tags(model: TrackedModel) -> dict[str, str]:
    tags = {
        KEY_TAG: model["key"],
        DIGEST_TAG: model["digest"],
        "evenhand.folder": model["folder"],
        "evenhand.host": model["host"],
    }
    return {name: cut(text, TAG_LENGTH) for name, text in tags.items()}


def _complete(client: Any, model_id: str, model: TrackedModel) -> None:
    """Add a card that says where the weights are, and mark the model as ready."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        file = Path(folder) / CARD
        file.write_text(_card(model), encoding="utf-8", errors="replace")
        client.log_model_artifact(model_id, str(file))
    client.finalize_logged_model(model_id, READY)


def _card(model: TrackedModel) -> str:
    return (
        "The files of this model are in the store of Evenhand:\n\n"
        f"    host    {model['host']}\n    folder  {model['folder']}\n"
        f"    key     {model['key']}\n    digest  {model['digest']}\n\n"
        f"    evenhand show {model['key'][:12]}\n    evenhand export {model['key'][:12]} FOLDER\n"
    )
