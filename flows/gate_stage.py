"""The end of a run with a gate: an event for every judged model, and registration of the models that passed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.events import emit_event
from prefect.runtime import flow_run

from flows.links import warning_only
from flows.records import RegisteredModel
from flows.run import PipelineRun
from pipeline_core.errors import GateFailed
from pipeline_core.files.markdown_text import inert
from pipeline_core.gate.settings import Registration
from pipeline_core.pipeline.config import PipelineConfig
from pipeline_core.report.figures.model import GateVerdict
from pipeline_core.report.render import gate_words
from pipeline_core.stage.run import StageResult
from pipeline_core.store.artifacts import MANIFEST, Manifest
from pipeline_core.tracking.protocol import TrackedRun
from pipeline_core.tracking.registry import ModelRegistry, NewVersion

PASSED, FAILED = "evenhand.gate.passed", "evenhand.gate.failed"


def to_register(run: PipelineRun, wanted: Registration, verdicts: Sequence[GateVerdict]) -> Iterator[StageResult]:
    """The first seed's model of every policy that is to be registered and has passed all of its limits."""
    for name, planned in run.stages.items():
        chosen = not wanted.models or planned.label in wanted.models
        # Not the best seed: chosen by its own evaluation, its figures would be too good (ADR 12).
        if planned.stage == "policy" and chosen and planned.seed == run.config.seeds[0]:
            about = [verdict for verdict in verdicts if verdict.model == planned.label]
            if about and all(verdict.passed for verdict in about) and name in run.results:
                yield run.results[name]


def lineage_of(run: PipelineRun, model: StageResult) -> list[StageResult]:
    """Results of the stages that led to a model, its own last."""
    names = [name for name, result in run.results.items() if result == model]
    for name in names:  # the list grows meanwhile: needs of needs follow
        names += [need for need in run.stages[name].needs.values() if need not in names]
    return [result for name, result in run.results.items() if name in names]


@task(name="gate", task_run_name="gate", cache_policy=NO_CACHE, persist_result=False)
def gate(verdicts: list[GateVerdict], parent: TrackedRun) -> None:
    """Publish for every model if it passed, as a Prefect event and a tag of the parent run.

    Raises:
        GateFailed: with measure, group, value, limit and model of every broken limit.
    """
    for model in dict.fromkeys(verdict.model for verdict in verdicts):
        about = [verdict for verdict in verdicts if verdict.model == model]
        has_passed = all(verdict.passed for verdict in about)
        parent.set_tags({f"gate/{model}": "passed" if has_passed else "failed"})
        _emit(PASSED if has_passed else FAILED, model, about, parent.id)
    if broken := gate_words.failures(verdicts):
        raise GateFailed(broken)


def _emit(event: str, model: str, about: Sequence[GateVerdict], run_id: str) -> None:
    broken = [gate_words.sentence(verdict) for verdict in about if not verdict.passed]
    with warning_only("event"):
        emit_event(
            event=event,
            resource={
                "prefect.resource.id": f"prefect.flow-run.{flow_run.id}",  # automations match on it (ADR 12)
                "prefect.resource.name": str(flow_run.name),
                "evenhand.run": run_id,
                "evenhand.model": model,
            },
            related=[
                {
                    "prefect.resource.id": f"evenhand.model.{run_id}.{model}",
                    "prefect.resource.role": "model",
                    "prefect.resource.name": model,
                }
            ],
            payload={"run": run_id, "model": model, "broken": broken, "verdicts": [v.model_dump() for v in about]},
        )


@task(name="register", task_run_name="register", cache_policy=NO_CACHE, persist_result=False)
def register(run: PipelineRun, verdicts: list[GateVerdict]) -> list[RegisteredModel]:
    """Register models that passed: one version per artifact, tagged with its lineage; the alias moves to it."""
    wanted, models = run.config.register_as, run.tracking.models
    assert wanted is not None
    registered = []
    for model in to_register(run, wanted, verdicts):
        about = [verdict for verdict in verdicts if verdict.model == model.label]
        version = models.register(_new_version(wanted, run, model, about, models), run.parent.id)
        registered.append(
            RegisteredModel(
                model=model.label,
                seed=model.seed,
                key=model.key,
                name=version.name,
                version=version.number,
                alias=wanted.alias,
                uri=version.uri,
                in_store=version.in_store,
                new=version.is_new,
            )
        )
    return registered


def _new_version(
    wanted: Registration, run: PipelineRun, model: StageResult, about: Sequence[GateVerdict], models: ModelRegistry
) -> NewVersion:
    lineage = lineage_of(run, model)
    config, run_id = run.config, run.parent.id
    report = f"{models.artifact_uri(run_id)}/report"
    tags = {
        "evenhand.run": run_id,
        "evenhand.experiment": config.name,
        "evenhand.report": f"{report}/report.html",
        "evenhand.model_card": f"{report}/model_card.md",
        "evenhand.label": model.label,
        "evenhand.plugin": model.plugin,
        "evenhand.key": model.key,
        "evenhand.seed": str(model.seed),
        "evenhand.seeds": ", ".join(map(str, config.seeds)),
        "evenhand.stages": _json(_facts(stage) for stage in lineage),
        "evenhand.data": _json(_data(lineage)),
        "evenhand.gate": "\n".join(gate_words.sentence(verdict) for verdict in about),
    }
    return NewVersion(
        name=wanted.name_of(model.label),
        alias=wanted.alias,
        label=model.label,
        digest=model.digest,
        folder=model.path,
        description=_description(config, model, about, run_id),
        tags=tags,
    )


def _facts(stage: StageResult) -> dict[str, Any]:
    return {name: getattr(stage, name) for name in ("stage", "plugin", "label", "seed", "key", "digest")}


def _data(lineage: Sequence[StageResult]) -> Iterator[dict[str, Any]]:
    """Catalog references that the stages read, with fingerprints."""
    read = {ref: mark for stage in lineage for ref, mark in Manifest.read(stage.path / MANIFEST).data.items()}
    return ({**json.loads(ref), "fingerprint": mark} for ref, mark in read.items())


def _json(value: Any) -> str:
    return json.dumps(list(value) if isinstance(value, Iterator) else value, ensure_ascii=False)


def _description(config: PipelineConfig, model: StageResult, about: Sequence[GateVerdict], run_id: str) -> str:
    seeds = f", the first of seeds {', '.join(map(str, config.seeds))}" if len(config.seeds) > 1 else ""
    lines = [
        f"{model.label} ({model.plugin}, seed {model.seed}{seeds}) of the run `{run_id}`, {config.name}. "
        "The report and the model card are artifacts of that run, below `report`.",
        "",
        "It has passed its gate:",
        "",
        *(f"- {gate_words.sentence(verdict)}" for verdict in about),
    ]
    return "\n".join(map(inert, lines))
