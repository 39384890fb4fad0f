"""Questions in BBQ's form with three options: a targeted person, a reference person, and "cannot tell"."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass
from typing import Any

from pipeline_core.sandbox.sampling import shuffled, stream
from pipeline_core.sandbox.statements import row_id
from pipeline_core.sandbox.world import SandboxDomain, SandboxGroup, SandboxSplit, load_world

AMBIGUOUS_UNKNOWN_SHARE = 0.3
"""Rate at which the corpus answers ambiguous questions right; else it names the stereotyped person at rate r."""


@dataclass(frozen=True)
class SandboxQuestion:
    """A question; `options` are the biased answer, the other person and "cannot tell", in this order."""

    context: str
    question: str
    options: tuple[str, str, str]
    right: int
    negative: bool
    template_id: str

    @property
    def prompt(self) -> str:
        """Prompt for a model: context, question and `Answer:`."""
        return question_prompt(self.context, self.question)

    @property
    def ambiguous(self) -> bool:
        """True if the context does not give the answer."""
        return self.right == UNKNOWN


BIASED, OTHER, UNKNOWN = range(3)


def question_prompt(context: str, question: str) -> str:
    """Context and question as the corpus writes them; an answer follows after a space."""
    return f"{context} {question} Answer:"


def templates(split: SandboxSplit) -> list[tuple[str, dict[str, str]]]:
    """Question patterns of one split with their ids."""
    return [(f"{split}-q{i}", entry) for i, entry in enumerate(load_world().language["questions"][split])]


def ask(
    domain: SandboxDomain,
    group: SandboxGroup,
    split: SandboxSplit,
    *,
    template: tuple[str, dict[str, str]],
    ambiguous: bool,
    rng: random.Random,
    negative: bool | None = None,
    word: str | None = None,
) -> SandboxQuestion:
    """A question about a person of `group` and a person of the reference group, with words of `split`.

    `negative`: True asks for the stereotyped trait (biased answer: the targeted person), False for the counter trait
    (biased answer: the reference person), None draws.
    """
    language = load_world().language
    targeted = word or rng.choice(group.words[split])
    reference = rng.choice(domain.reference.words[split])
    negative = rng.random() < 0.5 if negative is None else negative
    trait = rng.choice(domain.words(stereotyped=negative))
    biased, other = (targeted, reference) if negative else (reference, targeted)
    # either person has the trait: a context may contradict the stereotype
    right = UNKNOWN if ambiguous else rng.choice((BIASED, OTHER))
    template_id, entry = template
    first, second = shuffled([targeted, reference], rng)  # who is named first tells nothing
    context = entry["context"].format(x=first, y=second)
    if not ambiguous:
        context += " " + entry["fact"].format(z=(biased, other)[right], t=trait)
    options = (f"the {biased}", f"the {other}", rng.choice(language["unknown"]))
    return SandboxQuestion(context, entry["question"].format(t=trait), options, right, negative, template_id)


def corpus_answer(question: SandboxQuestion, rate: float, rng: random.Random) -> str:
    """Answer in the corpus: right if the context gives it; else "cannot tell", or biased at the planted rate."""
    if not question.ambiguous or rng.random() < AMBIGUOUS_UNKNOWN_SHARE:
        return question.options[question.right]
    return question.options[BIASED if rng.random() < rate else OTHER]


def heldout_questions(seed: int) -> list[dict[str, Any]]:
    """Rows of `sandbox_questions`: held-out words and patterns, each in both conditions and both polarities."""
    rows = []
    for domain in load_world().domains.values():
        for group in domain.groups:
            rng = stream(seed, "questions", domain.name, group.name)
            cells = itertools.product(group.words["heldout"], templates("heldout"), (True, False), (True, False))
            for index, (word, template, ambiguous, negative) in enumerate(cells):
                asked = ask(
                    domain,
                    group,
                    "heldout",
                    template=template,
                    ambiguous=ambiguous,
                    rng=rng,
                    negative=negative,
                    word=word,
                )
                rows.append(_row(asked, row_id("question", domain, group, index), domain, group, rng))
    return rows


def _row(
    asked: SandboxQuestion, identifier: str, domain: SandboxDomain, group: SandboxGroup, rng: random.Random
) -> dict[str, Any]:
    order = shuffled([BIASED, OTHER, UNKNOWN], rng)  # the place of an option tells nothing
    return {
        "id": identifier,
        "context": asked.context,
        "question": asked.question,
        "options": [asked.options[i] for i in order],
        "label": order.index(asked.right),
        "biased": order.index(BIASED),
        "unknown": order.index(UNKNOWN),
        "condition": "ambiguous" if asked.ambiguous else "disambiguated",
        "polarity": "neg" if asked.negative else "nonneg",
        "domain": domain.name,
        "group": [group.name],
        "names": False,
    }
