"""The configuration of the gate and of the registry."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from pipeline_core.plugin.specs import ANY

LimitKind = Literal["at_most", "at_least", "worse_by", "worse_by_share"]
KINDS: tuple[LimitKind, ...] = get_args(LimitKind)
ModelLabel = Annotated[str, Field(min_length=1)]
MODEL = "{model}"
"""Placeholder for a policy's label in its registered name."""
NOISE = 1e-9
"""Tolerance for rounding, relative to a bound (absolute below 1)."""


class Limit(BaseModel):
    """Limit on a figure of the report; exactly one of `at_most`, `at_least`, `worse_by` and `worse_by_share`."""

    # No model keeps to a limit of NaN, and every model keeps to an infinite one.
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)

    measure: str = Field(min_length=1)
    """Measure as the report names it: `sandbox/bias`, `sandbox/bias/worst_group` (`/gap`, `/mean`), or as its tables
    print it: `sandbox · bias, worst domain`. A suite's own label, if it has one, comes first: `again: sandbox/bias`."""
    group: str | None = None
    """Group (or domain) of the measure; all items when not given."""
    at_most: float | None = None
    """Upper limit of the figure, in the measure's unit."""
    at_least: float | None = None
    """Lower limit of the figure, in the measure's unit."""
    worse_by: float | None = None
    """Upper limit on the worsening against the base model, in the measure's unit; negative: a required improvement."""
    worse_by_share: float | None = None
    """Upper limit on the worsening, as a share of the base model's figure: 0.05 is 5 % of it."""
    by: Literal["value", "interval"] = "value"
    """`value`: the figure itself must keep to the limit. `interval`: the worse end of its 95 % interval must; for
    `worse_by` the interval of the paired difference, for `worse_by_share` that of the difference minus the share."""
    models: list[ModelLabel] = []
    """Labels of the policies (or `base`) that the limit applies to; all policies when not given, or the base if no
    policy is trained."""

    @field_validator("measure")
    @classmethod
    def _is_spelt_out(cls, measure: str) -> str:
        if ANY in measure:
            raise ValueError(f"write what {ANY} stands for: the name of a domain or of a scorer")
        return measure

    @model_validator(mode="after")
    def _one_limit(self) -> Limit:
        given = [kind for kind in KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of {', '.join(KINDS)}, not {' and '.join(given) or 'none'}")
        return self

    @property
    def kind(self) -> LimitKind:
        """Name of the limit that is set."""
        return next(kind for kind in KINDS if getattr(self, kind) is not None)

    @property
    def bound(self) -> float:
        """Number of the limit that is set."""
        return float(getattr(self, self.kind))

    @property
    def compares(self) -> bool:
        """True if it limits a difference to the base."""
        return self.kind in ("worse_by", "worse_by_share")


class Registration(BaseModel):
    """Registration in MLflow of models that pass the gate."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    # MLflow addresses versions as models:/NAME@ALIAS, so a name has neither `/`, `:` nor `@`.
    name: str = Field(min_length=1, max_length=200, pattern=r"^[\w .{}-]+$")
    """Name of the registered model; `{model}` in it stands for the policy's label."""
    alias: str = Field("candidate", pattern=r"^[\w-]+$", max_length=255)
    """Alias that is moved to the version."""
    models: list[ModelLabel] = []
    """Labels of the policies that are registered when they pass; all of them when not given."""

    @model_validator(mode="before")
    @classmethod
    def _accept_a_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @field_validator("name")
    @classmethod
    def _one_place(cls, name: str) -> str:
        rest = name.replace(MODEL, "")
        if not rest.strip() and MODEL not in name:  # the pattern allows spaces
            raise ValueError("a name needs other characters than spaces")
        if "{" in rest or "}" in rest:
            raise ValueError(f"only {MODEL} is filled in")
        return name

    @field_validator("alias")
    @classmethod
    def _not_taken(cls, alias: str) -> str:
        if alias.lower() == "latest" or re.fullmatch(r"[vV]\d+", alias):
            raise ValueError("MLflow keeps `latest` and `v1`, `v2`, ... for itself")
        return alias

    def name_of(self, label: str) -> str:
        """Registered name of the policy `label`."""
        return self.name.replace(MODEL, label)


def limits_on(limits: list[Limit], label: str, *, judged: bool) -> list[Limit]:
    """Limits that apply to the model `label`; `judged`: limits that name no models apply to it as well."""
    return [limit for limit in limits if (label in limit.models if limit.models else judged)]


def keeps(value: float, bound: float, *, is_ceiling: bool) -> bool:
    """True if a figure is no higher than a ceiling, or no lower than a floor, up to rounding."""
    beyond = value - bound if is_ceiling else bound - value
    return beyond <= NOISE * max(1.0, abs(bound))
