"""Log-likelihood of given completions; prefixes that several prompts and completions share run once.

Rows are trees (`likelihood.trees`) if the model allows it; logits are formed at the places that predict a token of a
completion.
Shape suffixes: N completions, B rows, T tokens, H hidden, V vocabulary, U places that predict, Q predicted tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from pipeline_core.errors import BadInput
from pipeline_core.losses.logprobs import full_logps, targets_of_places
from pipeline_core.models.distributed import all_reduce_sum, shard
from pipeline_core.models.layouts import UNSHIFTED, BatchLayout, groups, layout_of
from pipeline_core.models.lengths import check_rows, positions_of
from pipeline_core.models.likelihood.settings import LikelihoodConfig, Normalization
from pipeline_core.models.likelihood.trees import TokenPair, TreeRow, batch_rows, pack_rows, tensors_of, tree_rows
from pipeline_core.models.probing import backbone_and_head, states_of, vocabulary_of
from pipeline_core.models.tokens.prompts import encode_pairs

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

MAX_LOGITS = 2**26
"""Maximum of rows x tokens x vocabulary at a time if all logits are formed (256 MB in float32)."""


@dataclass(frozen=True)
class CompletionLogps:
    """Summed token log-probabilities (N,) in float64, numbers of tokens (N,) and cut flags (N,), on the CPU."""

    logps: Tensor
    tokens: Tensor
    cut: Tensor
    """True if the prompt or the completion was too long and was cut."""


@dataclass(frozen=True)
class OptionLogps:
    """Log-likelihoods of each row's options. `cut`: number of rows with a cut prompt or option."""

    logps: Sequence[Sequence[float]]
    cut: int


class TokenScores(NamedTuple):
    """Summed log-probabilities (N,) in float64, and True (N,) where all tokens are the likeliest; on the CPU."""

    logps: Tensor
    are_likeliest: Tensor


def score_completions(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    completions: Sequence[str],
    *,
    max_length: int = 1024,
    eos: bool = False,
    tokens_per_batch: int = 2048,
    names: Sequence[str] = (),
) -> CompletionLogps:
    """Log-probability of `completions[i]` after `prompts[i]`.

    Prompts with a common prefix share its forward pass, wherever they stand. Prompts too long for `max_length` are cut
    from the left and counted. Several processes share the batches, and all of them get every result. Errors use
    `names`, or the item's number.

    Raises:
        BadInput: a completion without a token, or a text longer than the model's positions; names the item.
    """
    encoded = encode_pairs(tokenizer, prompts, completions, max_length, eos)
    for index, pair in enumerate(encoded):
        if not pair.completion or not (completions[index] or eos):
            raise BadInput(f"{_name(names, index)}: the completion {completions[index]!r} has no token")
    logps_N, _ = score_tokens(
        model,
        [(pair.prompt, pair.completion) for pair in encoded],
        pad_id=int(tokenizer.pad_token_id or 0),
        tokens_per_batch=tokens_per_batch,
        names=names,
    )
    tokens_N = torch.tensor([len(pair.completion) for pair in encoded], dtype=torch.long)
    return CompletionLogps(logps_N, tokens_N, torch.tensor([pair.is_cut for pair in encoded], dtype=torch.bool))


def option_logps(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    options: Sequence[Sequence[str]],
    config: LikelihoodConfig,
    names: Sequence[str] = (),
    normalization: Normalization = "sum",
) -> OptionLogps:
    """Log-likelihood of each option after its row's prompt; errors use `names` for the rows.

    White space at the end of an option is removed: it is no part of an answer and would be scored as a token.

    Raises:
        BadInput: an option without a token, or a text longer than the model's positions; names the row.
    """
    owner = [row for row, row_options in enumerate(options) for _ in row_options]
    # An option of white space alone stays: it would have no token.
    flat = [option.rstrip() or option for row_options in options for option in row_options]
    scored = score_completions(
        model,
        tokenizer,
        [prompts[row] for row in owner],
        flat,
        max_length=config.max_length,
        tokens_per_batch=config.tokens_per_batch,
        names=[names[row] for row in owner] if names else (),
    )
    sizes = {
        "sum": [1.0] * len(flat),
        "mean": scored.tokens.tolist(),
        "characters": [float(len(option)) for option in flat],
    }[normalization]
    values = iter(logp / size for logp, size in zip(scored.logps.tolist(), sizes, strict=True))
    cut = {row for row, is_cut in zip(owner, scored.cut.tolist(), strict=True) if is_cut}
    return OptionLogps([[next(values) for _ in row_options] for row_options in options], len(cut))


@torch.inference_mode()
def score_tokens(
    model: PreTrainedModel,
    pairs: Sequence[tuple[Sequence[int], Sequence[int]]],
    *,
    pad_id: int = 0,
    tokens_per_batch: int = 2048,
    share_prompts: bool = True,
    names: Sequence[str] = (),
) -> TokenScores:
    """Scores of the second ids of each pair, given the first; without `share_prompts` every pair has its own row.

    Raises:
        BadInput: a pair has more tokens, without the last, than the model has positions; names the item.
    """
    items = [TokenPair(index, tuple(prompt), tuple(completion)) for index, (prompt, completion) in enumerate(pairs)]
    _check_rows(model, items, names)
    sums_N2 = torch.zeros(len(items), 2, dtype=torch.float64)
    for batch in shard(list(_batches(model, items, tokens_per_batch, share_prompts))):
        sums_N2[[item.index for row in batch for item, _ in row.items]] = _by_rows(model, batch, pad_id).cpu()
    logps_N, others_N = all_reduce_sum(sums_N2.to(model.device)).cpu().unbind(1)
    return TokenScores(logps_N, others_N == 0)


def _name(names: Sequence[str], index: int) -> str:
    return names[index] if names else f"item {index + 1}"


def _check_rows(model: PreTrainedModel, items: Sequence[TokenPair], names: Sequence[str]) -> None:
    most = positions_of(model)
    for item in items:
        if len(item.run) > most:
            where, tokens = _name(names, item.index), len(item.prompt) + len(item.completion)
            raise BadInput(
                f"{where}: {tokens} tokens exceed the model's {most:.0f} positions: lower the limit of tokens"
            )
    if items:
        check_rows(model, max(len(item.run) for item in items))


def _batches(model: PreTrainedModel, items: Sequence[TokenPair], tokens: int, shares: bool) -> Iterator[list[TreeRow]]:
    """Batches of rows; items whose scores would change in one batch are in different batches."""
    if not items:
        return
    if backbone_and_head(model) is None:
        tokens = min(tokens, MAX_LOGITS // vocabulary_of(model))
    runs = [len(item.run) for item in items]
    lengths = check_rows(model, max(runs))
    way = layout_of(model, max(runs), UNSHIFTED)
    for group in groups(runs, way, lengths.kind):
        chosen = [items[place] for place in group]
        may_share = shares and way is BatchLayout.RIGHT
        yield from batch_rows(tree_rows(model, chosen, tokens) if may_share else pack_rows(chosen, tokens, 0), tokens)


def _by_rows(model: PreTrainedModel, batch: Sequence[TreeRow], pad_id: int) -> Tensor:
    """Log-probability of each item, in the rows' order, and number of its tokens that are not the likeliest (N, 2).

    Logits are formed once for every place that predicts a token.
    """
    given = {name: tensor.to(model.device) for name, tensor in tensors_of(batch, pad_id, model.dtype).items()}
    width = given["input_ids"].shape[1]
    places = [width * number + place for number, row in enumerate(batch) for _, asked in row.items for place in asked]
    place_U, question_Q = torch.tensor(places, device=model.device).unique(return_inverse=True)
    items = [item for row in batch for item, _ in row.items]
    target_Q = torch.tensor([token for item in items for token in item.completion], device=model.device)
    # Counted on the CPU: on CUDA `repeat_interleave` would wait for the device.
    owner_Q = torch.repeat_interleave(torch.tensor([len(item.completion) for item in items])).to(model.device)
    parts = backbone_and_head(model)
    states_X = states_of(model)(**given).flatten(0, 1)[place_U if parts else place_U[question_Q]]
    if parts:
        weight_VH, bias_V = parts[1].weight, parts[1].bias
        logps_Q, is_likeliest_Q = targets_of_places(states_X, weight_VH, target_Q, question_Q, bias_V=bias_V)
    else:
        logps_Q = full_logps(states_X, target_Q)
        is_likeliest_Q = states_X.gather(-1, target_Q[:, None])[:, 0] >= states_X.amax(-1)
    values_Q2 = torch.stack([logps_Q.double(), (~is_likeliest_Q).double()], 1)
    return values_Q2.new_zeros(len(items), 2).index_add_(0, owner_Q, values_Q2)
