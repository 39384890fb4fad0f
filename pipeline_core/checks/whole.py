"""Loads a configuration and rejects one that cannot run; includes checks across several fields."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pipeline_core.checks.data import OWN_ROWS, data_problems, merging_entries, takers_of_rows
from pipeline_core.checks.gate_settings import check_gate_settings
from pipeline_core.checks.held_out import sandbox_problems, with_held_out
from pipeline_core.checks.messages import as_bad_input
from pipeline_core.checks.overrides import apply_overrides
from pipeline_core.checks.presets import read_source
from pipeline_core.data.catalog import Catalog
from pipeline_core.errors import BadInput, EvenhandError, check_known
from pipeline_core.pipeline.config import PipelineConfig, config_type, label_of, policy_order, scorers_of
from pipeline_core.plugin.registry import Registry, load_registry
from pipeline_core.plugin.specs import (
    LIST_STAGES,
    Evaluation,
    PolicyConfig,
    PolicyOptimizer,
    RewardModel,
    ScoringConfig,
    taken_by,
)
from pipeline_core.rewards.scorers import no_probability


def load_config(
    source: str | Path | Mapping[str, Any], overrides: Sequence[str] = (), registry: Registry | None = None
) -> PipelineConfig:
    """Read a preset, a YAML file or a mapping, apply `key=value` overrides and validate everything.

    Raises:
        BadInput: one message with all problems and their dotted locations.
    """
    registry = registry or load_registry()
    try:
        document = apply_overrides(read_source(source), overrides, registry)
        config = config_type(registry).model_validate(document)
    except ValidationError as error:
        raise as_bad_input(error, registry) from None
    except RecursionError:  # of a mapping: files and overrides end at 60 levels
        raise BadInput("the configuration is nested too deep") from None
    check_whole(config, registry)
    return with_held_out(config, Catalog.from_environment())


def check_whole(config: PipelineConfig, registry: Registry) -> None:
    """Check across fields: labels, rewards, data, and the order of policies.

    Raises:
        BadInput: with the remedy.
    """
    _check_labels(config)
    _check_chain(config, registry)
    _check_rewards(config, registry)
    _check_rows(config)
    _check_inputs(config, registry)
    policy_order(config)  # for its errors: unknown labels and cycles
    check_gate_settings(config, registry)
    catalog = Catalog.from_environment()
    if problems := [*data_problems(config, catalog), *sandbox_problems(config, catalog)]:
        raise BadInput("\n".join(problems))


def _check_labels(config: PipelineConfig) -> None:
    for stage in LIST_STAGES:
        counts = Counter(map(label_of, config.entries(stage)))
        if twice := [label for label, count in counts.items() if count > 1]:
            raise BadInput(f"{stage}: two entries are called {twice[0]!r}; give one of them a `label`")
    for stage, taken, whose in (("policy", "base", "the base model"), ("extend", OWN_ROWS, "the rows of `data`")):
        if taken in map(label_of, config.entries(stage)):
            raise BadInput(f"{stage}: the label {taken!r} is taken by {whose}; choose another")


def _check_chain(config: PipelineConfig, registry: Registry) -> None:
    """Check that parallel extensions are combined, and that combining entries have something to combine."""
    for stage, source in (("extend", config.data), ("reward", None)):
        first = next(iter(config.entries(stage)), None)
        if first and source is None and registry.combines(stage, first.name):
            raise BadInput(f"{stage}.0 ({first.name}) has nothing to combine: put what it is to take before it")
    loose: list[str] = []
    for entry in config.extend:
        loose = [] if registry.combines("extend", entry.name) else [*loose, label_of(entry)]
    for place, entry, parts in merging_entries(config, registry):
        try:
            entry.check_parts(dict.fromkeys(parts))  # numbers of rows are compared before a run (`beforehand`)
        except BadInput as error:
            raise BadInput(f"extend.{place} ({label_of(entry)}): {error}") from error
    if len(loose) > 1:
        raise BadInput(f"extend: {', '.join(loose)} stand side by side; end the list with e.g. `{{name: mix}}`")
    for place, entry in enumerate(config.reward):
        if registry.combines("reward", entry.name):
            try:
                taken_by(entry, [label_of(earlier) for earlier in config.reward[:place]])
            except EvenhandError as error:
                raise BadInput(f"reward.{place} ({label_of(entry)}): {error}") from error


def _check_rewards(config: PipelineConfig, registry: Registry) -> None:
    """Check that named rewards are rewards of the run, and that those that score texts give probabilities."""
    plugin_of = {label_of(entry): entry.name for entry in config.reward}
    for place, entry in enumerate(config.policy):
        if isinstance(entry, PolicyConfig):
            check_known("reward", entry.named_rewards(), plugin_of, f"policy.{place}.rewards ({entry.name})")
    for place, suite in enumerate(config.evaluate):
        if isinstance(suite, ScoringConfig):
            where = f"evaluate.{place}.scorers ({label_of(suite)})"
            for label in scorers_of(suite, config):
                check_known("reward", [label], plugin_of, where)
                if RewardModel.named(registry, plugin_of[label]).scale is None:
                    raise BadInput(f"{where}: {no_probability(label, plugin_of[label], registry)}")


def _check_rows(config: PipelineConfig) -> None:
    if config.data:
        return
    if wanting := next((where for where, entry in takers_of_rows(config) if entry.row_kinds), None):
        raise BadInput(f"{wanting} needs preference rows: set `data:` to a catalog entry (see `evenhand data ls`)")


def _check_inputs(config: PipelineConfig, registry: Registry) -> None:
    for stage in ("policy", "evaluate"):
        for index, entry in enumerate(config.entries(stage)):
            spec = registry.get(stage, entry.name)
            of_rewards = isinstance(spec, Evaluation) and spec.subject == "reward"
            needs_reward = isinstance(spec, PolicyOptimizer | Evaluation) and spec.needs_reward
            where = f"{stage}.{index} ({entry.name})"
            if (of_rewards or needs_reward) and not config.reward:
                raise BadInput(
                    f"{where} needs a reward and none is configured: add e.g. `reward: {{name: tfidf_ridge}}`"
                )
            if not of_rewards and config.base is None:
                raise BadInput(f"{where} needs a base model and none is configured: add e.g. `base: tiny_lm`")
    if not (config.base or config.extend or config.reward):
        raise BadInput("there is nothing to do: configure `base`, `extend` or `reward`")
