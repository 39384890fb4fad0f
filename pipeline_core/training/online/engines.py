"""Samplers of completions: the policy itself, or a separate engine with a copy of the policy's weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from pipeline_core.models.sampling.rollouts import Rollout
from pipeline_core.models.sampling.sample import generate
from pipeline_core.training.optimizer import autocast

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from pipeline_core.training.online.settings import OnlineConfig


class Engine(Protocol):
    """Samples completions for the loop."""

    def sync_weights(self) -> None:
        """Copy the policy's present weights into the sampler; called before every step."""

    def sample(self, prompts: Sequence[str], numbers: Sequence[int], sizes: Sequence[int], first: int) -> Rollout:
        """Completions of P prompts, `sizes` of each. A sample's seed depends on the number of its prompt and its own,
        which starts at `first`. Log-probabilities are the policy's at the temperature, before top-p and top-k.
        """

    def close(self) -> None:
        """Release resources."""


def engine_of(
    folder: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, settings: OnlineConfig, seed: int
) -> Engine:
    """Engine that the settings select; `folder` holds the model from which the policy starts."""
    if settings.sampling.vllm is None:
        return OwnEngine(model, tokenizer, settings, seed)
    from pipeline_core.training.online.vllm_engine import VllmEngine

    return VllmEngine(folder, model, tokenizer, settings, seed)


@dataclass(frozen=True)
class OwnEngine:
    """Engine in which the policy itself samples."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    settings: OnlineConfig
    seed: int

    def sync_weights(self) -> None:
        """No-op: the policy itself samples."""

    def sample(self, prompts: Sequence[str], numbers: Sequence[int], sizes: Sequence[int], first: int) -> Rollout:
        """See `Engine`."""
        with autocast(self.model, self.settings):  # only here: rewards use their own precision
            return generate(
                self.model,
                self.tokenizer,
                prompts,
                self.settings.sampling.settings(),
                seed=self.seed,
                samples=sizes,
                first_sample=first,
                prompt_indices=numbers,
                max_prompt_tokens=self.settings.max_prompt_tokens,
            )

    def close(self) -> None:
        """No-op: no resources are held."""
