"""Rewards whose figures are known beforehand, as a plugin."""

from __future__ import annotations

import json
from typing import ClassVar, Literal

from pipeline_core.augmentation.terms import load_vocabulary
from pipeline_core.plugin.hooks import hookimpl
from pipeline_core.plugin.specs import PluginConfig, RewardModel

BAD = ("rude", "hate", "horrible", "stupid", "worthless", "disgusting", "liar")


def identity_words(text):
    return sum(match[0].lower() in load_vocabulary("identity_terms").terms for match in _pattern().finditer(text))


def _pattern():
    return load_vocabulary("identity_terms").pattern


HOW = {
    "constant": lambda text: 0.7,
    "perfect": lambda text: -float("rude" in text),
    "reverse": lambda text: float("rude" in text),
    "length": lambda text: float(len(text)),
    "identity": lambda text: -float(identity_words(text)),
    "toxic": lambda text: -float(sum(word in text.lower() for word in BAD)),
    "broken": lambda text: float("nan"),
}
"""By name; all read the completion alone."""


class RiggedConfig(PluginConfig):
    """One of `HOW`."""

    row_kinds: ClassVar[tuple[str, ...]] = ()

    name: Literal["rigged"] = "rigged"
    how: str
    """Which."""


def run(config, inputs, out, context):
    (out / "reward.json").write_text(json.dumps(config.how))
    return {"sign": 1.0, "sign/p_value": 0.0, "sign/pairs": 100.0}


def load(folder, device):
    import torch

    score = HOW[json.loads((folder / "reward.json").read_text())]
    return lambda prompts, completions: torch.tensor([score(text) for text in completions], dtype=torch.float32)


@hookimpl
def register_reward_models():
    return [RewardModel(RiggedConfig, run, load=load)]
