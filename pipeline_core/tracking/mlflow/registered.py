"""Model versions in MLflow's registry: one version per artifact, however often it passes its gate.

With the embedded database the source of a version is the artifact's own folder in the store. It is not copied, and
`mlflow.artifacts.download_artifacts("models:/NAME@candidate")` returns it. A server cannot read the store and accepts
no source outside its runs: there the folder is uploaded once, as an artifact of the parent run.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from pipeline_core.tracking.mlflow.values import cut
from pipeline_core.tracking.registry import ModelVersion, NewVersion

DIGEST_TAG = "evenhand.digest"
"""Tag with the digest of the artifact's files, by which a version is found."""
MOST_TEXT = 4900
"""Characters of a description or a tag; MLflow's database has columns of 5,000."""


@dataclass(frozen=True)
class MlflowModels:
    """The registry of an `MlflowClient`. `embedded`: True for a database that this process opens itself.

    `alone` locks out other processes: two that search for a version at the same time would both create it.
    """

    client: Any
    embedded: bool
    alone: Callable[[], AbstractContextManager[Any]] = nullcontext

    def register(self, wanted: NewVersion, run_id: str) -> ModelVersion:
        """Find the version with exactly these files, or create it for the run; move the alias to it.

        Description and tags of a version are those of the last run that passed. A server has no lock, so two runs may
        both create a version: then the older version stays.
        """
        with self.alone():
            self._prepare(wanted.name)
            version = self._find(wanted)
            if version:
                self._tell(version, wanted)
            else:
                version = self._older(self._create(wanted, run_id), wanted)
            self._move_alias(wanted, version)
        return version

    def _tell(self, version: ModelVersion, wanted: NewVersion) -> None:
        self.client.update_model_version(wanted.name, version.number, cut(wanted.description, MOST_TEXT))
        for name, text in wanted.tags.items():
            self.client.set_model_version_tag(wanted.name, version.number, name, cut(text, MOST_TEXT))

    def _older(self, made: ModelVersion, wanted: NewVersion) -> ModelVersion:
        first = self._find(wanted)
        if first is None or int(first.number) >= int(made.number):
            return made
        self.client.delete_model_version(wanted.name, made.number)
        return first

    def _move_alias(self, wanted: NewVersion, version: ModelVersion) -> None:
        """Try twice: if two runs move the alias at the same moment, the database refuses one of them."""
        try:
            self.client.set_registered_model_alias(wanted.name, wanted.alias, version.number)
        except Exception:
            self.client.set_registered_model_alias(wanted.name, wanted.alias, version.number)

    def _prepare(self, name: str) -> None:
        try:
            self.client.create_registered_model(name, tags={"evenhand": "1"})
        except Exception as error:
            if getattr(error, "error_code", "") != "RESOURCE_ALREADY_EXISTS":
                raise

    def _find(self, wanted: NewVersion) -> ModelVersion | None:
        same = f"name = '{wanted.name}' and tags.`{DIGEST_TAG}` = '{wanted.digest}'"
        # Versions are texts in MLflow 3, of which 10 would come before 9.
        for version in sorted(self.client.search_model_versions(same), key=lambda version: int(version.version)):
            if _is_there(version.source):  # `store gc` or a person may have deleted it (ADR 12)
                return self._version(wanted, version.version, version.source, is_new=False)
        return None

    def _create(self, wanted: NewVersion, run_id: str) -> ModelVersion:
        tags = {DIGEST_TAG: wanted.digest} | {name: cut(text, MOST_TEXT) for name, text in wanted.tags.items()}
        source = wanted.folder.as_uri() if self.embedded else self._upload(wanted, run_id)
        made = self.client.create_model_version(
            wanted.name, source, run_id=run_id, tags=tags, description=cut(wanted.description, MOST_TEXT)
        )
        return self._version(wanted, made.version, source, is_new=True)

    def _version(self, wanted: NewVersion, number: str, source: str, *, is_new: bool) -> ModelVersion:
        uri = f"models:/{wanted.name}@{wanted.alias}"
        return ModelVersion(wanted.name, str(number), source, uri, in_store=self.embedded, is_new=is_new)

    def _upload(self, wanted: NewVersion, run_id: str) -> str:
        place = f"models/{wanted.label}"
        self.client.log_artifacts(run_id, str(wanted.folder), place)
        return f"{self.artifact_uri(run_id)}/{place}"

    def artifact_uri(self, run_id: str) -> str:
        """Address of a run's artifacts."""
        return str(self.client.get_run(run_id).info.artifact_uri)


def _is_there(source: str) -> bool:
    """True if a folder on this machine still exists; other sources are assumed to exist."""
    parts = urlsplit(source)
    return parts.scheme != "file" or Path(unquote(parts.path)).is_dir()
