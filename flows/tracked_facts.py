"""Facts about a pipeline's run for those who browse tracking: description, source, commit, few parameters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from prefect.context import FlowRunContext
from prefect.runtime import deployment, flow_run, task_run
from prefect.utilities.urls import url_for

from flows.server import PRIVATE, server_name
from pipeline_core.files.markdown_text import inert
from pipeline_core.pipeline.config import PipelineConfig, label_of
from pipeline_core.store.versions import commit

CONFIG_FILE = "config.yaml"


def run_tags(config: PipelineConfig, command: str | None) -> dict[str, str]:
    """Tags of the run: preset, seeds, command, commit and a description with a link to Prefect."""
    link = _link("flow-run", str(flow_run.id), f"Prefect run {flow_run.name}")
    facts = {
        "description": "\n\n".join(filter(None, [inert(config.description), link])),
        "preset": config.name,
        "seeds": ", ".join(map(str, config.seeds)),
        "source": command or f"deployment {flow_run.flow_name}",
        "commit": commit(),
    }
    return {name: value for name, value in facts.items() if value}


def stage_tags() -> dict[str, str]:
    """Tags of a stage's run: a link to its task in Prefect."""
    link = _link("task-run", str(task_run.id), f"Prefect task of {flow_run.name}") if task_run.id else ""
    return {"description": link} if link else {}


def few_parameters(config: PipelineConfig) -> dict[str, Any]:
    """Parameters by which one compares runs; the whole configuration is the artifact `config.yaml`."""
    labels = {
        stage: [label_of(entry) for entry in config.entries(stage)]
        for stage in ("extend", "reward", "policy", "evaluate")
    }
    facts = {
        "preset": config.name,
        "seeds": config.seeds,
        "base": label_of(config.base) if config.base else None,
        "data": config.data.entry if config.data else None,
        **labels,
    }
    return {name: value for name, value in facts.items() if value}


def write_config(config: PipelineConfig, folder: Path) -> Path:
    """Write the configuration as a file that `evenhand run` takes."""
    folder.mkdir(parents=True, exist_ok=True)
    document = config.model_dump(mode="json", exclude_unset=True)
    text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=100)
    (folder / CONFIG_FILE).write_text(text, encoding="utf-8")
    return folder / CONFIG_FILE


def _link(kind: str, run_id: str, text: str) -> str:
    if server_name() == PRIVATE:  # it has no pages, and ends with the run
        return ""
    address = url_for(kind, obj_id=run_id)
    return f"[{inert(text)}]({address})" if address else ""


def of_deployment() -> dict[str, str | bool | None]:
    """Facts for the run's record: its deployment, if a schedule has started it, and the commit of the code."""
    context = FlowRunContext.get()
    started = context.flow_run if context else None
    return {
        "deployment": deployment.name if deployment.id else None,
        "scheduled": bool(started and started.auto_scheduled),
        "commit": commit(),
    }
