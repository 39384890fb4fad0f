"""Perplexity of plain text, a measure of a model's general knowledge and language after a mitigation.

Per token, per word (between white space) and per UTF-8 byte; models of different tokenizers can be compared only by
word and byte. Every token is predicted once, in windows (`pipeline_core.models.likelihood.perplexity`). An item is a
document.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from pipeline_core.data.refs import DataRef
from pipeline_core.evaluation.suite import SuiteRun
from pipeline_core.plugin.context import Inputs, StageContext
from pipeline_core.plugin.figures import Measure, Relation, Score
from pipeline_core.plugin.hooks import hookimpl
from pipeline_core.plugin.revisions import LIKELIHOODS
from pipeline_core.plugin.specs import Evaluation, PluginConfig
from pipeline_core.plugin.types import Metrics

if TYPE_CHECKING:
    from pipeline_core.models.likelihood.perplexity import TextLogp


class PerplexityConfig(PluginConfig):
    """Perplexity of documents by token, word and byte."""

    name: Literal["perplexity"] = "perplexity"
    data: DataRef = DataRef(entry="wikitext2")
    """Text rows; a row is a document."""
    window: int = Field(1024, ge=2)
    """Tokens of a window; lower it for a model of fewer positions."""
    stride: int = Field(512, ge=1)
    """Tokens that every window but the first predicts; its other tokens are context."""
    tokens_per_batch: int = Field(4096, ge=1)
    """Padded tokens run through the model at once."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Dtype of weights while scoring; `auto` is bfloat16 on CUDA and float32 elsewhere. Compare models in one dtype."""

    @model_validator(mode="after")
    def _overlaps(self) -> PerplexityConfig:
        if self.stride >= self.window:
            raise ValueError(f"stride: must be below the window of {self.window}")
        return self


def run(config: PerplexityConfig, inputs: Inputs, out: Path, context: StageContext) -> Metrics:
    """Score every document with `inputs.model`."""
    from pipeline_core.models.likelihood.perplexity import score_texts
    from pipeline_core.models.loading import load_model

    rows = inputs.data(config.data)
    model, tokenizer = load_model(inputs.model, context.device, config.precision)
    texts = list(
        score_texts(
            model,
            tokenizer,
            (row["text"] for row in rows),  # a stream: a corpus need not fit into memory
            window=config.window,
            stride=config.stride,
            tokens_per_batch=config.tokens_per_batch,
            names=rows["id"],
        )
    )
    tokens = sum(text.tokens for text in texts)
    scores = item_scores(rows.select_columns(["id", "domain"]), texts)  # without the texts, which are long
    suite = SuiteRun(config.name, config.data, inputs, out, context)
    return suite.write(len(texts), scores, MEASURES, "document", tokens=tokens)


def item_scores(rows: Iterable[Any], found: Iterable[TextLogp]) -> Iterator[Score]:
    """Negative log-likelihood and sizes of every document; `invalid` where the likelihood is not finite."""
    for row, text in zip(rows, found, strict=True):
        valid = bool(text.tokens) and math.isfinite(text.logp)  # an empty document predicts nothing
        about: dict[str, Any] = {"item": row["id"], "domain": row["domain"], "cluster": row["id"]}
        yield Score(score="invalid", value=float(not valid), **about)
        if not valid:
            continue
        values = {"nll": -text.logp, "bits": -text.logp / math.log(2)}
        sizes = {"tokens": text.tokens, "words": text.words, "bytes": text.bytes}
        for name, value in {**values, **sizes}.items():
            yield Score(score=name, value=float(value), **about)


MEASURES = (
    Relation("perplexity/word", "nll", "words", "exp_ratio", "lower"),
    Relation("perplexity/byte", "nll", "bytes", "exp_ratio", "lower", headline=False),
    Relation("perplexity/bits_per_byte", "bits", "bytes", "ratio", "lower", "bits"),
    Relation("perplexity/token", "nll", "tokens", "exp_ratio", "lower"),
    Measure("perplexity/invalid_share", "invalid", "share", "lower", "%", headline=False),
)
"""Figures over all documents together, so that long ones weigh more; resampled by document."""


@hookimpl
def register_evaluations() -> list[Evaluation]:
    """Perplexity."""
    example = {"data": {"entry": "sandbox_heldout_text", "rows": 12}, "window": 16, "stride": 8}
    spec = Evaluation(
        PerplexityConfig,
        run,
        revision=2,
        example=example,
        metrics=("perplexity/token", "perplexity/word"),
        measures=lambda _: MEASURES,
        core=LIKELIHOODS,
    )
    return [spec]
