"""Causal language models in folders: loading, LoRA, and saving with reproducible bytes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pipeline_core.errors import BadInput
from pipeline_core.models.adapters import LoraSettings, adapted, with_lora
from pipeline_core.models.model_files import is_masked

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Precision = Literal["auto", "float32", "bfloat16"]


def load_model(
    folder: Path, device: str = "cpu", precision: Precision = "auto"
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Model (eval mode) and tokenizer of a Hugging Face folder; `chosen_precision` gives the dtype of the weights.

    Raises `BadInput` for a folder without a causal model.
    """
    from transformers import AutoModelForCausalLM

    if not (Path(folder) / "config.json").is_file():
        raise BadInput(f"{folder} is no model folder: it has no config.json")
    if is_masked(folder):
        raise BadInput(f"{folder} holds a masked language model, and a causal one is needed")
    return _load(AutoModelForCausalLM, folder, device, precision)


def load_masked(
    folder: Path, device: str = "cpu", precision: Precision = "auto"
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Model (eval mode) and tokenizer of a masked language model's folder; see `load_model`."""
    from transformers import AutoModelForMaskedLM

    return _load(AutoModelForMaskedLM, folder, device, precision)


def _load(
    auto: Any, folder: Path, device: str, precision: Precision
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    import torch
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    dtype = getattr(torch, chosen_precision(precision, device))
    model = auto.from_pretrained(folder, dtype=dtype, local_files_only=True, trust_remote_code=False)
    return model.to(device).eval(), load_tokenizer(folder)


def chosen_precision(precision: Precision, device: str) -> str:
    """Name of the dtype for `precision` on a device. `auto`: bfloat16 on CUDA, float32 elsewhere."""
    if precision != "auto":
        return precision
    return "bfloat16" if device.startswith("cuda") else "float32"


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """Tokenizer of a Hugging Face folder; `set_padding` chooses its padding token."""
    from transformers import AutoTokenizer

    from pipeline_core.models.tokens.encoding import set_padding

    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False
    )
    set_padding(tokenizer)
    return tokenizer


def load_trainable(
    folder: Path, device: str, lora: LoraSettings | None, seed: int, precision: Precision = "auto"
) -> PreTrainedModel:
    """Model ready to train: trained weights in float32; with adapters, the frozen base in `precision`.

    The model stays in eval mode (no dropout), so that a step depends on its batch alone.
    """
    model, _ = load_model(folder, device, weights_precision(lora, precision))
    return model if lora is None else with_lora(model, lora, seed)


def weights_precision(lora: LoraSettings | None, precision: Precision) -> Precision:
    """Precision of the weights of a trained model and of its reference; only equal precisions make both agree."""
    return "float32" if lora is None else precision


def save_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, out: Path) -> None:
    """Write a Hugging Face folder with merged adapters. Equal weights and settings give equal bytes.

    Trained weights are stored in float32, with or without adapters, even if the start was stored in bfloat16.
    """
    plain = merged(model)
    plain.save_pretrained(out)
    tokenizer.save_pretrained(out)
    for name in ("config.json", "tokenizer_config.json"):
        _forget_origin(out / name)


def merged(model: PreTrainedModel) -> PreTrainedModel:
    """Merge the model's adapters into its weights; a model without adapters is returned as it is.

    The sum is computed in float32, since bfloat16 rounds away most of what adapters learn. Float32 weights are merged
    in place. Weights in another precision are loaded again, on the CPU, from the folder they came from.
    """
    import torch

    if not hasattr(model, "peft_config"):
        return model
    in_float32: Any = model if model.dtype == torch.float32 else _on_float32(model)
    plain: PreTrainedModel = in_float32.merge_and_unload()
    return plain


def _on_float32(model: Any) -> PreTrainedModel:
    """Adapters of `model` on a float32 copy of its base."""
    from peft import get_peft_model_state_dict, set_peft_model_state_dict

    config = model.peft_config[model.active_adapter]
    base, _ = load_model(Path(config.base_model_name_or_path), precision="float32")
    copy = adapted(base, config, seed=0)  # any seed: what was learned replaces the start
    # By default peft would add the embeddings themselves, or ask the hub whether they were resized.
    learned = get_peft_model_state_dict(model, save_embedding_layers=False)
    set_peft_model_state_dict(copy, {name: weight.cpu() for name, weight in learned.items()})
    return copy


def _forget_origin(file: Path) -> None:
    """Remove settings that tell where a model was loaded from; they differ between machines."""
    if not file.exists():
        return
    settings = json.loads(file.read_text(encoding="utf-8"))
    for name in ("_name_or_path", "name_or_path", "is_local", "local_files_only"):
        settings.pop(name, None)
    file.write_text(json.dumps(settings, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
