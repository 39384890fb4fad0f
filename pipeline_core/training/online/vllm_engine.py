"""vLLM as the sampler, in the training's process; for GPUs, where sampling takes most of a step."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoConfig

from pipeline_core.errors import BadInput
from pipeline_core.models.adapters import are_tied, plain_weights
from pipeline_core.models.completions import rollout_logps
from pipeline_core.models.distributed import world_size
from pipeline_core.models.lengths import check_positions, positions_of
from pipeline_core.models.sampling.drawing import sample_seed
from pipeline_core.models.sampling.rollouts import Rollout
from pipeline_core.models.sampling.sample import completion_texts, end_tokens, until_stop
from pipeline_core.models.tokens.prompts import encode_prompt
from pipeline_core.training.optimizer import autocast

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from pipeline_core.training.online.settings import OnlineConfig

ROWS = 64
"""Completions per forward pass that computes their log-probabilities."""


class VllmEngine:
    """`Engine` that samples with vLLM.

    Log-probabilities are computed by the policy: vLLM's kernels round differently, which would change the ratios.
    Prompt number and sample number determine the seed; vLLM does not guarantee equal tokens for equal seeds in batches
    of different sizes.

    Raises:
        BadInput: vLLM is not installed, there are several processes, or adapters have untied the embeddings.
    """

    def __init__(
        self,
        folder: Path,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        settings: OnlineConfig,
        seed: int,
    ) -> None:
        if world_size() > 1:
            raise BadInput(f"sampling.vllm: it samples in one process, and there are {world_size()}; leave it out")
        if not are_tied(model.config) and are_tied(
            AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        ):
            raise BadInput(
                "sampling.vllm: it keeps the input and output embeddings of this model tied, and adapters change one "
                "of them: leave them out of `lora.target_modules`, or leave `sampling.vllm` out"
            )
        os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")  # weights are passed in memory, not sent
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
        try:
            from vllm import LLM
        except ImportError as error:
            raise BadInput(
                f"sampling.vllm: it cannot be imported ({error}): install it, or leave `sampling.vllm` out"
            ) from error
        vllm = settings.sampling.vllm
        assert vllm
        self._model, self._tokenizer, self._settings, self._seed = model, tokenizer, settings, seed
        with torch.random.fork_rng():  # in this process vLLM seeds torch's global generator
            self._llm: Any = LLM(
                model=str(folder),
                dtype=self._precision(),
                max_model_len=int(min(settings.max_length, positions_of(model))),
                gpu_memory_utilization=vllm.gpu_memory_utilization,
                enforce_eager=vllm.enforce_eager,
                enable_prefix_caching=True,  # the samples of a prompt share its prefix
                seed=seed,
            )

    def sync_weights(self) -> None:
        """Copy the policy's weights to vLLM, adapters merged, and clear its prefix cache."""
        self._llm.collective_rpc("reload_weights", kwargs={"weights_iterator": plain_weights(self._model)})
        self._llm.reset_prefix_cache()  # its keys and values come from the old weights

    def sample(self, prompts: Sequence[str], numbers: Sequence[int], sizes: Sequence[int], first: int) -> Rollout:
        """See `engines.Engine`."""
        from vllm import TokensPrompt

        prompt_ids = [encode_prompt(self._tokenizer, prompt, self._settings.max_prompt_tokens) for prompt in prompts]
        check_positions(self._model, max(map(len, prompt_ids), default=0) + self._settings.sampling.max_new_tokens)
        rows = [(place, sample) for place, size in enumerate(sizes) for sample in range(first, first + size)]
        answers = self._llm.generate(
            [TokensPrompt(prompt_token_ids=prompt_ids[place]) for place, _ in rows],
            [self._parameters(sample_seed(self._seed, numbers[place], sample)) for place, sample in rows],
            use_tqdm=False,
        )
        asked, sampling = [prompts[place] for place, _ in rows], self._settings.sampling.settings()
        # vLLM would match a stop string that begins with a space across the border of prompt and completion.
        completion_ids = [
            until_stop(self._tokenizer, prompt, answer.outputs[0].token_ids, sampling)
            for prompt, answer in zip(asked, answers, strict=True)
        ]
        texts, ended = completion_texts(self._model, self._tokenizer, asked, completion_ids, sampling)
        blank_BT = torch.zeros(len(rows), max(map(len, completion_ids), default=0))
        drawn = Rollout(list(prompts), list(sizes), prompt_ids, completion_ids, texts, blank_BT, ended, list(numbers))
        with autocast(self._model, self._settings):
            logps_BT = rollout_logps(self._model, drawn, self._tokenizer.pad_token_id or 0, sampling.temperature, ROWS)
        return replace(drawn, logps=logps_BT)

    def close(self) -> None:
        """Release the engine's memory."""
        from vllm.distributed import cleanup_dist_env_and_memory

        self._llm.llm_engine.engine_core.shutdown()
        del self._llm
        cleanup_dist_env_and_memory()

    def _precision(self) -> str:
        """Precision of the policy's forward passes, as vLLM's dtype."""
        with autocast(self._model, self._settings):
            half = torch.is_autocast_enabled(self._model.device.type)
        return "bfloat16" if half else str(self._model.dtype).removeprefix("torch.")

    def _parameters(self, seed: int) -> Any:
        from vllm import SamplingParams

        settings = self._settings.sampling
        return SamplingParams(
            temperature=settings.temperature,
            top_p=settings.top_p,
            top_k=settings.top_k or 0,  # vLLM's 0: all tokens
            max_tokens=settings.max_new_tokens,
            min_tokens=settings.min_new_tokens,
            stop=[word for word in settings.stop if not word.startswith(" ")],
            include_stop_str_in_output=True,
            stop_token_ids=end_tokens(self._model, self._tokenizer),
            seed=seed,
        )
