"""Tensors of a GGUF file that transformers, which reads it, leaves out without a word."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline_core.errors import BadInput

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ROPE_FACTORS = re.compile(r"(^|\.)rope_(freqs|factors_long|factors_short)\.weight$")
"""Divisors of the rotary frequencies, as in Llama 3.1 and Phi 3: llama.cpp applies them."""
KNOWN_EXTRAS = re.compile(r"^cls\.|\.attn_rot_embd(\.weight)?$")
"""Tensors that no log-probability depends on: heads of classifiers, and rotary frequencies that are computed anew."""
PREDICTS_FURTHER = re.compile(r"^(blk\.\d+\.)nextn\.")
"""A tensor of a block that predicts the token after the next; the whole block is left out."""


def check_all_read(file: Path, model: PreTrainedModel) -> None:
    """Refuse a file with tensors, or factors of rotary frequencies, that the model made from it lacks.

    Raises:
        BadInput: naming the first.
    """
    from gguf import GGUFReader
    from transformers.modeling_gguf_pytorch_utils import TENSOR_PROCESSORS, TensorProcessor, get_gguf_hf_weights_map

    reader = GGUFReader(str(file))
    field: Any = reader.fields.get("general.architecture")
    processor = TENSOR_PROCESSORS.get(field.contents() if field else "", TensorProcessor)
    known: dict[str, Any] = get_gguf_hf_weights_map(model, processor(config={}))
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    further = {found[1] for name in tensors if (found := PREDICTS_FURTHER.search(name))}

    def is_used(name: str) -> bool:
        if ROPE_FACTORS.search(name):
            return _scales_positions(model) or bool((tensors[name].data == 1).all())
        # A parameter may have no `.weight` in the model; where it stays empty, loading reports it as missing.
        is_known = name in known or name.removesuffix(".weight") in known
        return is_known or KNOWN_EXTRAS.search(name) is not None or name.startswith(tuple(further))

    if dropped := sorted(name for name in tensors if not is_used(name)):
        raise BadInput(
            f"{file} holds {dropped[0]}, which the model library leaves out, and without it is another model: take the "
            "same model as a folder (base.name=checkpoint)"
        )


def _scales_positions(model: Any) -> bool:
    rope = getattr(model.config, "rope_parameters", None) or {}
    return str(rope.get("rope_type", "default")) != "default"
