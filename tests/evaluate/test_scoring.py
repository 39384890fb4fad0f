"""Log-likelihood of completions: the shared-prompt path against the plain one and against a naive loop."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_core.errors import BadInput
from pipeline_core.loops.scoring import score_completions
from pipeline_core.modeling import load_model
from pipeline_core.testing import tiny_model
from pipeline_core.tokens import encode_pair


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load_model(tiny_model(tmp_path_factory.mktemp("model")))


PROMPTS = ["the neighbour was", "a", "the neighbour was", "a much longer prompt than all of the others here", "a"]
COMPLETIONS = ["late", "x", "early again and again", "so", "the visitor"]


def naive(model, tokenizer, prompt, completion, eos, max_length=1024):
    prompt_ids, completion_ids = encode_pair(tokenizer, prompt, completion, max_length, eos)
    logits = model(torch.tensor([prompt_ids + completion_ids])).logits[0].double().log_softmax(-1)
    return sum(float(logits[len(prompt_ids) + place - 1, token].detach()) for place, token in enumerate(completion_ids))


@pytest.mark.parametrize("eos", [False, True])
@pytest.mark.parametrize("tokens_per_batch", [1, 64, 4096])
def test_shared_plain_and_naive_agree(model, eos, tokens_per_batch):
    options = {"eos": eos, "tokens_per_batch": tokens_per_batch}
    shared = score_completions(*model, PROMPTS, COMPLETIONS, **options)
    plain = score_completions(*model, PROMPTS, COMPLETIONS, share_prompts=False, **options)
    expected = [naive(*model, p, c, eos) for p, c in zip(PROMPTS, COMPLETIONS, strict=True)]
    assert shared.logps.tolist() == pytest.approx(expected, abs=1e-4)
    assert plain.logps.tolist() == pytest.approx(expected, abs=1e-4)
    lengths = [len(encode_pair(model[1], p, c, 1024, eos)[1]) for p, c in zip(PROMPTS, COMPLETIONS, strict=True)]
    assert shared.tokens.tolist() == plain.tokens.tolist() == lengths
    assert shared.mean_logps.tolist() == pytest.approx(
        [e / n for e, n in zip(expected, lengths, strict=True)], abs=1e-4
    )


words = st.text("abc the", min_size=1, max_size=12).filter(str.strip)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(words, words), min_size=1, max_size=6))
def test_any_texts_in_any_order_agree(model, pairs):
    prompts, completions = zip(*pairs, strict=True)
    shared = score_completions(*model, prompts, completions, tokens_per_batch=40)
    plain = score_completions(*model, prompts, completions, share_prompts=False)
    assert torch.allclose(shared.logps, plain.logps, atol=1e-4)


def test_prompts_that_are_cut_are_cut_from_the_left(model):
    prompt = "early " * 40
    scored = score_completions(*model, [prompt], ["late"], max_length=16)
    assert scored.logps.item() == pytest.approx(naive(*model, prompt, "late", False, 16), abs=1e-4)


def test_the_prompt_is_run_once_for_all_its_completions(model):
    rows = []
    handle = model[0].model.register_forward_pre_hook(
        lambda module, args, kwargs: rows.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    score_completions(*model, ["the neighbour was"] * 3, ["late", "early again", "so late again"])
    handle.remove()
    prompt = len(encode_pair(model[1], "the neighbour was", "x", 64, False)[0])
    assert rows[0] == (1, prompt)
    assert [shape[0] for shape in rows] == [1, 3]


@pytest.mark.parametrize("tokens_per_batch", [30, 200])
def test_one_prompt_of_many_completions_keeps_to_the_budget(model, tokens_per_batch):
    sizes = []

    def seen(module, args, kwargs):
        sizes.append(kwargs["attention_mask"].numel())  # a row's prompt counts, cached or not

    handle = model[0].model.register_forward_pre_hook(seen, with_kwargs=True)
    completions = [f"{'so ' * (n % 5)}late {n}" for n in range(60)]
    scored = score_completions(*model, ["the"] * 60, completions, tokens_per_batch=tokens_per_batch)
    handle.remove()
    assert max(sizes) <= tokens_per_batch
    assert len(sizes) > 2
    whole = score_completions(*model, ["the"] * 60, completions, tokens_per_batch=100000)
    assert torch.allclose(scored.logps, whole.logps, atol=1e-4)


def test_more_tokens_than_positions_are_refused(model):
    with pytest.raises(BadInput, match="exceed the model's 256 positions"):
        score_completions(*model, ["late " * 400], ["late"], max_length=1024)


def test_a_completion_without_tokens_is_refused(model):
    with pytest.raises(BadInput, match="item 2: the completion '' has no token"):
        score_completions(*model, ["a", "b"], ["x", ""])
