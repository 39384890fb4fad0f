"""What a rotation asks: something that answers questions, a few at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from pipeline_core.files.digests import digest_of
from plugins.extend.llm_rotation import _prompts as prompts
from plugins.extend.llm_rotation._journal import Reply
from plugins.extend.llm_rotation._requests import PairRequest
from plugins.extend.llm_rotation._settings import GeneratorSettings

GeneratorInput = str | tuple[prompts.Message, ...]
"""Text to go on from, or the turns of a conversation."""


class GeneratorFailed(Exception):
    """A generator that will not answer: one sentence that says which, why and what to do."""


class Generator(Protocol):
    """Answers requests. `together` of them make one call, and `workers` calls may run at a time."""

    together: int
    workers: int

    def answer(self, questions: Sequence[GeneratorInput], seeds: Sequence[int]) -> list[Reply]:
        """Replies to some questions, each sampled from a seed of its own.

        Raises:
            GeneratorFailed: it will not answer, now or later.
        """

    def close(self) -> None:
        """Let go of what it holds."""


def question_of(request: PairRequest, settings: GeneratorSettings, instruction: str) -> GeneratorInput:
    """The request in the style of its generator."""
    if settings.style == "chat":
        return prompts.conversation(instruction, request.examples, request.about.word)
    return prompts.beginning(request.examples, request.about.word)


def digest_of_question(question: GeneratorInput, request: PairRequest, settings: GeneratorSettings) -> str:
    """What a reply is kept under: all that decides it."""
    turns: Any = question if isinstance(question, str) else [[turn.role, turn.content] for turn in question]
    return digest_of({"generator": settings.identity(), "question": turns, "seed": request.seed})


def whole_reply(text: str, settings: GeneratorSettings) -> str:
    """The reply with the label after which a completion goes on."""
    return text if settings.style == "chat" else f"{prompts.LABELS[0]}:{text}"


def estimated_tokens(text: str) -> int:
    """About four characters make a token of English."""
    return -(-len(text) // 4)


def length_of(question: GeneratorInput) -> int:
    """Estimated tokens of a question."""
    turns = [question] if isinstance(question, str) else [turn.content for turn in question]
    return sum(map(estimated_tokens, turns))
