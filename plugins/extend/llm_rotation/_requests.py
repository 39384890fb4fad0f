"""Plans requests. A request is a function of the seed, its number and the rows accepted before its round."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from plugins.extend.llm_rotation._seeds import PersonTerm, SeedDomain, SeedPair

ROUND = 32
"""Largest number of requests in a round. A constant, because the size of rounds changes the requests."""
ROUNDING = 1e-9
"""Missing rows below this number are rounding errors of summed acceptance rates."""


@dataclass(frozen=True)
class PairRequest:
    """Request to a generator: examples of a domain, and the people that the new pair is about."""

    number: int
    domain: str
    generator: str
    examples: tuple[SeedPair, ...]
    about: PersonTerm
    seed: int
    """Sampling seed of the generator, 31 bits."""


@dataclass
class RequestTally:
    """Counts of a domain: rows wanted, and requests made, decided and accepted."""

    wanted: int
    made: int = 0
    decided: int = 0
    accepted: int = 0

    @property
    def rate(self) -> float:
        """Estimated acceptance rate of replies; starts at 1."""
        return (self.accepted + 1) / (self.decided + 1)  # never 0, so a domain without rows still has requests


def shares(rows: int, domains: Mapping[str, SeedDomain], how: Literal["even", "seeds"]) -> dict[str, int]:
    """Number of rows wanted for each domain, `rows` in total: equal, or proportional to the seed pairs."""
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
    """Plans rounds of requests: domains that need rows take turns, and generators take turns within a domain."""

    domains: Mapping[str, SeedDomain]
    tallies: dict[str, RequestTally]
    seed: int
    examples: int
    number: int = 0

    @property
    def lacks_rows(self) -> bool:
        """True if a domain has fewer rows than wanted."""
        return any(tally.accepted < tally.wanted for tally in self.tallies.values())

    @property
    def lacking(self) -> list[str]:
        """Domains with fewer rows than wanted."""
        return [name for name, tally in self.tallies.items() if tally.accepted < tally.wanted]

    def round(self, generators: Mapping[str, Sequence[str]]) -> list[PairRequest]:
        """Next requests, at most `ROUND`, to the generators of each domain; empty if no request is possible.

        Domains with a low acceptance rate get more requests, so that a round is expected to fill the missing rows.
        Requests are assigned to the domains in turns, so a domain without accepted replies gets only its share.
        """
        requests: list[PairRequest] = []
        lacking = {
            name: float(self.tallies[name].wanted - self.tallies[name].accepted)
            for name in self.lacking
            if generators.get(name)
        }
        taken = dict.fromkeys(lacking, 0)
        while len(requests) < ROUND and lacking:
            # fewest in this round, then fewest in all
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
        # Domains start with different generators, so that the first requests do not all go to the same one.
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
