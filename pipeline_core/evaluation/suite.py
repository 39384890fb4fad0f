"""Steps that runs of suites share: reading rows, asking a model, and writing scores with counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline_core.evaluation.item_counts import item_counts
from pipeline_core.evaluation.measures import write_evaluation
from pipeline_core.evaluation.units import ResampleBy, Units, units_of

if TYPE_CHECKING:
    from pipeline_core.data.refs import DataRef
    from pipeline_core.models.likelihood.scoring import OptionLogps
    from pipeline_core.models.likelihood.settings import LikelihoodConfig
    from pipeline_core.plugin.context import Inputs, StageContext
    from pipeline_core.plugin.figures import Measure, Relation, Score
    from pipeline_core.plugin.types import Metrics


@dataclass(frozen=True)
class SuiteRun:
    """A run of the evaluation `name` over the rows of `ref`."""

    name: str
    ref: DataRef
    inputs: Inputs
    out: Path
    context: StageContext

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """All rows of `ref`."""
        return self.inputs.data(self.ref).to_list()

    def units(
        self, rows: Sequence[Mapping[str, Any]] | None = None, by: ResampleBy = "unit", alone: str | None = None
    ) -> Units:
        """Resampling units of all or of the given rows, as their catalog entry declares (`units_of`)."""
        return units_of(self.rows if rows is None else rows, by, self.inputs.catalog.entry(self.ref.entry).unit, alone)

    def option_logps(
        self,
        config: LikelihoodConfig,
        rows: Sequence[Mapping[str, Any]],
        prompts: Sequence[str],
        options: Sequence[Sequence[str]],
    ) -> OptionLogps:
        """Log-likelihoods under `inputs.model` of every row's options after its prompt, computed as `config` says."""
        from pipeline_core.models.likelihood.scoring import option_logps
        from pipeline_core.models.likelihood.settings import OptionsConfig
        from pipeline_core.models.loading import load_model

        model, tokenizer = load_model(self.inputs.model, self.context.device, config.precision)
        # other suites are defined by sums, as MC1 of TruthfulQA is
        divided = config.normalization if isinstance(config, OptionsConfig) else "sum"
        return option_logps(model, tokenizer, prompts, options, config, [row["id"] for row in rows], divided)

    def write(
        self,
        measured: int,
        scores: Iterable[Score],
        measures: Sequence[Measure | Relation],
        resampled: str,
        left_out: Mapping[str, int] | None = None,
        **counts: int,
    ) -> Metrics:
        """Write the scores of `measured` items and their figures (`write_evaluation`). Returns the metrics, with counts
        of items (`item_counts`). Only the main process writes; other processes have no metrics.
        """
        if not self.context.is_main:
            return {}
        metrics = write_evaluation(self.out, list(scores), measures, self.context.seed, resampled)
        reasons = self.inputs.catalog.left_out(self.ref) | dict(left_out or {})
        return item_counts(self.name, measured, reasons, **counts) | metrics
