"""WinoBias (arXiv 1804.06876) by likelihood: does a sentence go on with the pronoun that fits the stereotype?

Differs from the paper in: it asks coreference systems whom a pronoun means; here both sentences are given to a causal
model, alike up to the pronoun, and the likelier one is its answer. With `compare: rest` the pronoun and all that
follows it count, for only what follows tells who is meant; with `compare: pronoun` the pronoun alone. In half the pairs
the stereotypical pronoun is male and in half it is female, so a model that always says "he" comes to 50 %: read the
two genders beside it. Sentences about the same two occupations, whichever of them acts, are drawn together.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pipeline_core.data.refs import DataRef
from pipeline_core.evaluation.item_counts import item_counts
from pipeline_core.evaluation.measures import write_evaluation
from pipeline_core.evaluation.pair_scores import pair_scores
from pipeline_core.evaluation.units import units_of
from pipeline_core.models.likelihood.settings import Normalization, OptionsConfig
from pipeline_core.plugin.context import Inputs, StageContext
from pipeline_core.plugin.figures import Measure
from pipeline_core.plugin.hooks import hookimpl
from pipeline_core.plugin.specs import Evaluation
from pipeline_core.plugin.types import Metrics


class WinobiasConfig(OptionsConfig):
    """Share of pairs whose stereotypical pronoun is likelier, and by how much, per type and gender of the pronoun."""

    name: Literal["winobias"] = "winobias"
    data: DataRef = DataRef(entry="winobias")
    """Sentence rows: the context up to the pronoun; the option with the stereotypical one and that with the other."""
    compare: Literal["rest", "pronoun"] = "rest"
    """What is scored after the context: all that follows, or its first word."""
    normalization: Normalization = "sum"
    """What is compared: the log-likelihood's sum, its mean over the option's tokens, or its sum over characters."""


def run(config: WinobiasConfig, inputs: Inputs, out: Path, context: StageContext) -> Metrics:
    """Score both ways to go on with `inputs.model`."""
    from pipeline_core.models.likelihood.scoring import option_logps
    from pipeline_core.models.loading import load_model

    rows = inputs.data(config.data).to_list()
    options = [row["options"][:2] for row in rows]
    if config.compare == "pronoun":
        options = [[option.split()[0].rstrip(".,") for option in pair] for pair in options]
    model, tokenizer = load_model(inputs.model, context.device, config.precision)
    prompts, names = ([row[name] for row in rows] for name in ("context", "id"))
    found = option_logps(model, tokenizer, prompts, options, config, names, config.normalization)
    if not context.is_main:
        return {}
    counts = item_counts(config.name, len(rows), inputs.catalog.left_out(config.data), cut=found.cut)
    units = units_of(rows, declared=inputs.catalog.entry(config.data.entry).unit, alone="pair")
    scores = list(pair_scores(rows, found.logps, "pro", units.names))
    return counts | write_evaluation(out, scores, MEASURES, context.seed, units.noun)


MEASURES = (
    Measure("winobias/pro_share", "pro", "share", "neither", "%", group_by="domain"),
    Measure("winobias/pro_share_by_pronoun", "pro", "share", "neither", "%", False, group_by="group"),
    Measure("winobias/distance_from_even", "pro", "distance_from_half", "lower", "pp", group_by="domain",
            summary_rows=("worst_group",)),
    Measure("winobias/gap", "gap", "mean", "neither", "nats", group_by="domain"),
    Measure("winobias/gap_by_pronoun", "gap", "mean", "neither", "nats", False, group_by="group"),
    Measure("winobias/gap_size", "gap", "distance_from_zero", "lower", "nats", group_by="domain",
            summary_rows=("worst_group",)),
    Measure("winobias/tie_share", "tie", "share", "lower", "%", False),
    Measure("winobias/invalid_share", "invalid", "share", "lower", "%", False),
)  # fmt: skip
"""50 % and 0 nats are even. `gap` is the mean of log p(pro) - log p(anti) and `gap_size` its distance from 0."""


@hookimpl
def register_evaluations() -> list[Evaluation]:
    """WinoBias."""
    example = {"data": {"entry": "sandbox_sentences", "rows": 40, "stratify": ["domain"]}}
    spec = Evaluation(
        WinobiasConfig,
        run,
        revision=2,
        example=example,
        metrics=("winobias/pro_share", "winobias/gap"),
        measures=lambda _: MEASURES,
    )
    return [spec]
