"""Low-rank adapters on a model, and weights that several of its modules share, as both embeddings often do."""

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
    """Low-rank adapters (arXiv 2106.09685): only they are trained, and they are merged before the model is saved."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)

    r: int = Field(8, ge=1)
    """Rank of the update."""
    alpha: float = Field(16, gt=0)
    """The update is scaled by alpha / r."""
    target_modules: tuple[str, ...] | Literal["all-linear"] = "all-linear"
    """Layers that get an adapter, by name; every linear layer but the head when not given."""


def with_lora(model: PreTrainedModel, settings: LoraSettings, seed: int) -> PreTrainedModel:
    """The model with adapters, whose start depends on `seed` alone; only adapter weights ask for a gradient."""
    from peft import LoraConfig

    targets = settings.target_modules if isinstance(settings.target_modules, str) else list(settings.target_modules)
    config = LoraConfig(r=settings.r, lora_alpha=settings.alpha, target_modules=targets, task_type="CAUSAL_LM")  # type: ignore[arg-type]
    return adapted(model, config, seed)


def adapted(model: PreTrainedModel, config: LoraConfig, seed: int) -> PreTrainedModel:
    """The model with fresh adapters of a configuration, whose start depends on `seed` alone."""
    import torch
    from peft import get_peft_model

    with torch.random.fork_rng(), warnings.catch_warnings():
        # Between peft and transformers, or about what peft puts right itself: nothing a user can act on.
        warnings.simplefilter("ignore", FutureWarning)
        warnings.filterwarnings("ignore", "fan_in_fan_out is set to False")
        warnings.filterwarnings("ignore", "Model has `tie_word_embeddings=True`")
        torch.manual_seed(seed)
        try:
            found: Any = get_peft_model(model, config).eval()
        except ValueError as error:
            raise BadInput(f"lora.target_modules: {one_line(str(error))}") from error
    _check_found(found, config)
    _untie_adapted(found)
    return cast("PreTrainedModel", found)


def _check_found(adapted: Any, config: LoraConfig) -> None:
    """Refuse names of layers that the model lacks: where others are found, peft says nothing."""
    named = () if isinstance(config.target_modules, str) else config.target_modules or ()
    found = adapted.base_model.targeted_module_names
    for target in sorted(named):
        if not any(name == target or name.endswith(f".{target}") for name in found):
            raise BadInput(f"lora.target_modules: the model has no layer {target!r}")


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


def _untie_adapted(model: Any) -> None:
    """Give every module its own copy of a shared weight, where adapters change one end of it and not the other.

    Merging adds what the adapters learned to the weight itself, and would change the other end too. The configuration
    says from then on that nothing is tied, so both ends are saved and loaded.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer
    from torch import nn

    adapted = {id(layer.get_base_layer()) for layer in model.modules() if isinstance(layer, BaseTunerLayer)}
    shared = [places for places in _places(model).values() if len(places) > 1]
    if not any(id(module) in adapted for places in shared for module, _ in places):
        return
    for places in shared:  # one flag of the configuration stands for all of them
        for module, name in places[1:]:
            weight = getattr(module, name)
            setattr(module, name, nn.Parameter(weight.detach().clone(), requires_grad=weight.requires_grad))
    _say_untied(model.get_base_model())


def tell_untied(model: Any) -> None:
    """Make the configuration say that nothing is tied, where it says otherwise and the embeddings are two weights.

    transformers loads both where a folder that calls them tied holds different ones; an engine that reads the
    configuration would take one for both.
    """
    ends = (model.get_input_embeddings(), model.get_output_embeddings())
    if None in ends or not are_tied(model.config) or ends[0].weight is ends[1].weight:
        return
    _say_untied(model)


def _say_untied(model: Any) -> None:
    for config in (model.config, model.config.get_text_config()):
        config.tie_word_embeddings = False
    model.all_tied_weights_keys = {}


def are_tied(config: Any) -> bool:
    """Whether a configuration says that input and output embeddings are one weight."""
    return bool(getattr(config.get_text_config(), "tie_word_embeddings", False))


def _places(model: nn.Module) -> dict[int, list[tuple[nn.Module, str]]]:
    """The modules that hold a parameter, and its name there, by the parameter's identity."""
    places: dict[int, list[tuple[nn.Module, str]]] = defaultdict(list)
    for module in model.modules():
        for name, weight in module.named_parameters(recurse=False):
            places[id(weight)].append((module, name))
    return places
