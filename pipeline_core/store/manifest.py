"""The manifest of an artifact: its identity, its origin and the digests of its files."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter
from typing_extensions import TypedDict

from pipeline_core.errors import ArtifactChanged, quoted
from pipeline_core.files.digests import canonical_json
from pipeline_core.files.json_files import Damaged, read_as

MANIFEST = "manifest.json"


class ArtifactRef(BaseModel):
    """Reference to an artifact, with the digest its files must have."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    key: str
    digest: str


class FileFacts(TypedDict):
    """Facts about a file in a manifest: digest, and size in bytes."""

    sha256: str
    size: Annotated[int, Field(ge=0)]


def _within_folder(name: str) -> str:
    path = PurePosixPath(name)
    # Of a path with a null character the system's functions raise ValueError, which nobody expects of them.
    if not path.parts or path.is_absolute() or ".." in path.parts or "\0" in name:
        raise ValueError("names no file below the artifact's folder")
    return name


def _is_a_reference(text: str) -> str:
    reference = json.loads(text)
    if not isinstance(reference, dict) or not isinstance(reference.get("entry"), str):
        raise ValueError("is no reference to catalog rows")
    return text


def _is_plain_json(value: dict[str, Any]) -> dict[str, Any]:
    canonical_json(value)  # refuses NaN, which pydantic reads from JSON
    return value


SafeName = Annotated[str, Field(pattern=r"^[\w.-]+$")]
FileName = Annotated[str, AfterValidator(_within_folder)]
ReferenceText = Annotated[str, AfterValidator(_is_a_reference)]
FiniteNumber = Annotated[float, Field(allow_inf_nan=False)]
LAST_MOMENT = 2.5e11  # in the year 9892; from the year 10000 on Python has no dates (R10)
"""Latest accepted time, in seconds since 1970."""


@dataclass(frozen=True)
class Manifest:
    """Facts about a committed artifact. `digest` covers the contents of the files, not times."""

    kind: SafeName
    key: SafeName
    digest: str
    files: dict[FileName, FileFacts]
    stage: str
    plugin: str
    label: str
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    config: Annotated[dict[str, Any], AfterValidator(_is_plain_json)]
    inputs: dict[str, str]
    data: dict[ReferenceText, str]
    metrics: dict[str, FiniteNumber]
    created: Annotated[FiniteNumber, Field(ge=0, le=LAST_MOMENT)]
    seconds: Annotated[FiniteNumber, Field(ge=0)]
    versions: dict[str, str] = field(default_factory=dict)
    revision: int = 1

    @classmethod
    def read(cls, file: Path) -> Manifest:
        """Read `<kind>/<key>/manifest.json`; fields of a newer version are ignored.

        Raises:
            FileNotFoundError: there is no such file.
            ArtifactChanged: the manifest is damaged or belongs to another artifact.
        """
        try:
            manifest = read_as(_manifests(), file)
            if (manifest.kind, manifest.key) != file.parts[-3:-1]:
                raise Damaged(f"it is the manifest of {manifest.kind}/{quoted(manifest.key)}")
        except Damaged as error:
            remedy = f"remove {file.parent} to make the artifact again"
            raise ArtifactChanged(f"{file} cannot be read: {error}; {remedy}") from None
        return manifest

    @property
    def ref(self) -> ArtifactRef:
        """Reference to the artifact, for `Store.open`."""
        return ArtifactRef(kind=self.kind, key=self.key, digest=self.digest)

    @property
    def size(self) -> int:
        """Total size of the files, in bytes."""
        return sum(entry["size"] for entry in self.files.values())


@functools.cache
def _manifests() -> TypeAdapter[Manifest]:
    return TypeAdapter(Manifest)  # on first use: it takes about 15 ms to build
