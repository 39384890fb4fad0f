"""Checks of a gate before the run: labels, names of declared measures, and required settings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pipeline_core.errors import BadInput, check_known
from pipeline_core.gate.names import NamedMeasure, canonical, find
from pipeline_core.gate.settings import MODEL, Limit, Registration, limits_on
from pipeline_core.pipeline.config import PipelineConfig, label_of, scorers_of
from pipeline_core.plugin.registry import Registry
from pipeline_core.plugin.specs import Evaluation, PluginConfig, ScoringConfig

BASE = "base"


def check_gate_settings(config: PipelineConfig, registry: Registry) -> None:
    """Reject a gate or a registration that cannot work.

    Raises:
        BadInput: with the entry and the remedy.
    """
    policies = [label_of(entry) for entry in config.policy]
    for place, limit in enumerate(config.gate):
        where = f"gate.{place} ({limit.measure})"
        check_known("model", limit.models, [*policies, BASE], f"{where}.models")
        if limit.compares and (BASE in limit.models or not policies):
            raise BadInput(f"{where}: `{limit.kind}` compares a policy with the base, and here the base is judged")
    if config.gate:
        suites = list(_suites(config, registry))
        if not suites:
            raise BadInput("gate: nothing is evaluated; add e.g. `evaluate: [sandbox_bias]`")
        _check_measures(config.gate, suites)
    if config.register_as:
        _check_registration(config.register_as, config.gate, policies)


def _suites(config: PipelineConfig, registry: Registry) -> Iterator[tuple[PluginConfig, Evaluation]]:
    """Configurations, with the scorers that they take, and specs of the evaluations of models."""
    for entry in config.evaluate:
        spec = Evaluation.named(registry, entry.name)
        if spec.subject == "model":
            scorers = {"scorers": scorers_of(entry, config)} if isinstance(entry, ScoringConfig) else {}
            yield entry.model_copy(update=scorers), spec


def _check_measures(limits: Sequence[Limit], suites: Sequence[tuple[PluginConfig, Evaluation]]) -> None:
    """Reject unknown names, unless they may belong to a suite that does not declare its measures."""
    known, open_words = [], set()
    for entry, spec in suites:
        if spec.measures is None:
            open_words |= {_first_word(label_of(entry)), _first_word(spec.name)}
            continue
        for measure in spec.measures(entry):
            known.append(
                NamedMeasure.of(label_of(entry), spec.name, measure.name, measure.better, measure.group_by or None)
            )
    closed_words = {_first_word(named.name) for named in known} - open_words
    for place, limit in enumerate(limits):
        match = find(limit.measure, known)
        if isinstance(match, str):
            # It may belong to a suite that declares no measures; if not, the gate fails at the end (ADR 12).
            if open_words and _first_word(limit.measure) not in closed_words:
                continue
            raise BadInput(f"gate.{place}: {match}")
        named, part = match
        if problem := named.problem(part, limit.kind, limit.group):
            raise BadInput(f"gate.{place} ({limit.measure}): {problem}")


def _first_word(name: str) -> str:
    return canonical(name).split("/")[0]


def _check_registration(wanted: Registration, limits: list[Limit], policies: Sequence[str]) -> None:
    if not policies:
        raise BadInput("register_as: no policy is trained, and the base is not registered")
    check_known("model", wanted.models, policies, "register_as.models")
    chosen = wanted.models or policies
    if len(chosen) > 1 and MODEL not in wanted.name:
        raise BadInput(
            f"register_as: {len(chosen)} policies would share the name {wanted.name!r}; put {MODEL} in it, or say "
            f"which with `register_as: {{name: {wanted.name}, models: [{chosen[0]}]}}`"
        )
    for label in chosen:
        if not limits_on(limits, label, judged=True):
            raise BadInput(f"register_as: no limit of `gate` is about {label!r}, so nothing would be checked")
