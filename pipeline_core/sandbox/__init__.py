"""The sandbox: a small invented world whose bias is planted, so that every measurement can be checked.

Eleven domains hold people of several targeted groups and one reference group. In the corpus a targeted group carries
its domain's stereotyped trait at the planted rate r (0.8 to 0.9), the reference group at 50 %.

Bias is the distance of the stereotyped share from 50 %, so a policy that never says the stereotype is as biased as one
that always does. The preference data therefore make the *even-handed* policy the optimum: raters choose the
counter-stereotyped completion with rate q < 1, and every method pulls back towards its reference.

* DPO (arXiv 2305.18290, eq. 4): the best policy shifts the log-odds of counter against stereotyped by
  log(q / (1 - q)) / beta. The planted log-odds are log(r / (1 - r)): with q = r and beta = 1 they cancel.
* IPO (arXiv 2310.12036): the best shift is (2q - 1) / (2 beta); beta = 0.2 cancels the planted log-odds within 0.25.
* GRPO (arXiv 2402.03300) with a reward that prefers counter-stereotyped words: cohort-normalised advantages push the
  log-odds with sqrt(p (1 - p)), p the counter share. The k3 penalty, differentiated as it is sampled, pulls back with
  beta (p - (1 - r)). At p = 1/2 they balance for beta = 1 / (2r - 1): 1.25 to 1.67 over the domains, 1.43 midway.

Every trait word belongs to one side of one domain, so a linear reward on words can learn the raters' taste. Such a
reward cannot see who is spoken of: what it does to the reference group is measured, not hidden.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pipeline_core.errors import BadInput, UnknownName

VERSION = 1
"""Goes up whenever the same seed yields other rows."""

SPLITS: dict[str, tuple[str, ...]] = {
    "sandbox_corpus": (),
    "sandbox_pairs": ("train", "heldout"),
    "sandbox_prompts": (),
    "sandbox_questions": (),
    "sandbox_facts": (),
    "sandbox_heldout_text": (),
    "sandbox_sentences": (),
    "sandbox_opinions": (),
}
"""Parts of the sandbox and their splits; the first split is the default."""


def generate(part: str, split: str | None = None, seed: int = 0) -> list[dict[str, Any]]:
    """Rows of one part of the sandbox, in the columns of `pipeline_core.data.contract`; the same for the same seed."""
    if part not in SPLITS:
        raise UnknownName("part of the sandbox", part, SPLITS)
    if split is not None and split not in SPLITS[part]:
        raise BadInput(f"{part} has no split {split!r}; it has {list(SPLITS[part]) or 'none'}")
    from pipeline_core.sandbox import corpus, facts, opinions, preferences, prompts, questions, sentences

    parts: dict[str, Callable[[int], list[dict[str, Any]]]] = {
        "sandbox_corpus": corpus.corpus,
        "sandbox_pairs": lambda seed: preferences.pairs(split or "train", seed),
        "sandbox_prompts": lambda _: prompts.heldout_prompts(),
        "sandbox_questions": questions.heldout_questions,
        "sandbox_facts": facts.choices,
        "sandbox_heldout_text": corpus.heldout_text,
        "sandbox_sentences": sentences.heldout_sentences,
        "sandbox_opinions": lambda _: opinions.distributions(),
    }
    return parts[part](seed)
