"""What a GGUF file holds and transformers, which reads it, passes over without a word."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline_core.errors import BadInput

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ROPE_FACTORS = "rope_freqs.weight"
"""Divisors of the rotary frequencies, as in Llama 3.1: llama.cpp applies them."""


def check_all_read(file: Path, model: PreTrainedModel) -> None:
    """Refuse a file with biases, or factors of rotary frequencies, that the model made from it lacks.

    Raises:
        BadInput: naming the first.
    """
    from gguf import GGUFReader
    from transformers.modeling_gguf_pytorch_utils import TensorProcessor, get_gguf_hf_weights_map

    tensors = {tensor.name: tensor for tensor in GGUFReader(str(file)).tensors}
    known: dict[str, Any] = get_gguf_hf_weights_map(model, TensorProcessor(config={}))
    biases = (name for name in tensors if name.endswith(".bias") and name not in known)
    dropped = sorted(name for name in biases if f"{name.removesuffix('.bias')}.weight" in known)
    if ROPE_FACTORS in tensors and bool((tensors[ROPE_FACTORS].data != 1).any()) and not _scales_positions(model):
        dropped.append(ROPE_FACTORS)
    if dropped:
        raise BadInput(
            f"{file} holds {dropped[0]}, which the model library leaves out, and without it is another model: take the "
            "same model as a folder (base.name=checkpoint)"
        )


def _scales_positions(model: Any) -> bool:
    rope = getattr(model.config, "rope_parameters", None) or {}
    return str(rope.get("rope_type", "default")) != "default"
