"""Causal language models as folders: load, adapt with LoRA, save with reproducible bytes."""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field

from pipeline_core.errors import BadInput
from pipeline_core.models.model_files import is_masked, one_line
from pipeline_core.models.tied import untie_adapted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from peft import LoraConfig
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Precision = Literal["auto", "float32", "bfloat16"]


class LoraSettings(BaseModel):
    """Low-rank adapters (arXiv 2106.09685): only they are trained, and they are merged before the model is saved."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)

    r: int = Field(8, ge=1)
    """Rank of the update."""
    alpha: float = Field(16, gt=0)
    """The update is scaled by alpha / r."""
    target_modules: tuple[str, ...] | Literal["all-linear"] = "all-linear"
    """Layers that get an adapter, by name; every linear layer but the head when not given."""


def load_model(
    folder: Path, device: str = "cpu", precision: Precision = "auto"
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Model (eval mode) and tokenizer of a Hugging Face folder; weights in bfloat16 on CUDA and float32 elsewhere.

    Raises `BadInput` for a folder without a model.
    """
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    if not (Path(folder) / "config.json").is_file():
        raise BadInput(f"{folder} is no model folder: it has no config.json")
    if is_masked(folder):
        raise BadInput(f"{folder} holds a masked language model, and a causal one is needed")
    if precision == "auto":
        precision = "bfloat16" if device.startswith("cuda") else "float32"
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, precision), local_files_only=True)
    model.to(device)  # type: ignore[arg-type]
    return model.eval(), load_tokenizer(folder)


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """Tokenizer of a Hugging Face folder; it pads with its end token when it has no padding token."""
    from transformers import AutoTokenizer

    from pipeline_core.models.tokens.padding import set_padding

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


def with_lora(model: PreTrainedModel, settings: LoraSettings, seed: int) -> PreTrainedModel:
    """The model with adapters, whose start depends on `seed` alone; only adapter weights ask for a gradient."""
    from peft import LoraConfig

    targets = settings.target_modules if isinstance(settings.target_modules, str) else list(settings.target_modules)
    config = LoraConfig(r=settings.r, lora_alpha=settings.alpha, target_modules=targets, task_type="CAUSAL_LM")  # type: ignore[arg-type]
    return _adapted(model, config, seed)


def _adapted(model: PreTrainedModel, config: LoraConfig, seed: int) -> PreTrainedModel:
    import torch
    from peft import get_peft_model

    with torch.random.fork_rng(), warnings.catch_warnings():
        # Between peft and transformers, or about what peft puts right itself: nothing a user can act on.
        warnings.simplefilter("ignore", FutureWarning)
        warnings.filterwarnings("ignore", "fan_in_fan_out is set to False")
        warnings.filterwarnings("ignore", "Model has `tie_word_embeddings=True`")
        torch.manual_seed(seed)
        try:
            adapted: Any = get_peft_model(model, config).eval()
        except ValueError as error:
            raise BadInput(f"lora.target_modules: {one_line(str(error))}") from error
    _check_found(adapted, config)
    untie_adapted(adapted)
    return cast("PreTrainedModel", adapted)


def _check_found(adapted: Any, config: LoraConfig) -> None:
    """Refuse names of layers that the model lacks: where others are found, peft says nothing."""
    named = () if isinstance(config.target_modules, str) else config.target_modules or ()
    found = adapted.base_model.targeted_module_names
    for target in sorted(named):
        if not any(name == target or name.endswith(f".{target}") for name in found):
            raise BadInput(f"lora.target_modules: the model has no layer {target!r}")


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
    adapted: Any = model if model.dtype == torch.float32 else _on_float32(model)
    plain: PreTrainedModel = adapted.merge_and_unload()
    return plain


def plain_weights(model: PreTrainedModel) -> Iterator[tuple[str, Tensor]]:
    """Names and weights of the model as it would be without adapters, merged one by one; the model stays as it is."""
    import torch
    from peft.tuners.tuners_utils import BaseTunerLayer

    if not hasattr(model, "peft_config"):
        yield from model.state_dict().items()
        return
    plain: Any = model.get_base_model()  # type: ignore[operator]
    layers = {name: module for name, module in plain.named_modules() if isinstance(module, BaseTunerLayer)}
    for name, weight in plain.state_dict().items():
        around = [name[: dot.start()] for dot in re.finditer(r"\.", name) if name[: dot.start()] in layers]
        if any(not name.startswith(f"{layer}.base_layer.") for layer in around):  # an adapter's own weight
            continue
        deltas: list[Tensor] = []
        for layer in around:  # adapters of a layer's several parameters are nested
            found: Any = layers[layer]
            if _without_wrappers(name.removeprefix(f"{layer}.")) == getattr(found, "parameter_name", "weight"):
                with torch.no_grad():
                    deltas += [found.get_delta_weight(adapter) for adapter in found.active_adapters]
        yield _without_wrappers(name), sum(deltas, weight)


def _without_wrappers(name: str) -> str:
    """A weight's name without those of the adapters around its layer."""
    return name.replace("base_layer.", "")


def _on_float32(model: Any) -> PreTrainedModel:
    """The adapters of `model` on its base in float32."""
    from peft import get_peft_model_state_dict, set_peft_model_state_dict

    config = model.peft_config[model.active_adapter]
    base, _ = load_model(Path(config.base_model_name_or_path), precision="float32")
    adapted = _adapted(base, config, seed=0)
    learned = get_peft_model_state_dict(model, save_embedding_layers=False)
    set_peft_model_state_dict(adapted, {name: weight.cpu() for name, weight in learned.items()})
    return adapted


def _forget_origin(file: Path) -> None:
    """Drop what says where a model was loaded from, which differs between machines."""
    if not file.exists():
        return
    settings = json.loads(file.read_text(encoding="utf-8"))
    for name in ("_name_or_path", "name_or_path", "is_local", "local_files_only"):
        settings.pop(name, None)
    file.write_text(json.dumps(settings, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
