"""Pseudo-log-likelihood of two sentences over the tokens they share (arXiv 2010.00133, sec. 4), for masked models.

Every token that both sentences hold, U, is masked in turn and predicted from the rest of its sentence: log p(U | M) =
sum_i log p(u_i | U without u_i, M). The tokens in which the sentences differ, M, are never predicted, so that a rare
name does not decide. Tokens that the tokenizer puts around a text are not predicted either; an unknown token inside the
text is, as in the published script. Shape suffixes: B masked copies, T tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pipeline_core.errors import BadInput
from pipeline_core.models.distributed import all_reduce_sum, shard
from pipeline_core.models.lengths import positions_of
from pipeline_core.models.likelihood.scoring import MAX_LOGITS
from pipeline_core.models.padded_rows import can_pad
from pipeline_core.models.probing import in_float32
from pipeline_core.models.tokens.frames import frame_of
from pipeline_core.models.tokens.prompts import encode_text, pad

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class _Masked:
    """A copy of sentence number `sentence` with the token at `place` masked; `target` is the masked token."""

    sentence: int
    ids: tuple[int, ...]
    place: int
    target: int


@torch.inference_mode()
def shared_token_logps(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    pairs: Sequence[tuple[str, str]],
    *,
    names: Sequence[str],
    tokens_per_batch: int = 2048,
) -> list[tuple[float, float]]:
    """Summed log-probabilities of the shared tokens of every pair, in its first and in its second sentence.

    Copies of different length are padded only where the model's logits do not depend on padding.

    Raises:
        BadInput: the tokenizer has no mask token, the model does not run, a sentence has more tokens than the model
        positions, or a pair shares no token; names the pair.
    """
    if tokenizer.mask_token_id is None:
        raise BadInput("pseudo-log-likelihoods need a tokenizer with a mask token")
    copies = [copy for number, pair in enumerate(pairs) for copy in _copies(model, tokenizer, number, pair, names)]
    sums_N = torch.zeros(2 * len(pairs), dtype=torch.float64)
    vocabulary = model.get_output_embeddings().weight.shape[0]
    longest = max((len(copy.ids) for copy in copies), default=0)
    with in_float32(model):  # rounding of half precision would look like an effect of padding
        pads = longest == 0 or can_pad(partial(_mean_logits, model), tokenizer, longest, str(model.device))
    # all logits of a batch are formed, unlike in `likelihood.scoring`
    for batch in shard(list(_batches(copies, min(tokens_per_batch, MAX_LOGITS // vocabulary), pads=pads))):
        ids_BT, mask_BT = (
            x.to(model.device) for x in pad([copy.ids for copy in batch], int(tokenizer.pad_token_id or 0))
        )
        logits_BTV = model(input_ids=ids_BT, attention_mask=mask_BT.long()).logits
        rows = torch.arange(len(batch), device=model.device)
        logits_BV = logits_BTV[rows, torch.tensor([copy.place for copy in batch], device=model.device)].float()
        logps_B = logits_BV.log_softmax(-1)[rows, torch.tensor([copy.target for copy in batch], device=model.device)]
        sums_N.index_add_(0, torch.tensor([copy.sentence for copy in batch]), logps_B.double().cpu())
    sums_N = all_reduce_sum(sums_N.to(model.device)).cpu()
    return [(float(first), float(second)) for first, second in sums_N.view(-1, 2)]


def _copies(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, number: int, pair: tuple[str, str], names: Sequence[str]
) -> Iterator[_Masked]:
    both: list[tuple[int, ...]] = [tuple(encode_text(tokenizer, sentence)) for sentence in pair]
    if max(map(len, both)) > (positions := positions_of(model)):
        raise BadInput(f"{names[number]}: {max(map(len, both))} tokens exceed the model's {positions} positions")
    frame = frame_of(tokenizer)  # without unknown words, which are predicted
    # autojunk would pass over tokens that are frequent in a text of 200 tokens or more
    matches = SequenceMatcher(None, both[0], both[1], autojunk=False).get_matching_blocks()
    shared = [(match.a + step, match.b + step) for match in matches for step in range(match.size)]
    inner = [range(len(frame.start), len(ids) - len(frame.end)) for ids in both]
    # S7: left out by place and not by id, since a text may hold an unknown token
    shared = [(first, second) for first, second in shared if first in inner[0] or second in inner[1]]
    if not shared:
        raise BadInput(f"{names[number]}: its two sentences share no token")
    for places in shared:
        for side, place in enumerate(places):
            ids = both[side]
            masked = (*ids[:place], int(tokenizer.mask_token_id), *ids[place + 1 :])
            yield _Masked(2 * number + side, masked, place, ids[place])


def _mean_logits(model: PreTrainedModel, **batch: Tensor) -> Tensor:
    """Logits without their mean over the vocabulary, averaged over the tokens of each text (B, V)."""
    ids_BT, mask_BT = batch["input_ids"], batch.get("attention_mask", torch.ones_like(batch["input_ids"]))
    logits_BTV = model(input_ids=ids_BT, attention_mask=mask_BT).logits.float()
    mean_BV = (logits_BTV * mask_BT[..., None]).sum(1) / mask_BT.sum(1, keepdim=True)
    return mean_BV - mean_BV.mean(-1, keepdim=True)  # a shift of all logits changes no probability


def _batches(copies: Sequence[_Masked], tokens: int, *, pads: bool) -> Iterator[list[_Masked]]:
    """Batches of copies of similar length (equal unless `pads`), at most `tokens` padded tokens each, or one copy."""
    batch: list[_Masked] = []
    # a total order: processes share the batches by number
    for copy in sorted(copies, key=lambda copy: (len(copy.ids), copy.sentence, copy.place)):
        is_full = (len(batch) + 1) * len(copy.ids) > tokens
        if batch and (is_full or not (pads or len(copy.ids) == len(batch[0].ids))):
            yield batch
            batch = []
        batch.append(copy)
    if batch:
        yield batch
