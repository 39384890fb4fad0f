"""Checks a quality report against the limits of a gate and names the broken ones."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline_core.data.groups import NONE
from pipeline_core.errors import GateFailed
from pipeline_core.gate.settings import keeps
from pipeline_core.quality.model import ALL, Quality, ScopeQuality
from pipeline_core.quality.settings import QualityGate


def check_gate(quality: Quality, gate: QualityGate) -> None:
    """Refuse a set that breaks a limit.

    Raises:
        GateFailed: a limit is broken; the message names each metric, its value, the limit and the domain.
    """
    if broken := list(_broken(quality, gate)):
        raise GateFailed(f"{quality.name} does not pass its quality gate: {'; '.join(broken)}")


def _broken(quality: Quality, gate: QualityGate) -> Iterator[str]:
    for where, scope in quality.scopes.items():
        yield from _of_scope(scope, gate, where)
    # else one domain `none`, the whole set, would pass
    if gate.min_rows_per_domain is not None and set(quality.domains) == {NONE}:
        yield "min_rows_per_domain: no row has a domain"
    yield from _above("near_duplicates", quality.near_duplicates, gate.max_near_duplicates, ALL)
    if gate.max_contaminated is not None and quality.contaminated is None:
        yield "max_contaminated: the rows were compared with no evaluation set"
    yield from _above("contaminated", quality.contaminated, gate.max_contaminated, ALL)


def _of_scope(scope: ScopeQuality, gate: QualityGate, where: str) -> Iterator[str]:
    if scope.diversity:
        yield from _below("vendi", scope.diversity.vendi.mean, gate.min_vendi, where)
        if scope.diversity.relative:
            yield from _below("vendi_relative", scope.diversity.relative.mean, gate.min_vendi_relative, where)
    # |0.8 - 0.5| is 0.30000000000000004, which `keeps` allows for
    yield from _above("length_auc", abs(scope.lengths.auc - 0.5), gate.max_length_auc, where, " from one half")
    if where != ALL:
        yield from _below("rows", scope.rows, gate.min_rows_per_domain, where)


def _below(metric: str, value: float, limit: float | None, where: str) -> Iterator[str]:
    if limit is not None and not keeps(value, limit, is_ceiling=False):
        yield f"{metric} of {where} is {value:.4g}, below the limit {limit:g}"


def _above(metric: str, value: float | None, limit: float | None, where: str, unit: str = "") -> Iterator[str]:
    if value is not None and limit is not None and not keeps(value, limit, is_ceiling=True):
        yield f"{metric} of {where} is {value:.4g}{unit}, above the limit {limit:g}"
