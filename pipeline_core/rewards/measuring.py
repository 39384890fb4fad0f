"""Measures a reward once it is made: its sign, how good it is, and how fast it scores."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline_core.rewards.checks import held_out_metrics
from pipeline_core.rewards.memory import PromptCompletion, Timed
from pipeline_core.rewards.scored_text import ScoredText
from pipeline_core.rewards.sign import ALPHA, deciding_pairs, sign_metrics

if TYPE_CHECKING:
    from torch import Tensor

    from pipeline_core.plugin.context import Inputs
    from pipeline_core.plugin.types import Metrics, RewardFn

log = logging.getLogger(__name__)


def reward_metrics(
    raw: RewardFn,
    out: Path,
    held: ScoredText,
    train: ScoredText | None = None,
    *,
    seed: int = 0,
    own_scale: bool = False,
    fitted: bool = False,
    alpha: float = ALPHA,
) -> Metrics:
    """What a reward stage returns: the sign, the figures on `held` under that sign, and texts scored per second.

    `raw` is the reward as `load` gives it. The sign is decided on `held`, on which nothing was learned; where nothing
    is held out, on `train`, and `sign/held_out` is 0 then. It also goes into `out`: the same reward with another sign
    is another artifact. `own_scale`: no squared error to the known scores. `fitted`: the reward learned from labels
    which way is up, so a sign of -1 says that the fit failed, and counts as undecided.
    """
    judged = held if len(held) or train is None else train
    timed = Timed(raw)
    raw_N = timed(judged.prompts, judged.completions).numpy() if len(judged) else np.zeros(0)
    pairs_P2 = deciding_pairs(judged, seed)
    metrics = sign_metrics(raw_N[pairs_P2], [judged.units[better] for better in pairs_P2[:, 0]], alpha)
    if fitted and metrics["sign"] < 0:
        log.warning(
            "the fit failed: it puts worse texts first (p = %.3g); its sign is left undecided", metrics["sign/p_value"]
        )
        metrics["sign"] = 0.0
    metrics["sign/held_out"] = float(judged is held)
    _write_sign(int(metrics["sign"]), out)
    measured = held_out_metrics(raw_N if judged is held else np.zeros(0), held, metrics["sign"] or 1.0)
    if own_scale:
        measured.pop("held_out/mse", None)
    return metrics | measured | timed.speed()


def declared(sign: int, measured: Metrics, out: Path) -> Metrics:
    """What a reward stage returns whose sign is known and not tested, from what `reward_metrics` found."""
    _write_sign(sign, out)
    return measured | {"sign": float(sign), "sign/declared": 1.0}


def _write_sign(sign: int, out: Path) -> None:
    (out / "sign.json").write_text(json.dumps({"sign": sign}) + "\n", encoding="utf-8")


class MeasuredReward:
    """The reward that an evaluation measures: it remembers texts, since evaluations start anew."""

    def __init__(self, inputs: Inputs, device: str) -> None:
        self._inputs = inputs
        self._reward = Timed(inputs.reward_fn(device, remember=True))
        self._scored: dict[PromptCompletion, None] = {}

    def __call__(self, prompts: Sequence[str], completions: Sequence[str]) -> Tensor:
        """The reward's own answer."""
        self._scored |= dict.fromkeys(zip(prompts, completions, strict=True))
        return self._reward(prompts, completions)

    def metrics(self, suite: str) -> Metrics:
        """How fast it was, how many different texts it scored, and how many of these it says it could not read in full
        (`<suite>/texts`, `<suite>/truncated`).
        """
        prompts, completions = ([pair[side] for pair in self._scored] for side in (0, 1))
        cut = self._inputs.cut_by_reward(prompts, completions)
        told = {} if cut is None else {f"{suite}/truncated": float(len(cut))}
        return {f"{suite}/texts": float(len(prompts))} | told | self._reward.speed()
