"""Requests: all of one follows from the seed, its number and what was accepted before its round."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from plugins.extend.llm_rotation._seeds import PersonTerm, SeedDomain, SeedPair

ROUND = 32
"""Requests of a round, at most. No setting of speed: other rounds make other requests."""
ROUNDING = 1e-9
"""Below this many rows nothing is lacking: what is left over from adding up expected shares."""


@dataclass(frozen=True)
class PairRequest:
    """One question to one generator: examples of a domain, and the people a new pair is asked about."""

    number: int
    domain: str
    generator: str
    examples: tuple[SeedPair, ...]
    about: PersonTerm
    seed: int
    """Of the generator's sampling, 31 bits."""


@dataclass
class RequestTally:
    """What became of the requests of one domain: how many were made, decided and accepted, and the rows wanted."""

    wanted: int
    made: int = 0
    decided: int = 0
    accepted: int = 0

    @property
    def rate(self) -> float:
        """Expected share of replies that are accepted; begins at 1 and follows what is seen."""
        return (self.accepted + 1) / (self.decided + 1)


def shares(rows: int, domains: Mapping[str, SeedDomain], how: Literal["even", "seeds"]) -> dict[str, int]:
    """Rows wanted of each domain, `rows` in all: even, or as the pairs to start from are shared out."""
    weights = {name: 1 if how == "even" else len(domain.seeds) for name, domain in domains.items()}
    total = sum(weights.values())
    exact = {name: rows * weight / total for name, weight in weights.items()}
    whole = {name: int(share) for name, share in exact.items()}
    largest_rest = sorted(exact, key=lambda name: (whole[name] - exact[name], name))
    for name in largest_rest[: rows - sum(whole.values())]:
        whole[name] += 1
    return whole


@dataclass
class Planner:
    """Draws up rounds of requests: domains that lack rows in turns, and generators in turns within a domain."""

    domains: Mapping[str, SeedDomain]
    tallies: dict[str, RequestTally]
    seed: int
    examples: int
    number: int = 0

    @property
    def lacks_rows(self) -> bool:
        """Whether any domain has fewer rows than it wants."""
        return any(tally.accepted < tally.wanted for tally in self.tallies.values())

    @property
    def lacking(self) -> list[str]:
        """Domains with fewer rows than they want."""
        return [name for name, tally in self.tallies.items() if tally.accepted < tally.wanted]

    def round(self, generators: Mapping[str, Sequence[str]]) -> list[PairRequest]:
        """The next requests, at most `ROUND`, to the generators of each domain; none when nothing can be asked.

        Domains that get few replies accepted are asked for more at once, so that a round fills what is lacking. They
        take requests one by one in turns: one that gets none accepted has its share of a round and no more.
        """
        requests: list[PairRequest] = []
        lacking = {
            name: float(self.tallies[name].wanted - self.tallies[name].accepted)
            for name in self.lacking
            if generators.get(name)
        }
        taken = dict.fromkeys(lacking, 0)
        while len(requests) < ROUND and lacking:
            name = min(lacking, key=lambda domain: (taken[domain], self.tallies[domain].made, domain))
            requests.append(self._request(name, generators[name]))
            lacking[name] -= self.tallies[name].rate
            taken[name] += 1
            self.tallies[name].made += 1
            self.number += 1
            if lacking[name] < ROUNDING:
                del lacking[name]
        return requests

    def _request(self, name: str, generators: Sequence[str]) -> PairRequest:
        domain = self.domains[name]
        # A domain begins with the generator of its own place: the first requests do not all go to one.
        turn = sorted(self.tallies).index(name) + self.tallies[name].made
        rng = random.Random(f"{self.seed}/{self.number}")
        return PairRequest(
            number=self.number,
            domain=name,
            generator=generators[turn % len(generators)],
            examples=tuple(rng.sample(domain.seeds, min(self.examples, len(domain.seeds)))),
            about=rng.choice(domain.people),
            seed=int.from_bytes(hashlib.sha256(f"{self.seed}/{self.number}".encode()).digest()[:4], "big") >> 1,
        )
