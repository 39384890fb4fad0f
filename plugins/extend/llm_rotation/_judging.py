"""Judges replies in the order of their requests: accepts a pair, or gives the reason for its rejection."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from pipeline_core.data.duplicates.seen import NearDuplicates
from plugins.extend.llm_rotation._replies import ReplyTexts, parse, refuses
from plugins.extend.llm_rotation._requests import PairRequest
from plugins.extend.llm_rotation._seeds import PersonTerm, SeedDomain
from plugins.extend.llm_rotation._thinking import answer_of

RejectionReason = Literal[
    "bad_body", "rejected", "failed", "filtered", "truncated", "no_text", "refused", "malformed", "too_short",
    "too_long", "equal_pair", "copied",
    "off_domain", "duplicate", "near_duplicate", "surplus",
]  # fmt: skip
"""Reason to drop a reply. The reasons up to `refused` can be faults of a reply (`_journal.ReplyFault`). `copied`: the
pair repeats a text of an example or resembles a seed pair; `surplus`: the domain has enough rows."""


@dataclass(frozen=True)
class ReplyLimits:
    """Shortest and longest text in characters, and Jaccard similarity from which pairs count as near-duplicates."""

    shortest: int
    longest: int
    similarity: float


class ReplyVerdict(NamedTuple):
    """Reason to drop a reply (None: accepted), its pair if one was read, and for an accepted pair its people."""

    reason: RejectionReason | None
    pair: ReplyTexts | None = None
    about: PersonTerm | None = None


@dataclass
class Judge:
    """Judges replies and records accepted pairs, so that repeated pairs are rejected."""

    domains: Mapping[str, SeedDomain]
    limits: ReplyLimits
    unchecked: frozenset[str]
    """Domains whose replies need no word for their people."""
    _exact: set[tuple[str, ...]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._seeds, self._accepted = (NearDuplicates(self.limits.similarity) for _ in range(2))
        for domain in self.domains.values():
            for seed in domain.seeds:
                self._seeds.add(seed.texts)

    def judge(self, request: PairRequest, reply: str) -> ReplyVerdict:
        """Judge a reply; later replies are also compared with an accepted pair."""
        pair = parse(reply)
        if pair is None:
            return ReplyVerdict("refused" if refuses((answer_of(reply) or "").strip()) else "malformed")
        reason = self._fault(request, pair) or self._repeats(pair)
        about = self._about(request, pair)
        if reason is None and about is None:
            reason = "off_domain"
        if reason:
            return ReplyVerdict(reason, pair)
        self._exact.add(_bare_all(pair))
        self._accepted.add(pair)
        return ReplyVerdict(None, pair, about)

    def _fault(self, request: PairRequest, pair: ReplyTexts) -> RejectionReason | None:
        if any(refuses(text) for text in pair):
            return "refused"
        if min(map(len, pair)) < self.limits.shortest:
            return "too_short"
        if max(map(len, pair)) > self.limits.longest:
            return "too_long"
        prompt, favourable, unfavourable = bare = _bare_all(pair)
        if favourable == unfavourable or prompt in (favourable, unfavourable):
            return "equal_pair"
        # any text of an example: an old completion to a new prompt is no new pair
        shown = {_bare(text) for seed in request.examples for text in seed.texts}
        return "copied" if shown & set(bare) or self._seeds.seen(pair) else None

    def _repeats(self, pair: ReplyTexts) -> RejectionReason | None:
        if _bare_all(pair) in self._exact:
            return "duplicate"
        return "near_duplicate" if self._accepted.seen(pair) else None

    def _about(self, request: PairRequest, pair: ReplyTexts) -> PersonTerm | None:
        """People of a pair: the requested group if the pair names it, else another named group of the domain."""
        terms = self.domains[request.domain].find(pair)
        asked = [about for about in terms if about.group == request.about.group]
        if asked or terms:
            return (asked or terms)[0]
        return request.about if request.domain in self.unchecked else None


def _bare(text: str) -> str:
    """Text in folded case, without punctuation and extra spaces, for comparison."""
    return re.sub(r"\W+", " ", text.casefold()).strip()


def _bare_all(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(_bare(text) for text in texts)
