"""Generators: protocol and state in the rotation, the questions that requests become, and quotations of replies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from pipeline_core.files.digests import digest_of
from plugins.extend.llm_rotation import _prompts as prompts
from plugins.extend.llm_rotation._journal import Reply
from plugins.extend.llm_rotation._requests import PairRequest
from plugins.extend.llm_rotation._settings import GeneratorSettings

GeneratorInput = str | tuple[prompts.Message, ...]
"""Text to continue, or the turns of a conversation."""


class GeneratorFailed(Exception):
    """Permanent failure of a generator; the message says which one, why, and what to do."""


class Generator(Protocol):
    """Answers questions. `together`: questions per call; `workers`: calls that may run at a time."""

    together: int
    workers: int

    def answer(self, questions: Sequence[GeneratorInput], seeds: Sequence[int]) -> list[Reply]:
        """Replies to the questions, each sampled with its own seed.

        Raises:
            GeneratorFailed: the generator fails permanently.
        """

    def close(self) -> None:
        """Release connections or memory."""


@dataclass
class RotationMember:
    """Generator in the rotation, with its failures."""

    settings: GeneratorSettings
    generator: Generator
    left: str = ""
    """Reason why the generator left the rotation; empty while it takes part."""
    fruitless: Counter[str] = field(default_factory=Counter)
    """Number of requests since the last accepted row, by domain; replies in surplus do not count."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Domains that the generator no longer serves, with the reasons."""

    def asked_for(self, domain: str) -> bool:
        """True if the generator still takes turns in a domain."""
        return not self.left and domain not in self.left_out


def question_of(request: PairRequest, settings: GeneratorSettings, instruction: str) -> GeneratorInput:
    """Question for a request, in the style of its generator."""
    if settings.style == "chat":
        return prompts.conversation(instruction, request.examples, request.about.word)
    return prompts.beginning(request.examples, request.about.word)


def digest_of_question(question: GeneratorInput, request: PairRequest, settings: GeneratorSettings) -> str:
    """Digest under which a reply is stored: of generator settings, question and seed."""
    turns: Any = question if isinstance(question, str) else [[turn.role, turn.content] for turn in question]
    # `identity` leaves out address and key: replies are found again after those are mended
    return digest_of({"generator": settings.identity(), "question": turns, "seed": request.seed})


def whole_reply(text: str, settings: GeneratorSettings) -> str:
    """Reply in full: for the style `completion`, with the label `Prompt:` that it continues."""
    return text if settings.style == "chat" else f"{prompts.LABELS[0]}:{text}"


def estimated_tokens(text: str) -> int:
    """Estimated number of tokens: one for four characters, as in English."""
    return -(-len(text) // 4)


def length_of(question: GeneratorInput) -> int:
    """Estimated number of tokens of a question."""
    turns = [question] if isinstance(question, str) else [turn.content for turn in question]
    return sum(map(estimated_tokens, turns))


def quoted(text: str, most: int = 200) -> str:
    """Beginning of a text on one line; unprintable characters (control characters, lone surrogates) are replaced."""
    line = "".join(mark if mark.isprintable() else "\ufffd" for mark in " ".join(text[: 20 * most].split()))
    return line if len(line) <= most else f"{line[: most - 1]}…"
