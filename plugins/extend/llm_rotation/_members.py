"""Members of the rotation: generators with their state."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from plugins.extend.llm_rotation._generators import Generator
from plugins.extend.llm_rotation._settings import GeneratorSettings


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
