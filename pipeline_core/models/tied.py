"""Weights that several modules share, as input and output embeddings often do, under adapters of only some of them."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


def untie_adapted(model: Any) -> None:
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
    plain = model.get_base_model()
    for config in (plain.config, plain.config.get_text_config()):
        config.tie_word_embeddings = False
    plain.all_tied_weights_keys = {}


def tell_untied(model: Any) -> None:
    """Make the configuration say that nothing is tied, where it says otherwise and the embeddings are two weights.

    transformers loads both where a folder that calls them tied holds different ones; an engine that reads the
    configuration would take one for both.
    """
    ends = (model.get_input_embeddings(), model.get_output_embeddings())
    if None in ends or not are_tied(model.config) or ends[0].weight is ends[1].weight:
        return
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
