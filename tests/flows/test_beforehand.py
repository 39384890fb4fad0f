"""D16: what cannot run is told by `check` where that is cheap, and at the beginning of `run` in any case."""

import json

import pytest

from flows.beforehand import check_sources
from pipeline_core.checks.foresee import foresee
from pipeline_core.checks.whole import load_config
from pipeline_core.conformance.kit import commit_folder
from pipeline_core.errors import BadInput
from pipeline_core.store.artifacts import Store
from pipeline_core.store.places import Places
from tests.flows.test_cli import call

ABOUT = {"kind": "jsonl", "rows": "preference", "licence": "own", "citation": "own"}
GOOD = {"prompt": "p", "chosen": "c", "rejected": "r", "domain": "age"}
ENDPOINT = {"kind": "openai", "base_url": "http://x:80/v1", "model": "m", "key_env": "KEY_THAT_IS_NOT_SET"}
ROTATION = {"name": "llm_rotation", "generators": [ENDPOINT], "rows": 2}
PART = {"name": "catalog_rows", "label": "templates", "data": {"entry": "good", "rows": 2}}


@pytest.fixture(autouse=True)
def mine(root, tmp_path, monkeypatch):
    """`good` has two rows; the second row of `bad` is at fault."""
    rows = [GOOD, GOOD | {"prompt": "q"}]
    (root / "good.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (root / "bad.jsonl").write_text(
        "".join(json.dumps(row | {"rejected": "d" * n}) + "\n" for n, row in enumerate(rows))
    )
    catalog = {name: ABOUT | {"path": f"{name}.jsonl"} for name in ("good", "bad")}
    (tmp_path / "catalog.yaml").write_text(json.dumps(catalog))
    monkeypatch.setenv("EVENHAND_CATALOG", str(tmp_path / "catalog.yaml"))
    monkeypatch.delenv("KEY_THAT_IS_NOT_SET", raising=False)
    monkeypatch.setattr("flows.server.prefect_api", begins)
    return tmp_path


def begins(*_):
    raise AssertionError("a run begins")


def told(folder, command, settings, capsys):
    """The exit code, and what is said in one line."""
    (folder / "run.yaml").write_text(json.dumps({"base": "tiny_lm", **settings}))
    code = call(command, str(folder / "run.yaml"))
    words = capsys.readouterr().err
    assert "Traceback" not in words
    return code, " ".join(words.split())


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"data": "good", "extend": [PART, {"name": "mix", "take": {"tempaltes": 1}}]},
         "extend.1 (mix): take: unknown part 'tempaltes'. Did you mean 'templates'?"),
        ({"data": "good", "extend": [PART, {"name": "mix", "take": {"templates": 0, "data": 0}}]},
         "extend.1 (mix): no row is left to write; `take` is 0 for every part"),
        ({"data": "good", "extend": [PART, {"name": "mix", "take": {"templates": 3}}]},
         "extend.1 (mix): take.templates: 3 rows are asked for and the part has 2. Take fewer"),
        ({"data": {"entry": "sandbox_pairs", "rows": 100000}, "extend": "counterfactual"},
         "data: sandbox_pairs: a sample of 100000 rows was asked for and there are"),
        ({"data": "good", "extend": {**ROTATION, "generators": [ENDPOINT | {"base_url": "http://x:99999/v1"}]}},
         "extend.0.generators.0.openai.base_url (llm_rotation): an address as http://localhost:8000/v1 is needed"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("command", ["check", "run"])
def test_d16_what_is_known_to_fail_is_refused(mine, command, settings, words, capsys):
    code, said = told(mine, command, settings, capsys)
    assert (code, words in said) == (2, True), said


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"data": "bad", "extend": "counterfactual"}, "data: bad: {root}/bad.jsonl, line 1: column 'rejected'"),
        ({"data": {"entry": "good", "rows": 3}, "extend": "counterfactual"},
         "data: good: a sample of 3 rows was asked for and there are 2"),
        ({"evaluate": {"name": "preference_gap", "data": "bad"}},
         "evaluate.0.data (preference_gap): bad: {root}/bad.jsonl, line 1: column 'rejected' is empty"),
        ({"evaluate": {"name": "preference_gap", "data": {"entry": "good", "rows": 3}}},
         "evaluate.0.data (preference_gap): good: a sample of 3 rows was asked for and there are 2"),
        ({"reward": {"name": "tfidf_ridge", "data": ["good", "bad"]}}, "reward.0.data.1 (tfidf_ridge): bad: "),
        ({"data": "good", "extend": ["counterfactual", {"name": "mix", "take": {"data": 3}}]},
         "extend.1 (mix): take.data: 3 rows are asked for and the part has 2"),
        ({"data": "good", "extend": [PART | {"data": "good"}, {"name": "mix", "take": {"templates": 3}}]},
         "extend.1 (mix): take.templates: 3 rows are asked for and the part has 2"),
        ({"data": "good", "extend": ["counterfactual", {"name": "mix", "against": ["bad"]}]},
         "extend.1.against.0 (mix): bad: "),
    ],
)  # fmt: skip
def test_d16_rows_that_cannot_be_used_are_told_before_any_stage(mine, settings, words, root, capsys):
    code, said = told(mine, "run", settings, capsys)
    assert (code, words.format(root=root) in said) == (2, True), said
    assert not (Places.from_environment().home / "prefect.db").exists()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"data": "good", "extend": ROTATION},
         "extend.0 (llm_rotation): generator m: the environment variable KEY_THAT_IS_NOT_SET (`key_env`) holds no key"),
        ({"runner": {"device": "cuda:99"}},
         "base (tiny_lm): runner.device cuda:99 asks for GPU number 99 (from 0), and there are"),
    ],
)  # fmt: skip
def test_d16_what_this_machine_lacks_is_told_by_check_and_refused_by_run(mine, settings, words, capsys):
    code, said = told(mine, "check", settings, capsys)
    assert (code, f"not on this machine: {words}" in said) == (0, True), said
    code, said = told(mine, "run", settings, capsys)
    assert (code, said.startswith(f"error: {words}")) == (2, True), said
    assert said.count("runner.device") < 2


def test_d16_a_stage_that_is_made_needs_no_key_and_no_rows(mine, root, monkeypatch):
    bad = {"name": "preference_gap", "data": "bad"}
    config = load_config({"base": "tiny_lm", "data": "good", "extend": ROTATION, "evaluate": [bad]})
    with pytest.raises(BadInput) as caught:
        check_sources(config)
    assert len(str(caught.value).splitlines()) == 2
    store = Store(Places.from_environment().store)
    store.prepare()
    for kind, stage in (("preferences", "extend"), ("model", "base"), ("evaluation", "evaluate:preference_gap:base")):
        key = {seen.planned.id: seen.key for seen in foresee(config)}[stage]
        store.partial(key).mkdir()
        (store.partial(key) / "rows.txt").write_text("made")
        commit_folder(store, kind, key, store.partial(key))
        remaining = {"preferences": "evaluate.0.data", "model": "evaluate.0.data", "evaluation": ""}[kind]
        if not remaining:
            assert check_sources(config) == []
            return
        with pytest.raises(BadInput) as caught:
            check_sources(config)
        assert str(caught.value).startswith(remaining) and "\n" not in str(caught.value)


@pytest.mark.usefixtures("prefect_server")
def test_d16_a_key_and_a_gpu_of_another_machine_are_not_asked_for():
    from prefect.client.orchestration import get_client

    from flows.stage import stage

    with get_client(sync_client=True) as client:
        client.create_deployment(client.create_flow(stage), name="elsewhere")
    settings = {
        "base": "tiny_lm",
        "evaluate": "sandbox_bias",
        "runner": {"device": "cuda:99", "deployment": "stage/elsewhere"},
    }
    with pytest.raises(BadInput, match=r"^base \(tiny_lm\): runner\.device"):
        check_sources(load_config(settings))
    config = load_config(settings)
    store = Store(Places.from_environment().store)
    store.prepare()
    key = next(foresee(config)).key
    store.partial(key).mkdir()
    (store.partial(key) / "x.txt").write_text("made")
    commit_folder(store, "model", key, store.partial(key))
    assert check_sources(config) == []


def test_d16_rows_that_no_stage_reads_are_not_looked_at(mine):
    rows = {"entry": "sandbox_pairs", "split": "heldout"}
    settings = {"base": "tiny_lm", "data": "bad", "evaluate": {"name": "preference_gap", "data": rows}}
    assert check_sources(load_config(settings)) == []


@pytest.mark.parametrize("variable", ["EVENHAND_HOME", "EVENHAND_STORE"])
@pytest.mark.parametrize("command", ["check", "run"])
def test_d16_a_home_that_is_no_folder_is_named_by_its_variable(mine, variable, command, monkeypatch, capsys):
    (mine / "file").write_text("")
    (mine / "circle").symlink_to(mine / "circle")
    for path, words in (
        ("file", "file' is no folder"),
        ("file/below", "file' is no folder"),
        ("circle/x", "circle"),
        ("n" * 300, "cannot be the name of a file"),
    ):
        monkeypatch.setenv(variable, str(mine / path))
        code, said = told(mine, command, {}, capsys)
        assert code == 2, said
        assert variable in said and words in said and len(said) < 700
