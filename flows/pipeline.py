"""The pipeline as a Prefect flow: base, extend, reward, policies, evaluations and the report, as tasks of one run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture
from prefect.logging import get_run_logger
from prefect.runtime import deployment, flow_run
from prefect.states import Cancelled, Failed
from prefect.task_runners import ThreadPoolTaskRunner

from flows.beforehand import check_sources
from flows.environment import refuse_relative_places
from flows.final_states import cancel_unbegun, close_abandoned
from flows.gate_stage import gate, register
from flows.naming import run_name, tag_run
from flows.nights.keep import Keep
from flows.nights.removal import then_remove_old_runs
from flows.nights.watching import tell_of_worsening
from flows.notify.kinds import GATE_BROKEN
from flows.records import RunRecord, StageRecord
from flows.report_stage import report
from flows.run import PipelineRun
from flows.server import server_name
from flows.shared_store import publish_kept
from flows.stage import words_of
from flows.tracked_facts import few_parameters, of_deployment, run_tags, write_config
from flows.tracked_lineage import data_of_run
from pipeline_core.checks.presets import preset_names
from pipeline_core.checks.whole import load_config
from pipeline_core.errors import BadInput, EvenhandError
from pipeline_core.pipeline.config import PipelineConfig, config_type
from pipeline_core.plugin.registry import load_registry
from pipeline_core.stage.run import StageResult
from pipeline_core.store.locks import Stopped
from pipeline_core.store.places import Places
from pipeline_core.tracking.opening import open_tracking
from pipeline_core.tracking.protocol import in_words

# Choices in Prefect's form and a deployment's schema: the shipped presets and the installed plugins.
if TYPE_CHECKING:
    Preset: TypeAlias = str
    Config: TypeAlias = PipelineConfig
else:
    Preset = Literal[tuple(preset_names())]
    Config = config_type(load_registry())


GATE = "gate"
"""Key of broken limits among a record's failures."""


class RunFailed(EvenhandError):
    """Stages failed, or a model did not pass the gate. Finished stages are in the record and the store."""

    def __init__(self, record: RunRecord, exit_code: int) -> None:
        lines = "\n\n".join(f"{name}: {message}" for name, message in record.failures.items())
        stages = [name for name in record.failures if name != GATE]
        summary = f"{len(stages)} of the run's stages failed" if stages else "the run's gate was not passed"
        super().__init__(f"{summary}.\n{lines}")
        self.record = record
        self.exit_code = exit_code
        self.is_gate_alone = not stages


@task(cache_policy=NO_CACHE, persist_result=False)  # the store is the cache (ADR 6)
def carry_out(run: PipelineRun, stage: str, made: dict[str, Any]) -> StageResult | State[Any]:
    """Run a stage; `made` holds the results of the stages it needs, by role. A stage of a stopped run is Cancelled."""
    try:
        return run.carry_out(run.stages[stage], made)
    except Stopped as error:
        return Cancelled(message=str(error))


@flow(name="pipeline", flow_run_name=run_name, persist_result=False)
def pipeline(
    preset: Preset | None = "sandbox",
    overrides: list[str] | None = None,
    config: Config | None = None,
    command: str | None = None,
    keep: Keep | None = None,
    watch: list[str] | None = None,
) -> RunRecord:
    """Base model, data extension, reward model, policy optimisation, evaluation and report.

    Args:
        preset: Name of a shipped configuration; ignored if `config` is given.
        overrides: Changes to the configuration, as on the command line: `policy.0.beta=0.2`, `seeds=0,1`.
        config: A complete configuration instead of a preset.
        command: Command that started the run, for the report.
        keep: Runs of this deployment to keep; older ones are removed after the run. All are kept if not given.
        watch: Measures whose worsening is told after a scheduled run: by default those of the gate, else all headlines.
    """
    if deployment.id:
        refuse_relative_places()
    with then_remove_old_runs(deployment.name, keep):
        try:
            record = run_pipeline(_resolve(preset, overrides or [], config), command)
        except Stopped as error:
            return Cancelled(message=str(error))  # type: ignore[return-value] # Prefect takes it as the final state
        except RunFailed as failed:
            if failed.is_gate_alone:
                # A state of its own, by which notifications tell it from a failed stage. Prefect raises its exception.
                return Failed(name=GATE_BROKEN, message=str(failed), data=failed)  # type: ignore[return-value]
            raise
        tell_of_worsening(record, watch)
        return record


def _resolve(preset: str | None, overrides: list[str], config: PipelineConfig | None) -> PipelineConfig:
    if config is None and preset is None:
        raise BadInput("give a preset or a configuration")
    # Settings that were given alone: checks ask which ones stand for a default.
    resolved = load_config(config.model_dump(mode="json", exclude_unset=True) if config else str(preset), overrides)
    for waiting in check_sources(resolved):
        get_run_logger().warning(waiting)
    return resolved


def run_pipeline(config: PipelineConfig, command: str | None = None) -> RunRecord:
    """Run all stages of `config` within a flow, and record the run.

    Raises:
        RunFailed: a stage failed (stages that do not depend on it were run), or the gate was not passed.
    """
    places = Places.from_environment()
    document = config.model_dump(mode="json")
    close_abandoned(places.runs)
    tag_run(config)
    facts = {"run_name": flow_run.name, "flow_run_id": flow_run.id, "server": server_name(), **of_deployment()}
    tracking, begun = open_tracking(places), list[RunRecord]()
    try:
        with tracking, tracking.start_run(flow_run.name, few_parameters(config), run_tags(config, command)) as parent:
            record = RunRecord.begin(parent.id, config.name, document, **facts)
            begun.append(record)
            record.tracking = parent.url
            record.write(places.runs)  # at once: `store gc` keeps what a running run uses
            parent.log_data(data_of_run(config))
            parent.watch_machine()
            parent.log_artifact(write_config(config, places.runs / record.run_id))
            try:
                _run_all(PipelineRun(config, tracking, parent), record, places.runs, command)
            except BaseException as error:
                record.status = "killed" if isinstance(error, Stopped) or not isinstance(error, Exception) else "failed"
                if isinstance(error, Stopped):
                    parent.finish("KILLED")
                raise
            finally:
                record.end().write(places.runs)
                publish_kept(places)
                parent.set_tags({"result": record.status})
    finally:
        for record in begun if tracking.unsent else ():
            record.unsent = tracking.unsent
            record.write(places.runs)
            message = "tracking at %s has not taken: %s; the next run sends it, or `evenhand track`"
            get_run_logger().warning(message, tracking.place, in_words(tracking.unsent))
    return record


def _run_all(run: PipelineRun, record: RunRecord, runs: Path, command: str | None) -> None:
    errors = _run_stages(run, record, runs)
    if run.stopping.is_set():  # by somebody who runs other pipelines too, such as a sweep
        raise Stopped("the run was stopped")
    if any(result.stage == "evaluate" for result in run.results.values()):
        with _recording(record, "report", errors):  # a report that fails keeps the stages' results
            paths = report(run, runs / record.run_id, command)
            record.report, record.gate = str(paths.html), paths.report.gate
    has_failed = bool(errors)  # what the missing evaluation would have said, nobody knows (ADR 12)
    if record.gate:
        broken: list[Exception] = []
        with _recording(record, GATE, broken):
            gate(record.gate, run.parent)
        if run.config.register_as and not has_failed:
            with _recording(record, "register", errors):
                record.registered = register(run, record.gate)
        errors = errors or [*broken]  # the exit code of a failed stage comes before the gate's
    if errors:
        raise RunFailed(record, max(getattr(error, "exit_code", 1) for error in errors)) from errors[0]
    record.status = "completed"


@contextmanager
def _recording(record: RunRecord, name: str, errors: list[Any]) -> Iterator[None]:
    """Record an error of the block under `name`, and continue."""
    try:
        yield
    except Exception as error:
        record.failures[name] = words_of(error)
        errors.append(error)


def _run_stages(run: PipelineRun, record: RunRecord, runs: Path) -> list[BaseException]:
    # A thread for every stage, so that a stage waiting for its inputs does not block another; `PipelineRun` limits
    # the number that run at a time.
    runner: ThreadPoolTaskRunner[StageResult] = ThreadPoolTaskRunner(max_workers=len(run.stages))
    futures: dict[str, PrefectFuture[StageResult]] = {}
    try:
        with runner, run.stops_workers():
            futures = _submit(run, runner)
            return _collect(run, futures, record, runs)
    finally:
        reason = "the run was stopped" if run.stopping.is_set() else "a stage that it needs has failed"
        cancel_unbegun(futures.values(), reason)


def _submit(run: PipelineRun, runner: ThreadPoolTaskRunner[Any]) -> dict[str, PrefectFuture[StageResult]]:
    """Submit every stage. Prefect holds a stage back until its inputs are done, and drops it if one of them fails."""
    futures: dict[str, PrefectFuture[StageResult]] = {}
    settings = run.config.runner

    def may_retry(_task: object, _task_run: object, state: State[Any]) -> bool:
        return run.worth_another_try(state)

    for planned in run.stages.values():
        made = {role: futures[need] for role, need in planned.needs.items()}
        stage_task = carry_out.with_options(
            name=planned.id,
            task_run_name=planned.id,
            retries=settings.retries,
            retry_condition_fn=may_retry,  # a function: Prefect 3.8 takes a bound method for "never"
        )
        futures[planned.id] = runner.submit(stage_task, {"run": run, "stage": planned.id, "made": made})
    return futures


def _collect(
    run: PipelineRun, futures: Mapping[str, PrefectFuture[StageResult]], record: RunRecord, runs: Path
) -> list[BaseException]:
    """Wait for all stages in the order of the plan and record each; returns the errors of failed stages."""
    errors = []
    for name, future in futures.items():
        future.wait()
        if future.state.is_completed():
            run.results[name] = future.result()
            record.stages.append(StageRecord.of(run.results[name], run.stages[name]))
        # A stage whose input failed is pending for ever (NotReady in Prefect 3); the input's error is told.
        elif future.state.is_failed() or future.state.is_crashed():
            error = future.state.result(raise_on_failure=False)
            record.failures[name] = words_of(error)
            errors.append(error)
        record.write(runs)
    return errors
