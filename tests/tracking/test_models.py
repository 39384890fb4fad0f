"""Model versions in a real SQLite registry, and behind a real `mlflow server` that takes artifacts over HTTP."""

from __future__ import annotations

import multiprocessing
import shutil
from dataclasses import replace

import pytest

from pipeline_core.conformance.kit import tiny_model
from pipeline_core.tracking.mlflow.client import MlflowTracking
from pipeline_core.tracking.mlflow.registered import MOST_TEXT
from pipeline_core.tracking.registry import NewVersion


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("store") / "model" / "key of it")


@pytest.fixture(scope="module")
def embedded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("embedded")
    with MlflowTracking(f"sqlite:///{folder}/mlflow.db", (folder / "artifacts").as_uri()) as tracking:
        yield tracking


def wanted(folder, name="fair model", digest="d1", alias="candidate"):
    tags = {"evenhand.key": "k", "evenhand.stages": "s" * 9000}
    return NewVersion(name, alias, "dpo", digest, folder, "It has passed.", tags)


def loaded(tracking, name="fair model", alias="candidate"):
    """The folder that MLflow gives for the alias, loaded by transformers."""
    import mlflow
    from transformers import AutoModelForCausalLM

    mlflow.set_tracking_uri(tracking.uri)
    folder = mlflow.artifacts.download_artifacts(f"models:/{name}@{alias}")
    return folder, AutoModelForCausalLM.from_pretrained(folder)


def same_weights(model, folder):
    from safetensors.torch import load_file

    ours = load_file(folder / "model.safetensors")
    theirs = dict(model.named_parameters())
    return all(bool((theirs[name] == weight).all()) for name, weight in ours.items() if name in theirs)


def test_an_embedded_version_is_the_artifacts_own_folder(embedded, model):
    with embedded.start_run("run") as run:
        version = embedded.models.register(wanted(model), run.id)
    assert (version.number, version.is_new) == ("1", True)
    folder, found = loaded(embedded)
    assert folder == str(model), "no copy"
    assert same_weights(found, model)
    stored = embedded.client.get_model_version("fair model", "1")
    assert (stored.run_id, stored.description) == (run.id, "It has passed.")
    assert stored.tags["evenhand.digest"] == "d1"
    assert len(stored.tags["evenhand.stages"]) == MOST_TEXT
    assert list(embedded.client.list_artifacts(run.id)) == []


def test_the_same_files_are_one_version_and_other_files_another(embedded, model):
    with embedded.start_run("again") as run:
        found = embedded.models.register(wanted(model, name="often"), run.id)
        again = embedded.models.register(wanted(model, name="often", alias="other"), run.id)
        changed = embedded.models.register(wanted(model, name="often", digest="d2"), run.id)
    assert [(one.number, one.is_new) for one in (found, again, changed)] == [("1", True), ("1", False), ("2", True)]
    aliases = embedded.client.get_registered_model("often").aliases
    assert {alias: str(number) for alias, number in aliases.items()} == {"candidate": "2", "other": "1"}


def test_a_version_whose_folder_is_gone_is_not_found_again(embedded, model, tmp_path):
    moved = shutil.copytree(model, tmp_path / "moved")
    with embedded.start_run("gone") as run:
        assert embedded.models.register(wanted(moved, name="gone"), run.id).number == "1"
        shutil.rmtree(moved)
        assert embedded.models.register(wanted(model, name="gone"), run.id).number == "2"
    assert loaded(embedded, "gone")[0] == str(model)


def register_at_once(uri, folder, together, made):
    with MlflowTracking(uri) as tracking, tracking.start_run("racing") as run:
        together.wait(60)
        version = tracking.models.register(wanted(folder, name="raced"), run.id)
        made.put((version.number, version.is_new))


@pytest.mark.slow
def test_processes_that_register_the_same_files_at_once_make_one_version(embedded, model):
    spawn = multiprocessing.get_context("spawn")
    together, made = spawn.Barrier(3), spawn.Queue()
    racers = [spawn.Process(target=register_at_once, args=(embedded.uri, model, together, made)) for _ in range(3)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join(120)
    assert [racer.exitcode for racer in racers] == [0, 0, 0]
    assert sorted(made.get(timeout=5) for _ in racers) == [("1", False), ("1", False), ("1", True)]


def test_a_server_gets_the_folder_once(server, model):
    with MlflowTracking(server.uri) as tracking, tracking.start_run("run") as run:
        version = tracking.models.register(wanted(model), run.id)
        again = tracking.models.register(wanted(model), run.id)
        assert (version.is_new, again.is_new, again.number) == (True, False, version.number)
        assert version.source == f"{tracking.models.artifact_uri(run.id)}/models/dpo"
        names = {entry.path for entry in tracking.client.list_artifacts(run.id, "models/dpo")}
    assert {"models/dpo/config.json", "models/dpo/model.safetensors", "models/dpo/tokenizer.json"} <= names
    folder, found = loaded(tracking)
    assert folder != str(model)
    assert same_weights(found, model)


def test_what_is_said_of_a_version_is_what_the_last_run_says(embedded, model):
    once = wanted(model, name="told", digest="t1")
    again = replace(once, description="Passed again.", tags={"evenhand.key": "other"})
    with embedded.start_run("one") as one, embedded.start_run("two") as two:
        first = embedded.models.register(once, one.id)
        found = embedded.models.register(again, two.id)
    assert (found.number, found.is_new) == (first.number, False)
    stored = embedded.client.get_model_version("told", found.number)
    assert (stored.description, stored.tags["evenhand.key"]) == ("Passed again.", "other")


def test_of_two_versions_of_the_same_files_the_older_stays(embedded, model):
    """As where two runs on a server find none, and both make one."""
    registry = embedded.models
    with embedded.start_run("run") as run:
        one, other = wanted(model, name="twice", digest="same"), wanted(model, name="twice", digest="same")
        first = registry.register(one, run.id)
        made = registry._create(other, run.id)
        kept = registry._older(made, other)
    assert (first.number, made.number, kept.number) == ("1", "2", "1")
    assert [int(version.version) for version in embedded.client.search_model_versions("name = 'twice'")] == [1]
