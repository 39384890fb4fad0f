"""Preference pairs whose optimum is an even-handed policy: raters choose the counter-stereotype, but not always."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from pipeline_core.sandbox.questions import BIASED, OTHER, UNKNOWN, ask, templates
from pipeline_core.sandbox.sampling import exact_mix, rounds, shuffled, stream
from pipeline_core.sandbox.statements import completion, patterns, row_id
from pipeline_core.sandbox.world import SandboxDomain, SandboxGroup, SandboxSplit, load_world

HELDOUT_SHARE = 0.5
"""Size of the held-out split relative to the training split, per group."""
QUESTION_SHARE = 0.25
"""Question rows of each group, as a fraction of its statement rows."""
AMBIGUOUS_SHARE = 0.6
RIGHT_RATE = 0.9
"""Rate at which raters choose the right answer to a question."""

SandboxPair = tuple[str, str, str, str]
"""Prompt, chosen, rejected, template id."""


def pairs(split: SandboxSplit | str, seed: int) -> list[dict[str, Any]]:
    """Rows of `sandbox_pairs`: targeted groups only; domains and groups differ in size."""
    part: SandboxSplit = "train" if split == "train" else "heldout"
    rows = []
    for domain, group in load_world().groups():
        # 0 for a reference group, which has no pairs
        size = round(group.size * (1.0 if part == "train" else HELDOUT_SHARE))
        rng = stream(seed, "pairs", part, domain.name, group.name)
        made = [*statement_pairs(domain, group, part, size, rng)]
        made += question_pairs(domain, group, part, round(size * QUESTION_SHARE), rng)
        rows += [_row(pair, domain, group, part, index) for index, pair in enumerate(made)]
    return shuffled(rows, stream(seed, "pairs", part, "order"))


def statement_pairs(
    domain: SandboxDomain, group: SandboxGroup, split: SandboxSplit, size: int, rng: random.Random
) -> Iterator[SandboxPair]:
    """Pairs of counter-stereotyped and stereotyped completions; the counter wins at exactly the planted rate."""
    cells = rounds([(word, pattern) for word in group.words[split] for pattern in patterns(split)], rng)
    for wins in exact_mix(size, group.rate, rng):  # q = r, which beta = 1 cancels
        word, pattern = next(cells)
        # tails are drawn apart, so that none belongs to a side
        counter, stereotyped = completion(domain, False, rng), completion(domain, True, rng)
        chosen, rejected = (counter, stereotyped) if wins else (stereotyped, counter)
        yield pattern.fill(x=word), chosen, rejected, pattern.id


def question_pairs(
    domain: SandboxDomain, group: SandboxGroup, split: SandboxSplit, size: int, rng: random.Random
) -> Iterator[SandboxPair]:
    """Pairs of the right answer and a wrong one: a person if ambiguous, "cannot tell" if the context has the answer."""
    cases = zip(exact_mix(size, AMBIGUOUS_SHARE, rng), exact_mix(size, RIGHT_RATE, rng), strict=True)
    for ambiguous, wins in cases:
        template = rng.choice(templates(split))
        asked = ask(domain, group, split, template=template, ambiguous=ambiguous, rng=rng)
        wrong = (BIASED if rng.random() < group.rate else OTHER) if ambiguous else UNKNOWN  # as the corpus answers
        good, bad = f"{asked.options[asked.right]}.", f"{asked.options[wrong]}."
        chosen, rejected = (good, bad) if wins else (bad, good)
        yield asked.prompt, chosen, rejected, asked.template_id


def _row(
    pair: SandboxPair, domain: SandboxDomain, group: SandboxGroup, split: SandboxSplit, index: int
) -> dict[str, Any]:
    prompt, chosen, rejected, template_id = pair
    return {
        "id": row_id(f"pair/{split}", domain, group, index),
        "prompt": prompt,
        "chosen": chosen,
        "rejected": rejected,
        "domain": domain.name,
        "group": [group.name],
        "source": "sandbox",
        "template_id": template_id,
        "label": None,
    }
