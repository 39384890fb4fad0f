"""Settings of a log-linear study, and checks that refuse them before anything is computed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline_core.errors import BadInput, UnknownName
from pipeline_core.studies.log_linear.methods import METHODS, Method
from pipeline_core.studies.log_linear.synthetic import FEATURES, SCENARIOS

SHORTEST_STOCHASTIC = 100
RADII = (1e-3, 1e6)
"""Smallest and largest radius of Algorithm 1's ball, well within the range of floats that can be squared."""


@dataclass(frozen=True)
class TrainingColumn:
    """A training of a world: a method, and for a robust method the trade-off chi."""

    method: str
    chi: float | None

    @property
    def label(self) -> str:
        """Name of the training: `gr_dpo`, or with a trade-off below 1 `gr_dpo chi 0.2`."""
        return self.method if self.chi in (None, 1.0) else f"{self.method} chi {self.chi:g}"

    @property
    def facts(self) -> Method:
        """Family and kind of the method."""
        return METHODS[self.method]


@dataclass(frozen=True)
class StudySettings:
    """Settings of a study; the defaults are the paper's. `chi` applies to the gr_ methods.

    `iterations` is for the DPO family; the IPO family needs at most 100. `algorithm_1` is the longest run of the
    stochastic algorithm in steps, 0 for none; `radius` is the radius of its ball.

    Raises:
        BadInput: on creation, naming the setting and what it may be.
    """

    features: tuple[str, ...] = tuple(FEATURES)
    scenarios: tuple[str, ...] = tuple(SCENARIOS)
    methods: tuple[str, ...] = tuple(METHODS)
    chi: tuple[float, ...] = (1.0,)
    seeds: int = 20
    iterations: int = 10_000
    algorithm_1: int = 0
    radius: float = 5.0

    def __post_init__(self) -> None:
        known: Mapping[str, Iterable[str]]
        known = {"features": FEATURES, "scenarios": SCENARIOS, "methods": METHODS}
        for field, names in known.items():
            object.__setattr__(self, field, _chosen(field, getattr(self, field), names))
        object.__setattr__(self, "chi", tuple(dict.fromkeys(self.chi)))  # without doubles, in the given order
        self._check_numbers()

    def _check_numbers(self) -> None:
        if not self.chi or not all(0 <= value <= 1 for value in self.chi):
            raise BadInput(
                f"chi: must lie in [0, 1], not be {', '.join(f'{value:g}' for value in self.chi) or 'empty'}"
            )
        if self.seeds < 2:
            raise BadInput(f"seeds: a standard error needs 2 or more, not {self.seeds}")
        if self.iterations < 1:
            raise BadInput(f"iterations: must be 1 or more, not {self.iterations}")
        if self.algorithm_1 and self.algorithm_1 < SHORTEST_STOCHASTIC:
            raise BadInput(f"algorithm_1: must be 0 or at least {SHORTEST_STOCHASTIC} steps, not {self.algorithm_1}")
        if self.algorithm_1 and not self.robust:
            raise BadInput("algorithm_1: needs a gr_ method among the methods")
        if not RADII[0] <= self.radius <= RADII[1]:
            raise BadInput(f"radius: must be from {RADII[0]:g} to {RADII[1]:,.0f}, not {self.radius:g}")

    @property
    def columns(self) -> tuple[TrainingColumn, ...]:
        """The trainings of every world."""
        chis = {name: self.chi if name in self.robust else (None,) for name in self.methods}
        return tuple(TrainingColumn(name, chi) for name in self.methods for chi in chis[name])

    @property
    def places(self) -> list[tuple[int, int, str, str]]:
        """Indices and names of every feature map and scenario."""
        return [(f, s, x, y) for f, x in enumerate(self.features) for s, y in enumerate(self.scenarios)]

    @property
    def robust(self) -> tuple[str, ...]:
        """The gr_ methods among `methods`."""
        return tuple(name for name in self.methods if METHODS[name].kind == "robust")

    def document(self) -> dict[str, Any]:
        """The settings as JSON and as parameters in tracking."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in vars(self).items()}


def _chosen(field: str, given: Iterable[str], known: Iterable[str]) -> tuple[str, ...]:
    """Names in `given`, in the order of `known`."""
    given, known = list(given), list(known)
    for name in given:
        if name not in known:
            raise UnknownName(field.removesuffix("s") if field != "features" else "feature map", name, known, field)
    if not given:
        raise BadInput(f"{field}: name at least one of {', '.join(known)}")
    return tuple(name for name in known if name in given)
