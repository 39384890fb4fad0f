"""The conformance kit: checks of a plugin with real files on a tiny model.

Plugin authors call `check_plugin(stage, name, tmp_path)` in a test; see `docs/adding-a-plugin.md`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline_core.conformance.configs import check_config
from pipeline_core.conformance.inputs import (
    JUDGES,
    PREFERENCES,
    RUNNER,
    commit_folder,
    inputs_of,
    load_data,
    store_rows,
    store_with,
    tiny_model,
)
from pipeline_core.conformance.isolation import only_writes_below, run_apart
from pipeline_core.data.catalog import Catalog
from pipeline_core.evaluation.measures import MEASURES_FILE
from pipeline_core.export.rewards import SCORE
from pipeline_core.gate.names import fits
from pipeline_core.plugin.registry import Registry, load_registry
from pipeline_core.plugin.specs import Evaluation, PluginConfig, RewardModel, Spec
from pipeline_core.stage.key import Job
from pipeline_core.stage.run import StageResult, run_stage
from pipeline_core.store.artifacts import ArtifactRef, Store

__all__ = ["JUDGES", "PREFERENCES", "check_config", "check_plugin", "commit_folder", "store_rows", "tiny_model"]
"""Names for tests of plugins."""

REQUIRED_METRICS = {"base": (), "extend": ("rows",), "reward": ("sign",), "policy": ("loss",), "evaluate": ()}
"""Metrics that every plugin of a stage returns; a spec may promise more (`Spec.metrics`)."""
REQUIRED_FILES = {
    "base": ("config.json", "model.safetensors", "tokenizer.json"),
    "extend": ("rows.parquet",),
    "reward": (),
    "policy": ("config.json", "model.safetensors", "tokenizer.json", "history.jsonl"),
    "evaluate": ("rows.parquet", "measures.json"),
}


def check_plugin(
    stage: str, name: str, folder: Path, settings: Mapping[str, Any] | None = None, registry: Registry | None = None
) -> StageResult:
    """Check a plugin from end to end and return the result of its stage.

    `settings` replace the spec's `example`. Checks: a valid and documented configuration with valid defaults that
    survives JSON; runs on a tiny model, in this process and in a fresh one, that write only where allowed and import
    neither prefect nor mlflow; the files and metrics promised by stage and spec; equal bytes for equal seeds; for an
    evaluation `measures`, for a reward `cut` and `export`; the cards of exported artifacts.

    Raises:
        AssertionError: naming the fault of the plugin.
    """
    registry = registry or load_registry()
    spec = registry.get(stage, name)
    config = check_config(spec, settings if settings is not None else spec.example)
    load_data(config)
    made = folder / "inputs"
    inputs = inputs_of(spec, made, registry)
    job = _job(spec, config, inputs)
    with only_writes_below(store_with(inputs, folder / "run1", made), made):
        first = run_stage(job, Store(folder / "run1"), registry)
    _check_result(spec, first)
    _check_declared(spec, config, first)
    # a store of its own, or the first run's artifact would be reused
    second = run_apart(job, spec, store_with(inputs, folder / "run2", made), made, registry)
    assert first.digest == second.digest, f"{name}: the same seed gave other bytes: {_differing(first, second)}"
    if isinstance(spec, RewardModel) and first.metrics["sign"]:
        _check_leaves(spec, first, folder / "exported")
    _check_cards(first, Store(folder / "run1"), folder / "cards", registry)
    return first


PROMPTS, COMPLETIONS = ("The neighbour was", "", "Who was late?"), ("early again.", "late", "")


def _check_leaves(spec: RewardModel, made: StageResult, target: Path) -> None:
    """Check that an exported reward gives the artifact's scores, and that `cut` returns valid indices."""
    import runpy

    prompts, completions = list(PROMPTS), list(COMPLETIONS)
    if spec.cut:
        numbers = list(spec.cut(made.path, prompts, completions))
        assert set(numbers) <= set(range(len(prompts))), f"{spec.name}: `cut` named texts {numbers} of {len(prompts)}"
    if spec.export is None or spec.load is None:
        return
    target.mkdir()
    sign = int(made.metrics["sign"])
    spec.export(made.path, target, sign)
    assert (target / SCORE).exists(), f"{spec.name}: its export has no {SCORE}"
    # by its path, as people without Evenhand run it
    exported = runpy.run_path(str(target / SCORE))["score"](prompts, completions)
    expected = sign * spec.load(made.path, "cpu")(prompts, completions)
    off = max(abs(float(score) - float(true)) for score, true in zip(exported, expected, strict=True))
    assert off < 1e-4, f"{spec.name}: exported scores are off by {off:.2g}"


def _check_cards(made: StageResult, store: Store, target: Path, registry: Registry) -> None:
    """Check that the artifact, and for an evaluation the measured one, are exported with a card."""
    from pipeline_core.export.folder import export

    manifest = store.find(made.kind, made.key)
    assert manifest, f"{made.label} is not in its store"
    inputs = manifest.inputs
    subject = (inputs.get("model") or inputs.get("reward")) if made.stage == "evaluate" else None
    for entry in (manifest, *(other for other in store.ls() if other.digest == subject)):
        if entry.kind == "reward" and not (entry.metrics["sign"] and RewardModel.named(registry, entry.plugin).export):
            continue
        card = export(store, entry, target / entry.key, registry, Catalog.from_environment()) / "README.md"
        assert made.plugin in card.read_text(encoding="utf-8"), f"the card of {entry.label} does not name {made.plugin}"


def _job(spec: Spec, config: PluginConfig, inputs: dict[str, ArtifactRef]) -> Job:
    data = PREFERENCES if spec.stage in ("extend", "reward", "policy") else None
    settings = config.model_dump(mode="json")
    return Job(stage=spec.stage, config=settings, label=spec.name, inputs=inputs, data=data, runner=RUNNER)


def _check_result(spec: Spec, result: StageResult) -> None:
    missing = [name for name in (*REQUIRED_METRICS[spec.stage], *spec.metrics) if name not in result.metrics]
    assert not missing, f"{spec.name} returned no metric {missing}; it returned {sorted(result.metrics)}"
    absent = [name for name in REQUIRED_FILES[spec.stage] if not (result.path / name).exists()]
    assert not absent, f"{spec.name} wrote no {absent}; it wrote {sorted(p.name for p in result.path.iterdir())}"


def _check_declared(spec: Spec, config: PluginConfig, result: StageResult) -> None:
    """Check that an evaluation wrote only measures that its spec declares."""
    if not isinstance(spec, Evaluation) or spec.measures is None:
        return
    written = json.loads((result.path / MEASURES_FILE).read_text(encoding="utf-8"))
    declared = [(measure.name, measure.better, measure.group_by) for measure in spec.measures(config)]
    facts = [(name, entry["better"], entry.get("group_by", "")) for name, entry in written.items()]
    undeclared = [fact for fact in facts if not any(fits(fact[0], d[0]) and fact[1:] == d[1:] for d in declared)]
    assert not undeclared, f"{spec.name}: `measures` say nothing of {undeclared} (name, better, group_by)"


def _differing(first: StageResult, second: StageResult) -> list[str]:
    files = sorted(  # the manifest holds times
        p.relative_to(first.path) for p in first.path.rglob("*") if p.is_file() and p.name != "manifest.json"
    )
    return [
        str(f)
        for f in files
        if not (second.path / f).exists() or (first.path / f).read_bytes() != (second.path / f).read_bytes()
    ]
