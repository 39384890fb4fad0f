"""Gets the replies to a round: from the journal where they are known, else from the generators, several at a time."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from pipeline_core.errors import StageFailed
from plugins.extend.llm_rotation._generators import GeneratorFailed, GeneratorInput
from plugins.extend.llm_rotation._journal import Journal, Reply
from plugins.extend.llm_rotation._pace import Stopping
from plugins.extend.llm_rotation._requests import PairRequest

if TYPE_CHECKING:
    from plugins.extend.llm_rotation._members import RotationMember

FAILED: Final = "failed"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PreparedRequest:
    """A request, the question it became, and the name under which its reply is kept."""

    request: PairRequest
    question: GeneratorInput
    digest: str


AnswerRequests = Callable[[Sequence[PreparedRequest]], list[Reply]]


@contextmanager
def answers(
    members: Mapping[str, RotationMember], journal: Journal, on_failure: Literal["fail", "skip"], stop: threading.Event
) -> Iterator[AnswerRequests]:
    """A function from the requests of a round to their replies; every generator has threads of its own.

    Raises:
        StageFailed: a generator fails for good, and it may not be left out or none is left.
    """
    pools = {label: ThreadPoolExecutor(member.generator.workers) for label, member in members.items()}
    try:
        yield lambda asked: _Round(members, journal, on_failure, pools).replies(asked)
    finally:
        stop.set()
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
        calls = {self._submit(label, call): (label, call) for label, call in self._calls(asked)}
        failed: dict[str, str] = {}
        remaining = set(calls)
        while remaining:
            done, remaining = wait(remaining, return_when=FIRST_EXCEPTION)
            for future in done:
                self._note(calls[future][0], future, failed)
            for future in [one for one in remaining if calls[one][0] in failed and one.cancel()]:
                remaining.discard(future)
        self._give_up_on(failed, asked)
        found = [self.journal.get(one.digest) for one in asked]
        return [reply for reply in found if reply is not None]

    def _calls(self, asked: Sequence[PreparedRequest]) -> Iterator[tuple[str, list[PreparedRequest]]]:
        """What is yet to be answered; a call of several again as a whole, since logits differ in other batches."""
        for label, member in self.members.items():
            own = [one for one in asked if one.request.generator == label]
            for start in range(0, len(own), member.generator.together):
                call = own[start : start + member.generator.together]
                if any(self.journal.get(one.digest) is None for one in call):
                    yield label, call

    def _submit(self, label: str, call: Sequence[PreparedRequest]) -> Future[None]:
        return self.pools[label].submit(self._ask, label, call)

    def _ask(self, label: str, call: Sequence[PreparedRequest]) -> None:
        questions, seeds = [one.question for one in call], [one.request.seed for one in call]
        for one, reply in zip(call, self.members[label].generator.answer(questions, seeds), strict=True):
            self.journal.add(one.digest, reply)

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
        """Note that open requests of failed generators failed: a later attempt takes the same course.

        When no generator is left nothing is noted, so that the next attempt tries the last ones again.
        """
        if failed and all(member.left or label in failed for label, member in self.members.items()):
            raise StageFailed(f"no generator is left: {'; '.join(failed.values())}")
        for label, message in failed.items():
            log.warning("goes on without %s: %s", label, message)
        for one in asked:
            if one.request.generator in failed and self.journal.get(one.digest) is None:
                self.journal.add(one.digest, Reply(failed[one.request.generator], 0, 0, FAILED))
