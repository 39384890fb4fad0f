"""Loads a reward artifact as a function whose answers are checked."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline_core.errors import BadInput, EvenhandError
from pipeline_core.plugin.specs import RewardModel
from pipeline_core.plugin.types import RewardFn, SpecSource
from pipeline_core.rewards.layout import manifest_of
from pipeline_core.rewards.memory import PromptCompletion, ScoreMemory
from pipeline_core.rewards.sign import doubt

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)
BATCH = 256
SHOWN = 5


class BadReward(EvenhandError):
    """Unusable answer of a reward."""


class NotFinite(BadReward):
    """Answer with scores that are not finite; its finite scores are usable."""


def load_reward(
    folder: Path,
    device: str,
    registry: SpecSource,
    *,
    remember: bool = False,
    skip: bool = False,
    shared: bool = False,
) -> RewardFn:
    """Function of a reward artifact: scores (N,), float32 on the CPU, larger is better.

    Every answer is checked for length, type and finite values. Equal pairs are scored once, and the plugin gets batches
    of texts of similar length. Scores are cached between calls if the plugin declares that they depend on the text
    alone (`batch_free`). For other plugins the last digits depend on the batch, so a cache would make a resumed
    training differ; they are cached only with `remember`, for runs that are never resumed, such as evaluations. With
    `skip`, texts without a usable answer get NaN, with `shared` the processes share the texts, see `checked`.

    Raises:
        BadInput: the artifact names no usable plugin, lacks files that the plugin needs, or has no decided sign.
    """
    try:
        manifest = manifest_of(folder)
        plugin, metrics = manifest["plugin"], dict(manifest["metrics"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{folder} is no reward artifact: its manifest.json cannot be read ({error!r})") from error
    spec = RewardModel.named(registry, plugin, where=str(folder))
    if spec.load is None:
        raise BadInput(f"the reward plugin {plugin!r} has no `load`, so nothing can be scored with it")
    if why := doubt(metrics):
        raise BadInput(
            f"{folder}: nothing says whether larger scores of the reward {plugin!r} are better ({why}), so nothing is "
            "trained on it or measured with it; make it again with more labelled rows (`reward.data`), of which more "
            "are held out (`reward.held_out`), where the plugin has these settings"
        )
    memory = ScoreMemory() if remember or spec.batch_free else None
    raw, sign = checked(spec.load(folder, device), plugin, memory=memory, skip=skip, shared=shared), metrics["sign"]
    return lambda prompts, completions: sign * raw(prompts, completions)


def checked(
    reward: RewardFn,
    name: str,
    batch_size: int = BATCH,
    memory: ScoreMemory | None = None,
    *,
    skip: bool = False,
    shared: bool = False,
) -> RewardFn:
    """Wrap `reward` so that its answers are checked. `name` appears in messages; `memory` caches scores.

    With `skip` no error is raised: scores that are not finite are NaN, and so are all scores of a batch whose answer is
    unusable or that raised an error. The error is logged. Out-of-memory errors are always raised.

    With `shared` every process of the stage calls with the same texts, scores its part of the batches, and gets all
    scores. The batches are those of a single process, and so are the scores, to the last digit.

    Raises (when called):
        BadReward: the answer is None, has a wrong length or is not finite; the message names the rows (from 0).
        Any error of the reward, with a note that names the reward and the rows.
    """

    def score(prompts: Sequence[str], completions: Sequence[str]) -> Tensor:
        import torch

        from pipeline_core.models.distributed import gathered, shard

        if len(prompts) != len(completions):
            raise ValueError(f"{len(prompts)} prompts and {len(completions)} completions")
        rows_of: dict[PromptCompletion, list[int]] = {}
        for row, pair in enumerate(zip(prompts, completions, strict=True)):
            rows_of.setdefault(pair, []).append(row)
        score_of = memory.recall(rows_of) if memory else {}
        # Texts of equal length are sorted by content, so that batches do not depend on the order of the rows.
        new = sorted(rows_of.keys() - score_of, key=lambda pair: (len(pair[0]) + len(pair[1]), pair))
        batches = [new[start : start + batch_size] for start in range(0, len(new), batch_size)]
        own: dict[PromptCompletion, float] = {}
        for batch in shard(batches) if shared else batches:
            answer = _answer(reward, name, batch, [rows_of[pair] for pair in batch], skip)
            own |= zip(batch, answer.tolist(), strict=True)
        for share in gathered(own) if shared else [own]:
            score_of |= share
        scores = torch.empty(len(prompts), dtype=torch.float32)
        for pair, rows in rows_of.items():
            scores[rows] = score_of[pair]
        if memory:
            # a text without a score is asked again
            memory.keep({pair: score_of[pair] for pair in new if math.isfinite(score_of[pair])})
        return scores

    return score


def _answer(reward: RewardFn, name: str, batch: list[PromptCompletion], rows: list[list[int]], skip: bool) -> Tensor:
    """Scores (B,) of distinct pairs; with `skip`, NaN for pairs without a usable score."""
    import torch

    try:
        scores = _ask(reward, name, batch, rows)
        _check_finite(scores, name, rows)
    except (MemoryError, torch.OutOfMemoryError):  # a fault of the machine says nothing about the texts
        raise
    except Exception as error:
        if not skip:
            raise
        log.warning("texts are left out: %s", " ".join([str(error), *getattr(error, "__notes__", ())]))
        if isinstance(error, NotFinite):
            return scores
        return torch.full((len(batch),), torch.nan)
    return scores


def _ask(reward: RewardFn, name: str, batch: list[tuple[str, str]], rows: list[list[int]]) -> Tensor:
    """Scores (B,) of distinct pairs; their number is checked, their values are not."""
    try:
        answer = reward([prompt for prompt, _ in batch], [completion for _, completion in batch])
    except Exception as error:
        error.add_note(f"raised by the reward {name!r} on {_named(rows)}")  # a note keeps the type of the error
        raise
    return _as_scores(answer, name, rows)


def _check_finite(scores: Tensor, name: str, rows: list[list[int]]) -> None:
    wrong = [same for same, fine in zip(rows, scores.isfinite().tolist(), strict=True) if not fine]
    if wrong:
        raise NotFinite(f"the reward {name!r} gave a number that is not finite for {_named(wrong)}")


def _as_scores(answer: Any, name: str, rows: list[list[int]]) -> Tensor:
    import torch

    if answer is None:
        raise BadReward(f"the reward {name!r} gave None for {_named(rows)}; is a `return` missing?")
    try:
        # a function may answer with a graph, on a GPU
        scores = torch.as_tensor(answer).detach().to("cpu", torch.float32)
    except (TypeError, ValueError, RuntimeError) as error:
        raise BadReward(f"the reward {name!r} gave {type(answer).__name__} for {_named(rows)}, not a tensor") from error
    if scores.shape != (len(rows),):  # (N, 1) would broadcast against (N,) without an error
        raise BadReward(f"the reward {name!r} gave shape {tuple(scores.shape)} for {len(rows)} texts ({_named(rows)})")
    return scores


def _named(rows: list[list[int]]) -> str:
    """Row numbers for a message: `rows 0, 3, 4 and 20 more`."""
    numbers = sorted(row for same in rows for row in same)
    more = f" and {len(numbers) - SHOWN} more" if len(numbers) > SHOWN else ""
    return f"row{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers[:SHOWN]))}{more}"
