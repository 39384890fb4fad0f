"""Specs of plugins: a typed configuration and the function that runs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from pipeline_core.plugin.types import Metrics, RewardFn, Scale, SpecSource

if TYPE_CHECKING:
    from datasets import Dataset

    from pipeline_core.data.refs import DataRef
    from pipeline_core.plugin.context import Inputs, StageContext
    from pipeline_core.plugin.figures import JudgedPredictions, Measure, Relation

NAME = r"^[\w.-]+$"
"""Pattern of plugin names and labels. Stage ids join them with colons, so a colon is not allowed."""


class PluginConfig(BaseModel):
    """Configuration of one stage. A plugin subclasses it and narrows `name` to its own `Literal`."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)
    execution_fields: ClassVar[frozenset[str]] = frozenset({"label", "processes", "start_from"})
    """Settings that do not change the result; they are no part of its identity."""
    row_kinds: ClassVar[tuple[str, ...]] = ("preference",)
    """Kinds of rows accepted as `inputs.preferences`; empty if the plugin needs none."""
    learns: ClassVar[bool] = True
    """True for a reward fitted to its rows, so that no reward may be measured on these rows."""

    shares_work: ClassVar[bool] = True
    """False for a plugin whose work one process does; it refuses `processes` above 1."""

    name: str
    """Name of the plugin that runs the stage."""
    label: str | None = Field(None, pattern=NAME, max_length=200)
    """Name of this entry in tables and tracking (default: the plugin's name)."""
    processes: int = Field(1, ge=1, le=1024)
    """Number of worker processes of the stage; more than one are started by torchrun."""

    @field_validator("processes")
    @classmethod
    def _shared(cls, processes: int) -> int:
        if processes > 1 and not cls.shares_work:
            raise ValueError(f"{cls.model_fields['name'].default} works in one process; leave out `processes`")
        return processes

    def identity(self) -> dict[str, Any]:
        """The part of the configuration that decides the result: JSON without `execution_fields`."""
        return self.model_dump(mode="json", exclude=set(self.execution_fields))

    def arithmetic(self) -> str:
        """A line for `evenhand check` on how rows become optimiser steps; empty if nothing is batched."""
        return ""

    def arithmetic_of(self, rows: int) -> str:  # noqa: ARG002 - for subclasses that count rows
        """The line of `arithmetic` when the number of rows of `inputs.preferences` is known."""
        return self.arithmetic()

    def needs_hub(self) -> list[str]:
        """Downloads from the Hugging Face hub, in words for `evenhand check`, except data (listed apart)."""
        return []

    def check_machine(self) -> None:
        """Reject a machine without the packages or keys that the stage needs. Called before a run begins, if
        the stage is still to be made on this machine.

        Raises:
            BadInput: naming the missing requirement.
        """

    def rows_made(self, count: Callable[[DataRef], int | None]) -> int | None:  # noqa: ARG002 - for those that know
        """Number of rows an extension makes, None if unknown beforehand; `count` gives those of a reference."""
        return None


class MergingConfig(PluginConfig):
    """Configuration of an extension that combines parts (rows of several entries)."""

    def check_parts(self, rows: Mapping[str, int | None]) -> None:
        """Reject settings that do not suit the parts, given as label to number of rows (None if unknown).

        Called before a run begins.

        Raises:
            BadInput: naming the setting and the part.
        """


class CombiningConfig(PluginConfig):
    """Configuration of a reward that combines other rewards."""

    def takes(self, before: Sequence[str]) -> Sequence[str]:
        """Labels of the earlier rewards to combine (default: all). Called when the run is planned.

        Raises:
            EvenhandError: a reward named in the settings is not among the earlier ones.
        """
        return before


def taken_by(entry: PluginConfig, before: Sequence[str]) -> Sequence[str]:
    """Labels of the earlier rewards that a combining entry takes; errors as of `CombiningConfig.takes`."""
    return entry.takes(before) if isinstance(entry, CombiningConfig) else before


def _as_several(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


class ScoringConfig(PluginConfig):
    """Configuration of an evaluation whose texts are scored by rewards of the run; its spec sets `needs_reward`."""

    scorers: Annotated[tuple[str, ...], BeforeValidator(_as_several, json_schema_input_type=str | tuple[str, ...])] = ()
    """Labels of the rewards that score the texts, one or a list (default: the last reward of the run). The figures of
    each are reported under its label."""


class ReferenceConfig(PluginConfig):
    """Configuration of an evaluation that can compare a policy with its start; its spec sets `needs_reference`."""

    reference: Literal["base", "start"] = "base"
    """Reference model of log-ratios: `base` for every model, or `start`, the model each policy started from, which was
    its reference in training."""


class PolicyConfig(PluginConfig):
    """Configuration of a policy optimiser."""

    start_from: str | None = None
    """Label of the policy entry whose model is the start and the reference (default: the base model)."""

    def named_rewards(self) -> Sequence[str]:
        """Labels of the rewards that the policy takes; empty for the last reward of the run."""
        return ()

    def check_data(self, rows: Dataset, load: Callable[[DataRef], Dataset]) -> None:
        """Reject training rows that do not suit the settings; `load` gives the rows of a catalog reference.

        Called before a run begins, if the rows are known then, and by the training loops before they load a model.

        Raises:
            BadInput: with the problem and the remedy.
        """


StageFunction = Callable[[Any, "Inputs", Path, "StageContext"], Metrics]


@dataclass(frozen=True)
class Spec:
    """An algorithm for one stage.

    `run(config, inputs, out, context)` fills the folder `out` and returns scalars. `revision` is raised when results
    change for an unchanged configuration. `example`: the smallest realistic settings, run by the conformance kit.
    `sources(config)` gives digests, by name, of what the plugin reads besides its inputs (a local file, say).
    `metrics`: names that every run returns, besides the stage's own. `core`: packages of the core that the plugin
    computes with, if not the default ones (`pipeline_core.plugin.revisions`).
    """

    config: type[PluginConfig]
    run: StageFunction
    revision: int = 1
    example: Mapping[str, Any] = field(default_factory=dict)
    sources: Callable[[Any], Mapping[str, str]] | None = None
    metrics: tuple[str, ...] = ()
    core: tuple[str, ...] = ()

    stage: ClassVar[str]
    kind: ClassVar[str]

    @property
    def name(self) -> str:
        """The plugin's name: the single value of the configuration's `name`."""
        return str(self.config.model_fields["name"].default)

    @classmethod
    def named(cls, registry: SpecSource, name: str, where: str = "") -> Self:
        """The registered plugin `name` of this stage. Raises `UnknownName`."""
        spec = registry.get(cls.stage, name, where)
        assert isinstance(spec, cls), f"{name} is no {cls.__name__}"  # the registry accepts no other type
        return spec

    @classmethod
    def all_in(cls, registry: SpecSource) -> list[Self]:
        """All registered plugins of this stage."""
        return [spec for spec in registry.specs(cls.stage) if isinstance(spec, cls)]


@dataclass(frozen=True)
class BaseModelSource(Spec):
    """Provides a causal language model as a Hugging Face folder."""

    stage: ClassVar[str] = "base"
    kind: ClassVar[str] = "model"


@dataclass(frozen=True)
class DataExtender(Spec):
    """Makes preference rows (`rows.parquet`), from existing rows or new.

    With `combines` its input is `inputs.parts`, the rows of several entries, instead of `inputs.preferences`.
    """

    combines: bool = False

    stage: ClassVar[str] = "extend"
    kind: ClassVar[str] = "preferences"


@dataclass(frozen=True)
class RewardModel(Spec):
    """Learns or wraps a score of completions; `load(folder, device)` opens the raw score in a later stage.

    `run` returns the metric `sign` (1, -1, or 0 if undecided), by which raw scores are multiplied. `batch_free`: the
    score of a text does not depend on its batch, to the last digit. With `combines` it takes the earlier rewards as
    `inputs.part_folders`. `cut(folder, prompts, completions)` gives the indices of texts that the reward truncates.
    `export(folder, out, sign)` writes the reward for use without Evenhand, with a `score.py` whose
    `score(prompts, completions)` applies the sign, and returns the Python code that loads it from "FOLDER".
    `scale(folder)` is the scale on which raw scores are probabilities, needed of a scorer (`ScoringConfig`); None if
    they are not.
    """

    load: Callable[[Path, str], RewardFn] | None = None
    cut: Callable[[Path, Sequence[str], Sequence[str]], Sequence[int]] | None = None
    batch_free: bool = False
    combines: bool = False
    export: Callable[[Path, Path, int], str] | None = None
    scale: Callable[[Path], Scale | None] | None = None

    stage: ClassVar[str] = "reward"
    kind: ClassVar[str] = "reward"


@dataclass(frozen=True)
class PolicyOptimizer(Spec):
    """Optimises a model against preferences or a reward."""

    needs_reward: bool = False

    stage: ClassVar[str] = "policy"
    kind: ClassVar[str] = "model"


ANY = "*"
"""Placeholder in a measure's name for a part that is known only after the run."""


@dataclass(frozen=True)
class Evaluation(Spec):
    """Measures a model (`rows.parquet` per item and `measures.json`, see `pipeline_core.evaluation.measures`).

    With `needs_reference` there is the input `inputs.reference`: the base model, or with `reference: start` in the
    configuration (`ReferenceConfig`) the start of the measured policy. With `subject` "reward" it measures every
    reward of the run, without a model. `measures(config)` lists the measures it may write, with `ANY` in a name for a
    part known only after the run (a domain, a label); a gate on any other measure is refused before the run.
    `judge_predictions(file, column, rule)` computes the paper's figures for a file of predictions; it refuses `column`
    or `rule` if they do not apply.
    """

    needs_reward: bool = False
    needs_reference: bool = False
    measures: Callable[[Any], Sequence[Measure | Relation]] | None = None
    judge_predictions: Callable[[Path, str | None, str | None], JudgedPredictions] | None = None
    subject: Literal["model", "reward"] = "model"

    stage: ClassVar[str] = "evaluate"
    kind: ClassVar[str] = "evaluation"


SINGLE_STAGES = ("base",)
CHAIN_STAGES = ("extend", "reward")
"""Lists whose last entry is the input of later stages. Overrides may omit the index of an only entry."""
LIST_STAGES = (*CHAIN_STAGES, "policy", "evaluate")
STAGES: Mapping[str, type[Spec]] = {
    spec.stage: spec for spec in (BaseModelSource, DataExtender, RewardModel, PolicyOptimizer, Evaluation)
}
