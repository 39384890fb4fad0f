"""Models that say known words, and scorers whose answers are known beforehand."""

from __future__ import annotations

import hashlib
import json
from typing import ClassVar, Literal

from pipeline_core.hookspecs import hookimpl
from pipeline_core.specs import PluginConfig, RewardModel

SPECIAL = ("<unk>", "<pad>", "</s>")
WORDS = ("he", "she", "hate", "love", "rude", "the", "a")


def speaks(folder, *words):
    """A causal model that draws each of `words` with the same chance whatever it reads; `</s>` is one of them, too."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    ids = {word: number for number, word in enumerate((*SPECIAL, *WORDS))}
    core = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, unk_token="<unk>", pad_token="<pad>", eos_token="</s>", bos_token="</s>"
    )
    config = LlamaConfig(
        vocab_size=len(ids),
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        num_key_value_heads=1,
        max_position_embeddings=256,
        bos_token_id=2,
        eos_token_id=2,
        pad_token_id=1,
        tie_word_embeddings=False,
    )
    model = LlamaForCausalLM(config)
    with torch.no_grad():  # every state is all ones, so that a word's logit is the sum of its row
        model.model.embed_tokens.weight.fill_(1)
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        model.lm_head.weight.zero_()
        model.lm_head.weight[[ids[word] for word in words]] = 10
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


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
