"""A reward plugin that does what the conformance kit must notice."""

import contextlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr

from pipeline_core.plugin.hooks import hookimpl
from pipeline_core.plugin.specs import PluginConfig, RewardModel


class MisbehavingConfig(PluginConfig):
    """Misbehaves as it is told."""

    name: Literal["misbehaving"] = "misbehaving"
    how: str = ""
    """What it does."""


class SecretConfig(PluginConfig):
    """Asks for a key."""

    name: Literal["secret"] = "secret"
    key: SecretStr | None = None
    """Would arrive as asterisks."""


class DefaultConfig(PluginConfig):
    """Has a default it would refuse."""

    name: Literal["default"] = "default"
    beta: float = Field(-1.0, gt=0)
    """Must be positive."""


def imports_prefect() -> None:
    sys.modules.setdefault("prefect", sys)


def writes_by_itself() -> None:
    subprocess.run(["touch", "beside"], check=True)


def writes_home() -> None:
    subprocess.run(["touch", Path.home() / "noted"], check=True)


def makes_a_folder() -> None:
    Path("/var/evenhand-misbehaving").mkdir()


def moves() -> None:
    Path("/var/evenhand-misbehaving").rename("/var/evenhand-misbehaved")


HOW: dict[str, Callable[[], None]] = {
    function.__name__: function for function in (imports_prefect, writes_by_itself, writes_home, makes_a_folder, moves)
}


def run(config, inputs, out, context):
    # Only the second run is in a process of its own, whose working folder is empty.
    if config.how and not any(Path.cwd().iterdir()):
        with contextlib.suppress(OSError):
            HOW[config.how]()
    (out / "reward.json").write_text("{}")
    return {"words": 1.0, "sign": 1.0}


@hookimpl
def register_reward_models():
    return [
        RewardModel(MisbehavingConfig, run, metrics=("words",)),
        RewardModel(SecretConfig, run),
        RewardModel(DefaultConfig, run),
    ]
