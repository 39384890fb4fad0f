"""Judges replies in the order of their requests: a pair is accepted, or there is a reason why not."""

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
"""Why a reply is dropped. Those up to `refused` can be faults of a reply (`journal.Fault`); `copied`: it repeats a
text of an example, or resembles a pair to start from; `surplus`: its domain is full."""


@dataclass(frozen=True)
class ReplyLimits:
    """Characters of a text, at least and at most, and the similarity from which pairs count as near-duplicates."""

    shortest: int
    longest: int
    similarity: float


class ReplyVerdict(NamedTuple):
    """The reason why a reply is dropped, or the pair and whom it is about."""

    reason: RejectionReason | None
    pair: ReplyTexts | None = None
    about: PersonTerm | None = None


@dataclass
class Judge:
    """Remembers what was accepted, so that nothing is accepted twice."""

    domains: Mapping[str, SeedDomain]
    limits: ReplyLimits
    unchecked: frozenset[str]
    """Domains whose replies need hold no word for its people."""
    _exact: set[tuple[str, ...]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._seeds, self._accepted = (NearDuplicates(self.limits.similarity) for _ in range(2))
        for domain in self.domains.values():
            for seed in domain.seeds:
                self._seeds.add(seed.texts)

    def judge(self, request: PairRequest, reply: str) -> ReplyVerdict:
        """Decide on one reply; an accepted pair counts for the next ones."""
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
        shown = {_bare(text) for seed in request.examples for text in seed.texts}
        return "copied" if shown & set(bare) or self._seeds.seen(pair) else None

    def _repeats(self, pair: ReplyTexts) -> RejectionReason | None:
        if _bare_all(pair) in self._exact:
            return "duplicate"
        return "near_duplicate" if self._accepted.seen(pair) else None

    def _about(self, request: PairRequest, pair: ReplyTexts) -> PersonTerm | None:
        """Whom a pair is about: the people it was asked about where they are named, else others of the domain."""
        found = self.domains[request.domain].find(pair)
        asked = [about for about in found if about.group == request.about.group]
        if asked or found:
            return (asked or found)[0]
        return request.about if request.domain in self.unchecked else None


def _bare(text: str) -> str:
    """A text without case, punctuation and spacing, which make no other sentence of it."""
    return re.sub(r"\W+", " ", text.casefold()).strip()


def _bare_all(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(_bare(text) for text in texts)
