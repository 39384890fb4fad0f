"""An estimate of a stage's memory before it starts, against what its device has free.

One part does not depend on the lengths of rows: weights, gradients, optimiser, a second model. The other, of
activations, holds for passes as long as the settings allow. A stage is refused where the first part alone does not fit,
and where all of it is more than twice what is free (ADR 21 has measured peaks).
"""

from __future__ import annotations

from dataclasses import dataclass

from pipeline_core.checks.beforehand import ProblemsByPlace, not_made, stage_of
from pipeline_core.checks.data import plugin_entries
from pipeline_core.checks.foresee import foresee
from pipeline_core.data.catalog import Catalog
from pipeline_core.errors import BadInput
from pipeline_core.models.footprint import ModelShape, free_bytes, shape_of_folder
from pipeline_core.models.gpus import visible_gpus
from pipeline_core.pipeline.config import PipelineConfig
from pipeline_core.plugin.registry import Registry
from pipeline_core.plugin.specs import STAGES, PluginConfig
from pipeline_core.stage.key import Job, key_of
from pipeline_core.stage.settings import ExecutionSettings
from pipeline_core.store.artifacts import Store
from pipeline_core.training.online.settings import OnlineConfig
from pipeline_core.training.settings import RowTrainingConfig, TrainingConfig

LIBRARIES = 650 * 2**20
"""Bytes of a worker with Python, torch and transformers before it loads a model (about; ADR 21)."""
FLOAT, HALF = 4, 2
CHUNK_LOGITS = 2**25
"""Logits in memory at a time, as in `losses.logprobs`, whose import takes a second."""
PASS_TOKENS = 8192
"""Tokens of a pass without gradients, of evaluations and references."""
NEAR = 0.9
"""Share of the free memory above which there is a warning."""
GIB = 2**30
SIZED = ("base", "policy", "evaluate")
"""Stages whose model is the base or starts from it."""


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes of one process of a stage: `fixed`, and `passes` for the longest passes that the settings allow."""

    fixed: float
    passes: float

    @property
    def total(self) -> float:
        """Bytes of both parts."""
        return self.fixed + self.passes


def estimate(entry: PluginConfig, shape: ModelShape, *, on_gpu: bool = False) -> MemoryEstimate | None:
    """Estimate of a stage that trains or asks a model of this size; None for one that does neither."""
    libraries = 0 if on_gpu else LIBRARIES
    if isinstance(entry, TrainingConfig):
        return MemoryEstimate(libraries + _weights(entry, shape, on_gpu), _training_passes(entry, shape))
    if batch_tokens := getattr(entry, "batch_tokens", None):  # a base that is trained
        return MemoryEstimate(
            libraries + 4 * FLOAT * shape.parameters, _activations(shape, batch_tokens) + _logits(shape, batch_tokens)
        )
    if getattr(entry, "scorers", None) is not None or hasattr(entry, "max_length") or entry.row_kinds == ():
        return MemoryEstimate(libraries + FLOAT * shape.parameters, _forward(shape, PASS_TOKENS))
    return None


def _weights(entry: TrainingConfig, shape: ModelShape, on_gpu: bool) -> float:
    """Weights, their gradients, two moments, and a reference that stays in memory."""
    half = entry.precision == "bfloat16" or (entry.precision == "auto" and on_gpu)
    if entry.lora is not None:
        # An adapter of a matrix (n, m) has r (n + m) weights; of a layer seven matrices, as of Llama.
        adapters = shape.layers * entry.lora.r * (8 * shape.width + 3 * (shape.width + shape.inner))
        return (HALF if half else FLOAT) * shape.parameters + 4 * FLOAT * adapters
    copies = 4 * FLOAT + (HALF if half else 0)  # autocast casts the weights anew in each pass
    reference = FLOAT if isinstance(entry, OnlineConfig) else 0
    critic = 4 * FLOAT if entry.name == "ppo" else 0
    return (copies + reference + critic) * shape.parameters


def _training_passes(entry: TrainingConfig, shape: ModelShape) -> float:
    rows = 1
    if isinstance(entry, RowTrainingConfig):
        rows = entry.batch_size * (1 if entry.name == "sft" else 2)  # chosen and rejected
    elif isinstance(entry, OnlineConfig):
        rows = entry.prompts_per_step * entry.samples_per_prompt
    a_process = -(-rows // entry.processes) * entry.max_length
    tokens = min(max(entry.micro_batch_tokens, entry.max_length), a_process)
    return _activations(shape, tokens) + _logits(shape, tokens)


def _activations(shape: ModelShape, tokens: int) -> float:
    """Bytes that a pass keeps for its backward pass, in float32: norms, attention, feed-forward part of every layer."""
    return FLOAT * tokens * shape.layers * (12 * shape.width + 4 * shape.inner)


def _forward(shape: ModelShape, tokens: int) -> float:
    return FLOAT * tokens * (6 * shape.width + 3 * shape.inner) + _logits(shape, tokens)


def _logits(shape: ModelShape, tokens: int) -> float:
    """Logits and their gradient, in chunks."""
    return 3 * FLOAT * min(CHUNK_LOGITS, tokens * shape.vocabulary)


def memory_problems(config: PipelineConfig) -> tuple[ProblemsByPlace, list[str]]:
    """Stages to be made here that are too large, by place, and warnings about those that are nearly so.

    Where the base's size is not known yet (a model of the hub, say), its stages are checked as they start.
    """
    if config.runner.memory == "unchecked" or (shape := _shape_of_base(config)) is None:
        return {}, []
    here = [
        (where, entry)
        for where, entry in plugin_entries(config)
        if stage_of(where) in SIZED and not config.runner.deployment_of(stage_of(where))
    ]
    found = {where: verdict for where, entry in here if (verdict := _verdict(entry, shape, config.runner))}
    wanted = not_made(config, {where: BadInput(words) for where, (words, _) in found.items()})
    refused = {where: error for where, error in wanted.items() if found[where][1]}
    return refused, [f"{where}: {error}" for where, error in wanted.items() if where not in refused]


def _shape_of_base(config: PipelineConfig) -> ModelShape | None:
    known: ModelShape | None = getattr(config.base, "shape", lambda: None)()
    if known or config.base is None or not any(config.placed("policy", "evaluate")):
        return known
    made = next((seen.artifact for seen in foresee(config) if seen.planned.stage == "base"), None)
    return shape_of_folder(Store.from_environment().folder(made.kind, made.key)) if made else None


def check_start(job: Job, store: Store, registry: Registry) -> str:
    """Refuse a stage that is about to start and is too large here; returns a warning if it is nearly so, or "".

    Raises:
        BadInput: with the memory it needs, what is free, and what to change.
    """
    model = job.inputs.get("model")
    if job.runner.memory == "unchecked" or job.stage not in SIZED or model is None:
        return ""
    shape = shape_of_folder(store.folder(model.kind, model.key))
    entry = registry.get(job.stage, job.config["name"]).config.model_validate(job.config)
    verdict = _verdict(entry, shape, job.runner) if shape else None
    if verdict is None or store.find(STAGES[job.stage].kind, key_of(job, registry, Catalog.from_environment())):
        return ""
    words, refused = verdict
    if refused:
        raise BadInput(words)
    return words


def _verdict(entry: PluginConfig, shape: ModelShape, runner: ExecutionSettings) -> tuple[str, bool] | None:
    """Words on a stage that does not fit, or hardly, and True if it is refused; None if it fits."""
    on_gpu = runner.device.startswith("cuda") or (runner.device == "auto" and bool(visible_gpus()))
    need, free = estimate(entry, shape, on_gpu=on_gpu), free_bytes(runner.device)
    if need is None or free is None:
        return None
    shared = 1 if on_gpu else entry.processes  # each process has a GPU of its own
    fixed, total = need.fixed * shared, need.total * shared
    if total <= NEAR * free:
        return None
    refused = fixed > free or total > 2 * free
    where = "a GPU" if on_gpu else "this machine"
    parts = f"{fixed / GIB:.1f} for weights and optimiser, {need.passes * shared / GIB:.1f} at most for passes"
    words = f"it needs about {total / GIB:.1f} GiB ({parts}), and {where} has {free / GIB:.1f} GiB free. "
    words += _remedy(entry, fixed > NEAR * free)
    return (f"{words}; runner.memory=unchecked starts it nevertheless" if refused else f"{words}; it may fail", refused)


def _remedy(entry: PluginConfig, too_many_weights: bool) -> str:
    ways = []
    if isinstance(entry, TrainingConfig):
        if not too_many_weights:
            ways += [f"lower micro_batch_tokens ({entry.micro_batch_tokens}) or max_length ({entry.max_length})"]
        if entry.lora is None:
            ways += ["train adapters (lora={})"]
    elif hasattr(entry, "batch_tokens") and not too_many_weights:
        ways += ["lower batch_tokens"]
    if entry.processes > 1:
        ways += [f"lower processes ({entry.processes})"]
    return f"Try: {', '.join([*ways, 'a smaller base'])}"
