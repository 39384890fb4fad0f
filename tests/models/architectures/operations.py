"""What stages do with a model, by the functions that they do it with, beside a plain pass of one sequence at a time."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor

from pipeline_core.errors import BadInput
from pipeline_core.losses.groups import uniform
from pipeline_core.losses.preference import logistic_loss
from pipeline_core.models.collation import collate
from pipeline_core.models.layouts import UNSHIFTED, BatchLayout, layout_of, layouts
from pipeline_core.models.lengths import check_rows
from pipeline_core.models.likelihood.scoring import score_tokens
from pipeline_core.models.likelihood.trees import pairs_per_token
from pipeline_core.models.sampling.decoding import SamplingSettings
from pipeline_core.models.sampling.sample import generate
from pipeline_core.models.sampling.ways import SamplingMethod, way_of
from pipeline_core.models.tokens.prompts import encode_prompt
from pipeline_core.training.preference.encoded_rows import EncodedRows, Objective, encode_rows
from pipeline_core.training.preference.rows import backward
from pipeline_core.training.preference.train import SIDES, pair_objective
from plugins.policy.dpo import DpoConfig
from plugins.policy.sft._train import completion_objective
from tests.models.architectures.exact import distance, in_double, token_logps

PROMPTS = ("the", "the visitor was", "again and again the neighbour was late and the visitor was early and")
ANSWERS = ("late", "early again", "so very late that the visitor was there")
ROWS = range(3)
TABLE = Dataset.from_dict(
    {
        "prompt": [PROMPTS[row] for row in ROWS],
        "chosen": [ANSWERS[row] for row in ROWS],
        "rejected": [ANSWERS[row - 1] for row in ROWS],
        "domain": ["a" for _ in ROWS],
    }
)
SETTINGS = DpoConfig(batch_size=len(ROWS), max_length=64)
NEW = 10
"""Tokens of a sample."""


@dataclass(frozen=True)
class Outcome:
    """How an operation went: the way it was done, and how far from the plain pass a token is; or why it is refused.

    `gradient` is the largest difference of a gradient, as a share of the largest gradient.
    """

    way: str = ""
    deviation: float = 0.0
    gradient: float = 0.0
    refused: str = ""


def pairs(model: Any, tokenizer: Any) -> Outcome:
    """`dpo`: log-probabilities under the policy, through the margin from a reference that says nothing; gradient."""
    rows = encode_rows(tokenizer, TABLE, SIDES, SETTINGS)
    flat = torch.zeros(len(rows), 2, dtype=torch.float64)
    objective = pair_objective(model, rows, flat, logistic_loss(0.1), 0)
    batch = collate(rows.prompts, [ids for both in rows.completions for ids in both], 0, "cpu")
    way = layouts(model, batch)[0]
    found_N2 = objective.losses(objective.forward(list(range(len(rows)))), {})[1][2:].T.double()

    def naive(row: int) -> Tensor:
        chosen, rejected = (token_logps(model, rows.prompts[row], ids).sum() for ids in rows.completions[row])
        return -torch.nn.functional.logsigmoid(0.1 * (chosen - rejected))

    def plain(model: Any) -> Tensor:
        pairs = zip(rows.prompts, rows.completions, strict=True)
        return torch.stack(
            [torch.stack([token_logps(model, prompt, ids).mean() for ids in both]) for prompt, both in pairs]
        )

    length_N2 = torch.tensor([[len(ids) for ids in both] for both in rows.completions])
    deviation = distance(found_N2 / length_N2, plain, model)
    return Outcome("" if way is BatchLayout.SHARED else way.value, deviation, _gradient(model, rows, objective, naive))


def first_loss(model: Any, tokenizer: Any) -> Outcome:
    """`sft`: the loss of the first step, and its gradient."""
    rows = encode_rows(tokenizer, TABLE, ("chosen",), SETTINGS)
    objective = completion_objective(model, rows, 0)
    way = layout_of(model, rows.longest)
    found_N = objective.losses(objective.forward(list(range(len(rows)))), {})[0]

    def naive(row: int, model: Any = model) -> Tensor:
        return -token_logps(model, rows.prompts[row], rows.completions[row][0]).mean()

    def plain(model: Any) -> Tensor:
        return torch.stack([naive(row, model) for row in range(len(rows))])

    deviation = distance(found_N.detach().double(), plain, model)
    return Outcome("" if way is BatchLayout.LEFT else way.value, deviation, _gradient(model, rows, objective, naive))


def _gradient(model: Any, rows: EncodedRows, objective: Objective, naive: Callable[[int], Tensor]) -> float:
    """How far the gradient of a step is from that of the same losses one by one."""
    everything = list(range(len(rows)))
    weighting = uniform()
    model.zero_grad()
    state = weighting.init(rows.membership_NG.sum(0), None)
    backward(rows, everything, [everything], objective, weighting, state)
    found = [None if weight.grad is None else weight.grad.double().clone() for weight in model.parameters()]
    model.zero_grad()
    for row in everything:
        (naive(row) / len(rows)).backward()
    wanted = [weight.grad for weight in model.parameters()]
    largest = max(float(gradient.abs().max()) for gradient in wanted if gradient is not None)
    different = [
        float(((0 if ours is None else ours) - (0 if theirs is None else theirs.double())).abs().max())
        for ours, theirs in zip(found, wanted, strict=True)
        if ours is not None or theirs is not None
    ]
    model.zero_grad()
    return max(different) / largest


def _scored(model: Any, tokenizer: Any, shares: bool) -> tuple[float, list[int]]:
    texts = [(prompt, answer) for prompt in PROMPTS for answer in ANSWERS]
    ids = [(encode_prompt(tokenizer, prompt, 64), encode_prompt(tokenizer, answer, 64)) for prompt, answer in texts]
    found = score_tokens(model, ids, share_prompts=shares).logps
    length = torch.tensor([len(answer) for _, answer in ids])
    deviation = distance(
        found / length, lambda model: torch.stack([token_logps(model, *pair).mean() for pair in ids]), model
    )
    return deviation, [len(prompt) + len(answer) - 1 for prompt, answer in ids]


def scoring_shared(model: Any, tokenizer: Any) -> Outcome:
    """Suites: log-likelihoods, what texts begin with alike run once."""
    deviation, runs = _scored(model, tokenizer, shares=True)
    way = layout_of(model, max(runs), UNSHIFTED)
    if way is BatchLayout.RIGHT:
        return Outcome("" if pairs_per_token(model) else "every text by itself", deviation)
    return Outcome(way.value, deviation)


def scoring_plain(model: Any, tokenizer: Any) -> Outcome:
    """The same, every text by itself."""
    deviation, runs = _scored(model, tokenizer, shares=False)
    way = layout_of(model, max(runs), UNSHIFTED)
    return Outcome("" if way is BatchLayout.RIGHT else way.value, deviation)


def sampling(model: Any, tokenizer: Any) -> Outcome:
    """Samples and the likeliest continuation: the log-probabilities told are those of the rows in a plain pass."""
    deviation = 0.0
    for settings, samples in ((SamplingSettings(NEW), 2), (SamplingSettings(NEW, temperature=0.0), 1)):
        rollout = generate(model, tokenizer, PROMPTS, settings, seed=0, samples=samples)
        prompts = [ids for ids, size in zip(rollout.prompt_ids, rollout.sizes, strict=True) for _ in range(size)]
        for prompt, ids, logps in zip(prompts, rollout.completion_ids, rollout.logps, strict=True):
            plain = functools.partial(token_logps, prompt=prompt, completion=ids)
            deviation = max(deviation, distance(logps[: len(ids)].double(), plain, model))
    longest = max(len(encode_prompt(tokenizer, prompt, 64)) for prompt in PROMPTS) + NEW
    check_rows(model, longest)
    way = way_of(model, longest)
    return Outcome("" if way is SamplingMethod.PADDED else way.value, deviation)


OPERATIONS: dict[str, Callable[[Any, Any], Outcome]] = {
    "pairs": pairs,
    "sft": first_loss,
    "scoring, shared": scoring_shared,
    "scoring": scoring_plain,
    "sampling": sampling,
}


def outcomes(model: Any, tokenizer: Any, *, double: bool = False) -> dict[str, Outcome]:
    """Every operation with a model in float32, or with everything in float64."""
    found: dict[str, Outcome] = {}
    for name, operation in OPERATIONS.items():
        try:
            if double:
                with in_double():
                    found[name] = operation(model, tokenizer)
            else:
                found[name] = operation(model, tokenizer)
        except BadInput as error:
            found[name] = Outcome(refused=str(error))
    return found
