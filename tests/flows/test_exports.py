"""R2: whatever a finished run leaves in the store can be exported by the commands that a user types."""

import json

import pytest

from pipeline_core.conformance.kit import commit_folder
from pipeline_core.errors import quoted
from pipeline_core.store.artifacts import Store
from tests.flows.test_cli import call

SHORT = [
    "base.steps=20",
    "policy.dpo.steps=2",
    "policy.ipo.steps=2",
    "policy.grpo.steps=2",
    "policy.grpo.prompts_per_step=4",
    "evaluate.0.samples_per_prompt=1",
]


@pytest.mark.slow
def test_r2_every_artifact_of_a_finished_run_exports(evenhand, tmp_path):
    assert evenhand("run", "sandbox", *SHORT, timeout=900).returncode == 0
    made = json.loads(evenhand("store", "ls", "--json").stdout)
    assert {one["kind"] for one in made} == {"model", "preferences", "reward", "evaluation"}
    assert {one["label"] for one in made if one["kind"] == "model"} == {"tiny_lm", "dpo", "ipo", "grpo"}
    for one in made:
        folder = tmp_path / one["key"]
        done = evenhand("export", one["key"][:12], str(folder))
        assert (done.returncode, done.stderr) == (0, done.stderr.removeprefix("error")), done.stderr
        card = (folder / "README.md").read_text()
        assert f"`{one['digest'][:16]}`" in card
        if one["kind"] in ("model", "evaluation") and one["plugin"] != "preference_gap":
            assert "| sandbox_bias | sandbox · bias ↓ |" in card


@pytest.mark.parametrize("key", ["zz", "", "../..", "*", "é" * 10_000])
def test_r2_what_names_no_artifact_is_refused_in_one_sentence(key, tmp_path, capsys):
    assert call("export", key, str(tmp_path / "out")) == 2
    said = capsys.readouterr().err
    assert f"have a key that starts with {quoted(key)}" in said
    assert said.count("\n") == 1 and len(said) < 400
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("folder", ["file/out", "x" * 300])
def test_r2_a_folder_that_cannot_be_made_is_refused_in_one_sentence(folder, tmp_path, capsys):
    store = Store(tmp_path / "home" / "store")
    store.prepare()
    store.partial("tiny").mkdir()
    (store.partial("tiny") / "config.json").write_text("{}")
    commit_folder(store, "model", "tiny", store.partial("tiny"))
    (tmp_path / "file").write_text("x")
    assert call("export", "tiny", str(tmp_path / folder)) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert "can be made: " in said or "cannot be the name of a file" in said
    assert said.startswith("error: ") and len(said) < 400
