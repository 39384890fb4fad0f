"""Masked language models as folders: which they are, and loading one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from pipeline_core.models.loading import Precision


def is_masked(folder: Path) -> bool:
    """Whether a model folder's configuration names a masked language model."""
    file = Path(folder) / "config.json"
    named = json.loads(file.read_text(encoding="utf-8")).get("architectures") if file.is_file() else None
    return isinstance(named, list) and any(str(name).endswith("ForMaskedLM") for name in named)


def load_masked(
    folder: Path, device: str = "cpu", precision: Precision = "auto"
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Model (eval mode) and tokenizer of a folder that `is_masked`; see `pipeline_core.models.loading.load_model`."""
    import torch
    from transformers import AutoModelForMaskedLM

    from pipeline_core.models.loading import load_tokenizer

    if precision == "auto":
        precision = "bfloat16" if device.startswith("cuda") else "float32"
    model = AutoModelForMaskedLM.from_pretrained(folder, dtype=getattr(torch, precision), local_files_only=True)
    model.to(device)
    return model.eval(), load_tokenizer(folder)
