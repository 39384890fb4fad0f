"""Bias, question answering, knowledge and fluency of a model in the sandbox, beside the planted truth."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from pipeline_core.data.entry_base import sandbox_people
from pipeline_core.data.refs import DataRef
from pipeline_core.data.row_checks import check_people
from pipeline_core.evaluation.item_counts import item_counts
from pipeline_core.evaluation.measures import write_evaluation
from pipeline_core.evaluation.question_scores import item_scores, knowing_measures
from pipeline_core.plugin.context import Inputs, StageContext
from pipeline_core.plugin.figures import Measure, Score
from pipeline_core.plugin.hooks import hookimpl
from pipeline_core.plugin.specs import Evaluation, PluginConfig
from pipeline_core.plugin.types import Metrics
from pipeline_core.sandbox.questions import question_prompt
from pipeline_core.sandbox.world import load_world
from pipeline_core.stats.bbq import INVALID, choose
from plugins.evaluate.sandbox_bias._classify import ContinuationKind, classify

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class LikelihoodScorer:
    """Log-likelihoods under one model."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase

    def summed(self, prompts: Sequence[str], completions: Sequence[str]) -> list[float]:
        """Log-probability of each completion after its prompt, summed over tokens."""
        from pipeline_core.models.likelihood.scoring import score_completions

        return score_completions(self.model, self.tokenizer, prompts, completions).logps.tolist()

    def texts(self, texts: Sequence[str]) -> list[float]:
        """Mean log-probability of the tokens after the first word of each text."""
        from pipeline_core.models.likelihood.perplexity import score_texts

        # nothing in a text foretells its first word
        return [text.mean_logp for text in score_texts(self.model, self.tokenizer, texts, given_words=1)]


class SandboxBiasConfig(PluginConfig):
    """Samples continuations of held-out prompts and classifies them; scores questions, facts and held-out text."""

    name: Literal["sandbox_bias"] = "sandbox_bias"
    prompts: DataRef = DataRef(entry="sandbox_prompts")
    """Prompts whose continuations are classified."""
    questions: DataRef = DataRef(entry="sandbox_questions")
    """Three-choice questions."""
    facts: DataRef = DataRef(entry="sandbox_facts")
    """Facts that probe knowledge."""
    texts: DataRef = DataRef(entry="sandbox_heldout_text")
    """Text whose perplexity is measured."""
    samples_per_prompt: int = Field(4, ge=1)
    """Continuations of each prompt."""
    max_new_tokens: int = Field(16, ge=1)
    """Maximum number of tokens of a continuation."""
    temperature: float = Field(1.0, gt=0)
    """Sampling temperature; the planted rates are those of temperature 1."""
    batch_rows: int = Field(256, ge=1)
    """Rows run through the model at once."""


WORST_DOMAIN: dict[str, Any] = {"group_by": "domain", "summary_rows": ("worst_group", "gap")}
MEASURES = (
    Measure("sandbox/bias", "stereotyped", "distance_from_half", "lower", "pp", **WORST_DOMAIN),
    Measure("sandbox/domain_bias", "stereotyped", "distance_from_half", "lower", "pp", mean_over="domain"),
    Measure("sandbox/group_bias", "stereotyped", "distance_from_half", "lower", "pp", headline=False, group_by="group"),
    Measure("sandbox/stereotyped_share", "stereotyped", "share", "neither", "%", group_by="domain"),
    Measure("sandbox/planted_share", "planted", "share", "neither", "%", headline=False, group_by="domain"),
    Measure("sandbox/reference_bias", "reference", "distance_from_half", "lower", "pp", group_by="domain"),
    Measure("sandbox/invalid_share", "invalid", "share", "lower", "%", group_by="domain"),
    Measure("sandbox/ambiguous_accuracy", "ambiguous_right", "share", "higher", "%", group_by="domain"),
    Measure("sandbox/ambiguous_bias", "ambiguous_bias", "balance", "neither", "", group_by="domain"),
    Measure("sandbox/disambiguated_accuracy", "disambiguated_right", "share", "higher", "%", group_by="domain"),
    *knowing_measures("sandbox", by_likelihood=True),
    Measure(
        "sandbox/disambiguated_bias", "disambiguated_biased", "signed_share", "neither", "", False, group_by="domain"
    ),
    Measure("sandbox/knowledge", "fact_right", "share", "higher", "%", group_by="domain"),
    Measure("sandbox/invalid_answers", "invalid_answer", "share", "lower", "%", headline=False),
    Measure("sandbox/tie_share", "tie", "share", "lower", "%", headline=False),
    Measure("sandbox/perplexity", "nll", "exp_mean", "lower", ""),
)
"""`bias` is |stereotyped share among valid continuations - 50 %| about targeted groups over all domains, the quantity
of the theory. A domain at 90 % and one at 10 % cancel in it, so `domain_bias`, the mean over domains of each one's
distance from 50 %, is reported too; with few continuations it is biased upwards. `reference_bias` is `bias` about the
reference groups, which start even. `invalid_answers` counts questions and facts with a likelihood that is no number;
other figures exclude them. `tie_share` counts those with several likeliest options, where the first is the answer.
Questions follow BBQ (arXiv 2110.08193) by log-likelihood over the options."""


def run(config: SandboxBiasConfig, inputs: Inputs, out: Path, context: StageContext) -> Metrics:
    """Measure `inputs.model`; item names are the same for all models."""
    from pipeline_core.models.loading import load_model
    from pipeline_core.models.sampling.decoding import SamplingSettings
    from pipeline_core.models.sampling.sample import generate_shared

    asked = inputs.data(config.prompts)
    check_people(asked, sandbox_people(), config.prompts.entry)
    prompts = asked.to_list()
    model, tokenizer = load_model(inputs.model, context.device)
    scorer = LikelihoodScorer(model, tokenizer)
    rollout = generate_shared(
        model,
        tokenizer,
        [row["prompt"] for row in prompts],
        SamplingSettings(max_new_tokens=config.max_new_tokens, temperature=config.temperature),
        seed=context.seed,
        samples=config.samples_per_prompt,
        batch_rows=config.batch_rows,
    )
    questions, facts, texts = (inputs.data(ref).to_list() for ref in (config.questions, config.facts, config.texts))
    scores = [
        *continuation_scores(prompts, rollout.texts, config.samples_per_prompt),
        *question_scores(questions, scorer),
        *fact_scores(facts, scorer),
        *text_scores(texts, scorer),
    ]
    if not context.is_main:
        return {}
    sizes = {"prompts": len(prompts), "questions": len(questions), "facts": len(facts), "texts": len(texts)}
    return item_counts("sandbox", sum(sizes.values()), {}, **sizes) | write_evaluation(
        out, scores, MEASURES, context.seed, RESAMPLED
    )


WORD, FACT, TEXT = "identity word", "fact", "text"
RESAMPLED = {
    **dict.fromkeys(("stereotyped", "reference", "planted", "invalid"), WORD),
    **dict.fromkeys(("ambiguous_right", "ambiguous_bias", "disambiguated_right", "disambiguated_biased"), WORD),
    **dict.fromkeys(("disambiguated_unknown", "two_names_right", "unknown_margin"), WORD),
    **dict.fromkeys(("tie", "invalid_answer"), f"{WORD} or {FACT}"),
    "fact_right": FACT,
    "nll": TEXT,
}
"""Unit of resampling by score; `tie` and `invalid_answer` are of questions and of facts. Every held-out word for a
group occurs in every held-out pattern, so each draw has all patterns. A word's prompts (and questions) are drawn
together: intervals generalise to other words for these groups."""


def word_in(text: str, domain: str, groups: Sequence[str]) -> str:
    """Cluster of a text about `groups`: the held-out word for their people that it contains; empty without one."""
    held_out = (one.words["heldout"] for of, one in load_world().groups() if of.name == domain and one.name in groups)
    # no held-out word of a group is part of another
    return next((f"{domain}/{word}" for words in held_out for word in words if word in text), "")


def continuation_scores(prompts: Sequence[dict[str, Any]], texts: Sequence[str], samples: int) -> Iterator[Score]:
    """Scores of continuations, `samples` consecutive ones per prompt row; invalid ones are on neither side."""
    groups = {(domain.name, group.name): group for domain, group in load_world().groups()}
    words = {row["id"]: word_in(row["prompt"], row["domain"], row["group"]) for row in prompts}
    for index, text in enumerate(texts):
        row = prompts[index // samples]
        item, domain = row["id"], row["domain"]
        group = groups[domain, row["group"][0]]
        verdict = classify(text, domain)
        about: dict[str, Any] = {"item": item, "group": group.name, "domain": domain, "cluster": words[item]}
        yield Score(score="invalid", value=verdict is ContinuationKind.INVALID, **about)
        if not group.reference:
            yield Score(score="planted", value=group.rate, **about)
        if verdict is not ContinuationKind.INVALID:
            score = "reference" if group.reference else "stereotyped"
            yield Score(score=score, value=verdict is ContinuationKind.STEREOTYPED, **about)


def question_scores(rows: Sequence[dict[str, Any]], scorer: LikelihoodScorer) -> Iterator[Score]:
    """Scores of questions by the most probable option: correctness, bias, and preference for "unknown"."""
    logps = _option_logps(rows, [question_prompt(row["context"], row["question"]) for row in rows], scorer)
    choices = [choose(values) for values in logps]
    units = [word_in(row["context"], row["domain"], row["group"]) or row["id"] for row in rows]
    yield from item_scores(rows, choices, logps=logps, invalid="invalid_answer", units=units)


def fact_scores(rows: Sequence[dict[str, Any]], scorer: LikelihoodScorer) -> Iterator[Score]:
    """Scores of facts: `fact_right`, 1 if the right option is the most probable one; `tie`; `invalid_answer`."""
    for row, logps in zip(rows, _option_logps(rows, [row["prompt"] for row in rows], scorer), strict=True):
        chosen = choose(logps)
        about: dict[str, Any] = {"item": row["id"], "domain": row["domain"], "cluster": row["id"]}
        yield Score(score="invalid_answer", value=float(chosen == INVALID), **about)
        if chosen != INVALID:
            yield Score(score="fact_right", value=float(chosen == row["label"]), **about)
            yield Score(score="tie", value=float(logps.count(max(logps)) > 1), **about)


def text_scores(rows: Sequence[dict[str, Any]], scorer: LikelihoodScorer) -> Iterator[Score]:
    """Mean negative log-likelihood of a text's tokens after its first word."""
    for row, logp in zip(rows, scorer.texts([row["text"] for row in rows]), strict=True):
        yield Score(row["id"], "nll", -logp, domain=row["domain"], cluster=row["id"])


def _option_logps(
    rows: Sequence[dict[str, Any]], prompts: Sequence[str], scorer: LikelihoodScorer
) -> list[list[float]]:
    """Log-probability of each option of each row."""
    # answers of the corpus end in a full stop
    options = [(prompt, f"{option}.") for row, prompt in zip(rows, prompts, strict=True) for option in row["options"]]
    logps = iter(scorer.summed([prompt for prompt, _ in options], [option for _, option in options]))
    return [[next(logps) for _ in row["options"]] for row in rows]


@hookimpl
def register_evaluations() -> Iterable[Evaluation]:
    """The sandbox's evaluation."""
    small = {"rows": 8}
    example = {
        "prompts": {"entry": "sandbox_prompts", **small},
        "questions": {"entry": "sandbox_questions", **small},
        "facts": {"entry": "sandbox_facts", **small},
        "texts": {"entry": "sandbox_heldout_text", **small},
        "samples_per_prompt": 1,
        "max_new_tokens": 4,
    }
    return [Evaluation(SandboxBiasConfig, run, revision=4, example=example, measures=lambda _: MEASURES)]
