"""What a reward answers is checked at every call."""

import dataclasses
import json

import pytest
import torch

from pipeline_core.errors import BadInput, UnknownName
from pipeline_core.plugin.registry import load_registry
from pipeline_core.rewards.load import BadReward, checked, load_reward
from pipeline_core.rewards.memory import ScoreMemory, Timed
from plugins.reward import lexicon
from tests.rewards.worlds import Given, context


def lengths(prompts, completions):
    return torch.tensor([float(len(p) + len(c)) for p, c in zip(prompts, completions, strict=True)])


def test_answers_stand_in_the_order_of_the_rows():
    scores = checked(lengths, "length")(["aaa", "a", "aa"], ["b", "b", "b"])
    assert scores.tolist() == [4, 2, 3]
    assert scores.dtype == torch.float32


def test_equal_pairs_are_scored_once_and_texts_come_by_length_in_batches():
    seen = []

    def reward(prompts, completions):
        seen.append([p + c for p, c in zip(prompts, completions, strict=True)])
        return lengths(prompts, completions)

    scores = checked(reward, "length", batch_size=2)(["aaa", "a", "aaa", "aa"], ["", "", "", ""])
    assert scores.tolist() == [3, 1, 3, 2]
    assert seen == [["a", "aa"], ["aaa"]]


def test_equal_texts_cut_at_different_places_are_different_pairs():
    scores = checked(lambda p, c: torch.tensor([float(len(x)) for x in p]), "prompt")(["a", "ab"], ["bc", "c"])
    assert scores.tolist() == [1, 2]


def test_no_rows_give_no_scores():
    assert checked(lengths, "length")([], []).shape == (0,)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (None, "gave None for rows 0, 1, 2; is a `return` missing"),
        (torch.zeros(2), r"shape \(2,\) for 3 texts \(rows 0, 1, 2\)"),
        (torch.zeros(3, 1), r"shape \(3, 1\) for 3 texts"),
        (torch.tensor(1.0), r"shape \(\) for 3 texts"),
        (["good", "bad", "good"], "gave list"),
    ],
)
def test_an_answer_of_the_wrong_form_names_the_reward_and_the_rows(answer, words):
    with pytest.raises(BadReward, match=words) as error:
        checked(lambda p, c: answer, "mine")(["a", "bb", "ccc"], ["", "", ""])
    assert "'mine'" in str(error.value)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_is_not_finite_names_its_rows_only(bad):
    def reward(prompts, completions):
        return torch.tensor([bad if p == "bad" else 1.0 for p in prompts])

    with pytest.raises(BadReward, match=r"'mine' gave a number that is not finite for rows 1, 3$"):
        checked(reward, "mine")(["good", "bad", "fine", "bad"], ["."] * 4)


def test_many_bad_rows_are_counted():
    with pytest.raises(BadReward, match=r"rows 0, 1, 2, 3, 4 and 7 more"):
        checked(lambda p, c: torch.full((len(p),), float("nan")), "mine")(list("abcdefghijkl"), [""] * 12)


def test_an_exception_keeps_its_type_and_says_where():
    def reward(prompts, completions):
        raise ZeroDivisionError("no words")

    with pytest.raises(ZeroDivisionError, match="no words") as error:
        checked(reward, "mine")(["a", "b"], ["", ""])
    assert error.value.__notes__ == ["raised by the reward 'mine' on rows 0, 1"]


def test_prompts_without_completions_are_refused():
    with pytest.raises(ValueError, match="2 prompts and 1 completions"):
        checked(lengths, "length")(["a", "b"], ["c"])


def artifact(folder, plugin="lexicon"):
    words = folder / "words.yaml"
    words.write_text("late: 1\n")
    lexicon.run(lexicon.LexiconConfig(words=str(words)), Given(None, folders={}), folder, context())
    (folder / "manifest.json").write_text(json.dumps({"plugin": plugin, "metrics": {"sign": 1.0}}))
    return folder


def test_an_artifact_becomes_a_function_by_its_manifest(tmp_path):
    reward = load_reward(artifact(tmp_path), "cpu", load_registry())
    assert reward(["He is", "He is"], ["late again", "early"]).tolist() == [-0.5, 0]


def test_an_artifact_of_an_unknown_plugin_says_which(tmp_path):
    with pytest.raises(UnknownName, match="unknown reward plugin 'lexikon'. Did you mean 'lexicon'"):
        load_reward(artifact(tmp_path, "lexikon"), "cpu", load_registry())


@pytest.mark.parametrize("manifest", [None, "{", "[]", "{}", '{"plugin": "lexicon"}'])
def test_a_folder_without_a_manifest_is_no_reward(tmp_path, manifest):
    if manifest is not None:
        (tmp_path / "manifest.json").write_text(manifest)
    with pytest.raises(BadInput, match="is no reward artifact"):
        load_reward(tmp_path, "cpu", load_registry())


class Counting:
    """A reward that says of every text how many it has been asked for, and which."""

    def __init__(self):
        self.asked = []

    def __call__(self, prompts, completions):
        self.asked += completions
        return torch.arange(len(self.asked) - len(completions), len(self.asked)).float()


def test_what_was_scored_before_is_remembered_and_not_asked_again():
    reward = Counting()
    score = checked(reward, "counting", memory=ScoreMemory())
    first = score(["p", "p"], ["a", "bb"])
    assert torch.equal(score(["p", "p", "p"], ["bb", "ccc", "a"])[[2, 0]], first)
    assert reward.asked == ["a", "bb", "ccc"]
    score(["q"], ["a"])
    assert reward.asked[-1] == "a"


def test_a_memory_has_an_end():
    reward = Counting()
    score = checked(reward, "counting", memory=ScoreMemory(most=2))
    for text in ("a", "b", "c", "c", "b", "a"):
        score(["p"], [text])
    assert reward.asked == ["a", "b", "c", "a"]


def test_texts_cut_at_other_places_are_remembered_apart():
    memory = ScoreMemory()
    memory.keep({("ab", "c"): 1.0})
    assert memory.recall([("a", "bc"), ("ab", "c")]) == {("ab", "c"): 1.0}


@pytest.mark.parametrize(("batch_free", "remember", "calls"), [(True, False, 1), (False, True, 1), (False, False, 2)])
def test_only_scores_that_do_not_hang_on_their_batch_are_remembered_unasked(
    tmp_path, monkeypatch, batch_free, remember, calls
):
    reward, registry = Counting(), load_registry()
    spec = dataclasses.replace(registry.get("reward", "lexicon"), load=lambda *_: reward, batch_free=batch_free)
    monkeypatch.setitem(registry._specs, ("reward", "lexicon"), spec)
    score = load_reward(artifact(tmp_path), "cpu", registry, remember=remember)
    score(["p"], ["a"])
    score(["p"], ["a"])
    assert len(reward.asked) == calls


def test_those_that_are_called_batch_free_are():
    free = {spec.name for spec in load_registry().specs("reward") if spec.batch_free}
    assert free == {"lexicon", "tfidf_ridge"}


def test_a_timed_reward_counts_its_texts_and_starts_again():
    timed = Timed(lengths)
    assert timed.speed() == {}
    assert timed(["a"], ["bb"]).tolist() == [3]
    assert timed.speed()["perf/reward_texts_per_second"] > 0
    assert timed.speed() == {}
