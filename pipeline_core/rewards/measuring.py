"""Measures a reward: sign, agreement with held-out labels (pairwise, also per domain, and by rank), and speed."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline_core.plugin.context import Inputs
from pipeline_core.plugin.types import Metrics, RewardFn
from pipeline_core.rewards.memory import PromptCompletion, Timed
from pipeline_core.rewards.scored_text import ScoredText
from pipeline_core.rewards.sign import ALPHA, FloatingArray, deciding_pairs, sign_metrics
from pipeline_core.stats.ranking import RELATIONS

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)
FEWEST_PAIRS = 10
"""Smallest number of held-out pairs for an accuracy per domain; with fewer pairs it is mostly chance."""


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


def pairwise_accuracy(better_P: FloatingArray, worse_P: FloatingArray) -> float:
    """Percentage of pairs whose better text scores higher; a tie counts 0.5."""
    return float(100 * np.mean((better_P > worse_P) + 0.5 * (better_P == worse_P)))


def held_out_metrics(raw_N: FloatingArray, text: ScoredText, sign: float = 1.0) -> dict[str, float]:
    """Pairwise accuracy (overall, per domain, worst domain) and Spearman's rank correlation of `sign` times the scores.

    The mean squared error is computed without `sign`. A metric that is not defined (no pairs, constant scores) is
    omitted, never zero.
    """
    metrics = {"held_out/texts": float(len(text)), "held_out/pairs": float(len(text.pairs_P2))}
    if len(text) == 0:
        return metrics
    # a fit is to the scores as they are: with a turned sign the error would mean nothing
    metrics["held_out/mse"] = float(np.mean((raw_N - text.scores_N) ** 2))
    predicted_N = sign * raw_N
    spearman = float(RELATIONS["spearman"](predicted_N.astype(np.float64), text.scores_N.astype(np.float64))[0])
    if not np.isnan(spearman):
        metrics["held_out/spearman"] = spearman
    return metrics | _accuracies(predicted_N, text)


def _accuracies(predicted_N: FloatingArray, text: ScoredText) -> dict[str, float]:
    if len(text.pairs_P2) == 0:
        return {}
    better, worse = predicted_N[text.pairs_P2].T
    domains = np.array(text.domains)[text.pairs_P2[:, 0]]  # both texts of a pair come from one row
    counted = {name: domains == name for name in np.unique(domains) if name}
    by_domain = {
        name: pairwise_accuracy(better[mask], worse[mask])
        for name, mask in counted.items()
        if mask.sum() >= FEWEST_PAIRS
    }
    metrics = {"held_out/pairwise_accuracy": pairwise_accuracy(better, worse)}
    metrics |= {f"domain/{name}/pairwise_accuracy": value for name, value in by_domain.items()}
    if by_domain:
        metrics["held_out/worst_domain/pairwise_accuracy"] = min(by_domain.values())
    return metrics


def declared(sign: int, measured: Metrics, out: Path) -> Metrics:
    """Metrics of a reward stage with a declared sign, which is not tested; `measured` is from `reward_metrics`."""
    _write_sign(sign, out)
    return measured | {"sign": float(sign), "sign/declared": 1.0}


def _write_sign(sign: int, out: Path) -> None:
    (out / "sign.json").write_text(json.dumps({"sign": sign}) + "\n", encoding="utf-8")


class MeasuredReward:
    """Reward that an evaluation measures. Scores are cached, because evaluations are never resumed.

    The processes of the evaluation share the scoring: every process calls with all texts.
    """

    def __init__(self, inputs: Inputs, device: str) -> None:
        self._inputs = inputs
        self._reward = Timed(inputs.reward_fn(device, remember=True, shared=True))
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
