"""The conformance kit: what every plugin must do, checked with real files on a tiny model.

A plugin author calls `check_plugin(MyConfig.name, tmp_path)` from a test of their own; see `docs/adding-a-plugin.md`.
"""

from __future__ import annotations

import json
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.types import Secret, SecretBytes, SecretStr

from pipeline_core.conformance.isolation import only_writes_below, run_apart
from pipeline_core.data.catalog import Catalog
from pipeline_core.data.refs import DataRef, places_of
from pipeline_core.evaluation.measures import MEASURES_FILE
from pipeline_core.export.layout import SCORE
from pipeline_core.gate.names import fits
from pipeline_core.plugin.context import PART, REWARD
from pipeline_core.plugin.registry import Registry, load_registry
from pipeline_core.plugin.revisions import CORE_REVISIONS, packages_of
from pipeline_core.plugin.specs import (
    Evaluation,
    PluginConfig,
    PolicyConfig,
    PolicyOptimizer,
    RewardModel,
    ScoringConfig,
    Spec,
)
from pipeline_core.stage.key import Job
from pipeline_core.stage.run import StageResult, run_stage
from pipeline_core.stage.settings import Runner
from pipeline_core.store.artifacts import ArtifactRef, Store

REQUIRED_METRICS = {"base": (), "extend": ("rows",), "reward": ("sign",), "policy": ("loss",), "evaluate": ()}
"""Of a stage; a spec may promise more (`Spec.metrics`)."""
REQUIRED_FILES = {
    "base": ("config.json", "model.safetensors", "tokenizer.json"),
    "extend": ("rows.parquet",),
    "reward": (),
    "policy": ("config.json", "model.safetensors", "tokenizer.json", "history.jsonl"),
    "evaluate": ("rows.parquet", "measures.json"),
}
PREFERENCES = DataRef(entry="sandbox_pairs", split="train", rows=24)
JUDGES = DataRef(entry="sandbox_pairs", split="train", rows=240)
"""Rows enough to decide the sign of a reward that is an input."""
PARTS = {"one": "train", "two": "heldout"}
"""What an extender that combines is given besides `PREFERENCES`: labels, and splits of the same entry."""


def check_plugin(
    stage: str, name: str, folder: Path, settings: Mapping[str, Any] | None = None, registry: Registry | None = None
) -> StageResult:
    """Check one plugin from end to end and return what its stage made.

    `settings` replace the spec's own `example`. Checked: a valid and documented configuration whose defaults are valid
    too and that survives JSON; a run on a tiny model, here and in a process of its own, that writes only where it may
    and imports neither prefect nor mlflow; the files and metrics that its stage and its spec promise; the same seed
    giving the same bytes; of an evaluation, `measures`; of a reward, `cut` and `export`; the cards of what was made.

    Raises:
        AssertionError: that says what the plugin lacks.
    """
    registry = registry or load_registry()
    spec = registry.get(stage, name)
    config = check_config(spec, settings if settings is not None else spec.example)
    _load_data(config)
    made = folder / "inputs"
    inputs = _inputs(spec, made, registry)
    job = _job(spec, config, inputs)
    with only_writes_below(_store_with(inputs, folder / "run1", made), made):
        first = run_stage(job, Store(folder / "run1"), registry)
    _check_result(spec, first)
    _check_declared(spec, config, first)
    second = run_apart(job, spec, _store_with(inputs, folder / "run2", made), made, registry)
    assert first.digest == second.digest, f"{name}: the same seed gave other bytes: {_differing(first, second)}"
    if isinstance(spec, RewardModel) and first.metrics["sign"]:
        _check_leaves(spec, first, folder / "exported")
    _check_cards(first, Store(folder / "run1"), folder / "cards", registry)
    return first


PROMPTS, COMPLETIONS = ("The neighbour was", "", "Who was late?"), ("early again.", "late", "")


def _check_leaves(spec: RewardModel, made: StageResult, target: Path) -> None:
    """What is exported gives the scores that the artifact gives, and what cannot be read in full is told by number."""
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
    found = runpy.run_path(str(target / SCORE))["score"](prompts, completions)
    expected = sign * spec.load(made.path, "cpu")(prompts, completions)
    off = max(abs(float(one) - float(other)) for one, other in zip(found, expected, strict=True))
    assert off < 1e-4, f"{spec.name}: exported scores are off by {off:.2g}"


def _check_cards(made: StageResult, store: Store, target: Path, registry: Registry) -> None:
    """What was made is exported with a card, and of an evaluation what it measured, whose card holds its figures."""
    from pipeline_core.export.folder import export

    manifest = store.find(made.kind, made.key)
    assert manifest, f"{made.label} is not in its store"
    inputs = manifest.inputs
    subject = (inputs.get("model") or inputs.get("reward")) if made.stage == "evaluate" else None
    for one in (manifest, *(one for one in store.ls() if one.digest == subject)):
        if one.kind == "reward" and not (one.metrics["sign"] and RewardModel.named(registry, one.plugin).export):
            continue
        card = export(store, one, target / one.key, registry, Catalog.from_environment()) / "README.md"
        assert made.plugin in card.read_text(encoding="utf-8"), f"the card of {one.label} does not name {made.plugin}"


def _load_data(config: PluginConfig) -> None:
    """Load the data a configuration names: the copy that the catalog keeps of them is not written by the plugin."""
    catalog = Catalog.from_environment()
    for _, ref, _ in places_of(config):
        catalog.load(ref)


def check_config(spec: Spec, settings: Mapping[str, Any]) -> PluginConfig:
    """Check that a configuration is documented, has valid defaults, and is the same after a trip through JSON."""
    assert not (unknown := set(packages_of(spec)) - CORE_REVISIONS.keys()), (
        f"{spec.name}: `core` names {sorted(unknown)}; known are {', '.join(CORE_REVISIONS)}"
    )
    assert not (secret := list(_secrets(spec.config))), (
        f"{', '.join(secret)}: a secret cannot travel as JSON; read keys from the environment"
    )
    _check_defaults(spec)
    config = spec.config.model_validate({"name": spec.name, **settings})
    assert spec.config.model_validate_json(config.model_dump_json()) == config, "the configuration changes through JSON"
    undocumented = [
        name for name, field in spec.config.model_fields.items() if not field.description and name != "name"
    ]
    assert not undocumented, f"no docstring below: {', '.join(undocumented)}"
    assert spec.config.model_config.get("extra") == "forbid", "unknown keys must be refused"
    assert spec.stage != "policy" or isinstance(config, PolicyConfig), (
        "a policy's configuration subclasses PolicyConfig"
    )
    return config


def _secrets(config: type[BaseModel]) -> Iterator[str]:
    for name, field in config.model_fields.items():
        for part in _parts(field.annotation):
            if issubclass(part, (Secret, SecretStr, SecretBytes)):
                yield name
            elif issubclass(part, BaseModel):
                yield from (f"{name}.{inner}" for inner in _secrets(part))


def _parts(annotation: Any) -> Iterator[type]:
    if isinstance(annotation, type):
        yield annotation
    for inner in get_args(annotation):
        yield from _parts(inner)


def _check_defaults(spec: Spec) -> None:
    """Defaults are taken by pydantic as they are; a plugin's own must fulfil what it asks of users."""
    strict = {"model_config": ConfigDict(validate_default=True)}
    checking: type[BaseModel] = types.new_class(
        spec.config.__name__, (spec.config,), exec_body=lambda ns: ns.update(strict)
    )
    try:
        checking.model_validate({"name": spec.name})
    except ValidationError as error:
        defaults = {name for name, field in spec.config.model_fields.items() if not field.is_required()}
        wrong = [problem for problem in error.errors() if problem["loc"] and problem["loc"][0] in defaults]
        found = "; ".join(f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in wrong)
        assert not wrong, f"the defaults of {spec.name} are not valid: {found}"


def tiny_model(folder: Path) -> Path:
    """A random causal model of a few thousand parameters with a tokenizer of its own, as a Hugging Face folder."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=_tiny_bpe(), bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=256,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=True,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _tiny_bpe() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<pad>", "<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["the neighbour was late and the visitor was early again"] * 4, trainer)
    return tokenizer


def commit_folder(store: Store, kind: str, key: str, work: Path) -> ArtifactRef:
    """Put a folder made by hand into a store, for use as an input."""
    facts: dict[str, Any] = {"config": {}, "inputs": {}, "data": {}, "metrics": {}, "seconds": 0.0, "seed": 0}
    return store.commit(kind, key, work, stage="test", plugin="test", label=key, **facts).ref


def _inputs(spec: Spec, root: Path, registry: Registry) -> dict[str, ArtifactRef]:
    store = Store(root)
    inputs: dict[str, ArtifactRef] = {}
    suite = spec if isinstance(spec, Evaluation) else None
    measures_reward = suite is not None and suite.subject == "reward"
    needs_reward = isinstance(spec, PolicyOptimizer | Evaluation) and spec.needs_reward
    if spec.stage in ("policy", "evaluate") and not measures_reward:
        store.prepare()
        found = store.find("model", "tiny")
        model = found.ref if found else commit_folder(store, "model", "tiny", tiny_model(store.partial("tiny")))
        inputs["model"] = model
        if spec.stage == "policy" or (suite and suite.needs_reference):
            inputs["reference"] = model
    if issubclass(spec.config, ScoringConfig):
        inputs[f"{REWARD}tfidf_ridge"] = _reward({"name": "tfidf_ridge"}, store, registry)
    elif needs_reward or measures_reward:
        # A measured reward may be asked for a probability, which a word list has none of.
        inputs["reward"] = _reward({"name": "tfidf_ridge" if measures_reward else "lexicon"}, store, registry)
    if registry.combines(spec.stage, spec.name):
        inputs |= _parts_to_combine(spec, store, registry)
    return inputs


def _parts_to_combine(spec: Spec, store: Store, registry: Registry) -> dict[str, ArtifactRef]:
    if spec.stage == "reward":
        rewards = ({"name": "lexicon"}, {"name": "tfidf_ridge", "held_out": 0.25})
        return {f"{PART}{config['name']}": _reward(config, store, registry) for config in rewards}
    store.prepare()
    return {PART + label: store_rows(store, label, split) for label, split in PARTS.items()}


def _reward(config: dict[str, Any], store: Store, registry: Registry) -> ArtifactRef:
    job = Job(stage="reward", label="reward", config=config, data=JUDGES, runner=_RUNNER)
    return run_stage(job, store, registry).ref


def store_rows(store: Store, label: str, split: str) -> ArtifactRef:
    """Rows of the sandbox as if an extension had made them."""
    from pipeline_core.augmentation.rows import OWN_LICENCE, write_rows

    if found := store.find("preferences", label):
        return found.ref
    rows = Catalog.from_environment().load(DataRef(entry=PREFERENCES.entry, split=split, rows=24, seed=1))
    provenance = {"source_id": "", "made_by": label, "licence": OWN_LICENCE}
    work = store.partial(label)
    work.mkdir(parents=True)
    write_rows(({**row, **provenance} for row in rows.to_list()), work / "rows.parquet")
    return commit_folder(store, "preferences", label, work)


_RUNNER = Runner(launch="in_process", device="cpu")


def _job(spec: Spec, config: PluginConfig, inputs: dict[str, ArtifactRef]) -> Job:
    data = PREFERENCES if spec.stage in ("extend", "reward", "policy") else None
    settings = config.model_dump(mode="json")
    return Job(stage=spec.stage, config=settings, label=spec.name, inputs=inputs, data=data, runner=_RUNNER)


def _store_with(inputs: dict[str, ArtifactRef], root: Path, made: Path) -> Path:
    """A store that holds the inputs and nothing else."""
    for ref in inputs.values():
        target = root / ref.kind / ref.key
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            target.symlink_to(made / ref.kind / ref.key)
    return root


def _check_result(spec: Spec, result: StageResult) -> None:
    missing = [name for name in (*REQUIRED_METRICS[spec.stage], *spec.metrics) if name not in result.metrics]
    assert not missing, f"{spec.name} returned no metric {missing}; it returned {sorted(result.metrics)}"
    absent = [name for name in REQUIRED_FILES[spec.stage] if not (result.path / name).exists()]
    assert not absent, f"{spec.name} wrote no {absent}; it wrote {sorted(p.name for p in result.path.iterdir())}"


def _check_declared(spec: Spec, config: PluginConfig, result: StageResult) -> None:
    """What an evaluation wrote is among what it says beforehand that it measures."""
    if not isinstance(spec, Evaluation) or spec.measures is None:
        return
    written = json.loads((result.path / MEASURES_FILE).read_text(encoding="utf-8"))
    said = [(measure.name, measure.better, measure.group_by) for measure in spec.measures(config)]
    found = [(name, entry["better"], entry.get("group_by", "")) for name, entry in written.items()]
    unsaid = [one for one in found if not any(fits(one[0], other[0]) and one[1:] == other[1:] for other in said)]
    assert not unsaid, f"{spec.name}: `measures` say nothing of {unsaid} (name, better, group_by)"


def _differing(first: StageResult, second: StageResult) -> list[str]:
    files = sorted(
        p.relative_to(first.path) for p in first.path.rglob("*") if p.is_file() and p.name != "manifest.json"
    )
    return [
        str(f)
        for f in files
        if not (second.path / f).exists() or (first.path / f).read_bytes() != (second.path / f).read_bytes()
    ]
