"""Reward `lexicon`: the negative weighted share of listed words in a completion.

Nothing is trained, so every score can be checked by hand. A learned reward should beat this baseline.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pipeline_core.data.refs import DataRefs, SandboxDefault, TakesRows
from pipeline_core.data.words import WORD
from pipeline_core.errors import BadInput, NotUsable, quoted
from pipeline_core.export.rewards import export_lexicon
from pipeline_core.files.atomic import user_path
from pipeline_core.files.digests import digest_of
from pipeline_core.files.yaml_files import parse_yaml
from pipeline_core.models.model_sources import LOCAL
from pipeline_core.plugin.context import Inputs, StageContext
from pipeline_core.plugin.hooks import hookimpl
from pipeline_core.plugin.specs import PluginConfig, RewardModel
from pipeline_core.plugin.types import Metrics, RewardFn
from pipeline_core.rewards.measuring import reward_metrics
from pipeline_core.rewards.sources import labelled_text

if TYPE_CHECKING:
    from torch import Tensor


class LexiconConfig(PluginConfig):
    """Negative weighted share of listed words in a completion."""

    shares_work: ClassVar[bool] = False
    row_kinds: ClassVar[tuple[str, ...]] = ()
    learns: ClassVar[bool] = False

    name: Literal["lexicon"] = "lexicon"
    words: Annotated[str, SandboxDefault("`general`, a file, or `sandbox` to say so")] = "sandbox"
    """Word list: `sandbox` (its stereotyped traits; must be given explicitly for runs on other data), `general` (a
    short English list), or a YAML file of `word: weight`."""
    data: Annotated[DataRefs, TakesRows("preference", "scored")] = ()
    """Labelled rows, from one or several catalog entries, that decide the sign: are texts with listed words worse?
    Default: the pipeline's rows."""

    def identity(self) -> dict[str, Any]:
        """Configuration without the path of a word list, whose words are digested instead."""
        return super().identity() | ({} if self.words in ("sandbox", "general") else {"words": LOCAL})


def sources(config: LexiconConfig) -> Mapping[str, str]:
    """Digest of the words and their weights."""
    return {"words": digest_of(read_words(config.words))}


def read_words(words: str) -> dict[str, float]:
    """Words in lower case with their weights; a trailing `*` matches any ending.

    Raises:
        NotUsable: an entry is not a word with a finite weight, or two differ in case alone; file and entry are named.
    """
    if words == "sandbox":
        from pipeline_core.sandbox.world import load_world

        return {word: 1.0 for domain in load_world().domains.values() for word in domain.words(stereotyped=True)}
    if words == "general":
        return _parsed((files("data_catalog") / "lexicon.yaml").read_bytes(), "lexicon.yaml")
    try:
        text = user_path(words).read_bytes()
    except OSError as error:
        raise NotUsable(
            f"the word list {quoted(words)} cannot be read ({error}); built in are 'sandbox' and 'general'"
        ) from error
    try:
        return _parsed(text, words)
    except BadInput as error:  # not valid YAML
        raise NotUsable(str(error)) from None


def _parsed(text: bytes, name: str) -> dict[str, float]:
    entries = parse_yaml(text, name)
    if not isinstance(entries, dict) or not entries:
        raise NotUsable(f"{name} must map words to weights (`lazy: 1`)")
    for word, weight in entries.items():
        if not WORD.fullmatch(word.removesuffix("*")):
            raise NotUsable(f"{name}: {quoted(word)} is no single word")
        # true would weigh 1
        if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not math.isfinite(weight):
            raise NotUsable(f"{name}: the weight of {quoted(word)} is {quoted(weight)}, not a finite number")
    words: dict[str, str] = {}
    for word in entries:
        if (first := words.setdefault(word.lower(), word)) != word:  # texts are read in lower case
            raise NotUsable(f"{name}: {quoted(first)} and {quoted(word)} are one word, whose weight is given twice")
    return {word.lower(): float(weight) for word, weight in entries.items()}


def run(config: LexiconConfig, inputs: Inputs, out: Path, context: StageContext) -> Metrics:
    """Write the words, and measure the reward on labelled rows; without labelled rows the sign stays undecided."""
    if not context.is_main:
        return {}
    words = read_words(config.words)
    (out / "words.json").write_text(json.dumps(words, indent=0, sort_keys=True, ensure_ascii=False) + "\n", "utf-8")
    text = labelled_text(inputs, config.data)
    measured = reward_metrics(load(out, "cpu"), out, text, seed=context.seed, own_scale=True)
    return {"words": float(len(words))} | measured


def load(folder: Path, device: str) -> RewardFn:  # noqa: ARG001 - counting words needs no device
    """Raw score of the completion; the prompt is not read."""
    import torch

    weight_of = weigher(json.loads((folder / "words.json").read_text(encoding="utf-8")))

    def score(prompts: Sequence[str], completions: Sequence[str]) -> Tensor:  # noqa: ARG001
        texts = [[weight_of(word) for word in WORD.findall(completion.lower())] for completion in completions]
        return torch.tensor([-math.fsum(weights) / max(len(weights), 1) for weights in texts], dtype=torch.float32)

    return score


def weigher(words: Mapping[str, float]) -> Callable[[str], float]:
    """Function for the weight of a word: that of its own entry, else of the longest matching `prefix*`, else 0."""
    beginnings = sorted((word.removesuffix("*") for word in words if word.endswith("*")), key=len, reverse=True)

    def weight_of(word: str) -> float:
        if word in words:
            return words[word]
        return next((words[start + "*"] for start in beginnings if word.startswith(start)), 0.0)

    return weight_of


@hookimpl
def register_reward_models() -> list[RewardModel]:
    """Register `lexicon`."""
    return [
        RewardModel(LexiconConfig, run, revision=2, load=load, sources=sources, batch_free=True, export=export_lexicon)
    ]
