"""Low-rank adapters (LoRA) on a model, and weights that several modules share, such as tied embeddings."""

from __future__ import annotations

import re
import warnings
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field

from pipeline_core.errors import BadInput
from pipeline_core.models.model_files import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from peft import LoraConfig
    from torch import Tensor, nn
    from transformers import PreTrainedModel


class LoraSettings(BaseModel):
    """Low-rank adapters (arXiv 2106.09685). Only the adapters are trained; saving merges them into the weights."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)

    r: int = Field(8, ge=1)
    """Rank of the update."""
    alpha: float = Field(16, gt=0)
    """Scale: the update is multiplied by alpha / r."""
    target_modules: tuple[str, ...] | Literal["all-linear"] = "all-linear"
    """Names of the layers that get an adapter. Default: every linear layer except the head."""


def with_lora(model: PreTrainedModel, settings: LoraSettings, seed: int) -> PreTrainedModel:
    """Add adapters to the model. Their start depends on `seed` alone; only adapter weights require gradients."""
    from peft import LoraConfig

    targets = settings.target_modules if isinstance(settings.target_modules, str) else list(settings.target_modules)
    config = LoraConfig(r=settings.r, lora_alpha=settings.alpha, target_modules=targets, task_type="CAUSAL_LM")  # type: ignore[arg-type]
    return adapted(model, config, seed)


def adapted(model: PreTrainedModel, config: LoraConfig, seed: int) -> PreTrainedModel:
    """Add new adapters of the given configuration to the model. Their start depends on `seed` alone."""
    import torch
    from peft import get_peft_model

    with torch.random.fork_rng(), warnings.catch_warnings():  # later draws do not depend on the adapters
        # Users cannot act on these: peft and transformers disagree, or peft corrects its own settings.
        warnings.simplefilter("ignore", FutureWarning)
        warnings.filterwarnings("ignore", "fan_in_fan_out is set to False")
        warnings.filterwarnings("ignore", "Model has `tie_word_embeddings=True`")
        torch.manual_seed(seed)
        try:
            with_adapters: Any = get_peft_model(model, config).eval()
        except ValueError as error:
            raise BadInput(f"lora.target_modules: {one_line(str(error))}") from error
    _check_found(with_adapters, config)
    _untie_adapted(with_adapters)
    return cast("PreTrainedModel", with_adapters)


def _check_found(adapted: Any, config: LoraConfig) -> None:
    """Refuse layer names that the model lacks: if other names match, peft ignores them silently."""
    named = () if isinstance(config.target_modules, str) else config.target_modules or ()
    layers = adapted.base_model.targeted_module_names
    for target in sorted(named):
        if not any(name == target or name.endswith(f".{target}") for name in layers):
            raise BadInput(f"lora.target_modules: the model has no layer {target!r}")


def plain_weights(model: PreTrainedModel) -> Iterator[tuple[str, Tensor]]:
    """Names and weights of the model with its adapters merged, one at a time; the model itself is not changed."""
    import torch
    from peft.tuners.tuners_utils import BaseTunerLayer

    if not hasattr(model, "peft_config"):
        yield from model.state_dict().items()
        return
    plain: Any = model.get_base_model()  # type: ignore[operator]
    layers = {name: module for name, module in plain.named_modules() if isinstance(module, BaseTunerLayer)}
    for name, weight in plain.state_dict().items():
        around = [name[: dot.start()] for dot in re.finditer(r"\.", name) if name[: dot.start()] in layers]
        if any(not name.startswith(f"{layer}.base_layer.") for layer in around):  # the weight of an adapter
            continue
        deltas: list[Tensor] = []
        for layer in around:  # peft nests the adapters of a layer with several parameters
            module: Any = layers[layer]
            if _without_wrappers(name.removeprefix(f"{layer}.")) == getattr(module, "parameter_name", "weight"):
                with torch.no_grad():
                    deltas += [module.get_delta_weight(adapter) for adapter in module.active_adapters]
        yield _without_wrappers(name), sum(deltas, weight)


def _without_wrappers(name: str) -> str:
    """Weight name without the parts that adapter layers add to it."""
    return name.replace("base_layer.", "")


def _untie_adapted(model: Any) -> None:
    """Give every module its own copy of a shared weight if adapters change one of these modules.

    Merging adds the adapter's update to the weight itself, which would change the other modules too. The configuration
    is set to untied, so that both weights are saved and loaded.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer
    from torch import nn

    adapted = {id(layer.get_base_layer()) for layer in model.modules() if isinstance(layer, BaseTunerLayer)}
    shared = [places for places in _places(model).values() if len(places) > 1]
    if not any(id(module) in adapted for places in shared for module, _ in places):
        return
    for places in shared:  # the configuration has one flag for all shared weights
        for module, name in places[1:]:
            weight = getattr(module, name)
            setattr(module, name, nn.Parameter(weight.detach().clone(), requires_grad=weight.requires_grad))
    _say_untied(model.get_base_model())


def tell_untied(model: Any) -> None:
    """Set the configuration to untied if it says tied and the model has two embedding weights.

    transformers loads both weights from a folder that says tied and holds two different ones. An engine that reads the
    configuration would use one weight for both.
    """
    ends = (model.get_input_embeddings(), model.get_output_embeddings())
    if None in ends or not are_tied(model.config) or ends[0].weight is ends[1].weight:
        return
    _say_untied(model)


def _say_untied(model: Any) -> None:
    for config in (model.config, model.config.get_text_config()):
        config.tie_word_embeddings = False
    model.all_tied_weights_keys = {}  # transformers 5 made it from the configuration as it was


def are_tied(config: Any) -> bool:
    """True if the configuration says that input and output embeddings are one weight."""
    return bool(getattr(config.get_text_config(), "tie_word_embeddings", False))


def _places(model: nn.Module) -> dict[int, list[tuple[nn.Module, str]]]:
    """Modules that hold each parameter and its name there, by `id` of the parameter."""
    places: dict[int, list[tuple[nn.Module, str]]] = defaultdict(list)
    for module in model.modules():
        for name, weight in module.named_parameters(recurse=False):
            places[id(weight)].append((module, name))
    return places
