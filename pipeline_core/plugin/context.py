"""Inputs of a running stage, and its context: seed, device, event log and checkpoints."""

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
"""Prefix of the role of an artifact that a plugin combines with others."""
REWARD = "reward:"
"""Prefix of the role of a reward: of a policy with several rewards, or of an evaluation's scorer."""


@dataclass(frozen=True)
class Inputs:
    """Artifacts (role to folder) and catalog data of one stage.

    Roles: `model` (start of a policy, subject of an evaluation), `reference` (a policy's frozen reference; in an
    evaluation the base or the policy's start), `preferences`, `reward` (`reward:<label>` for a policy with several
    rewards and for an evaluation's scorers), and `part:<label>` for each artifact that a plugin combines.
    """

    folders: Mapping[str, Path]
    catalog: Catalog
    rewards: RewardReader | None = None
    """Opens reward artifacts; None for a stage without reward inputs."""
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
        """Folder of the frozen model: a policy's start; in an evaluation the base or the policy's start."""
        return self._folder("reference")

    @property
    def reward(self) -> Path:
        """Folder of the reward."""
        return self._folder("reward")

    @cached_property
    def preferences(self) -> Dataset:  # kept in `__dict__`, which a frozen dataclass leaves open
        """Preference rows: those of the extend stage's artifact, else of the pipeline's `data`."""
        from pipeline_core.data.tables import open_table

        if "preferences" in self.folders:
            return open_table(self.folders["preferences"] / "rows.parquet")
        if self.data_ref is None:
            raise BadInput("this stage needs preference pairs: set `data:` to a catalog entry or configure `extend:`")
        return self.data(self.data_ref)

    @cached_property
    def part_folders(self) -> dict[str, Path]:
        """Folders of the artifacts to combine, by label of the entry that made each."""
        return {role.removeprefix(PART): folder for role, folder in self.folders.items() if role.startswith(PART)}

    @cached_property
    def scorer_folders(self) -> dict[str, Path]:
        """Folders of the rewards among the `reward:<label>` roles, by label."""
        return {role.removeprefix(REWARD): folder for role, folder in self.folders.items() if role.startswith(REWARD)}

    @cached_property
    def parts(self) -> dict[str, Dataset]:
        """Preference rows to combine, by label: the pipeline's own rows as `data`, then those of the entries."""
        from pipeline_core.data.tables import open_table

        own = {"data": self.data(self.data_ref)} if self.data_ref else {}
        return own | {label: open_table(folder / "rows.parquet") for label, folder in self.part_folders.items()}

    def data(self, ref: DataRef) -> Dataset:
        """Rows of a catalog entry, checked against its row contract."""
        return self.catalog.load(ref)

    def reward_fn(self, device: str, *, remember: bool = False, shared: bool = False) -> RewardFn:
        """The reward stage's function; every call checks its scores (length, finite).

        `remember` caches scores of texts; not for stages that resume from a checkpoint (see `load_reward`). With
        `shared`, processes that all ask for the same texts share the scoring.
        """
        return self._rewards.open(self._folder("reward"), device, remember=remember, shared=shared)

    def reward_fns(self, device: str, labels: Iterable[str] = (), *, skip: bool = False) -> list[RewardFn]:
        """Functions of the rewards with these labels; without labels, the function of the role `reward`.

        With `skip` the score of a text is NaN if the reward gives no usable one.
        """
        roles = [REWARD + label for label in labels] or ["reward"]
        return [self._rewards.open(self._folder(role), device, skip=skip) for role in roles]

    def cut_by_reward(self, prompts: Sequence[str], completions: Sequence[str]) -> list[int] | None:
        """Indices of the texts that the reward truncates; None if its plugin has no `cut`."""
        return self._rewards.cut(self._folder("reward"), prompts, completions)

    @property
    def reward_specs(self) -> SpecSource:
        """Registered plugins; those that made the reward inputs are among them."""
        return self._rewards.specs

    @property
    def _rewards(self) -> RewardReader:
        if self.rewards is None:
            raise BadInput("this stage reads a reward, and was started without a reader of rewards")
        return self.rewards


@dataclass(frozen=True)
class StageContext:
    """Seed, device, rank, event log and checkpoints of one running stage."""

    seed: int
    device: str
    events: EventLog
    checkpoints: Checkpoints
    rank: int = 0
    world_size: int = 1
    scratch: Path = field(default_factory=Path)
    """Folder of caches keyed by content, shared by all runs of this store. Never part of an artifact."""

    @property
    def is_main(self) -> bool:
        """True in the process that writes files (rank 0)."""
        return self.rank == 0
