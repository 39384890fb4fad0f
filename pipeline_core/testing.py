"""The conformance kit: what every plugin must do, checked with real files on a tiny model.

A plugin author calls `check_plugin(MyConfig.name, tmp_path)` from a test of their own; see `docs/adding-a-plugin.md`.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline_core.artifacts import ArtifactRef, Store
from pipeline_core.catalog import DataRef
from pipeline_core.config import Runner
from pipeline_core.registry import Registry, load_registry
from pipeline_core.specs import PluginConfig, PolicyConfig, Spec
from pipeline_core.stages import Job, StageResult, run_stage

REQUIRED_METRICS = {"base": (), "extend": ("rows",), "reward": (), "policy": ("loss",), "evaluate": ()}
REQUIRED_FILES = {
    "base": ("config.json", "model.safetensors", "tokenizer.json"),
    "extend": ("rows.parquet",),
    "reward": (),
    "policy": ("config.json", "model.safetensors", "tokenizer.json", "history.jsonl"),
    "evaluate": ("rows.parquet", "measures.json"),
}
FORBIDDEN = ("prefect", "mlflow", "flows")
PREFERENCES = DataRef(entry="sandbox_pairs", split="train", rows=24)


def check_plugin(
    stage: str, name: str, folder: Path, settings: Mapping[str, Any] | None = None, registry: Registry | None = None
) -> StageResult:
    """Check one plugin from end to end and return what its stage made.

    `settings` replace the spec's own `example`. Checked: a valid and documented configuration that survives JSON;
    neither prefect nor mlflow imported; a run on a tiny model that writes only where it may; the files and metrics
    its stage promises; the same seed giving the same bytes.

    Raises:
        AssertionError: that says what the plugin lacks.
    """
    registry = registry or load_registry()
    spec = registry.get(stage, name)
    config = check_config(spec, settings if settings is not None else spec.example)
    check_imports(registry.origin(spec).module)
    inputs = _inputs(spec, folder / "inputs", registry)
    runs = [_run(spec, config, inputs, folder / f"run{number}", folder / "inputs", registry) for number in (1, 2)]
    _check_result(spec, runs[0])
    assert runs[0].digest == runs[1].digest, f"{name}: the same seed gave other bytes: {_differing(*runs)}"
    return runs[0]


def check_config(spec: Spec, settings: Mapping[str, Any]) -> PluginConfig:
    """Check that a configuration is documented, frozen, and the same after a trip through JSON."""
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


def check_imports(module: str) -> None:
    """Check in a fresh process that importing the plugin loads no orchestrator and no tracker."""
    name = module.partition(":")[0]
    code = f"import {name}, sys; print(*[m for m in {FORBIDDEN!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{name} cannot be imported:\n{done.stderr}"
    assert not done.stdout.strip(), f"{name} imports {done.stdout.strip()}; a plugin stands on pipeline_core alone"


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
    if spec.stage in ("policy", "evaluate"):
        store.prepare()
        found = store.find("model", "tiny")
        model = found.ref if found else commit_folder(store, "model", "tiny", tiny_model(store.partial("tiny")))
        inputs["model"] = model
        if spec.stage == "policy" or getattr(spec, "needs_reference", False):
            inputs["reference"] = model
    if getattr(spec, "needs_reward", False):
        job = Job(stage="reward", label="reward", config={"name": "lexicon"}, data=PREFERENCES, runner=_RUNNER)
        inputs["reward"] = run_stage(job, store, registry).ref
    return inputs


_RUNNER = Runner(launch="in_process", device="cpu")


def _run(
    spec: Spec, config: PluginConfig, inputs: dict[str, ArtifactRef], root: Path, made: Path, registry: Registry
) -> StageResult:
    for ref in inputs.values():
        target = root / ref.kind / ref.key
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            target.symlink_to(made / ref.kind / ref.key)
    data = PREFERENCES if spec.stage in ("extend", "reward", "policy") else None
    job = Job(
        stage=spec.stage,
        config=config.model_dump(mode="json"),
        label=spec.name,
        inputs=inputs,
        data=data,
        runner=_RUNNER,
    )
    with only_writes_below(root, made):
        return run_stage(job, Store(root), registry)


def _check_result(spec: Spec, result: StageResult) -> None:
    missing = [name for name in REQUIRED_METRICS[spec.stage] if name not in result.metrics]
    assert not missing, f"{spec.name} returned no metric {missing}; it returned {sorted(result.metrics)}"
    absent = [name for name in REQUIRED_FILES[spec.stage] if not (result.path / name).exists()]
    assert not absent, f"{spec.name} wrote no {absent}; it wrote {sorted(p.name for p in result.path.iterdir())}"


def _differing(first: StageResult, second: StageResult) -> list[str]:
    files = sorted(
        p.relative_to(first.path) for p in first.path.rglob("*") if p.is_file() and p.name != "manifest.json"
    )
    return [
        str(f)
        for f in files
        if not (second.path / f).exists() or (first.path / f).read_bytes() != (second.path / f).read_bytes()
    ]


_watched: list[tuple[Path, ...]] = []
_outside: list[str] = []


@contextmanager
def only_writes_below(*roots: Path) -> Iterator[None]:
    """Fail when a file is opened for writing anywhere else (temporary files and byte code are free).

    Raises:
        AssertionError: naming the files.
    """
    _install_audit_hook()
    _watched.append(tuple(root.resolve() for root in roots))
    _outside.clear()
    try:
        yield
    finally:
        _watched.pop()
    assert not _outside, f"wrote outside its folder: {_outside}"


@functools.cache
def _install_audit_hook() -> None:
    # An audit hook cannot be removed, so there is one for the process, idle outside `only_writes_below`.
    sys.addaudithook(_audit)


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watched or event != "open" or not isinstance(arguments[0], (str, bytes, os.PathLike)):
        return
    writes = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND
    if arguments[2] is None or not arguments[2] & writes:
        return
    path = Path(os.fsdecode(arguments[0])).absolute()
    if "__pycache__" not in path.parts and not _may_write(Path(os.path.realpath(path))):
        _outside.append(str(path))


def _may_write(path: Path) -> bool:
    roots = _watched[-1]
    if any(path.is_relative_to(root) for root in roots):
        return True
    beside = Path(os.path.commonpath(roots)) if len(roots) > 1 else roots[0].parent
    free = (Path(os.path.realpath(tempfile.gettempdir())), Path("/dev"), Path("/proc"))
    return not path.is_relative_to(beside) and any(path.is_relative_to(root) for root in free)
