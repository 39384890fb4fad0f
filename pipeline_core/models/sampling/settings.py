"""Settings of sampling."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SamplingSettings:
    """Settings of sampling. Temperature 0 takes the most probable token; text ends before any of the `stop` strings.

    No end token is drawn before `min_new_tokens` other tokens.
    """

    max_new_tokens: int = 32
    temperature: float = 1.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    top_k: int | None = None
    min_new_tokens: int = 0
