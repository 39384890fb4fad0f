"""Any task of the lm-evaluation-harness by name (`pip install 'evenhand[lm-eval]'`).

The harness builds requests and computes metrics. Log-likelihoods come from the engine of all suites, which runs
examples and questions that requests share once. The harness's scores of every item are kept, and its own figures where
these are not a mean over items. Two models are compared on the same items like in any other suite.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Iterator, Mapping, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field
from yaml import YAMLError

from pipeline_core.errors import BadInput, NotUsable, UnknownName, quoted
from pipeline_core.evaluation.item_counts import item_counts
from pipeline_core.evaluation.measures import write_evaluation
from pipeline_core.files.atomic import user_path
from pipeline_core.files.digests import digest_of_file
from pipeline_core.plugin.context import Inputs, StageContext
from pipeline_core.plugin.figures import Measure, Score
from pipeline_core.plugin.hooks import hookimpl
from pipeline_core.plugin.specs import Evaluation, PluginConfig
from pipeline_core.plugin.types import Metrics

if TYPE_CHECKING:
    from lm_eval.tasks import TaskManager

    from plugins.evaluate.lm_eval._model import SharingLM


INVALID = "invalid"
FAULTS = (LookupError, TypeError, ValueError, OSError, ImportError, AttributeError, YAMLError)
"""Errors of the harness for a user's task files, which may name functions that do not exist."""


class LmEvalConfig(PluginConfig):
    """Tasks of the lm-evaluation-harness."""

    name: Literal["lm_eval"] = "lm_eval"
    tasks: tuple[str, ...] = Field(min_length=1)
    """Names of tasks or of groups of tasks."""
    include_path: str | None = None
    """Folder with task files of your own."""
    num_fewshot: int | None = Field(None, ge=0)
    """Answered examples before every question; the task's own number when not given."""
    limit: int | None = Field(None, ge=1)
    """Number of items of every task, taken from its start; for trials."""
    tokens_per_batch: int = Field(2048, ge=1)
    """Padded tokens run through the model at once where likelihoods are asked."""
    batch_rows: int = Field(16, ge=1)
    """Rows run at once where the model writes."""
    max_length: int | None = Field(None, ge=8)
    """Maximum number of tokens of a text, which is cut from the left; the model's positions when not given."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Dtype of weights while scoring; `auto` is bfloat16 on CUDA and float32 elsewhere. Compare models in one dtype."""

    def identity(self) -> dict[str, Any]:
        """The configuration without the folder's place, since its files are digested."""
        return super().identity() | ({"include_path": "local"} if self.include_path else {})

    def check_machine(self) -> None:
        """Refuse an environment without the harness."""
        if importlib.util.find_spec("lm_eval") is None:
            raise BadInput("tasks of the lm-evaluation-harness need an optional part: pip install 'evenhand[lm-eval]'")


def run(config: LmEvalConfig, inputs: Inputs, out: Path, context: StageContext) -> Metrics:
    """Let the harness ask `inputs.model`; processes share the likelihoods, and each writes all texts."""
    config.check_machine()
    from lm_eval import simple_evaluate

    from pipeline_core.models.loading import load_model
    from plugins.evaluate.lm_eval._model import SharingLM

    manager = known_tasks(config)
    lm = SharingLM(
        *load_model(inputs.model, context.device, config.precision),
        max_length=config.max_length,
        batch_rows=config.batch_rows,
        tokens_per_batch=config.tokens_per_batch,
    )
    seeds = dict.fromkeys(
        ("random_seed", "numpy_random_seed", "torch_random_seed", "fewshot_random_seed"), context.seed
    )
    settings: dict[str, Any] = {"num_fewshot": config.num_fewshot, "limit": config.limit}
    try:
        # no bootstrap: the report makes intervals, of the items
        results = simple_evaluate(
            lm, tasks=list(config.tasks), task_manager=manager, bootstrap_iters=0, log_samples=True, **settings, **seeds
        )
    except (LookupError, TypeError, ValueError, OSError) as error:
        raise BadInput(
            f"the lm-evaluation-harness cannot run {', '.join(config.tasks)} ({type(error).__name__}: {error}); "
            "a task's data come from the hub unless its file names local ones"
        ) from error
    if not context.is_main:
        return {}
    scores = [score for task, samples in results["samples"].items() for score in item_scores(task, samples)]
    broken = {score.domain for score in scores if score.score == INVALID and score.value}
    own = figures({task: results["results"][task] for task in trusted(results, broken)})
    cut = sum(is_cut(lm, sample) for samples in results["samples"].values() for sample in samples)
    metrics = write_evaluation(out, scores, measures(scores, own, results), context.seed, "document")
    return own | counts(config.name, results, cut) | metrics


def is_cut(lm: SharingLM, sample: Mapping[str, Any]) -> bool:
    """True where a request of an item has more tokens than the model accepts; False for texts read by windows."""
    for prompt, *rest in sample["arguments"]:
        if not rest:  # a text that is read by windows loses nothing
            continue
        if isinstance(rest[0], str):
            if (prompt, rest[0]) in lm.cut:
                return True
        elif len(lm.tok_encode(prompt)) > lm.max_length - rest[0].get("max_gen_toks", lm.max_gen_toks):
            return True
    return False


def known_tasks(config: LmEvalConfig) -> TaskManager:
    """The harness's tasks and those of `include_path`.

    Raises:
        UnknownName: no such task, with the nearest names.
        BadInput: the harness cannot read the files of `include_path`.
    """
    from lm_eval.tasks import TaskManager

    folder = _folder(config)
    try:
        manager = TaskManager(include_path=folder and str(folder))
    except FAULTS as error:
        told = f"include_path: the lm-evaluation-harness cannot read {quoted(config.include_path, 200)}"
        raise BadInput(f"{told} ({type(error).__name__}: {quoted(error, 200)})") from error
    for task in config.tasks:
        if not manager.match_tasks([task]):
            raise UnknownName("task of the lm-evaluation-harness", task, manager.all_tasks)
    return manager


def item_scores(task: str, samples: list[dict[str, Any]]) -> Iterator[Score]:
    """Scores of items: every metric that is a number, and `invalid`; `domain` is the task.

    An item with a likelihood that is NaN is invalid and has no other score: the harness would take its first option.
    """
    for sample in samples:
        is_invalid = any(math.isnan(number) for number in _numbers(sample["resps"]))
        item = f"{task}/{sample['doc_id']}"
        about: dict[str, Any] = {"item": item, "domain": task, "cluster": item}
        yield Score(score=INVALID, value=float(is_invalid), **about)
        if is_invalid:
            continue
        for metric in sample["metrics"]:
            value = sample[metric]
            if isinstance(value, int | float) and math.isfinite(value):
                yield Score(score=_named(metric, sample["filter"]), value=float(value), **about)


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, list | tuple):
        for inner in value:
            yield from _numbers(inner)
    elif isinstance(value, float):
        yield value


def _named(metric: str, filter_: str) -> str:
    return metric if filter_ == "none" else f"{metric}:{filter_}"


def trusted(found: Mapping[str, Any], broken: Set[str]) -> list[str]:
    """Tasks and groups whose own figures count: none with invalid items (`broken`), which the harness uses as answers.

    With any broken task, no figures of groups are used.
    """
    return [task for task in found["results"] if not broken or (task in found["samples"] and task not in broken)]


def figures(results: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """The harness's own figures, by `lm_eval/<task>/<metric>`."""
    return {
        f"lm_eval/{task}/{_named(*key.partition(',')[::2])}": float(value)
        for task, values in results.items()
        for key, value in values.items()
        # figures are called `metric,filter`; other entries describe the task
        if "," in key and isinstance(value, int | float) and math.isfinite(value) and "_stderr" not in key
    }


def measures(scores: list[Score], own: Mapping[str, float], found: Mapping[str, Any]) -> list[Measure]:
    """Measures whose figure is the mean of their items; others (perplexities, corpus scores) are metrics alone."""
    invalid: dict[str, Any] = {"statistic": "share", "better": "lower", "unit": "%", "headline": False}
    made = [
        Measure(f"lm_eval/{task}/invalid_share", INVALID, only={"domain": task}, **invalid)
        for task in sorted({score.domain for score in scores})
    ]
    for task, score in sorted({(score.domain, score.score) for score in scores if score.score != INVALID}):
        values = [one.value for one in scores if (one.domain, one.score) == (task, score)]
        name = f"lm_eval/{task}/{score}"
        if math.isclose(math.fsum(values) / len(values), own.get(name, math.nan), rel_tol=1e-6, abs_tol=1e-9):
            is_better = found["higher_is_better"].get(task, {}).get(score.partition(":")[0])
            better: Any = {True: "higher", False: "lower"}.get(is_better, "neither")
            made.append(Measure(name, score, "mean", better, only={"domain": task}))
    return made


def counts(suite: str, found: Mapping[str, Any], cut: int) -> Metrics:
    """Counts of items asked, of items that `limit` left out, by task, and of items that were cut."""
    sizes = found["n-samples"].items()
    left_out = {f"by_limit_of_{task}": size["original"] - size["effective"] for task, size in sizes}
    return item_counts(suite, sum(size["effective"] for _, size in sizes), left_out, cut=cut)


def _folder(config: LmEvalConfig) -> Path | None:
    folder = user_path(config.include_path) if config.include_path else None
    if folder and not folder.is_dir():
        raise NotUsable(f"include_path: there is no folder {quoted(config.include_path, 200)}")
    return folder


def sources(config: LmEvalConfig) -> dict[str, str]:
    """The user's own task files, and the harness's version."""
    from importlib.metadata import PackageNotFoundError, version

    folder = _folder(config)
    files = sorted(path for path in folder.rglob("*") if path.is_file()) if folder else []
    try:
        digests = {"lm_eval": version("lm_eval")}  # tasks change with the harness
    except PackageNotFoundError:
        digests = {"lm_eval": ""}
    return digests | {path.relative_to(folder or path).as_posix(): digest_of_file(path) for path in files}


@hookimpl
def register_evaluations() -> list[Evaluation]:
    """The lm-evaluation-harness."""
    return [
        Evaluation(LmEvalConfig, run, revision=2, example={"tasks": ["lambada_openai"], "limit": 2}, sources=sources)
    ]
