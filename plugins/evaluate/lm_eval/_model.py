"""Adapter of a model to the lm-evaluation-harness, with log-likelihoods from the engine that all suites share.

The engine runs a prefix that several requests share (a question, the examples before it) once. Generation is the
harness's own and pads prompts on the left: a model that does not allow padding gets one prompt at a time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lm_eval.models.huggingface import HFLM

from pipeline_core.models.distributed import gathered, shard
from pipeline_core.models.likelihood.scoring import score_tokens
from pipeline_core.models.sampling.ways import SamplingMethod, way_of

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

HarnessRequest = tuple[tuple[str, str] | None, list[int], list[int]]
"""Texts of prompt and answer, None for a window of a long text; token ids of the prompt; token ids of the answer."""


class SharingLM(HFLM):
    """Model of the harness. `cut`: prompt and answer of every request of more than `max_length` + 1 tokens."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        max_length: int | None,
        batch_rows: int,
        tokens_per_batch: int,
    ) -> None:
        super().__init__(
            pretrained=model,
            tokenizer=tokenizer,
            device=str(model.device),
            batch_size=batch_rows,
            max_length=max_length,
        )
        self.cut: set[tuple[str, str]] = set()
        self._batch_rows = batch_rows
        self._tokens_per_batch = tokens_per_batch

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """Generate like `HFLM`; one prompt at a time if the model does not take the longest prompt padded.

        The processes share the requests. Requests that are sampled are not shared: their texts depend on the random
        numbers of those before them.
        """
        longest = max((self._tokens(*request.args) for request in requests), default=0)
        # HFLM reads its batch size from this attribute
        self.batch_size_per_gpu = self._batch_rows if way_of(self.model, longest) is SamplingMethod.PADDED else 1
        if any(request.args[1].get("do_sample") or request.args[1].get("temperature") for request in requests):
            return list(super().generate_until(requests, disable_tqdm))
        mine = shard(range(len(requests)))
        texts = super().generate_until([requests[place] for place in mine], disable_tqdm) if mine else []
        written = dict(pair for share in gathered(list(zip(mine, texts, strict=True))) for pair in share)
        return [written[place] for place in range(len(requests))]

    def _tokens(self, prompt: str, settings: Mapping[str, Any]) -> int:
        """Number of tokens of a prompt and the longest answer to it, `max_length` at most."""
        answer = int(settings.get("max_gen_toks", self.max_gen_toks))
        return int(min(len(self.tok_encode(prompt)) + answer, self.max_length))

    def _loglikelihood_tokens(
        self,
        requests: list[HarnessRequest],
        disable_tqdm: bool = False,  # noqa: ARG002 - the harness's names
        override_bs: int | None = None,  # noqa: ARG002
    ) -> list[tuple[float, bool]]:
        """Log-likelihood of every answer, and True where every token of it is the likeliest.

        Raises:
            ValueError: an answer of more than `max_length` tokens.
        """
        scored = score_tokens(
            self.model,
            [self._fitting(*request) for request in requests],
            pad_id=int(self.tokenizer.pad_token_id or 0),
            tokens_per_batch=self._tokens_per_batch,
        )
        return list(zip(scored.logps.tolist(), scored.are_likeliest.tolist(), strict=True))

    def _fitting(
        self, texts: tuple[str, str] | None, prompt: list[int], answer: list[int]
    ) -> tuple[list[int], list[int]]:
        """Token ids cut to `max_length` + 1: the prompt loses its beginning; the last token is only predicted."""
        if len(answer) > self.max_length:
            shown = repr(texts[1][:40]) if texts else "a window"
            raise ValueError(f"the answer {shown} has {len(answer)} tokens, and {self.max_length} is the longest")
        excess = len(prompt) + len(answer) - self.max_length - 1
        if excess > 0 and texts:
            self.cut.add(texts)
        return prompt[max(excess, 0) :], answer
