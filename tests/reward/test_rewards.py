"""What a reward answers is checked at every call."""

import json

import pytest
import torch

from pipeline_core.errors import BadInput, UnknownName
from pipeline_core.registry import load_registry
from pipeline_core.rewards import BadReward, checked, load_reward
from plugins.reward import lexicon
from tests.reward.worlds import Given, context


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
    (folder / "manifest.json").write_text(json.dumps({"plugin": plugin, "stage": "reward", "config": {}}))
    return folder


def test_an_artifact_becomes_a_function_by_its_manifest(tmp_path):
    reward = load_reward(artifact(tmp_path), "cpu", load_registry())
    assert reward(["He is", "He is"], ["late again", "early"]).tolist() == [-0.5, 0]


def test_an_artifact_of_an_unknown_plugin_says_which(tmp_path):
    with pytest.raises(UnknownName, match="unknown reward plugin 'lexikon'. Did you mean 'lexicon'"):
        load_reward(artifact(tmp_path, "lexikon"), "cpu", load_registry())


@pytest.mark.parametrize("manifest", [None, "{", "[]", "{}"])
def test_a_folder_without_a_manifest_is_no_reward(tmp_path, manifest):
    if manifest is not None:
        (tmp_path / "manifest.json").write_text(manifest)
    with pytest.raises(BadInput, match="is no reward artifact"):
        load_reward(tmp_path, "cpu", load_registry())
