"""Small preference sets with made-up words."""

import random

from datasets import Dataset

from pipeline_core.data.tables import rows_as_table

WORDS = [first + second for first in ("ba", "do", "fi", "ku", "le", "mo") for second in ("ran", "tis", "pol", "gem")]


def sentence(rng, count=8):
    return " ".join(rng.choices(WORDS, k=count))


def pair(number, rng, **columns):
    prompt, chosen, rejected = (sentence(rng) for _ in range(3))
    row = {
        "id": f"r{number}",
        "prompt": prompt,
        "chosen": chosen,
        "rejected": rejected,
        "domain": "age",
        "group": ["old"],
    }
    return row | columns


def pairs(count, seed=0, **columns):
    rng = random.Random(seed)
    return [pair(number, rng, **columns) for number in range(count)]


def dataset(rows, kind="preference"):
    return Dataset(rows_as_table(rows, kind, "made"))
