"""Optimiser, schedule, metrics and checkpoints of a training loop; the loop computes the loss."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from statistics import fmean
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pipeline_core.errors import EvenhandError
from pipeline_core.models.distributed import all_reduce_gradients

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from pipeline_core.plugin.context import StageContext
    from pipeline_core.plugin.types import Metrics
    from pipeline_core.training.settings import TrainingConfig

FLUSH_EVERY = 10
"""Steps between two readings of metrics from an accelerator, each of which waits for it; 1 on a CPU."""
WORST = "worst_group/loss"
"""Metric of the largest mean loss of a group: over a batch in step metrics, over the last steps in stage metrics."""


class Diverged(EvenhandError):
    """A loss or gradient is no longer finite."""


class Training:
    """A training in progress: weights, optimiser, step, metrics. The loop computes losses and calls back.

    All state that decides later steps is in the checkpoint or follows from the step number, so a resumed training
    gives the same bytes. With `checked` a gradient that is not finite never reaches the weights, for loops that sample
    from them; it costs a wait for the device per update. `rate_factors` maps prefixes of weight names to factors of the
    step size. Gradients of weights whose names begin with `apart` are clipped to `max_grad_norm` separately.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        settings: TrainingConfig,
        total: int,
        context: StageContext,
        *,
        checked: bool = False,
        rate_factors: Mapping[str, float] | None = None,
        apart: str | None = None,
    ) -> None:
        self._checked, self._apart = checked, apart
        self.weights = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
        self.step, self.total = 0, total
        self.rate_factor = 1.0
        """Factor of the schedule's step size. A loop that lowers it keeps it in its own `extra`."""
        self._settings, self._context = settings, context
        self._rate = 0.0
        self._optimizer = torch.optim.AdamW(
            _weight_groups(self.weights, rate_factors or {}),
            lr=settings.learning_rate,
            betas=settings.adam_betas,
            weight_decay=settings.weight_decay,
            fused=True,
        )
        self._flush_every = 1 if context.device == "cpu" else FLUSH_EVERY
        self._pending: list[tuple[int, dict[str, Tensor | float]]] = []
        self._tokens, self._since = 0.0, time.monotonic()

    def resume(self) -> dict[str, Any]:
        """Restore the last checkpoint; returns the loop's `extra` in it (on the CPU), or {} without a checkpoint."""
        state = self._context.checkpoints.load()
        if state is None:
            return {}
        with torch.no_grad():
            for name, weight in self.weights.items():
                weight.copy_(state["weights"][name])
        self._optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]
        self._context.events.history[:] = state["history"]
        extra: dict[str, Any] = state["extra"]
        return extra

    def update(self) -> Tensor:
        """Take an optimiser step with all processes' gradients; returns their norm before clipping, without `apart`.

        Raises:
            Diverged: before the step, if the norm is not finite (with `checked`).
        """
        for weight in self.weights.values():
            if weight.grad is None:  # a step without gradients still moves by momentum, on any number of processes
                weight.grad = torch.zeros_like(weight)
        all_reduce_gradients(self.weights.values())
        # With one norm the size of the rewards, which a critic's gradient follows, would decide the policy's step.
        norm, other = (self._clipped(apart=apart) for apart in (False, True))
        if self._checked and not math.isfinite(value := (norm + other).item()):
            raise self.diverged("grad_norm", self.step + 1, {"grad_norm": value})
        self._rate = self.rate_factor * learning_rate(self.step, self.total, self._settings)
        for group in self._optimizer.param_groups:
            group["lr"] = self._rate * group["rate_factor"]
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        return norm

    def _clipped(self, *, apart: bool) -> Tensor:
        chosen = [
            weight
            for name, weight in self.weights.items()
            if (self._apart is not None and name.startswith(self._apart)) == apart
        ]
        return torch.nn.utils.clip_grad_norm_(chosen, self._settings.max_grad_norm)

    def end_step(self, metrics: Mapping[str, Tensor | float], tokens: float, extra: Mapping[str, Any]) -> None:
        """Count the step, record its metrics, and save a checkpoint with `extra` if due."""
        metrics = {**metrics, "learning_rate": self._rate}
        self.step += 1
        self._tokens += tokens
        self._pending.append((self.step, metrics))
        due = self._context.is_main and self._context.checkpoints.due(self.step)
        # `flush` comes before `save`: it raises on a diverged step, and the checkpoint stays the last good one.
        if due or self.step % self._flush_every == 0 or self.step == self.total:
            self.flush()
        if due:
            self._context.checkpoints.save(self._state(extra))

    def summary(self) -> Metrics:
        """Mean of each metric over the last tenth of the steps; for the worst group the largest of the groups' means.

        The mean over steps of each step's worst group would be larger than all of these: in each batch a different
        group is worst by chance.
        """
        last = self._context.events.history[-max(1, self.total // 10) :]
        names = dict.fromkeys(name for entry in last for name in entry if name not in ("step", "learning_rate"))
        means = {name: fmean(entry[name] for entry in last if name in entry) for name in names}
        of_groups = [value for name, value in means.items() if name.startswith("group/") and name.endswith("/loss")]
        return means | ({WORST: max(of_groups)} if WORST in means else {})

    def _state(self, extra: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "step": self.step,
            "weights": {name: weight.detach() for name, weight in self.weights.items()},
            "optimizer": self._optimizer.state_dict(),
            "history": self._context.events.history,
            "extra": dict(extra),
        }

    def flush(self) -> None:
        """Read all pending metrics from the device and log them. Raises `Diverged` if a loss or norm is not finite."""
        for step, metrics in self._pending:
            values = _read(metrics)
            # Losses of groups come first, so that the message names the group.
            for name in (*(name for name in values if name.endswith("/loss")), "loss", "grad_norm"):
                if not math.isfinite(values.get(name, 0.0)):
                    raise self.diverged(name, step, values)
            if step == self.step:  # the rate is a mean since the last flush
                values["perf/tokens_per_second"] = self._tokens / max(time.monotonic() - self._since, 1e-9)
            self._context.events.log(values, step, self.total)
        self._pending.clear()
        self._tokens, self._since = 0.0, time.monotonic()

    def diverged(self, name: str, step: int, values: Mapping[str, float]) -> Diverged:
        """Error for the metric `name` that is not finite."""
        return Diverged(
            f"{name} is {values[name]} at step {step} of {self.total}; metrics of that step: {values}. "
            "The last good checkpoint is kept. A smaller learning_rate or max_grad_norm may help."
        )


def _weight_groups(weights: Mapping[str, torch.nn.Parameter], factors: Mapping[str, float]) -> list[dict[str, Any]]:
    """Optimiser groups of weights by the factor of their step size: that of their prefix in `factors`, else 1."""
    by_factor: dict[float, list[torch.nn.Parameter]] = {}
    for name, weight in weights.items():
        factor = next((factor for start, factor in factors.items() if name.startswith(start)), 1.0)
        by_factor.setdefault(factor, []).append(weight)
    return [{"params": params, "rate_factor": factor} for factor, params in by_factor.items()]


def learning_rate(step: int, total: int, settings: TrainingConfig) -> float:
    """Step size at step `step` (from 0) of `total`: linear warm-up from zero, then the schedule."""
    warmup = math.ceil(settings.warmup_ratio * total)
    if step < warmup:
        return settings.learning_rate * (step + 1) / warmup  # step 0 moves the weights as well
    done = (step - warmup) / max(1, total - warmup)
    factor = {"constant": 1.0, "linear": 1 - done, "cosine": (1 + math.cos(math.pi * done)) / 2}[settings.schedule]
    return settings.learning_rate * factor


def autocast(model: PreTrainedModel, settings: TrainingConfig) -> torch.autocast:
    """Autocast with the settings' precision on the model's device, for a single forward pass of a model.

    Until its outermost block ends, autocast caches the cast weights: in a block that spans an optimiser step, later
    passes would use the old weights.
    """
    on_cuda = model.device.type == "cuda"
    enabled = settings.precision == "bfloat16" or (settings.precision == "auto" and on_cuda)
    return torch.autocast(model.device.type, dtype=torch.bfloat16, enabled=enabled)


def _read(metrics: Mapping[str, Tensor | float]) -> dict[str, float]:
    tensors = {name: value for name, value in metrics.items() if isinstance(value, Tensor)}
    # One transfer for all metrics: each waits for the device.
    stacked = torch.stack([value.double() for value in tensors.values()]).tolist() if tensors else []
    read = dict(zip(tensors, stacked, strict=True))
    return {name: read[name] if name in read else float(value) for name, value in metrics.items()}
