"""The pipeline's configuration: one form for YAML, the command line and Prefect, closed over the registered plugins."""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Union

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    create_model,
    field_validator,
    model_validator,
)

from pipeline_core.checks.data import data_problems, takers_of_rows
from pipeline_core.checks.gate import check_gate_settings
from pipeline_core.checks.held_out import sandbox_problems, with_held_out
from pipeline_core.checks.messages import as_bad_input
from pipeline_core.checks.rewards import check_scorers
from pipeline_core.data.catalog import Catalog, DataRef
from pipeline_core.errors import BadInput, EvenhandError, UnknownName, quoted
from pipeline_core.gate.settings import Limit, Registration
from pipeline_core.pipeline.overrides import apply_overrides, full_form
from pipeline_core.pipeline.presets import read_source
from pipeline_core.plugin.registry import Registry, load_registry
from pipeline_core.plugin.specs import LIST_STAGES, SINGLE_STAGES, MergingConfig, PluginConfig, PolicyConfig, taken_by

OWN_ROWS = "data"
"""What the pipeline's own rows are called where parts are combined."""


def _is_a_number(value: Any) -> Any:
    if isinstance(value, bool) or (isinstance(value, str) and re.match(r"\s*[-+]?0\d", value)):
        raise ValueError(f"a seed is a whole number, without zeros before it, and not {quoted(value)}")
    return value


Seed = Annotated[int, BeforeValidator(_is_a_number, json_schema_input_type=int), Field(ge=0, lt=2**32)]


class Runner(BaseModel):
    """How stages are carried out. Nothing here changes a result's identity."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)

    concurrency: int = Field(1, ge=1, le=256)
    """Stages that may run at the same time; processor threads are divided among them."""
    launch: Literal["subprocess", "in_process"] = "subprocess"
    """One process per stage, or the caller's process (tests and notebooks)."""
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda|cuda:\d+|mps)$")
    """`auto`, `cpu`, `cuda`, `cuda:N` or `mps`."""
    threads: int | None = Field(None, ge=1)
    """Processor threads of one stage; cores divided by `concurrency` when not given."""
    deployment: str | None = None
    """A Prefect deployment of the generic stage (`stage/gpu`) to which rewards, policies and evaluations are sent."""
    retries: int = Field(0, ge=0, le=10)
    """How often a failed stage is tried again; it goes on from its last checkpoint."""
    checkpoint_seconds: float = Field(60.0, gt=0)
    """Seconds between checkpoints of a training; more where saving one takes long."""


class PipelineConfig(BaseModel):
    """One pipeline run: which plugin does each stage, on which data, with which seeds."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)

    name: str = Field("pipeline", max_length=200)
    """Name of the run's experiment entry in tracking."""
    description: str = ""
    """One sentence for people."""
    seed: Seed = 0
    """Seed of the stages that all policies share: base, extend, reward and evaluate."""
    seeds: list[Seed] = Field([0], min_length=1)
    """Seeds of the policies; every policy is trained once with each."""
    base: PluginConfig | None = None
    """Where the start model comes from; none is needed where nothing is trained from it or measured of it."""
    data: DataRef | None = None
    """Preference rows: what `extend` extends, or what is trained on directly."""
    extend: list[PluginConfig] = []
    """Extends the preference rows. Entries side by side are followed by one that combines them, such as `mix`."""
    reward: list[PluginConfig] = []
    """Reward models; policies take the last one."""
    policy: list[PluginConfig] = []
    """Policy optimisers, side by side."""
    evaluate: list[PluginConfig] = []
    """Evaluations, each of the base and of every policy."""
    gate: list[Limit] = []
    """What every policy has to keep to, by the report's figures; the run fails where one does not."""
    register_as: Registration | None = None
    """Name under which policies that pass the gate are registered in MLflow, or `name`, `alias` and `models`."""
    runner: Runner = Runner()
    """How stages are carried out."""

    @model_validator(mode="before")
    @classmethod
    def _accept_bare_names(cls, value: Any) -> Any:
        return full_form(value) if isinstance(value, Mapping) else value

    @field_validator("seeds")
    @classmethod
    def _seeds_differ(cls, seeds: list[int]) -> list[int]:
        if len(set(seeds)) < len(seeds):
            raise ValueError("a seed is listed twice")
        return seeds


def label_of(config: PluginConfig) -> str:
    """What an entry is called."""
    return config.label or config.name


def config_type(registry: Registry | None = None) -> type[PipelineConfig]:
    """`PipelineConfig` whose stages accept exactly the registered plugins."""
    return _config_type(registry or load_registry())


@functools.cache
def _config_type(registry: Registry) -> type[PipelineConfig]:
    def one_of(stage: str) -> Any:
        configs = tuple(spec.config for spec in registry.specs(stage))
        if not configs:
            raise BadInput(f"no {stage} plugin is usable. {registry.note()}")
        return Annotated[Union[configs], Field(discriminator="name")] if len(configs) > 1 else configs[0]  # noqa: UP007

    fields: dict[str, Any] = {}
    for stage in SINGLE_STAGES:
        description = PipelineConfig.model_fields[stage].description
        fields[stage] = (one_of(stage) | None, Field(None, description=description))
    for stage in LIST_STAGES:
        fields[stage] = (list[one_of(stage)], Field([], description=PipelineConfig.model_fields[stage].description))  # type: ignore[misc]
    return create_model("Pipeline", __base__=PipelineConfig, __doc__=PipelineConfig.__doc__, **fields)


def load_config(
    source: str | Path | Mapping[str, Any], overrides: Sequence[str] = (), registry: Registry | None = None
) -> PipelineConfig:
    """Read a preset, a YAML file or a mapping, apply `key=value` overrides and validate all of it.

    Raises:
        BadInput: one message with every problem and its dotted location.
    """
    registry = registry or load_registry()
    try:
        document = apply_overrides(read_source(source), overrides, registry)
        config = config_type(registry).model_validate(document)
    except ValidationError as error:
        raise as_bad_input(error, registry) from None
    except RecursionError:
        raise BadInput("the configuration is nested too deep") from None
    check_whole(config, registry)
    return with_held_out(config, Catalog.from_environment())


def check_whole(config: PipelineConfig, registry: Registry) -> None:
    """Check what no single field can: labels, rewards, data, and the order of policies.

    Raises:
        BadInput: one sentence with the fix.
    """
    _check_labels(config)
    _check_chain(config, registry)
    _check_rewards(config, registry)
    _check_rows(config)
    _check_inputs(config, registry)
    policy_order(config)
    check_gate_settings(config, registry)
    catalog = Catalog.from_environment()
    if problems := [*data_problems(config, catalog), *sandbox_problems(config, catalog)]:
        raise BadInput("\n".join(problems))


def _check_labels(config: PipelineConfig) -> None:
    for stage in LIST_STAGES:
        counts = Counter(label_of(entry) for entry in getattr(config, stage))
        if twice := [label for label, count in counts.items() if count > 1]:
            raise BadInput(f"{stage}: two entries are called {twice[0]!r}; give one of them a `label`")
    for stage, taken, whose in (("policy", "base", "the base model"), ("extend", OWN_ROWS, "the rows of `data`")):
        if any(label_of(entry) == taken for entry in getattr(config, stage)):
            raise BadInput(f"{stage}: the label {taken!r} is taken by {whose}; choose another")


def _check_chain(config: PipelineConfig, registry: Registry) -> None:
    """Extensions that stand side by side have to be combined, and what combines needs something to combine."""
    for stage, source in (("extend", config.data), ("reward", None)):
        first = next(iter(getattr(config, stage)), None)
        if first and source is None and registry.combines(stage, first.name):
            raise BadInput(f"{stage}.0 ({first.name}) has nothing to combine: put what it is to take before it")
    loose: list[str] = []
    for entry in config.extend:
        loose = [] if registry.combines("extend", entry.name) else [*loose, label_of(entry)]
    for place, entry, parts in merging_entries(config, registry):
        try:
            entry.check_parts(dict.fromkeys(parts))
        except BadInput as error:
            raise BadInput(f"extend.{place} ({label_of(entry)}): {error}") from error
    if len(loose) > 1:
        raise BadInput(f"extend: {', '.join(loose)} stand side by side; end the list with e.g. `{{name: mix}}`")
    for place, entry in enumerate(config.reward):
        if registry.combines("reward", entry.name):
            try:
                taken_by(entry, [label_of(one) for one in config.reward[:place]])
            except EvenhandError as error:
                raise BadInput(f"reward.{place} ({label_of(entry)}): {error}") from error


def merging_entries(
    config: PipelineConfig, registry: Registry
) -> Iterator[tuple[int, MergingConfig, dict[str, PluginConfig | None]]]:
    """Extensions that combine parts: position, configuration, and what makes each part by label (None: `data`)."""
    parts: dict[str, PluginConfig | None] = {OWN_ROWS: None} if config.data else {}
    for place, entry in enumerate(config.extend):
        if not registry.combines("extend", entry.name):
            parts = parts | {label_of(entry): entry}
            continue
        if isinstance(entry, MergingConfig):
            yield place, entry, parts
        parts = {label_of(entry): entry}


def _check_rewards(config: PipelineConfig, registry: Registry) -> None:
    """Rewards that a policy or an evaluation names are those of the run."""
    known = [label_of(one) for one in config.reward]
    for place, entry in enumerate(config.policy):
        for label in getattr(entry, "rewards", None) or ():
            if label not in known:
                raise UnknownName("reward", label, known, where=f"policy.{place}.rewards ({entry.name})")
    check_scorers(config, registry)


def _check_rows(config: PipelineConfig) -> None:
    if config.data:
        return
    if wanting := next((where for where, entry in takers_of_rows(config) if entry.row_kinds), None):
        raise BadInput(f"{wanting} needs preference rows: set `data:` to a catalog entry (see `evenhand data ls`)")


def _check_inputs(config: PipelineConfig, registry: Registry) -> None:
    for stage in ("policy", "evaluate"):
        for index, entry in enumerate(getattr(config, stage)):
            spec = registry.get(stage, entry.name)
            of_rewards = getattr(spec, "subject", "model") == "reward"
            where = f"{stage}.{index} ({entry.name})"
            if (of_rewards or getattr(spec, "needs_reward", False)) and not config.reward:
                raise BadInput(
                    f"{where} needs a reward and none is configured: add e.g. `reward: {{name: tfidf_ridge}}`"
                )
            if not of_rewards and config.base is None:
                raise BadInput(f"{where} needs a base model and none is configured: add e.g. `base: tiny_lm`")
    if not (config.base or config.extend or config.reward):
        raise BadInput("there is nothing to do: configure `base`, `extend` or `reward`")


def policy_order(config: PipelineConfig) -> list[PolicyConfig]:
    """Policies in an order in which every `start_from` comes before what starts from it.

    Raises:
        BadInput: for an unknown label or a cycle.
    """
    entries = {label_of(entry): entry for entry in config.policy if isinstance(entry, PolicyConfig)}
    ordered: dict[str, PolicyConfig] = {}
    for index, entry in enumerate(config.policy):
        _visit(entry, entries, ordered, (), f"policy.{index}.start_from")
    return list(ordered.values())


def _visit(
    entry: Any, entries: dict[str, PolicyConfig], ordered: dict[str, PolicyConfig], path: tuple[str, ...], where: str
) -> None:
    label = label_of(entry)
    if label in path:
        raise BadInput(f"{where}: policies start from each other: {' -> '.join((*path, label))}")
    if entry.start_from and label not in ordered:
        if entry.start_from not in entries:
            raise UnknownName("policy label", entry.start_from, entries, where)
        _visit(entries[entry.start_from], entries, ordered, (*path, label), where)
    ordered.setdefault(label, entry)
