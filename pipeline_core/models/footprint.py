"""Sizes of models, and memory that a host or its GPUs have left."""

from __future__ import annotations

import json
import math
import shutil
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

from pipeline_core.errors import EvenhandError
from pipeline_core.models.gpus import visible_gpus
from pipeline_core.models.model_files import CONFIG, read_object, weight_files

CGROUPS = Path("/sys/fs/cgroup")
WIDTH = ("hidden_size", "n_embd", "d_model")
INNER = ("intermediate_size", "n_inner", "ffn_dim", "d_ff")
DEPTH = ("num_hidden_layers", "n_layer", "num_layers")


@dataclass(frozen=True)
class ModelShape:
    """Size of a language model. `width` and `inner`: units of a layer, and of its feed-forward part."""

    parameters: int
    width: int
    inner: int
    layers: int
    vocabulary: int


def shape_of_folder(folder: Path) -> ModelShape | None:
    """Size of the model in a folder with safetensors weights; None where it cannot be told without loading it."""
    try:
        settings = read_object(folder / CONFIG)
        parameters = sum(map(_parameters, weight_files(folder)))
    except (OSError, ValueError, EvenhandError, struct.error):
        return None
    settings = settings.get("text_config", settings)  # of a model of texts and images

    def size(names: tuple[str, ...]) -> int:
        return next((int(settings[name]) for name in names if settings.get(name)), 0)

    width, layers = size(WIDTH), size(DEPTH)
    if not (width and layers and parameters):
        return None
    return ModelShape(parameters, width, size(INNER) or 4 * width, layers, size(("vocab_size",)))


def _parameters(file: Path) -> int:
    """Number of weights in a safetensors file, from its header."""
    with file.open("rb") as opened:
        (length,) = struct.unpack("<Q", opened.read(8))
        if length > file.stat().st_size:
            raise ValueError(f"{file} is no safetensors file")
        header = json.loads(opened.read(length))
    return sum(math.prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")


def free_bytes(device: str) -> int | None:
    """Bytes that a stage can get: on the largest GPU it may use once it is free, or else on the host now."""
    if device.startswith("cuda") or (device == "auto" and visible_gpus()):
        return _of_gpus(visible_gpus(), device.partition(":")[2])
    return _free_on_host() if device in ("auto", "cpu") else None


def _free_on_host() -> int | None:
    """Memory that is free or can be freed, as far as the control group allows (version 2)."""
    try:
        lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines())
        free = int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return None
    return min([free, *_free_in_groups()])


def _free_in_groups() -> list[int]:
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    own = CGROUPS / next((line[3:].lstrip("/") for line in lines if line.startswith("0::")), "")
    folders = [folder for folder in (own, *own.parents) if folder.is_relative_to(CGROUPS)]
    return [left for folder in folders if (left := _left_in(folder)) is not None]


def _left_in(group: Path) -> int | None:
    try:
        limit, used = ((group / name).read_text(encoding="ascii") for name in ("memory.max", "memory.current"))
        stat = dict(line.split() for line in (group / "memory.stat").read_text(encoding="ascii").splitlines())
        # Pages of files are given back under pressure.
        return max(0, int(limit) - int(used) + int(stat.get("inactive_file", 0)))
    except (OSError, ValueError):  # no such file, or no limit ("max")
        return None


def _of_gpus(gpus: list[str], number: str) -> int | None:
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    # Of all its memory: a stage whose GPU is in use waits for the lease. torch would make a context for an answer.
    query = [program, "--query-gpu=index,uuid,memory.total", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return largest(done.stdout, [gpus[int(number)]] if number and int(number) < len(gpus) else gpus)


def largest(table: str, gpus: list[str]) -> int | None:
    """Bytes of the largest of `gpus` (indices or UUIDs) in nvidia-smi's table of index, UUID and MiB."""
    free = []
    for line in table.splitlines():
        index, uuid, mib = (cell.strip() for cell in line.split(","))
        if mib.isdecimal() and any(name == index or uuid.startswith(name) for name in gpus):
            free.append(int(mib) * 2**20)
    return max(free, default=None)
