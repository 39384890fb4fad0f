"""Gets the replies to a round of requests from the journal, or else from the generators, several at a time."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Literal

from pipeline_core.errors import StageFailed
from plugins.extend.llm_rotation._generators import GeneratorFailed, GeneratorInput, RotationMember
from plugins.extend.llm_rotation._journal import Journal, Reply
from plugins.extend.llm_rotation._pace import Stopping
from plugins.extend.llm_rotation._requests import PairRequest

FAILED: Final = "failed"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PreparedRequest:
    """Request with the question to the generator and the digest under which its reply is stored."""

    request: PairRequest
    question: GeneratorInput
    digest: str


AnswerRequests = Callable[[Sequence[PreparedRequest]], list[Reply]]


@contextmanager
def answers(
    members: Mapping[str, RotationMember], journal: Journal, on_failure: Literal["fail", "skip"], stop: threading.Event
) -> Iterator[AnswerRequests]:
    """Context with a function from the requests of a round to their replies. Every generator has its own threads.

    Raises:
        StageFailed: a generator fails permanently, and `on_failure` is `fail` or no other generator is left.
    """
    pools = {label: ThreadPoolExecutor(member.generator.workers) for label, member in members.items()}
    try:
        yield lambda asked: _Round(members, journal, on_failure, pools).replies(asked)
    finally:
        stop.set()  # first: it wakes workers that pause between attempts, for which `shutdown` waits
        for pool in pools.values():
            pool.shutdown(cancel_futures=True)
        for member in members.values():
            member.generator.close()


@dataclass(frozen=True)
class _Round:
    members: Mapping[str, RotationMember]
    journal: Journal
    on_failure: Literal["fail", "skip"]
    pools: Mapping[str, ThreadPoolExecutor]

    def replies(self, asked: Sequence[PreparedRequest]) -> list[Reply]:
        label_of = {self.pools[label].submit(self._ask, label, call): label for label, call in self._calls(asked)}
        failed: dict[str, str] = {}
        remaining = set(label_of)
        while remaining:
            done, remaining = wait(remaining, return_when=FIRST_EXCEPTION)
            for future in done:
                self._note(label_of[future], future, failed)
            # only calls that have not begun can be cancelled; the others end by themselves
            for future in [call for call in remaining if label_of[call] in failed and call.cancel()]:
                remaining.discard(future)
        self._give_up_on(failed, asked)
        replies = [self.journal.get(prepared.digest) for prepared in asked]
        return [reply for reply in replies if reply is not None]  # for mypy: every request has a reply by now

    def _calls(self, asked: Sequence[PreparedRequest]) -> Iterator[tuple[str, list[PreparedRequest]]]:
        """Calls with an open request. A batch is repeated as a whole, because logits differ between batches."""
        for label, member in self.members.items():
            own = [prepared for prepared in asked if prepared.request.generator == label]
            for start in range(0, len(own), member.generator.together):
                call = own[start : start + member.generator.together]
                if any(self.journal.get(prepared.digest) is None for prepared in call):
                    yield label, call

    def _ask(self, label: str, call: Sequence[PreparedRequest]) -> None:
        questions, seeds = [prepared.question for prepared in call], [prepared.request.seed for prepared in call]
        for prepared, reply in zip(call, self.members[label].generator.answer(questions, seeds), strict=True):
            self.journal.add(prepared.digest, reply)

    def _note(self, label: str, future: Future[None], failed: dict[str, str]) -> None:
        try:
            future.result()
        except GeneratorFailed as error:
            if self.on_failure == "fail":
                raise StageFailed(f"{error}. Replies so far are kept, and the next run goes on from them") from error
            failed.setdefault(label, str(error))
        except Stopping:
            failed.setdefault(label, "was stopped")

    def _give_up_on(self, failed: Mapping[str, str], asked: Sequence[PreparedRequest]) -> None:
        """Record open requests of failed generators as failed, in memory only: the next run sends them again.

        If no generator is left, nothing is recorded, and `StageFailed` is raised.
        """
        if failed and all(member.left or label in failed for label, member in self.members.items()):
            raise StageFailed(f"no generator is left: {'; '.join(failed.values())}")
        for label, message in failed.items():
            log.warning("goes on without %s: %s", label, message)
        for prepared in asked:
            if prepared.request.generator in failed and self.journal.get(prepared.digest) is None:
                self.journal.add(prepared.digest, Reply(failed[prepared.request.generator], 0, 0, FAILED))
