"""Runs the rotation: rounds of requests, answered concurrently and judged in the order of their numbers.

A round is planned from the rows accepted before it, and its replies are judged when all have arrived. So the result
depends only on the replies, not on the number of concurrent requests or on where an earlier run was killed.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Literal

from pipeline_core.errors import StageFailed
from plugins.extend.llm_rotation._answers import FAILED, PreparedRequest, answers
from plugins.extend.llm_rotation._generators import (
    RotationMember,
    digest_of_question,
    length_of,
    question_of,
    quoted,
    whole_reply,
)
from plugins.extend.llm_rotation._journal import Journal, Reply
from plugins.extend.llm_rotation._judging import Judge, ReplyVerdict
from plugins.extend.llm_rotation._requests import ROUND, PairRequest, Planner

log = logging.getLogger(__name__)
AGAIN = "they are asked again by the next run, but for those that the model refused or cut short"
EXAMPLE = 120
"""Largest number of characters of a reply that a message quotes."""


@dataclass(frozen=True)
class Budget:
    """Limits on requests and tokens, and number of fruitless requests after which a generator leaves a domain."""

    max_requests: int | None
    max_tokens: int | None
    give_up_after: int


@dataclass(frozen=True)
class DecidedRequest:
    """Request with its reply and verdict."""

    request: PairRequest
    reply: Reply
    verdict: ReplyVerdict


def reasons_of(decided: Sequence[DecidedRequest]) -> dict[str, int]:
    """Number of dropped replies by reason, largest first; ties in alphabetical order."""
    counted = Counter(str(decision.verdict.reason) for decision in decided if decision.verdict.reason)
    return dict(sorted(counted.items(), key=lambda item: (-item[1], item[0])))


def example_of(dropped: Sequence[DecidedRequest]) -> str:
    """Quotation of the first reply dropped for the most frequent reason: `the first no_text: "..."`."""
    most = next(iter(reasons_of(dropped)))
    words = next(decision.reply.text for decision in dropped if decision.verdict.reason == most)
    return f'the first {most}: "{quoted(words, EXAMPLE)}"'


def told(dropped: Sequence[DecidedRequest]) -> str:
    """Counts and an example of dropped replies: `no_text 31, bad_body 1; the first no_text: "..."`."""
    counts = ", ".join(f"{reason} {count}" for reason, count in reasons_of(dropped).items())
    return f"{counts}; {example_of(dropped)}"


@dataclass
class Rotation:
    """Rotation of generators, which take turns until all rows are there or another reason ends it."""

    members: Mapping[str, RotationMember]
    planner: Planner
    judge: Judge
    journal: Journal
    budget: Budget
    instruction: str
    on_failure: Literal["fail", "skip"]
    on_round: Callable[[Rotation], None] = lambda _: None
    decided: list[DecidedRequest] = field(default_factory=list)
    ended: str = ""
    """Reason why the rotation ended with too few rows; else empty."""
    spent: str = ""
    """Message that names the limit of the budget that is reached; else empty."""

    def run(self, stop: threading.Event) -> None:
        """Run rounds until every domain has its rows, the budget is spent, or no generator is left for missing rows.

        Raises:
            StageFailed: a generator fails permanently or returns no texts, and it may not be skipped or none is left.
        """
        with answers(self.members, self.journal, self.on_failure, stop) as answer:
            while asked := self._next_round():
                for prepared, reply in zip(asked, answer(asked), strict=True):
                    self._decide(prepared.request, reply)
                self._part_with_the_speechless()
                self._part_with_the_fruitless()
                self._end_where_nothing_is_usable()
                self.on_round(self)

    @property
    def attempts(self) -> int:
        """Number of requests sent for the replies so far, including earlier runs of the stage."""
        return sum(decision.reply.attempts for decision in self.decided)

    @property
    def tokens(self) -> int:
        """Number of tokens read and written so far, including earlier runs of the stage."""
        return sum(decision.reply.tokens for decision in self.decided)

    def _next_round(self) -> list[PreparedRequest]:
        if self.ended or not self.planner.lacks_rows:
            return []
        active = {
            domain: [label for label, member in self.members.items() if member.asked_for(domain)]
            for domain in self.planner.lacking
        }
        if self.spent or not any(active.values()):
            self.ended = self.spent or self._why_none_is_left()
            return []
        asked = [self._asked(request) for request in self.planner.round(active)]
        # nothing fits: the next call ends the rotation, with `spent` as its reason
        return self._within_budget(asked) or self._next_round()

    def _within_budget(self, asked: list[PreparedRequest]) -> list[PreparedRequest]:
        """First requests of a round that fit the budget if every reply has the largest possible length.

        A truncated round is the last one. So if all rows are reached, they do not depend on the budget.
        """
        requests, tokens = self.attempts, self.tokens
        for place, prepared in enumerate(asked):
            # unbounded replies are refused where `max_tokens` is set
            longest = self.members[prepared.request.generator].settings.longest_reply or 0
            requests, tokens = requests + 1, tokens + length_of(prepared.question) + longest
            for limit, used in (("max_requests", requests), ("max_tokens", tokens)):
                most = getattr(self.budget, limit)
                if most is not None and used > most:
                    self.spent = f"the budget is spent (`{limit}: {most}`)"
                    return asked[:place]
        return asked

    def _asked(self, request: PairRequest) -> PreparedRequest:
        settings = self.members[request.generator].settings
        question = question_of(request, settings, self.instruction)
        return PreparedRequest(request, question, digest_of_question(question, request, settings))

    def _decide(self, request: PairRequest, reply: Reply) -> None:
        member, tally = self.members[request.generator], self.planner.tallies[request.domain]
        verdict = self._verdict(request, reply, member)
        tally.decided += 1
        if verdict.reason is None:
            tally.accepted += 1
            member.fruitless[request.domain] = 0
        elif verdict.reason != "surplus":
            member.fruitless[request.domain] += 1
        self.decided.append(DecidedRequest(request, reply, verdict))

    def _verdict(self, request: PairRequest, reply: Reply, member: RotationMember) -> ReplyVerdict:
        tally = self.planner.tallies[request.domain]
        if reply.fault == FAILED:  # noted here, in the order of requests, not of arrival
            member.left = reply.text
        if reply.fault:
            return ReplyVerdict(reply.fault)
        if tally.accepted >= tally.wanted:
            return ReplyVerdict("surplus")
        return self.judge.judge(request, whole_reply(reply.text, member.settings))

    @property
    def _enough(self) -> int:
        """Number of unusable replies after which the rotation gives up: a round, or `give_up_after` if smaller."""
        return min(ROUND, self.budget.give_up_after)

    def _part_with_the_speechless(self) -> None:
        """Remove generators whose first requests all got no text; such a generator never works.

        Raises:
            StageFailed: there is such a generator, and `on_failure` is `fail`.
        """
        for label, member in self.members.items():
            own = [decision for decision in self.decided if decision.request.generator == label][: self._enough]
            speechless = len(own) == self._enough and all(decision.reply.fault for decision in own)
            if member.left or not speechless or not self.planner.lacks_rows:
                continue
            member.left = f"gave no text in its first {len(own)} requests ({told(own)})"
            if self.on_failure == "fail":
                raise StageFailed(f"{label} {member.left}; {AGAIN}")
            log.warning("goes on without %s: it %s", label, member.left)

    def _end_where_nothing_is_usable(self) -> None:
        """End the rotation if no reply so far had a pair, or if all of the last `_enough` replies had no text.

        A reply with a pair that is dropped for its content counts as usable here.
        """
        if self.ended or not self.planner.lacks_rows:
            return
        latest_first = reversed(self.decided)
        last = [*takewhile(lambda one: not one.verdict.pair and one.verdict.reason != "surplus", latest_first)]
        without_text = [*takewhile(lambda one: one.reply.fault, last)]
        if len(last) == len(self.decided) >= self._enough:
            self.ended = f"no pair could be read from any of {len(last)} replies ({told(self.decided)})"
        elif len(without_text) >= self._enough:
            self.ended = f"the last {len(without_text)} replies had no text ({told(without_text[::-1])})"

    def _part_with_the_fruitless(self) -> None:
        for label, member in self.members.items():
            for domain in self.planner.lacking:
                if member.asked_for(domain) and member.fruitless[domain] >= self.budget.give_up_after:
                    own = [
                        decision
                        for decision in self.decided
                        if (decision.request.generator, decision.request.domain) == (label, domain)
                    ]
                    member.left_out[domain] = next(iter(reasons_of(own)))
                    log.warning(
                        "%s gave nothing usable for %s in %d requests (most often: %s): it is asked no more",
                        label, domain, member.fruitless[domain], member.left_out[domain],
                    )  # fmt: skip

    def _why_none_is_left(self) -> str:
        return "; ".join(
            f"{label} {member.left}"
            if member.left
            else f"{label} gave nothing usable in {self.budget.give_up_after} requests in a row for "
            + ", ".join(f"{domain} (most often: {reason})" for domain, reason in sorted(member.left_out.items()))
            for label, member in self.members.items()
        )
