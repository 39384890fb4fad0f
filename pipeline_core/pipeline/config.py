"""The pipeline's configuration, for YAML, the command line and Prefect; it accepts only registered plugins."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Union

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    create_model,
    field_validator,
    model_validator,
)

from pipeline_core.data.refs import DataRef
from pipeline_core.errors import BadInput, UnknownName, quoted
from pipeline_core.gate.settings import Limit, Registration
from pipeline_core.plugin.registry import Registry
from pipeline_core.plugin.specs import (
    CHAIN_STAGES,
    LIST_STAGES,
    SINGLE_STAGES,
    STAGES,
    PluginConfig,
    PolicyConfig,
    ScoringConfig,
)
from pipeline_core.stage.settings import ExecutionSettings


def _is_a_number(value: Any) -> Any:
    # pydantic reads True as 1 and the text 010 as 10, which other readers of YAML take for 8 (D6).
    if isinstance(value, bool) or (isinstance(value, str) and re.match(r"\s*[-+]?0\d", value)):
        raise ValueError(f"a seed is a whole number, without zeros before it, and not {quoted(value)}")
    return value


SeedNumber = Annotated[int, BeforeValidator(_is_a_number, json_schema_input_type=int), Field(ge=0, lt=2**32)]


class PipelineConfig(BaseModel):
    """Configuration of a pipeline run: the plugins of each stage, data and seeds."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)

    name: str = Field("pipeline", max_length=200)
    """Name of the run in tracking."""
    description: str = ""
    """Description of the run, a sentence."""
    seed: SeedNumber = 0
    """Seed of base, extend, reward and evaluate, which all policies share."""
    seeds: list[SeedNumber] = Field([0], min_length=1)
    """Seeds of the policies; each policy is trained once per seed."""
    base: PluginConfig | None = None
    """Source of the start model; not needed if no policy is trained and no model evaluated."""
    data: DataRef | None = None
    """Preference rows: the input of `extend`, or the training rows if there is no `extend`."""
    extend: list[PluginConfig] = []
    """Extensions of the preference rows. Several parallel entries need a last one that combines them, such as `mix`."""
    reward: list[PluginConfig] = []
    """Reward models; policies take the last one."""
    policy: list[PluginConfig] = []
    """Policy optimisers, independent of each other unless one starts from another (`start_from`)."""
    evaluate: list[PluginConfig] = []
    """Evaluations; each measures the base and every policy (reward evaluations: every reward)."""
    gate: list[Limit] = []
    """Limits on figures of the report for every policy; the run fails if one is broken."""
    register_as: Registration | None = None
    """Registration in MLflow of policies that pass the gate: a name, or `name`, `alias` and `models`."""
    runner: ExecutionSettings = ExecutionSettings()
    """Execution settings of stages."""

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

    def entries(self, stage: str) -> list[PluginConfig]:
        """Entries of a stage; empty if the stage is left out."""
        value = getattr(self, stage)  # each stage is a field of the same name
        return value if isinstance(value, list) else [value] if value else []

    def placed(self, *stages: str) -> Iterator[tuple[str, PluginConfig]]:
        """Entries of `stages` (default: all) with their places: `base`, `policy.0`."""
        for stage in stages or STAGES:
            for index, entry in enumerate(self.entries(stage)):
                yield stage if stage in SINGLE_STAGES else f"{stage}.{index}", entry


def full_form(document: Mapping[str, Any]) -> dict[str, Any]:
    """Copy of a document with the short forms of stages (bare names, single entries) replaced by the full ones."""
    document = dict(document)
    for stage in SINGLE_STAGES:
        if isinstance(document.get(stage), str):
            document[stage] = {"name": document[stage]}
    for stage in LIST_STAGES:
        entries = document.get(stage)
        if isinstance(entries, (str, Mapping)):
            entries = [entries]
        if entries is None and stage in CHAIN_STAGES and stage in document:  # `extend=null` drops a preset's chain
            document[stage] = []
        if isinstance(entries, (list, tuple)):
            document[stage] = [{"name": entry} if isinstance(entry, str) else entry for entry in entries]
    if isinstance(document.get("seeds"), int):
        document["seeds"] = [document["seeds"]]
    if isinstance(document.get("gate"), Mapping):
        document["gate"] = [document["gate"]]
    if isinstance(document.get("register_as"), str):
        document["register_as"] = {"name": document["register_as"]}
    return document


def label_of(config: PluginConfig) -> str:
    """Label of an entry: its own, else the plugin's name."""
    return config.label or config.name


def scorers_of(entry: ScoringConfig, config: PipelineConfig) -> tuple[str, ...]:
    """Labels of the rewards that score an evaluation's texts: the named ones, else the last reward of the run."""
    return entry.scorers or tuple(map(label_of, config.reward[-1:]))


@functools.cache
def config_type(registry: Registry) -> type[PipelineConfig]:
    """Subclass of `PipelineConfig` whose stages accept exactly the registered plugins."""

    def one_of(stage: str) -> Any:
        configs = tuple(spec.config for spec in registry.specs(stage))
        if not configs:
            raise BadInput(f"no {stage} plugin is usable. {registry.note()}")
        # A union of one type is that type, and pydantic refuses a discriminator on it.
        return Annotated[Union[configs], Field(discriminator="name")] if len(configs) > 1 else configs[0]  # noqa: UP007

    fields: dict[str, Any] = {}
    for stage in SINGLE_STAGES:
        description = PipelineConfig.model_fields[stage].description
        fields[stage] = (one_of(stage) | None, Field(None, description=description))
    for stage in LIST_STAGES:
        fields[stage] = (list[one_of(stage)], Field([], description=PipelineConfig.model_fields[stage].description))  # type: ignore[misc]
    return create_model("Pipeline", __base__=PipelineConfig, __doc__=PipelineConfig.__doc__, **fields)


def policy_order(config: PipelineConfig) -> list[PolicyConfig]:
    """Policies sorted so that each comes after the policy named in its `start_from`.

    Raises:
        BadInput: unknown label, or a cycle.
    """
    entries = {label_of(entry): entry for entry in config.policy if isinstance(entry, PolicyConfig)}
    ordered: dict[str, PolicyConfig] = {}
    for index, label in enumerate(entries):
        where, chain = f"policy.{index}.start_from", [label]
        while (start := entries[chain[-1]].start_from) and start not in ordered:
            chain.append(start)
            if start not in entries:
                raise UnknownName("policy label", start, entries, where)
            if start in chain[:-1]:
                raise BadInput(f"{where}: policies start from each other: {' -> '.join(chain)}")
        ordered |= {link: entries[link] for link in reversed(chain)}
    return list(ordered.values())
