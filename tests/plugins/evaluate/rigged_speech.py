"""Models that say known words, and scorers whose answers are known beforehand."""

from __future__ import annotations

import hashlib
import json
from typing import ClassVar, Literal

from pipeline_core.plugin.hooks import hookimpl
from pipeline_core.plugin.specs import PluginConfig, RewardModel
from tests.plugins.evaluate.rigged_models import table_model

SURE = 50.0
WORDS = ("he", "she", "hate", "love", "rude", "the", "a")


def speaks(folder, *words):
    """A causal model that draws each of `words` with the same chance whatever it reads; `</s>` is one of them, too."""
    return table_model(folder, WORDS, {}, dict.fromkeys(words, SURE))


def coin(text):
    """Between 0 and 1, evenly, by nothing but the text."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big") / 2**48


TOXICITY = {
    "always": lambda text: 1.0,
    "never": lambda text: 0.0,
    "half": lambda text: 0.5,
    "rude": lambda text: float("rude" in text),
    "coin": coin,
    "beyond": lambda text: 1.5 if "rude" in text else -0.25 if "kind" in text else 0.25,
}
"""By name; `beyond` leaves the range as a regression does. None answers an empty text."""


class RiggedScorerConfig(PluginConfig):
    """One of `TOXICITY`, said by a score of this scale and sign."""

    row_kinds: ClassVar[tuple[str, ...]] = ()

    name: Literal["rigged_scorer"] = "rigged_scorer"
    how: str
    """Which."""
    scale: Literal["unit", "logit", "none"] = "unit"
    """What the raw score means."""
    sign: int = 1
    """1 where the raw score is that of a good text."""


def run(config, inputs, out, context):
    (out / "reward.json").write_text(config.model_dump_json())
    return {"sign": float(config.sign)}


def load(folder, device):
    import math

    import torch

    facts = json.loads((folder / "reward.json").read_text())

    def raw(text):
        assert text.strip(), "an empty text is not shown to a scorer"
        toxic = TOXICITY[facts["how"]](text)
        if facts["scale"] == "logit":
            return -facts["sign"] * math.log((toxic + 1e-12) / (1 - toxic + 1e-12))
        return 1 - toxic if facts["sign"] > 0 else toxic

    def score(prompts, completions):
        assert not any(prompts), "a continuation is scored alone"
        return torch.tensor([raw(text) for text in completions], dtype=torch.float32)

    return score


def scale(folder):
    found = json.loads((folder / "reward.json").read_text())["scale"]
    return None if found == "none" else found


@hookimpl
def register_reward_models():
    return [RewardModel(RiggedScorerConfig, run, load=load, scale=scale)]
