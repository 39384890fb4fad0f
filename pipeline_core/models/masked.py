"""Loads masked language models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pipeline_core.models.loading import Precision, load_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def load_masked(
    folder: Path, device: str = "cpu", precision: Precision = "auto"
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Model (eval mode) and tokenizer of a folder that `is_masked`; see `pipeline_core.models.loading.load_model`."""
    import torch
    from transformers import AutoModelForMaskedLM

    if precision == "auto":
        precision = "bfloat16" if device.startswith("cuda") else "float32"
    model = AutoModelForMaskedLM.from_pretrained(folder, dtype=getattr(torch, precision), local_files_only=True)
    model.to(device)
    return model.eval(), load_tokenizer(folder)
