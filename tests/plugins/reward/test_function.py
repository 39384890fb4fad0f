"""A reward that is a Python function: found by its path, kept by its file's digest, its sign said or tested."""

import json
import sys

import pytest
from datasets import Dataset

from pipeline_core.errors import ArtifactChanged, BadInput, NotUsable
from pipeline_core.plugin.registry import load_registry
from pipeline_core.rewards.load import load_reward
from plugins.reward import function
from plugins.reward.function import FunctionConfig
from tests.rewards.worlds import Given, made, pairs

CODE = """
def rudeness(prompts, completions):
    return [float("late" in text or "dreamy" in text) for text in completions]
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    (tmp_path / "code").mkdir()
    file = tmp_path / "code" / "my_rewards.py"
    file.write_text(CODE)
    monkeypatch.syspath_prepend(str(tmp_path / "code"))
    monkeypatch.delitem(sys.modules, "my_rewards", raising=False)
    yield file
    sys.modules.pop("my_rewards", None)


def make(folder, rows=(), **settings):
    config = FunctionConfig(function="my_rewards:rudeness", **settings)
    given = Given(Dataset.from_list(list(rows)) if rows else None)
    if not rows:
        given.folders = {}
    return made(function, config, given, folder)


def test_the_sign_is_said_or_tested(mine, tmp_path):
    said, metrics = make(tmp_path / "said", sign=-1)
    assert (metrics["sign"], metrics["sign/declared"]) == (-1, 1)
    tested, metrics = make(tmp_path / "tested", pairs(40))
    assert (metrics["sign"], metrics["held_out/pairwise_accuracy"]) == (-1, 100)
    for folder in (said, tested):
        good, bad = load_reward(folder, "cpu", load_registry())(["", ""], ["early", "late"]).tolist()
        assert good > bad
    undecided, metrics = make(tmp_path / "undecided")
    assert metrics["sign"] == 0
    with pytest.raises(BadInput, match="undecided on 0 labelled pairs"):
        load_reward(undecided, "cpu", load_registry())


def test_other_code_is_another_reward(mine, tmp_path):
    folder, _ = make(tmp_path / "out", sign=-1)
    before = function.sources(FunctionConfig(function="my_rewards:rudeness"))
    mine.write_text(CODE + "# other\n")
    assert function.sources(FunctionConfig(function="my_rewards:rudeness")) != before
    with pytest.raises(ArtifactChanged, match="my_rewards:rudeness has changed since the reward was made"):
        load_reward(folder, "cpu", load_registry())


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("nowhere.at_all:score", "there is no module nowhere.at_all here"),
        ("my_rewards:politeness", "my_rewards has no function 'politeness'"),
    ],
)
def test_what_is_not_there_is_named(mine, tmp_path, path, words):
    with pytest.raises(BadInput, match=words):
        function.run(FunctionConfig(function=path, sign=1), Given(None, folders={}), tmp_path, _context())


def test_a_parent_that_fails_on_import_is_told(mine, tmp_path):
    (mine.parent / "failing").mkdir()
    (mine.parent / "failing" / "__init__.py").write_text("raise RuntimeError('no licence')\n")
    with pytest.raises(BadInput, match=r"failing.rewards cannot be imported \(RuntimeError\('no licence'\)\)"):
        function.run(FunctionConfig(function="failing.rewards:score"), Given(None, folders={}), tmp_path, _context())


def test_what_a_parent_lacks_is_told(mine, tmp_path):
    (mine.parent / "failing").mkdir()
    (mine.parent / "failing" / "__init__.py").write_text("import no_such_library\n")
    with pytest.raises(BadInput, match=r"failing.rewards cannot be imported .*no_such_library"):
        function.run(FunctionConfig(function="failing.rewards:score"), Given(None, folders={}), tmp_path, _context())


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("", r"my_rewards has no function 'score'$"),
        ("def scores(p, c): pass", "no function"),
        ("def score(:", r"my_rewards cannot be imported \(SyntaxError"),
        ("raise SystemExit(3)", r"cannot be imported \(SystemExit\(3\)\)"),
        ("class A: score = 1", ""),
        ("from json import *\ndef __getattr__(name): return print", ""),
        ("globals()['score'] = print", ""),
        ("from json import dumps as score", ""),
        ("import sys\nraise ValueError('the source names it, so it is not imported')\ndef score(p, c): pass", ""),
    ],
)
def test_d16_a_function_that_its_module_lacks_is_told_without_running_one_that_has_it(mine, code, words):
    mine.write_text(code)
    if not words:
        assert function.sources(FunctionConfig(function="my_rewards:score"))
        return
    with pytest.raises(NotUsable, match=words):
        function.sources(FunctionConfig(function="my_rewards:score"))


def _context():
    from tests.rewards.worlds import context

    return context()


def test_a_path_must_be_a_path():
    with pytest.raises(ValueError, match="function"):
        FunctionConfig(function="my_rewards.rudeness")


def test_the_artifact_holds_no_code(mine, tmp_path):
    folder, _ = make(tmp_path / "out", sign=1)
    facts = json.loads((folder / "function.json").read_text())
    assert set(facts) == {"function", "digest"}
