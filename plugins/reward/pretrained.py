"""A reward model that somebody else trained, with its sign decided on labelled pairs.

Published scorers seldom say whether a larger number is better: a model whose sign the pairs cannot decide is refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from pipeline_core.catalog import DataRefs, Rows
from pipeline_core.context import Inputs, StageContext
from pipeline_core.errors import BadInput
from pipeline_core.export.rewards import export_classifier
from pipeline_core.hookspecs import hookimpl
from pipeline_core.modeling import model_sources
from pipeline_core.rewards.truncation import cut_by_tokens
from pipeline_core.specs import Metrics, PluginConfig, RewardFn, RewardModel

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from pipeline_core.rewards.scored_text import ScoredText


NEEDED_BY = "reward.name=pretrained"


class PretrainedConfig(PluginConfig):
    """A sequence classifier from a local folder or the hub, as a score."""

    row_kinds: ClassVar[tuple[str, ...]] = ("preference", "scored")
    learns: ClassVar[bool] = False

    name: Literal["pretrained"] = "pretrained"
    model: str = Field(min_length=1)
    """A folder (`/...`, `./...`, `~/...`) or a hub id with a classification or regression head."""
    revision: str | None = None
    """Commit of a hub id; the newest at first use, recorded and kept, when not given. Unused for a folder."""
    output: int | str | None = None
    """Which output is the score, by number or by label; needed when the model has several."""
    reads: Literal["pair", "joined", "completion"] = "joined"
    """Prompt and completion as two segments, as one text, or the completion alone: what the model was trained on."""
    max_length: int = Field(256, ge=4)
    """Longest text in tokens; longer ones lose their beginning."""
    data: Annotated[DataRefs, Rows("preference", "scored")] = ()
    """Labelled rows, of a catalog entry or of a list of them, whose pairs decide the sign; the pipeline's when not
    given."""
    pairs: int = Field(500, ge=10)
    """Pairs that are scored for it, the first ones of a seeded order."""
    alpha: float = Field(0.01, gt=0, lt=1)
    """Largest p-value at which the sign counts as decided."""

    @model_validator(mode="after")
    def _pinned(self) -> PretrainedConfig:
        model_sources.check_pinned(self.model, self.revision, "model")
        return self

    def needs_hub(self) -> list[str]:
        """The hub id of the model."""
        return model_sources.needs_hub(self.model)

    def identity(self) -> dict[str, Any]:
        """The configuration without the path of a local folder, whose files are digested instead."""
        local = {"model": model_sources.LOCAL, "revision": None} if model_sources.is_local(self.model) else {}
        return super().identity() | local


def sources(config: PretrainedConfig) -> Mapping[str, str]:
    """Digest of a local folder, or the commit of a hub id that names none."""
    return model_sources.model_source(config.model, config.revision, NEEDED_BY)


def run(config: PretrainedConfig, inputs: Inputs, out: Path, context: StageContext) -> Metrics:
    """Copy the model, score labelled pairs, and write down the sign they decide."""
    import torch

    from pipeline_core.modeling import save_model
    from pipeline_core.rewards.measuring import reward_metrics
    from pipeline_core.rewards.sources import given_text
    from pipeline_core.rewards.truncation import held_out_truncated

    if not context.is_main:
        return {}
    text = _some_pairs(given_text(inputs, config.data), config.pairs, context.seed)
    folder = model_sources.model_folder(config.model, config.revision, NEEDED_BY)
    model, tokenizer, column = open_classifier(folder, config.output, config.max_length)
    model.to(torch.device(context.device))  # type: ignore[arg-type]
    raw = scorer(model, tokenizer, column, config.reads, config.max_length, context.device)
    measured = reward_metrics(raw, out, text, seed=context.seed, own_scale=True, alpha=config.alpha)
    _check_decided(measured, config)
    save_model(model, tokenizer, out)
    facts = {"output": column, "reads": config.reads, "max_length": config.max_length}
    (out / "reward.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    return measured | held_out_truncated(out, text)


def _some_pairs(text: ScoredText, most: int, seed: int) -> ScoredText:
    """The texts of `most` pairs alone, the first of a seeded order."""
    import numpy as np

    from pipeline_core.rewards.sign import deciding_pairs

    pairs_P2 = deciding_pairs(text, seed)
    chosen = np.random.default_rng(seed).permutation(len(pairs_P2))[:most]
    keep_N = np.zeros(len(text), dtype=bool)
    keep_N[pairs_P2[chosen].ravel()] = True
    return text.take(keep_N)


def _check_decided(measured: Metrics, config: PretrainedConfig) -> None:
    if not measured["sign"]:
        raise BadInput(
            f"the sign of {config.model} is undecided on {measured['sign/pairs']:g} labelled pairs (ties left out, "
            f"pairs of one unit counted once; two-sided binomial test, "
            f"p = {measured['sign/p_value']:.3g} > {config.alpha:g}); "
            "give more pairs, other `reads`, or another `output`"
        )


def open_classifier(folder: Path, output: int | str | None, max_length: int) -> tuple[PreTrainedModel, Any, int]:
    """Model, tokenizer and the output's column.

    Raises:
        BadInput: when the folder holds no classifier with all its weights, or the output is not clear.
    """
    import torch
    from transformers import AutoModelForSequenceClassification

    from pipeline_core.loops.encoder import check_length, tokenizer_of
    from pipeline_core.modeling.foreign import LOADING_ERRORS

    try:
        loaded: Any = AutoModelForSequenceClassification.from_pretrained(
            folder, dtype=torch.float32, output_loading_info=True, local_files_only=True
        )
    except LOADING_ERRORS as error:
        raise BadInput(f"{folder} cannot be read as a sequence classifier: {error}") from error
    model, found = loaded
    if found["missing_keys"]:
        # The library fills them with random numbers and only warns: a random score.
        raise BadInput(f"{folder} is no trained classifier: it lacks {', '.join(sorted(found['missing_keys'])[:3])}")
    tokenizer = tokenizer_of(folder)
    check_length(model, tokenizer, max_length)
    if model.config.pad_token_id is None:
        model.config.pad_token_id = tokenizer.pad_token_id  # decoders find the last token by it
    return model.eval(), tokenizer, _column(model, output)


def _column(model: PreTrainedModel, output: int | str | None) -> int:
    labels = {int(index): str(label) for index, label in (model.config.id2label or {}).items()}
    if output is None and len(labels) == 1:
        return 0
    found = [index for index, label in labels.items() if output in (index, label)]
    if len(found) != 1:
        choices = ", ".join(f"{index} ({label})" for index, label in labels.items())
        raise BadInput(f"reward.output {output!r} names none of the model's outputs; choose one of {choices}")
    return found[0]


def scorer(model: PreTrainedModel, tokenizer: Any, column: int, reads: Any, max_length: int, device: str) -> RewardFn:
    """The raw score: the output itself, or its log-odds against the others where the outputs are exclusive."""
    from pipeline_core.loops.encoder import are_exclusive, encode, scores

    exclusive = are_exclusive(model.config)
    number: Callable[..., Tensor] = log_odds if exclusive else lambda logits, column: logits[:, column]

    def one(**batch: Tensor) -> Tensor:
        return number(model(**batch).logits.float(), column)

    def score(prompts: Sequence[str], completions: Sequence[str]) -> Tensor:
        return scores(one, tokenizer, encode(tokenizer, prompts, completions, max_length, reads), device)

    return score


def log_odds(logits: Tensor, column: int) -> Tensor:
    """Log-odds, log p / (1 - p) of one of the exclusive outputs: (B, outputs) to (B,)."""
    others = [other for other in range(logits.shape[1]) if other != column]
    return logits[:, column] - logits[:, others].logsumexp(1)


def load(folder: Path, device: str) -> RewardFn:
    """The raw score."""
    import torch

    facts = json.loads((folder / "reward.json").read_text(encoding="utf-8"))
    model, tokenizer, column = open_classifier(folder, facts["output"], facts["max_length"])
    model.to(torch.device(device))  # type: ignore[arg-type]
    return scorer(model, tokenizer, column, facts["reads"], facts["max_length"], device)


@hookimpl
def register_reward_models() -> list[RewardModel]:
    """Register `pretrained`."""
    return [
        RewardModel(
            PretrainedConfig, run, revision=4, sources=sources, load=load, cut=cut_by_tokens, export=export_classifier
        )
    ]
