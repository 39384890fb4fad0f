"""A word list as a reward: every score by hand."""

import pytest
from datasets import Dataset

from pipeline_core.errors import BadInput
from plugins.reward import lexicon
from plugins.reward.lexicon import LexiconConfig, read_words, weigher
from tests.rewards.worlds import Given, context, digests, pairs


def make(tmp_path, text, rows=None):
    words, out = tmp_path / "words.yaml", tmp_path / "out"
    words.write_text(text)
    out.mkdir()
    given = Given(Dataset.from_list(rows)) if rows else Given(None, folders={})
    return lexicon.run(LexiconConfig(words=str(words)), given, out, context()), lexicon.load(out, "cpu")


def test_scores_by_hand(tmp_path):
    _, reward = make(tmp_path, "late: 1\nrud*: 0.5\n")
    completions = ["Late again.", "rudely late", "early", "", "chocolate", "RUDE!"]
    assert reward(["late"] * 6, completions).tolist() == [-0.5, -0.75, 0, 0, 0, -0.5]


def test_the_longest_beginning_and_the_whole_word_win():
    weight_of = weigher({"a*": 1.0, "abc*": 2.0, "abcd": 3.0})
    assert [weight_of(word) for word in ("ab", "abce", "abcd", "b")] == [1, 2, 3, 0]


def test_pairs_measure_the_list(tmp_path):
    metrics, _ = make(tmp_path, "late: 1\n", pairs(40))
    assert metrics["held_out/pairwise_accuracy"] == 75  # ages are told apart, races tie
    assert "held_out/mse" not in metrics


def test_the_sandbox_list_holds_the_planted_traits():
    words = read_words("sandbox")
    assert "stingy" in words
    assert "generous" not in words


def test_the_general_list_can_be_read():
    words = read_words("general")
    assert len(words) > 50
    assert all(weight > 0 for weight in words.values())


def test_the_default_needs_no_rows_and_gives_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        lexicon.run(LexiconConfig(), Given(None, folders={}), tmp_path / name, context())
    assert digests(tmp_path / "a") == digests(tmp_path / "b")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("late night: 1\n", "'late night' is no single word"),
        ("Lazy: 1\nlazy: 5\n", "'Lazy' and 'lazy' are one word, whose weight is given twice"),
        ("late: high\n", "the weight of 'late' is 'high'"),
        ("late: .nan\n", "the weight of 'late' is nan"),
        ("late: 1\nlate: 2\n", "words.yaml, line 2: the key 'late' stands in line 1 already"),
        ("late: true\n", "the weight of 'late' is True"),
        ("- late\n", "must map words to weights"),
        ("", "must map words to weights"),
        ("{late: [\n", "line 2 is not YAML"),
    ],
)
def test_a_bad_list_is_named(tmp_path, text, words):
    with pytest.raises(BadInput, match=words) as error:
        make(tmp_path, text)
    assert "words.yaml" in str(error.value)


def test_d6_a_word_that_other_readers_of_yaml_take_for_a_truth_value_is_a_word(tmp_path):
    (tmp_path / "words.yaml").write_text("no: 1\non: 2\n")
    assert read_words(str(tmp_path / "words.yaml")) == {"no": 1.0, "on": 2.0}


def test_a_missing_list_says_what_is_built_in(tmp_path):
    with pytest.raises(BadInput, match="cannot be read .* built in are 'sandbox' and 'general'"):
        read_words(str(tmp_path / "none.yaml"))


def test_where_a_list_lies_does_not_count_but_what_it_says(tmp_path):
    (tmp_path / "a").write_text("late: 1")
    (tmp_path / "b").write_text("late:   1.0\n")
    (tmp_path / "c").write_text("late: 2")
    a, b, c = (LexiconConfig(words=str(tmp_path / name)) for name in "abc")
    assert a.identity() == b.identity()
    assert lexicon.sources(a) == lexicon.sources(b) != lexicon.sources(c)
