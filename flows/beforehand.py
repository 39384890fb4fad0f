"""Checks before a run's first stage, with the places and the tracking of this installation."""

from __future__ import annotations

from flows.environment import prepare
from pipeline_core.checks import beforehand
from pipeline_core.checks.memory import memory_problems
from pipeline_core.errors import BadInput, quoted
from pipeline_core.network.proxies import check_network
from pipeline_core.objects.opening import open_store
from pipeline_core.pipeline.config import PipelineConfig
from pipeline_core.store.places import Places
from pipeline_core.tracking.opening import backend_of


def check_sources(config: PipelineConfig, *, names_only: bool = False) -> list[str]:
    """See `pipeline_core.checks.beforehand.check_sources`.

    Raises:
        BadInput: also if the store's server refuses, the tracking backend is unknown or registers no models although
            `register_as` is set; before a run also if a stage's deployment does not exist. StageFailed: the store's
            server does not answer.
    """
    places = Places.from_environment()
    places.check(writable=not names_only)
    if places.bucket:
        open_store(places).bucket.check()
    tracking, _ = backend_of(places)
    if config.register_as and not tracking.registers:
        raise BadInput(f"register_as: the tracking {quoted(places.tracking)} registers no models; MLflow does")
    absent, waiting = _elsewhere(config)
    large, near = memory_problems(config)
    absent, waiting = absent | large, [*waiting, *near]
    if absent and not names_only:
        raise BadInput("\n".join(f"{where}: {error}" for where, error in absent.items()))
    lacking = [f"{where}: {error}" for where, error in absent.items()]
    return [*beforehand.check_sources(config, names_only=names_only), *lacking, *waiting]


def _elsewhere(config: PipelineConfig) -> tuple[beforehand.ProblemsByPlace, list[str]]:
    if not (config.runner.placement or config.runner.deployment):  # Prefect's import takes a second
        return {}, []
    prepare(console=False)
    check_network()  # before Prefect is imported, which fails by a faulty proxy
    from flows.placement import placement_problems

    return placement_problems(config)
