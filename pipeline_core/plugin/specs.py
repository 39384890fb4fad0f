"""What a plugin hands to the pipeline: a typed configuration and the function that runs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from pipeline_core.plugin.types import Metrics, RewardFn, Scale, SpecSource

if TYPE_CHECKING:
    from datasets import Dataset

    from pipeline_core.data.refs import DataRef
    from pipeline_core.plugin.context import Inputs, StageContext
    from pipeline_core.plugin.figures import JudgedPredictions, Measure, Relation

NAME = r"^[\w.-]+$"
"""What plugins and labels may be called: stage ids join them with colons."""


class PluginConfig(BaseModel):
    """The configuration of one stage. A plugin subclasses it and narrows `name` to its own `Literal`."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)
    execution_fields: ClassVar[frozenset[str]] = frozenset({"label", "processes", "start_from"})
    """Settings that decide how, not what: they are no part of the result's identity."""
    row_kinds: ClassVar[tuple[str, ...]] = ("preference",)
    """Kinds of rows it takes as `inputs.preferences`; empty when it needs none."""
    learns: ClassVar[bool] = True
    """Whether a reward is fitted to its rows, so that no other may be measured on those that it learned from."""

    name: str
    """Which plugin runs the stage."""
    label: str | None = Field(None, pattern=NAME, max_length=200)
    """What this entry is called in tables and tracking; the plugin's name when not given."""
    processes: int = Field(1, ge=1, le=1024)
    """Workers that share the stage through torchrun."""

    def identity(self) -> dict[str, Any]:
        """What decides the result: the configuration as JSON without `execution_fields`."""
        return self.model_dump(mode="json", exclude=set(self.execution_fields))

    def arithmetic(self) -> str:
        """One line for `evenhand check` on how rows become optimiser steps; empty when nothing is batched."""
        return ""

    def arithmetic_of(self, rows: int) -> str:  # noqa: ARG002 - for those who count rows
        """The same where the number of rows it takes as `inputs.preferences` is known."""
        return self.arithmetic()

    def needs_hub(self) -> list[str]:
        """What it takes from the Hugging Face hub, in words for `evenhand check`; data are told apart."""
        return []

    def check_machine(self) -> None:
        """Refuse a machine that lacks what the stage needs beside its inputs: a package, a key. Called before a run
        begins, where the stage is still to be made on this machine.

        Raises:
            BadInput: saying what is missing.
        """

    def rows_made(self, count: Callable[[DataRef], int | None]) -> int | None:  # noqa: ARG002 - for those that can say
        """How many rows an extension makes, where that is known before it runs; `count` gives those of a reference."""
        return None


class MergingConfig(PluginConfig):
    """The configuration of an extension that combines parts."""

    def check_parts(self, rows: Mapping[str, int | None]) -> None:
        """Refuse settings that do not suit the parts: their labels, and how many rows each has where that is known.

        Called before a run begins.

        Raises:
            BadInput: naming the setting and the part.
        """


class CombiningConfig(PluginConfig):
    """The configuration of a reward that is made of others."""

    def takes(self, before: Sequence[str]) -> Sequence[str]:
        """Which of the rewards before it, by label, it combines: all of them by default. Asked before a run begins.

        Raises:
            EvenhandError: for one that its settings name and that does not stand before it.
        """
        return before


def taken_by(entry: PluginConfig, before: Sequence[str]) -> Sequence[str]:
    """Labels of the rewards before it that a combining one takes. Raises what `CombiningConfig.takes` does."""
    return entry.takes(before) if isinstance(entry, CombiningConfig) else before


def _as_several(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


class ScoringConfig(PluginConfig):
    """The configuration of an evaluation whose texts are scored by rewards of the run; its spec `needs_reward`."""

    scorers: Annotated[tuple[str, ...], BeforeValidator(_as_several, json_schema_input_type=str | tuple[str, ...])] = ()
    """Labels of the rewards that score the texts, one or a list; the last reward of the run when not given. Each gives
    figures under its own label."""


class ReferenceConfig(PluginConfig):
    """The configuration of an evaluation that may compare a policy with its own start; its spec `needs_reference`."""

    reference: Literal["base", "start"] = "base"
    """What log-ratios are taken to: the base for every model, or the model that each policy started from, whose
    reference it was in training."""


class PolicyConfig(PluginConfig):
    """The configuration of a policy optimiser."""

    start_from: str | None = None
    """Label of the policy entry whose model is this one's start and reference; the base model when not given."""

    def named_rewards(self) -> Sequence[str]:
        """Labels of the rewards that it takes; the last one of the run where it names none."""
        return ()

    def check_data(self, rows: Dataset, load: Callable[[DataRef], Dataset]) -> None:
        """Refuse rows to train on that do not suit the settings; `load` gives the rows of a catalog reference.

        Called before a run begins where the rows are known then, and by the loops before a model is loaded.

        Raises:
            BadInput: saying what is wrong and how to mend it.
        """


StageFunction = Callable[[Any, "Inputs", Path, "StageContext"], Metrics]


@dataclass(frozen=True)
class Spec:
    """One algorithm for one stage.

    `run(config, inputs, out, context)` fills the folder `out` and returns scalars. `revision` goes up when results
    change for an unchanged configuration. `example` is the smallest honest setting; the conformance kit runs it.
    `sources(config)` names and digests what the plugin reads besides its inputs (a local file, say). `metrics` are
    those every run returns, besides the stage's own. `core` names the packages of the core that it computes with, where
    these are not the usual ones (`pipeline_core.plugin.revisions`).
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
        """The registered plugin of this stage that is called `name`. Raises `UnknownName`."""
        found = registry.get(cls.stage, name, where)
        assert isinstance(found, cls), f"{name} is no {cls.__name__}"  # the registry takes no other
        return found

    @classmethod
    def all_in(cls, registry: SpecSource) -> list[Self]:
        """All registered plugins of this stage."""
        return [found for found in registry.specs(cls.stage) if isinstance(found, cls)]


@dataclass(frozen=True)
class BaseModelSource(Spec):
    """Brings a causal language model as a Hugging Face folder."""

    stage: ClassVar[str] = "base"
    kind: ClassVar[str] = "model"


@dataclass(frozen=True)
class DataExtender(Spec):
    """Makes preference rows, from others or anew (`rows.parquet`).

    One that `combines` takes what several entries have made, as `inputs.parts`, instead of `inputs.preferences`.
    """

    combines: bool = False

    stage: ClassVar[str] = "extend"
    kind: ClassVar[str] = "preferences"


@dataclass(frozen=True)
class RewardModel(Spec):
    """Learns or wraps a score of completions; `load(folder, device)` gives the raw score back in any later stage.

    Its run returns the metric `sign` (1, -1, or 0 for undecided), by which the raw score is multiplied. `batch_free`: a
    score depends on its text alone, to the last digit, and not on those scored with it. With `combines` it takes the
    rewards before it, as `inputs.part_folders`. `cut(folder, prompts, completions)` gives the numbers of the texts that
    it cannot read in full. `export(folder, out, sign)` writes it for those who do not have Evenhand, with a `score.py`
    whose `score(prompts, completions)` has the sign applied, and returns the Python that loads it from "FOLDER".
    `scale(folder)` says how its raw scores are probabilities, so that it can be a scorer (`ScoringConfig`); None where
    they are none.
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
"""Stands for a part of a measure's name that is not known beforehand."""


@dataclass(frozen=True)
class Evaluation(Spec):
    """Measures a model (`rows.parquet` per item and `measures.json`, see `pipeline_core.evaluation.measures`).

    With `needs_reference` the base model is an input too, as `inputs.reference`; with `reference: start` in its
    configuration (`ReferenceConfig`) it is the model that the measured policy started from. With the `subject` reward
    it measures every reward of the run instead, and has no model. `measures(config)` are those that it may write, with
    `ANY` in a name for what is known after it has run (a domain, a label): a gate on any other is then refused at once.
    `judge_predictions(file, column, rule)` gives the paper's figures of a file of somebody's predictions; `column` and
    `rule` are refused where they make no sense.
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
"""Lists whose last entry is what later stages take. Mostly of one entry, which overrides need not number."""
LIST_STAGES = (*CHAIN_STAGES, "policy", "evaluate")
STAGES: Mapping[str, type[Spec]] = {
    spec.stage: spec for spec in (BaseModelSource, DataExtender, RewardModel, PolicyOptimizer, Evaluation)
}
