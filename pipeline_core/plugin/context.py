"""What a running stage may touch: its inputs, and the context with seed, device, tracking and checkpoints."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline_core.data.catalog import Catalog
from pipeline_core.data.refs import DataRef
from pipeline_core.errors import BadInput
from pipeline_core.plugin.checkpoints import Checkpoints
from pipeline_core.plugin.events import EventLog

if TYPE_CHECKING:
    from datasets import Dataset

    from pipeline_core.plugin.types import RewardFn, RewardReader, SpecSource


PART = "part:"
"""Begins the role of an artifact that is combined with others."""
REWARD = "reward:"
"""Begins the role of one of several rewards of a policy, or of a scorer of an evaluation."""


@dataclass(frozen=True)
class Inputs:
    """Artifacts (role to folder) and catalog data of one stage.

    Roles: `model` (where a policy starts, what an evaluation measures), `reference` (a policy's fixed reference, the
    base in an evaluation), `preferences`, `reward` (`reward:<label>` for a policy of several and for the scorers of an
    evaluation), and `part:<label>` for each of what a plugin combines.
    """

    folders: Mapping[str, Path]
    catalog: Catalog
    rewards: RewardReader | None = None
    """Opens rewards; a stage that is run without one has none among its inputs."""
    data_ref: DataRef | None = None

    def _folder(self, role: str) -> Path:
        if role not in self.folders:
            raise BadInput(
                f"this stage needs a {role!r} artifact and none is configured; it has {sorted(self.folders)}"
            )
        return self.folders[role]

    @property
    def model(self) -> Path:
        """Folder of the model to train or measure."""
        return self._folder("model")

    @property
    def reference(self) -> Path:
        """Folder of the model that stays fixed: a policy's start, or the base in an evaluation that needs it."""
        return self._folder("reference")

    @property
    def reward(self) -> Path:
        """Folder of the reward."""
        return self._folder("reward")

    @cached_property
    def preferences(self) -> Dataset:
        """Preference rows: the extend stage's artifact, or the catalog entry of the pipeline's `data`."""
        from pipeline_core.data.tables import open_table

        if "preferences" in self.folders:
            return open_table(self.folders["preferences"] / "rows.parquet")
        if self.data_ref is None:
            raise BadInput("this stage needs preference pairs: set `data:` to a catalog entry or configure `extend:`")
        return self.data(self.data_ref)

    @cached_property
    def part_folders(self) -> dict[str, Path]:
        """Artifacts to combine, by the labels of the entries that made them."""
        return {role.removeprefix(PART): folder for role, folder in self.folders.items() if role.startswith(PART)}

    @cached_property
    def scorer_folders(self) -> dict[str, Path]:
        """The rewards that score an evaluation's texts, by label."""
        return {role.removeprefix(REWARD): folder for role, folder in self.folders.items() if role.startswith(REWARD)}

    @cached_property
    def parts(self) -> dict[str, Dataset]:
        """Preference rows to combine: the pipeline's own as `data`, then those of the entries by label."""
        from pipeline_core.data.tables import open_table

        own = {"data": self.data(self.data_ref)} if self.data_ref else {}
        return own | {label: open_table(folder / "rows.parquet") for label, folder in self.part_folders.items()}

    def data(self, ref: DataRef) -> Dataset:
        """Rows of a catalog entry, checked against its row contract."""
        return self.catalog.load(ref)

    def reward_fn(self, device: str, *, remember: bool = False) -> RewardFn:
        """The reward stage's function; its answers are checked (length, finite) at every call.

        `remember` texts scored before, where nothing is resumed in the middle (see `load_reward`).
        """
        return self._rewards.open(self._folder("reward"), device, remember=remember)

    def reward_fns(self, device: str, labels: Iterable[str] = (), *, skip: bool = False) -> list[RewardFn]:
        """The functions of several reward stages by label, or of the one that policies take where none is named.

        With `skip` texts without a usable answer are NaN.
        """
        roles = [REWARD + label for label in labels] or ["reward"]
        return [self._rewards.open(self._folder(role), device, skip=skip) for role in roles]

    def cut_by_reward(self, prompts: Sequence[str], completions: Sequence[str]) -> list[int] | None:
        """Numbers of the texts that the reward cannot read in full; None where it does not say."""
        return self._rewards.cut(self._folder("reward"), prompts, completions)

    @property
    def reward_specs(self) -> SpecSource:
        """The plugins that rewards among the inputs were made by."""
        return self._rewards.specs

    @property
    def _rewards(self) -> RewardReader:
        if self.rewards is None:
            raise BadInput("this stage reads a reward, and was started without a reader of rewards")
        return self.rewards


@dataclass(frozen=True)
class StageContext:
    """Seed, device, place among the processes, event log and checkpoints of one running stage."""

    seed: int
    device: str
    events: EventLog
    checkpoints: Checkpoints
    rank: int = 0
    world_size: int = 1
    scratch: Path = field(default_factory=Path)
    """Shared between runs of this store: caches keyed by content. Never part of an artifact."""

    @property
    def is_main(self) -> bool:
        """Whether this process writes files."""
        return self.rank == 0
