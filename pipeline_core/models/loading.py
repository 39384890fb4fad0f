"""Causal language models as folders: load, adapt with LoRA, save with reproducible bytes."""

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
    """Model (eval mode) and tokenizer of a Hugging Face folder; weights in bfloat16 on CUDA and float32 elsewhere.

    Raises `BadInput` for a folder without a model.
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
    """Model (eval mode) and tokenizer of a folder that `is_masked`; see `load_model`."""
    from transformers import AutoModelForMaskedLM

    return _load(AutoModelForMaskedLM, folder, device, precision)


def _load(
    auto: Any, folder: Path, device: str, precision: Precision
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    import torch
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    dtype = getattr(torch, chosen_precision(precision, device))
    model = auto.from_pretrained(folder, dtype=dtype, local_files_only=True)
    return model.to(device).eval(), load_tokenizer(folder)


def chosen_precision(precision: Precision, device: str) -> str:
    """The dtype that `precision` means on a device: `auto` is bfloat16 on CUDA and float32 elsewhere."""
    if precision != "auto":
        return precision
    return "bfloat16" if device.startswith("cuda") else "float32"


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """Tokenizer of a Hugging Face folder; it pads with its end token when it has no padding token."""
    from transformers import AutoTokenizer

    from pipeline_core.models.tokens.encoding import set_padding

    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    set_padding(tokenizer)
    return tokenizer


def load_trainable(
    folder: Path, device: str, lora: LoraSettings | None, seed: int, precision: Precision = "auto"
) -> PreTrainedModel:
    """The model ready to train: trained weights in float32, a frozen base under adapters in `precision`.

    It stays in eval mode: no dropout, so that a step depends on nothing but its batch.
    """
    model, _ = load_model(folder, device, weights_precision(lora, precision))
    return model if lora is None else with_lora(model, lora, seed)


def weights_precision(lora: LoraSettings | None, precision: Precision) -> Precision:
    """In which precision a training holds the weights of its model, and of its reference: only so do both agree."""
    return "float32" if lora is None else precision


def save_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, out: Path) -> None:
    """Write a Hugging Face folder; adapters are merged in. Equal weights and settings give equal bytes.

    What was trained is stored in float32, with adapters or without, also where its start was stored in bfloat16.
    """
    plain = merged(model)
    plain.save_pretrained(out)
    tokenizer.save_pretrained(out)
    for name in ("config.json", "tokenizer_config.json"):
        _forget_origin(out / name)


def merged(model: PreTrainedModel) -> PreTrainedModel:
    """The model with its adapters merged into the weights, or the model itself if it has none.

    The sum is formed in float32, in place where the weights are: bfloat16 rounds most of what adapters learn away.
    Weights in another precision are read again, on the CPU, from the folder they came from.
    """
    import torch

    if not hasattr(model, "peft_config"):
        return model
    found: Any = model if model.dtype == torch.float32 else _on_float32(model)
    plain: PreTrainedModel = found.merge_and_unload()
    return plain


def _on_float32(model: Any) -> PreTrainedModel:
    """The adapters of `model` on its base in float32."""
    from peft import get_peft_model_state_dict, set_peft_model_state_dict

    config = model.peft_config[model.active_adapter]
    base, _ = load_model(Path(config.base_model_name_or_path), precision="float32")
    found = adapted(base, config, seed=0)
    learned = get_peft_model_state_dict(model, save_embedding_layers=False)
    set_peft_model_state_dict(found, {name: weight.cpu() for name, weight in learned.items()})
    return found


def _forget_origin(file: Path) -> None:
    """Drop what says where a model was loaded from, which differs between machines."""
    if not file.exists():
        return
    settings = json.loads(file.read_text(encoding="utf-8"))
    for name in ("_name_or_path", "name_or_path", "is_local", "local_files_only"):
        settings.pop(name, None)
    file.write_text(json.dumps(settings, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
