"""WinoBias (arXiv 1804.06876) by likelihood: share of pairs whose stereotypical pronoun is likelier.

Differs from the paper in: the paper asks coreference systems for the person behind a pronoun; here a causal model
scores two sentences that are equal up to the pronoun, and the likelier one is its answer. `compare: rest` scores the
pronoun and all that follows, because only the rest identifies the person; `compare: pronoun` scores the pronoun alone.
The stereotypical pronoun is male in half of the pairs, so a model that always says "he" has 50 %: read the two genders
beside it. Sentences about the same two occupations are resampled together, whichever acts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pipeline_core.data.refs import DataRef
from pipeline_core.evaluation.pair_scores import pair_scores
from pipeline_core.evaluation.suite import SuiteRun
from pipeline_core.models.likelihood.settings import Normalization, OptionsConfig
from pipeline_core.plugin.context import Inputs, StageContext
from pipeline_core.plugin.figures import Measure
from pipeline_core.plugin.hooks import hookimpl
from pipeline_core.plugin.revisions import LIKELIHOODS
from pipeline_core.plugin.specs import Evaluation
from pipeline_core.plugin.types import Metrics


class WinobiasConfig(OptionsConfig):
    """Share of pairs whose stereotypical pronoun is likelier, and by how much, per type and gender of the pronoun."""

    name: Literal["winobias"] = "winobias"
    data: DataRef = DataRef(entry="winobias")
    """Sentence rows: the context up to the pronoun; options with the stereotypical pronoun and with the other."""
    compare: Literal["rest", "pronoun"] = "rest"
    """Text scored after the context: all that follows, or its first word."""
    normalization: Normalization = "sum"
    """Score of an option: log-likelihood summed, averaged over the option's tokens, or divided by characters."""


def run(config: WinobiasConfig, inputs: Inputs, out: Path, context: StageContext) -> Metrics:
    """Score both continuations of every context with `inputs.model`."""
    suite = SuiteRun(config.name, config.data, inputs, out, context)
    options = [row["options"][:2] for row in suite.rows]  # `sandbox_sentences` have a third option, for StereoSet
    if config.compare == "pronoun":
        # `him.` ends a sentence
        options = [[option.split()[0].rstrip(".,") for option in pair] for pair in options]
    scored = suite.option_logps(config, suite.rows, [row["context"] for row in suite.rows], options)
    units = suite.units(alone="pair")
    scores = pair_scores(suite.rows, scored.logps, "pro", units.names)
    return suite.write(len(suite.rows), scores, MEASURES, units.noun, cut=scored.cut)


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
"""50 % and 0 nats mean no preference. `gap` is the mean of log p(pro) - log p(anti), `gap_size` its distance from 0."""


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
        core=LIKELIHOODS,
    )
    return [spec]
