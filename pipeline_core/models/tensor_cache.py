"""Cache of tensors that several stages need; the key is the content they are computed from."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open
from safetensors.torch import save, save_file
from torch import Tensor

from pipeline_core.files.atomic import write_optional
from pipeline_core.files.digests import digest_of, digest_of_file
from pipeline_core.models.distributed import from_first
from pipeline_core.models.loading import Precision, chosen_precision
from pipeline_core.plugin.context import StageContext

Tensors = dict[str, Tensor]
DIGEST = "digest"
"""Entry of a file's metadata: what the tensors were when they were written (R4)."""
WAIT_SECONDS = 30.0
"""Time between lines about the wait for another stage."""
log = logging.getLogger(__name__)

MODEL_FILES = ("*.safetensors", "*.bin", "*.model", "config.json", "tokenizer*", "special_tokens*", "vocab*", "merges*")
"""Patterns of files that determine a model's outputs. An artifact holds other files too, some with timestamps."""


def kept_tensors(name: str, about: Callable[[], Any], compute: Callable[[], Tensors], context: StageContext) -> Tensors:
    """Tensors for `about()` (plain JSON that determines them) from `context.scratch`, else from `compute()`.

    The first process looks for the file; without it all processes compute, and the first writes. A parallel stage that
    needs the same tensors waits. A file that cannot be read or written costs time only; a failed write is logged once.
    """
    key = f"{name}/{digest_of(about())[:32]}" if context.is_main else ""  # `about` may read gigabytes
    with _alone(context.scratch, key):
        file = context.scratch / f"{key}.safetensors" if key else None
        # All processes go one way: `compute` sums over them, and would wait for those that found the file.
        kept = from_first(_read(file) if file else None)
        if kept is not None:
            return kept
        made = compute()
        if file:
            write_optional(file, lambda partial: save_file(made, partial, {DIGEST: _digest(made)}))
        return made


@contextmanager
def _alone(scratch: Path, key: str) -> Iterator[None]:
    """Hold a file lock on `key`, so that two stages do not compute the same tensors.

    With an empty key, or where locking fails, the block runs without a lock.
    """
    with ExitStack() as held:
        with suppress(OSError):
            if key:
                lock = scratch / "locks" / f"{key.replace('/', '-')}.lock"
                lock.parent.mkdir(parents=True, exist_ok=True)
                held.enter_context(_waited_for(FileLock(lock), key))
        yield


@contextmanager
def _waited_for(lock: FileLock, key: str) -> Iterator[None]:
    """Hold `lock`; a line about the wait is a sign of progress to whoever watches over this stage."""
    while not lock.is_locked:
        try:
            lock.acquire(timeout=WAIT_SECONDS)
        except Timeout:
            log.warning("waits for another stage, which computes %s", key)
    try:
        yield
    finally:
        lock.release()


def model_digests(folder: Path) -> dict[str, str]:
    """Digests of the files in `folder` that determine its model's outputs: weights, configuration, tokenizer."""
    files = sorted(path for path in folder.iterdir() if any(fnmatch(path.name, known) for known in MODEL_FILES))
    return {path.name: digest_of_file(path) for path in files}


def arithmetic(device: str, weights: Precision, precision: Precision) -> list[str]:
    """Arithmetic as a part of a key: device type, dtype of the weights, dtype of the products."""
    kind = torch.device(device).type
    return [kind, *(chosen_precision(choice, kind) for choice in (weights, precision))]


def _digest(tensors: Tensors) -> str:
    """Digest of names, types, shapes and bytes, as safetensors writes them."""
    return hashlib.sha256(save(tensors)).hexdigest()


def _read(file: Path) -> Tensors | None:
    try:
        with safe_open(file, framework="pt") as kept:
            tensors = {name: kept.get_tensor(name) for name in kept.keys()}  # noqa: SIM118 - no mapping
            digest = (kept.metadata() or {}).get(DIGEST)
    except (OSError, SafetensorError):
        return None
    if digest == _digest(tensors):
        return tensors
    if digest:  # files of before have none
        log.warning("%s has changed on the disk and is computed again", file)
    return None
