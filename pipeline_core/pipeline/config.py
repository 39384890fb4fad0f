"""The pipeline's configuration: one form for YAML, the command line and Prefect, closed over the registered plugins."""

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
from pipeline_core.plugin.registry import Registry, load_registry
from pipeline_core.plugin.specs import (
    CHAIN_STAGES,
    LIST_STAGES,
    SINGLE_STAGES,
    STAGES,
    PluginConfig,
    PolicyConfig,
)
from pipeline_core.stage.settings import ExecutionSettings


def _is_a_number(value: Any) -> Any:
    if isinstance(value, bool) or (isinstance(value, str) and re.match(r"\s*[-+]?0\d", value)):
        raise ValueError(f"a seed is a whole number, without zeros before it, and not {quoted(value)}")
    return value


SeedNumber = Annotated[int, BeforeValidator(_is_a_number, json_schema_input_type=int), Field(ge=0, lt=2**32)]


class PipelineConfig(BaseModel):
    """One pipeline run: which plugin does each stage, on which data, with which seeds."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)

    name: str = Field("pipeline", max_length=200)
    """Name of the run's experiment entry in tracking."""
    description: str = ""
    """One sentence for people."""
    seed: SeedNumber = 0
    """Seed of the stages that all policies share: base, extend, reward and evaluate."""
    seeds: list[SeedNumber] = Field([0], min_length=1)
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
    runner: ExecutionSettings = ExecutionSettings()
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

    def entries(self, stage: str) -> list[PluginConfig]:
        """The entries of a stage, none where it is left out."""
        found = getattr(self, stage)  # the fields of stages are made from their names
        return found if isinstance(found, list) else [found] if found else []

    def placed(self, *stages: str) -> Iterator[tuple[str, PluginConfig]]:
        """The entries of `stages` (of all where none is named) by their places: `base`, `policy.0`."""
        for stage in stages or STAGES:
            for index, entry in enumerate(self.entries(stage)):
                yield stage if stage in SINGLE_STAGES else f"{stage}.{index}", entry


def full_form(document: Mapping[str, Any]) -> dict[str, Any]:
    """A copy whose stages are `{name: ...}` or lists of these, where bare names or single entries stand for them."""
    document = dict(document)
    for stage in SINGLE_STAGES:
        if isinstance(document.get(stage), str):
            document[stage] = {"name": document[stage]}
    for stage in LIST_STAGES:
        entries = document.get(stage)
        if isinstance(entries, (str, Mapping)):
            entries = [entries]
        if entries is None and stage in CHAIN_STAGES and stage in document:
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


def policy_order(config: PipelineConfig) -> list[PolicyConfig]:
    """Policies in an order in which every `start_from` comes before what starts from it.

    Raises:
        BadInput: for an unknown label or a cycle.
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
        ordered |= {one: entries[one] for one in reversed(chain)}
    return list(ordered.values())
