"""Every plugin's example as one process and as two under torchrun: the largest difference between their artifacts."""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.interleaved import machine
from pipeline_core.conformance.inputs import JUDGES, PREFERENCES, RUNNER, inputs_of, load_data, store_with
from pipeline_core.errors import EvenhandError
from pipeline_core.plugin.registry import Registry, load_registry
from pipeline_core.plugin.specs import STAGES, Spec
from pipeline_core.stage.key import Job
from pipeline_core.stage.run import run_stage
from pipeline_core.stage.settings import ExecutionSettings
from pipeline_core.store.artifacts import Store

TELLING = {"learning_rate": 1e-3, "micro_batch_tokens": 64, "steps": 3}
"""Settings over the examples' own, where a plugin has them: weights that move, and passes for both processes."""


def main() -> None:
    """Print a row for each plugin; those that work in one process are listed with their refusal."""
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", help="plugins (default: all)")
    names = parser.parse_args().names
    registry = load_registry()
    print(machine())
    print(
        "\n| stage | plugin | largest difference of 2 processes from 1 | in | numbers compared |\n|---|---|---|---|---|"
    )
    for spec in (spec for stage in STAGES for spec in registry.specs(stage)):
        if not names or spec.name in names:
            print(f"| {spec.stage} | `{spec.name}` | {_row(spec, registry)} |", flush=True)


def _row(spec: Spec, registry: Registry) -> str:
    try:
        one, two = (artifact(spec, registry, processes) for processes in (1, 2))
    except (EvenhandError, ValueError) as error:
        line = str(error).replace("Value error, ", "").splitlines()
        return f"{next((text for text in line if 'one process' in text), line[0]).strip()[:160]} | | "
    off, where, count = difference(one, two)
    return f"{off:.1e} | {where} | {count:,}" if off else f"none | | {count:,}"


def artifact(spec: Spec, registry: Registry, processes: int) -> Path:
    """Folder of the artifact that a plugin's example makes with some processes, in a store of its own."""
    root = Path(tempfile.mkdtemp())
    telling = {name: value for name, value in TELLING.items() if name in spec.config.model_fields}
    config = spec.config.model_validate({"name": spec.name, **spec.example, **telling, "processes": processes})
    load_data(config)
    inputs = inputs_of(spec, root / "inputs", registry)
    if "reward" in inputs:  # a reward that differs between the texts of a random model: else nothing is learned
        job = Job(stage="reward", label="reward", config={"name": "tfidf_ridge"}, data=JUDGES, runner=RUNNER)
        inputs["reward"] = run_stage(job, Store(root / "inputs"), registry).ref
    job = Job(
        stage=spec.stage,
        config=config.model_dump(mode="json"),
        label=spec.name,
        inputs=inputs,
        data=PREFERENCES if spec.stage in ("extend", "reward", "policy") else None,
        runner=ExecutionSettings(device="cpu", threads=processes),
    )
    return run_stage(job, Store(store_with(inputs, root / "made", root / "inputs")), registry).path


def difference(one: Path, two: Path) -> tuple[float, str, int]:
    """Largest difference of any number in two artifacts, where it stands, and how many numbers there are.

    The difference is absolute up to 1 and relative above. Texts that differ, and files that only one has, count as
    infinitely far apart.
    """
    files = [{str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()} for folder in (one, two)]
    if apart := files[0] ^ files[1]:
        return float("inf"), f"files {sorted(apart)}", 0
    worst, where, count = 0.0, "", 0
    for name in sorted(files[0]):
        compare = _of_tensors if name.endswith(".safetensors") else _of_values
        off, place, numbers = compare(one / name, two / name)
        count += numbers
        if off > worst:
            worst, where = off, f"{name}: {place}" if place else name
    return worst, where, count


def _of_tensors(one: Path, two: Path) -> tuple[float, str, int]:
    import torch
    from safetensors.torch import load_file

    left, right = load_file(one), load_file(two)
    if left.keys() != right.keys():
        return float("inf"), "names of tensors", 0
    offs = {}
    for name, tensor in left.items():
        a, b = tensor.double(), right[name].double()
        size = torch.maximum(a.abs(), b.abs()).clamp(min=1.0)
        offs[name] = float(((a - b).abs() / size).max()) if tensor.numel() else 0.0
    worst = max(offs, key=lambda name: offs[name])
    return offs[worst], worst, sum(tensor.numel() for tensor in left.values())


def _of_values(one: Path, two: Path) -> tuple[float, str, int]:
    left, right = _values(one), _values(two)
    if left.keys() != right.keys():
        return float("inf"), "names or numbers of entries", 0
    offs = {place: _apart(value, right[place]) for place, value in left.items()}
    worst = max(offs, key=lambda place: offs[place], default="")
    return offs.get(worst, 0.0), worst, len(offs)


def _apart(left: Any, right: Any) -> float:
    if left == right or (left != left and right != right):  # noqa: PLR0124 - NaN
        return 0.0
    if isinstance(left, int | float) and isinstance(right, int | float):
        return float(abs(left - right) / max(1.0, abs(left), abs(right)))
    return float("inf")


def _values(file: Path) -> dict[str, Any]:
    """Leaves of a file by their place; a file of another kind is one leaf, its bytes."""
    if file.suffix == ".parquet":
        import pyarrow.parquet as pq

        return dict(_leaves(pq.read_table(file).to_pylist()))
    if file.suffix == ".jsonl":
        return dict(_leaves([json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]))
    if file.name == "manifest.json":
        return dict(_leaves(json.loads(file.read_text(encoding="utf-8"))["metrics"]))
    if file.suffix == ".json":
        return dict(_leaves(json.loads(file.read_text(encoding="utf-8"))))
    return {"": file.read_bytes()}


def _leaves(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(inner, f"{place}.{name}".lstrip("."))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _leaves(inner, f"{place}[{number}]")
    else:
        yield place, value


if __name__ == "__main__":
    main()
