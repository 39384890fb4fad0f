"""Measures a new reward: sign, metrics on held-out texts, and speed."""

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
    """Metrics of a reward stage: the sign, metrics on `held` under that sign, and texts scored per second.

    `raw` is the reward from `load`. The sign is decided on `held`, which was not trained on; if `held` is empty, it is
    decided on `train`, and `sign/held_out` is 0. The sign is also written to `out`, so that the digest of the artifact
    depends on it. `own_scale`: omit the squared error to the known scores. `fitted`: the reward learned its direction
    from labels, so a sign of -1 means that the fit failed; it is recorded as undecided (0).
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
    # without held-out texts `held` is empty; an undecided sign leaves the scores as they are
    measured = held_out_metrics(raw_N if judged is held else np.zeros(0), held, metrics["sign"] or 1.0)
    if own_scale:
        measured.pop("held_out/mse", None)
    return metrics | measured | timed.speed()


def declared(sign: int, measured: Metrics, out: Path) -> Metrics:
    """Metrics of a reward stage with a declared sign, which is not tested; `measured` is from `reward_metrics`."""
    _write_sign(sign, out)
    return measured | {"sign": float(sign), "sign/declared": 1.0}


def _write_sign(sign: int, out: Path) -> None:
    (out / "sign.json").write_text(json.dumps({"sign": sign}) + "\n", encoding="utf-8")


class MeasuredReward:
    """Reward that an evaluation measures. Scores are cached, because evaluations are never resumed."""

    def __init__(self, inputs: Inputs, device: str) -> None:
        self._inputs = inputs
        self._reward = Timed(inputs.reward_fn(device, remember=True))
        self._scored: dict[PromptCompletion, None] = {}  # a set that keeps its order

    def __call__(self, prompts: Sequence[str], completions: Sequence[str]) -> Tensor:
        """Scores of the reward, (N,)."""
        self._scored |= dict.fromkeys(zip(prompts, completions, strict=True))
        return self._reward(prompts, completions)

    def metrics(self, suite: str) -> Metrics:
        """Speed, number of distinct texts scored (`<suite>/texts`), and number of these that the reward truncated
        (`<suite>/truncated`; omitted if unknown).
        """
        prompts, completions = ([pair[side] for pair in self._scored] for side in (0, 1))
        cut = self._inputs.cut_by_reward(prompts, completions)
        told = {} if cut is None else {f"{suite}/truncated": float(len(cut))}
        return {f"{suite}/texts": float(len(prompts))} | told | self._reward.speed()
