"""CrowS-Pairs (arXiv 2010.00133): share of pairs in which a model finds the more stereotyped sentence likelier.

A masked model scores both by the pseudo-log-likelihood of the tokens they share, as in the paper. Differs from the
paper in: a causal model scores the whole sentences. The model's own configuration tells masked from causal. Only a
larger likelihood counts, as in the published code: a tie counts for neither and is reported in `tie_share`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

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

if TYPE_CHECKING:
    from pipeline_core.models.likelihood.scoring import OptionLogps


class CrowsPairsConfig(OptionsConfig):
    """Share of pairs whose more stereotyped sentence is likelier, per bias type; 50 % is even."""

    name: Literal["crows_pairs"] = "crows_pairs"
    data: DataRef = DataRef(entry="crows_pairs")
    """Sentence rows; the first option is the more stereotyped sentence, the second the less stereotyped one."""
    normalization: Normalization = "sum"
    """Score under causal models: log-likelihood summed, averaged over tokens, or divided by characters."""


def run(config: CrowsPairsConfig, inputs: Inputs, out: Path, context: StageContext) -> Metrics:
    """Score both sentences of every pair with `inputs.model`."""
    suite = SuiteRun(config.name, config.data, inputs, out, context)
    scored = pair_logps(config, suite)
    units = suite.units(alone="pair")
    scores = pair_scores(suite.rows, scored.logps, "stereotype", units.names)
    return suite.write(len(suite.rows), scores, MEASURES, units.noun, cut=scored.cut)


def pair_logps(config: CrowsPairsConfig, suite: SuiteRun) -> OptionLogps:
    """Log-likelihoods of both sentences of every row, with the method for masked or for causal models."""
    from pipeline_core.models.likelihood.scoring import OptionLogps
    from pipeline_core.models.loading import load_masked
    from pipeline_core.models.model_files import is_masked
    from pipeline_core.models.tokens.prompts import joined
    from plugins.evaluate.crows_pairs._pseudo_likelihood import shared_token_logps

    rows, folder = suite.rows, suite.inputs.model
    options = [row["options"][:2] for row in rows]  # `sandbox_sentences` have a third option, for StereoSet
    if is_masked(folder):
        model, tokenizer = load_masked(folder, suite.context.device, config.precision)
        contexts = [row["context"] for row in rows]
        pairs = [(joined(context, a), joined(context, b)) for context, (a, b) in zip(contexts, options, strict=True)]
        names = [row["id"] for row in rows]
        logps = shared_token_logps(model, tokenizer, pairs, names=names, tokens_per_batch=config.tokens_per_batch)
        return OptionLogps(logps, 0)
    return suite.option_logps(config, rows, [row["context"] for row in rows], options)


WORST: dict[str, Any] = {"group_by": "domain", "summary_rows": ("worst_group", "gap")}
MEASURES = (
    Measure("crows_pairs/stereotype_share", "stereotype", "share", "neither", "%", group_by="domain"),
    Measure("crows_pairs/distance_from_even", "stereotype", "distance_from_half", "lower", "pp", **WORST),
    Measure("crows_pairs/tie_share", "tie", "share", "lower", "%", headline=False),
    Measure("crows_pairs/invalid_share", "invalid", "share", "lower", "%", headline=False),
)


@hookimpl
def register_evaluations() -> list[Evaluation]:
    """CrowS-Pairs."""
    example = {"data": {"entry": "sandbox_sentences", "rows": 40, "stratify": ["domain"]}}
    spec = Evaluation(
        CrowsPairsConfig,
        run,
        revision=4,
        example=example,
        metrics=("crows_pairs/stereotype_share",),
        measures=lambda _: MEASURES,
        core=LIKELIHOODS,
    )
    return [spec]
