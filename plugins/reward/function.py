"""Reward `function`: a Python function, for example rules, a call to a service, or a custom mix of scores.

The function takes prompts and completions and returns one number for each pair. `sign` declares if larger or smaller
numbers are better; without it, labelled pairs decide, as for every other reward.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NoReturn

from pydantic import Field

from pipeline_core.data.refs import DataRefs, TakesRows
from pipeline_core.errors import ArtifactChanged, BadInput, NotUsable, quoted
from pipeline_core.files.digests import digest_of_file
from pipeline_core.plugin.context import Inputs, StageContext
from pipeline_core.plugin.hooks import hookimpl
from pipeline_core.plugin.specs import PluginConfig, RewardModel
from pipeline_core.plugin.types import Metrics, RewardFn
from pipeline_core.rewards.load import checked
from pipeline_core.rewards.measuring import declared, reward_metrics
from pipeline_core.rewards.sources import labelled_text

if TYPE_CHECKING:
    from torch import Tensor


class FunctionConfig(PluginConfig):
    """Python function of prompts and completions."""

    shares_work: ClassVar[bool] = False
    row_kinds: ClassVar[tuple[str, ...]] = ()
    learns: ClassVar[bool] = False

    name: Literal["function"] = "function"
    function: str = Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")
    """Function as `package.module:name`. The module must be importable where stages run: installed or on PYTHONPATH."""
    sign: Literal[1, -1] | None = None
    """Sign: 1 if larger numbers are better, -1 if smaller ones are. Default: labelled rows decide."""
    data: Annotated[DataRefs, TakesRows("preference", "scored")] = ()
    """Labelled rows, from one or several catalog entries, to measure the reward on and to decide the sign if `sign` is
    not given. Default: the pipeline's rows."""


def found(name: str) -> Callable[[list[str], list[str]], Any]:
    """Import the function `package.module:name`.

    Raises:
        BadInput: the module cannot be imported; NotUsable: it has no such function.
    """
    module, _, function = name.partition(":")
    try:
        value = getattr(importlib.import_module(module), function, None)
    except ImportError as error:
        raise BadInput(
            f"reward.function: {module} cannot be imported ({error}); install it, or put its folder on PYTHONPATH"
        ) from error
    if not callable(value):
        raise NotUsable(f"reward.function: {module} has no function {quoted(function)}")
    return value


def check_defined(name: str) -> None:
    """Refuse a function that its module does not define. The module is imported only if its source has no such name.

    Raises:
        BadInput: there is no such module; NotUsable: it has no such function.
    """
    module, _, function = name.partition(":")
    if function in _names_in(_file_of(name)):
        return
    try:
        found(name)
    except BadInput:  # already a sentence for people
        raise
    except (Exception, SystemExit) as error:  # the module is user code and can raise anything
        raise NotUsable(f"reward.function: {module} cannot be imported ({quoted(error, 200)})") from error


def _names_in(file: Path) -> set[str]:
    """Names that a source file may bind, in any scope; empty if it is not valid Python."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError, RecursionError):
        return set()
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.alias):
            names.add(node.asname or node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return names


def _file_of(name: str) -> Path:
    """File of the module of a function. Raises `BadInput` if there is no such module, or it has no file."""
    module = name.partition(":")[0]
    try:
        spec = importlib.util.find_spec(module)
    except ValueError:  # a module without a spec, such as __main__
        spec = None
    except (Exception, SystemExit) as error:  # parents are imported, and user code can raise anything
        if isinstance(error, ImportError) and error.name and f"{module}.".startswith(f"{error.name}."):
            _no_module(module)
        raise NotUsable(f"reward.function: {module} cannot be imported ({quoted(error, 200)})") from error
    if spec is None or not spec.origin or not Path(spec.origin).is_file():
        _no_module(module)
    return Path(spec.origin)


def _no_module(module: str) -> NoReturn:
    raise BadInput(f"reward.function: there is no module {module} here; install it, or put its folder on PYTHONPATH")


def sources(config: FunctionConfig) -> Mapping[str, str]:
    """Digest of the module's file. Modules that it imports are not digested, so changes there are not detected."""
    check_defined(config.function)
    return {"function": digest_of_file(_file_of(config.function))}


def run(config: FunctionConfig, inputs: Inputs, out: Path, context: StageContext) -> Metrics:
    """Write name and digest of the function, and measure it if there are labelled rows."""
    if not context.is_main:
        return {}
    facts = {"function": config.function, "digest": digest_of_file(_file_of(config.function))}
    (out / "function.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    text = labelled_text(inputs, config.data)
    measured = reward_metrics(checked(load(out, "cpu"), config.function), out, text, seed=context.seed, own_scale=True)
    return declared(config.sign, measured, out) if config.sign else measured


def load(folder: Path, device: str) -> RewardFn:  # noqa: ARG001 - the function chooses its own device
    """Raw score: the numbers that the function returns.

    Raises:
        ArtifactChanged: the module's file has changed since the artifact was made.
    """
    facts = json.loads((folder / "function.json").read_text(encoding="utf-8"))
    if digest_of_file(_file_of(facts["function"])) != facts["digest"]:
        raise ArtifactChanged(f"{facts['function']} has changed since the reward was made: run its stage again")
    function = found(facts["function"])

    def score(prompts: Sequence[str], completions: Sequence[str]) -> Tensor:
        return function(list(prompts), list(completions))

    return score


@hookimpl
def register_reward_models() -> list[RewardModel]:
    """Register `function`."""
    example = {"function": "pipeline_core.rewards.lengths:shortness", "sign": 1}
    return [RewardModel(FunctionConfig, run, example=example, load=load, sources=sources)]
