"""Evaluations of a recorded run, read from the store."""

from __future__ import annotations

from collections.abc import Collection

from flows.records import RunRecord, StageRecord
from pipeline_core.errors import BadInput
from pipeline_core.plugin.specs import Evaluation
from pipeline_core.report.figures.cells import BASE
from pipeline_core.report.figures.collect import ModelEvaluation, collect
from pipeline_core.store.artifacts import ArtifactRef, Store


def evaluation_stages(record: RunRecord, labels: Collection[str]) -> list[StageRecord]:
    """Stages of a run that evaluated the models with these labels."""
    return [stage for stage in record.stages if stage.stage == "evaluate" and stage.label in labels]


def evaluations_of(record: RunRecord, labels: Collection[str], store: Store) -> list[ModelEvaluation]:
    """Evaluations of models in a run.

    Raises:
        BadInput: an artifact is no longer in the store. ArtifactChanged: its files have changed.
    """
    stages = evaluation_stages(record, labels)
    return collect([stage.model_dump() | _place(stage, store) for stage in stages]).about("model")


def _place(stage: StageRecord, store: Store) -> dict[str, object]:
    """Folder of an evaluation, compared with its manifest, and the seed of the measured model (None for the base)."""
    seed = None if stage.label == BASE else stage.seed
    if store.find(Evaluation.kind, stage.key) is None:
        of = stage.label if seed is None else f"{stage.label}, seed {seed}"
        raise BadInput(
            f"the evaluation {stage.suite or stage.plugin} of {of} ({stage.key[:12]}) is no longer in the store "
            f"{store}; the same `evenhand run` makes it again"
        )
    folder = store.open(ArtifactRef(kind=Evaluation.kind, key=stage.key, digest=stage.digest))
    return {"path": folder, "model_seed": seed}
