"""Runs a suite of continuations on a rigged model with rigged scorers, over rows written as files of a catalog."""

from __future__ import annotations

import importlib
import json

import pytest

from pipeline_core.conformance.kit import commit_folder
from pipeline_core.plugin.registry import PluginOrigin, Registry
from pipeline_core.stage.key import Job
from pipeline_core.stage.run import run_stage
from pipeline_core.stage.settings import ExecutionSettings
from pipeline_core.store.artifacts import Store
from tests.plugins.evaluate.rigged_speech import speaks
from tests.plugins.modules import module_of

RUNNER = ExecutionSettings(launch="in_process", device="cpu")
SUITES = ("real_toxicity", "bold", "reward_toxicity")


def registered():
    registry = Registry()
    for module in ("tests.plugins.evaluate.rigged_speech", *{module_of("evaluate", name) for name in SUITES}):
        registry.add(importlib.import_module(module), PluginOrigin(module, "tests", "1"))
    return registry


def scored_by(store, registry, label, **settings):
    """A rigged scorer's artifact."""
    config = {"name": "rigged_scorer", "how": label, **settings}
    return run_stage(Job(stage="reward", label=label, config=config, runner=RUNNER), store, registry)


@pytest.fixture
def measure(tmp_path):
    """`measure(suite, words of the model, labels of scorers, **settings)` gives the artifact and its measures."""

    def run(suite, words, scorers, **settings):
        registry, store = registered(), Store(tmp_path / "store")
        store.prepare()
        key = "_".join(words).replace("</s>", "end")
        found = store.find("model", key)
        model = found.ref if found else commit_folder(store, "model", key, speaks(store.partial(key), *words))
        inputs = {f"reward:{label}": scored_by(store, registry, label).ref for label in scorers}
        job = Job(
            stage="evaluate",
            label="model",
            config={"name": suite, **settings},
            inputs={"model": model, **inputs},
            runner=RUNNER,
        )
        made = run_stage(job, store, registry)
        return made, json.loads((made.path / "measures.json").read_text())

    return run


@pytest.fixture
def catalog(tmp_path, monkeypatch):
    """Writes entries over the built-in ones; their files lie below `tmp_path`, which is EVENHAND_DATA."""

    def write(text):
        from pipeline_core.data import catalog

        (tmp_path / "catalog.yaml").write_text(text)
        monkeypatch.setenv("EVENHAND_CATALOG", str(tmp_path / "catalog.yaml"))
        catalog._read_catalog.cache_clear()

    monkeypatch.setenv("EVENHAND_DATA", str(tmp_path))
    return write
