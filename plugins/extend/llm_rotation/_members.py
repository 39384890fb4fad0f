"""Generators in the rotation."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from plugins.extend.llm_rotation._generators import Generator
from plugins.extend.llm_rotation._settings import GeneratorSettings


@dataclass
class RotationMember:
    """A generator in the rotation, and how it does."""

    settings: GeneratorSettings
    generator: Generator
    left: str = ""
    """Why it is asked no more."""
    fruitless: Counter[str] = field(default_factory=Counter)
    """Requests since its last accepted row, by domain."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Domains for which it is asked no more, and why."""

    def asked_for(self, domain: str) -> bool:
        """Whether it still takes turns in a domain."""
        return not self.left and domain not in self.left_out
