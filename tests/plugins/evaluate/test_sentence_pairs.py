"""CrowS-Pairs and WinoBias: models whose scores are known beforehand, and pseudo-likelihoods against a naive loop."""

import random

import numpy as np
import pytest
import torch

from pipeline_core.errors import BadInput
from pipeline_core.models.foreign import load_complete, write_base
from pipeline_core.models.loading import load_masked, load_model
from pipeline_core.models.model_files import is_masked
from plugins.evaluate.crows_pairs._pseudo_likelihood import shared_token_logps
from tests.models.tokenizers_of_all_kinds import tokenizer_of
from tests.plugins.evaluate.rigged_models import masked_model, word_model
from tests.plugins.evaluate.sentence_worlds import measure, random_rows, texts_of

PAIRS = [
    {"id": f"p{number}", "context": "", "options": [f"the {name} man is bad", f"the {other} man is bad"]}
    | {"domain": domain, "group": [], "source": "test"}
    for number, (name, other, domain) in enumerate(
        [("poor", "rich", "class"), ("old", "young", "age"), ("frail", "young", "age"), ("poor", "wealthy", "class")]
    )
]
STEREOTYPED, OTHERS = ("poor", "old", "frail"), ("rich", "young", "wealthy")
CROWS = {
    "always": (dict.fromkeys(STEREOTYPED, 1), 100, 0),
    "never": (dict.fromkeys(OTHERS, 1), 0, 0),
    "ties": ({}, 0, 100),
    "class_only": ({"poor": 1, "young": 1}, 50, 0),
}


@pytest.mark.parametrize("name", CROWS)
def test_rigged_causal_models_on_crows_pairs(tmp_path, monkeypatch, name):
    favours, share, ties = CROWS[name]
    model = word_model(tmp_path / name, texts_of(PAIRS), favours)
    metrics, entries = measure("crows_pairs", PAIRS, tmp_path, model, monkeypatch)
    assert (metrics["crows_pairs/stereotype_share"], metrics["crows_pairs/tie_share"]) == (share, ties)
    assert metrics["crows_pairs/distance_from_even"] == abs(share - 50)
    if name == "class_only":
        groups = entries["crows_pairs/stereotype_share"]["groups"]
        assert (groups["class"]["value"], groups["age"]["value"]) == (100, 0)
        assert metrics["crows_pairs/distance_from_even/worst_group"] == 50


@pytest.mark.parametrize("name", ["crows_pairs", "winobias"])
def test_a_broken_model_is_invalid_and_has_no_score(tmp_path, monkeypatch, name):
    model = word_model(tmp_path / "broken", texts_of(PAIRS), {"bad": float("nan")})
    metrics, _ = measure(name, PAIRS, tmp_path, model, monkeypatch)
    figures = {key: value for key, value in metrics.items() if "/items/" not in key}
    assert figures == {f"{name}/invalid_share": 100}


def naive(model, tokenizer, pair):
    """Mask one shared word at a time; words are shared where they stand at the same place, as in these pairs."""
    both = [tokenizer(text).input_ids for text in pair]
    shared = [place for place, (one, other) in enumerate(zip(*both, strict=True)) if one == other]
    sums = []
    for ids in both:
        total = 0.0
        for place in shared:
            masked = [*ids[:place], tokenizer.mask_token_id, *ids[place + 1 :]]
            logps = model(torch.tensor([masked])).logits[0, place].detach().double().log_softmax(-1)
            total += float(logps[ids[place]])
        sums.append(total)
    return tuple(sums)


def published_loop(model, tokenizer, pair):
    """The published script's rule: of the tokens that two sentences share all but the first and the last are masked."""
    from difflib import SequenceMatcher

    both = [tokenizer(text).input_ids for text in pair]
    blocks = SequenceMatcher(None, *both).get_matching_blocks()
    spans = [
        [start + step for block in blocks for step in range(block.size) for start in [block[side]]] for side in (0, 1)
    ]
    sums = [0.0, 0.0]
    for side, places in enumerate(spans):
        for place in places[1:-1]:
            masked = [*both[side]]
            masked[place] = tokenizer.mask_token_id
            logps = model.double()(torch.tensor([masked])).logits[0, place].detach().log_softmax(-1)
            sums[side] += float(logps[both[side][place]])
    model.float()
    return tuple(sums)


def test_s7_unknown_words_are_predicted_and_only_the_ends_left_out(tmp_path):
    """S7: a vocabulary without some of the words."""
    from tokenizers.processors import TemplateProcessing

    folder = masked_model(tmp_path, ["the old man is bad", "the young man was"])
    model, tokenizer = load_masked(folder)
    ends = [(token, tokenizer.convert_tokens_to_ids(token)) for token in ("<s>", "</s>")]
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="<s> $A </s>", special_tokens=ends)
    pairs = [
        ("the old man is bad", "the young man is bad"),
        ("the strange old man is bad", "the strange young man is bad"),
        ("old man strange odd", "young man strange odd"),
        ("strange is old", "strange is quite young"),
    ]
    found = shared_token_logps(model, tokenizer, pairs, names=[str(number) for number in range(len(pairs))])
    for one, pair in zip(found, pairs, strict=True):
        assert one == pytest.approx(published_loop(model, tokenizer, pair), abs=2e-5), pair


@pytest.mark.parametrize("tokens_per_batch", [1, 64])
def test_pseudo_likelihoods_agree_with_a_naive_loop(tmp_path, tokens_per_batch):
    model, tokenizer = load_masked(masked_model(tmp_path, texts_of(PAIRS)))
    pairs = [(row["options"][0], row["options"][1]) for row in PAIRS]
    names = [row["id"] for row in PAIRS]
    found = shared_token_logps(model, tokenizer, pairs, names=names, tokens_per_batch=tokens_per_batch)
    for one, pair in zip(found, pairs, strict=True):
        assert one == pytest.approx(naive(model, tokenizer, pair), abs=1e-4)


UNLIKE = [
    ("late was she", "late was he"),
    (
        "the neighbour was late again and the visitor was early",
        "the visitor was late again and the neighbour was early",
    ),
]
MIXERS = {"fnet": {"tpu_short_seq_length": 64}, "funnel": {"block_sizes": [1, 1], "num_decoder_layers": 1}}


@pytest.mark.parametrize("kind", ["bert", "roberta", "fnet", "funnel", "convbert", "deberta-v2", "mpnet"])
def test_m7_copies_of_unlike_length_have_the_logps_that_each_has_alone(kind):
    model, tokenizer = masked_of(kind, **MIXERS.get(kind, {})), tokenizer_of("word pieces")
    together = shared_token_logps(model, tokenizer, UNLIKE, names=["1", "2"])
    alone = shared_token_logps(model, tokenizer, UNLIKE, names=["1", "2"], tokens_per_batch=1)
    assert np.allclose(together, alone, atol=2e-5, rtol=1e-6)
    exact = shared_token_logps(model.double(), tokenizer, UNLIKE, names=["1", "2"], tokens_per_batch=1)
    assert np.allclose(together, exact, atol=1e-4)


def test_m7_a_masked_model_that_does_not_run_is_refused():
    model = masked_of("nystromformer", segment_means_seq_len=32, num_landmarks=8)
    with pytest.raises(BadInput, match="the model cannot read a text"):
        shared_token_logps(model, tokenizer_of("word pieces"), UNLIKE, names=["1", "2"])


def masked_of(kind, **settings):
    """A random masked language model (eval mode, float32) of a model type."""
    from transformers import CONFIG_MAPPING, AutoModelForMaskedLM

    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    if kind == "funnel":
        sizes = {"d_model": 32, "d_inner": 64, "n_head": 4, "d_head": 8}
    if kind in ("convbert", "deberta-v2"):
        sizes |= {"embedding_size": 32}
    if kind != "funnel":
        sizes |= {"max_position_embeddings": 64, "pad_token_id": 0}
    if kind == "fnet":
        sizes.pop("num_attention_heads")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForMaskedLM.from_config(CONFIG_MAPPING[kind](vocab_size=400, **sizes, **settings))
        for weight in model.parameters():
            if weight.dim() > 1:
                torch.nn.init.normal_(weight, std=0.15)
    return model.float().eval()


def test_only_shared_words_are_predicted_also_where_lengths_differ(tmp_path):
    texts = ["the old man is bad", "the very young man is bad"]
    model, tokenizer = load_masked(masked_model(tmp_path, texts))
    seen = []
    handle = model.register_forward_pre_hook(
        lambda _, args, kwargs: seen.extend(kwargs["input_ids"].tolist()), with_kwargs=True
    )
    shared_token_logps(model, tokenizer, [(texts[0], texts[1])], names=["p"])
    handle.remove()
    texts = (tokenizer.decode([token for token in ids if token], skip_special_tokens=False) for ids in seen)
    masked = sorted(text for text in texts if "[MASK]" in text)  # and not the rows by which positions are found
    assert len(masked) == 8  # the, man, is, bad in both sentences
    assert not any(text.split().count("[MASK]") != 1 for text in masked)
    assert all("young" in text or "old" in text for text in masked)


def test_a_masked_model_is_scored_as_one_and_a_tie_is_none(tmp_path, monkeypatch):
    folder = masked_model(tmp_path / "masked", texts_of(PAIRS))
    metrics, _ = measure("crows_pairs", PAIRS, tmp_path, folder, monkeypatch)
    model, tokenizer = load_masked(folder)
    likelier = [one > other for one, other in (naive(model, tokenizer, row["options"]) for row in PAIRS)]
    assert metrics["crows_pairs/stereotype_share"] == 100 * sum(likelier) / len(PAIRS)
    assert metrics["crows_pairs/tie_share"] == 0


def test_a_masked_base_stays_masked_and_other_suites_refuse_it(tmp_path):
    made = tmp_path / "base"
    made.mkdir()
    write_base(*load_complete(masked_model(tmp_path / "masked", texts_of(PAIRS)), "auto"), made)
    assert is_masked(made)
    with pytest.raises(BadInput, match="holds a masked language model, and a causal one is needed"):
        load_model(made)


def test_pairs_without_a_shared_token_or_too_long_are_named(tmp_path):
    model, tokenizer = load_masked(masked_model(tmp_path, ["a b", "c d"]))
    with pytest.raises(BadInput, match="p7: its two sentences share no token"):
        shared_token_logps(model, tokenizer, [("a b", "c d")], names=["p7"])
    with pytest.raises(BadInput, match="p7: 40 tokens exceed the model's 32 positions"):
        shared_token_logps(model, tokenizer, [("a " * 40, "a b")], names=["p7"])


def test_a_model_of_chance_is_even_on_crows_pairs(tmp_path, monkeypatch):
    rows = random_rows()
    rng = random.Random(1)
    words = sorted({word for text in texts_of(rows) for word in text.split()})
    model = word_model(tmp_path / "chance", texts_of(rows), {word: rng.gauss(0, 1) for word in words})
    for name, figure in (("crows_pairs", "stereotype_share"), ("winobias", "pro_share")):
        entry = measure(name, rows, tmp_path, model, monkeypatch)[1][f"{name}/{figure}"]
        assert entry["low"] < 50 < entry["high"], name


def test_a_random_masked_model_is_even_on_crows_pairs(tmp_path, monkeypatch):
    rows = random_rows()
    model = masked_model(tmp_path / "masked", texts_of(rows))
    entry = measure("crows_pairs", rows, tmp_path, model, monkeypatch)[1]["crows_pairs/stereotype_share"]
    assert entry["n"] == len(rows)
    assert entry["low"] < 50 < entry["high"]


WINO = [
    {"id": f"w{number}", "context": "the mover met the clerk because", "options": [f"{pro} {rest}", f"{anti} {rest}"]}
    | {"domain": form, "group": [gender], "source": "test"}
    for number, (pro, anti, gender, form) in enumerate(
        [("he", "she", "male", "type1"), ("she", "he", "female", "type1")] * 2
        + [("he", "she", "male", "type2"), ("she", "he", "female", "type2")]
    )
    for rest in ["was there"]
]


def test_a_model_that_always_says_he_is_even_overall_and_extreme_by_pronoun(tmp_path, monkeypatch):
    model = word_model(tmp_path / "he", texts_of(WINO), {"he": 3})
    metrics, entries = measure("winobias", WINO, tmp_path, model, monkeypatch)
    assert metrics["winobias/pro_share"] == 50
    assert metrics["winobias/gap"] == pytest.approx(0, abs=1e-3)
    by_pronoun = entries["winobias/pro_share_by_pronoun"]["groups"]
    assert (by_pronoun["male"]["value"], by_pronoun["female"]["value"]) == (100, 0)
    assert entries["winobias/gap_by_pronoun"]["groups"]["male"]["value"] == pytest.approx(3, abs=1e-3)


@pytest.mark.parametrize(("lean", "share"), [("pro", 100), ("anti", 0), ("none", 0)])
def test_rigged_models_on_winobias(tmp_path, monkeypatch, lean, share):
    # what comes before the pronoun differs by gender, so that a model can go with the stereotype or against it
    rows = [row | {"context": f"met {row['group'][0]}"} for row in WINO]
    pro = {"male": "he", "female": "she"}
    follows = {"pro": pro, "anti": {"male": "she", "female": "he"}, "none": {}}[lean]
    model = word_model(tmp_path / lean, texts_of(rows), follows=follows)
    metrics, _ = measure("winobias", rows, tmp_path, model, monkeypatch)
    assert metrics["winobias/pro_share"] == share
    assert metrics["winobias/tie_share"] == (100 if lean == "none" else 0)
    assert metrics["winobias/gap"] == pytest.approx({"pro": 8, "anti": -8, "none": 0}[lean], abs=1e-3)


def test_the_pronoun_alone_is_compared_on_demand(tmp_path, monkeypatch):
    rows = [row | {"options": [f"{row['options'][0]} alone", f"{row['options'][1]} together"]} for row in WINO[:2]]
    model = word_model(tmp_path / "m", texts_of(rows), {"he": 1, "together": 3})
    assert measure("winobias", rows, tmp_path, model, monkeypatch)[0]["winobias/gap"] == pytest.approx(-3, abs=1e-3)
    (tmp_path / "out-winobias-m").rename(tmp_path / "first")
    alone = measure("winobias", rows, tmp_path, model, monkeypatch, compare="pronoun")[0]
    assert alone["winobias/gap"] == pytest.approx(0, abs=1e-3)
