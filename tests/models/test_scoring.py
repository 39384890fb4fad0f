"""Log-likelihood of completions: rows that share their beginnings against a naive loop."""

from contextlib import contextmanager

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_core.conformance.kit import tiny_model
from pipeline_core.errors import BadInput
from pipeline_core.models.likelihood.scoring import score_completions, score_tokens
from pipeline_core.models.likelihood.trees import pairs_per_token
from pipeline_core.models.loading import load_model
from tests.models.plain import encode_pair


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
def test_shared_and_naive_agree(model, eos, tokens_per_batch):
    shared = score_completions(*model, PROMPTS, COMPLETIONS, eos=eos, tokens_per_batch=tokens_per_batch)
    expected = [naive(*model, p, c, eos) for p, c in zip(PROMPTS, COMPLETIONS, strict=True)]
    assert shared.logps.tolist() == pytest.approx(expected, abs=1e-5)
    lengths = [len(encode_pair(model[1], p, c, 1024, eos)[1]) for p, c in zip(PROMPTS, COMPLETIONS, strict=True)]
    assert shared.tokens.tolist() == lengths
    assert (shared.logps / shared.tokens).tolist() == pytest.approx(
        [e / n for e, n in zip(expected, lengths, strict=True)], abs=1e-4
    )


words = st.text("abc the", min_size=1, max_size=12).filter(str.strip)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(words, words), min_size=1, max_size=6))
def test_any_texts_in_any_order_agree(model, pairs):
    prompts, completions = zip(*pairs, strict=True)
    shared = score_completions(*model, prompts, completions, tokens_per_batch=40)
    assert shared.logps.tolist() == pytest.approx([naive(*model, *pair, False) for pair in pairs], abs=1e-5)


def test_prompts_that_are_cut_are_cut_from_the_left_and_counted(model):
    prompts = ["early " * 40, "the", "early " * 41]
    scored = score_completions(*model, prompts, ["late"] * 3, max_length=16)
    assert scored.logps.tolist() == pytest.approx([naive(*model, p, "late", False, 16) for p in prompts], abs=1e-4)
    assert scored.cut.tolist() == [True, False, True]


def continued(model, prompt, length):
    """The likeliest ids after a prompt."""
    ids = list(prompt)
    for _ in range(length):
        ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
    return ids[len(prompt) :]


@pytest.mark.parametrize("share_prompts", [True, False])
def test_answers_of_the_likeliest_tokens_alone_are_told(model, share_prompts):
    prompts = [[5, 6, 7], [5, 6, 7], [5, 6, 8, 9], [10]]
    likeliest = [continued(model[0], prompt, 3) for prompt in prompts]
    others = [
        [*ids[:place], ids[place] + 1, *ids[place + 1 :]] for place, ids in zip((0, 1, 2, 0), likeliest, strict=True)
    ]
    pairs = list(zip(prompts * 2, likeliest + others, strict=True))
    found = score_tokens(model[0], pairs, share_prompts=share_prompts, tokens_per_batch=16)
    assert found.are_likeliest.tolist() == [True] * 4 + [False] * 4


@pytest.mark.parametrize("share_prompts", [True, False])
def test_the_last_token_needs_no_position(model, share_prompts):
    pairs = [([5] * 250, [6] * 7), ([5] * 256, [7])]
    found = score_tokens(model[0], pairs, share_prompts=share_prompts)
    assert torch.isfinite(found.logps).all()
    with pytest.raises(BadInput, match="item 2: 258 tokens exceed the model's 256 positions"):
        score_tokens(model[0], [pairs[0], ([5] * 256, [7, 7])], share_prompts=share_prompts)


class Odd:
    """Models that read masks or positions their own way."""

    @staticmethod
    def bloom():  # positions come from the mask's sums
        from transformers import BloomConfig, BloomForCausalLM

        return BloomForCausalLM(BloomConfig(vocab_size=300, hidden_size=16, n_layer=2, n_head=2))

    @staticmethod
    def gemma2():  # caps its logits: no plain head; attends to a window in every other layer
        from transformers import Gemma2Config, Gemma2ForCausalLM

        sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "head_dim": 8}
        heads = {"num_attention_heads": 2, "num_key_value_heads": 1}
        return Gemma2ForCausalLM(Gemma2Config(vocab_size=300, sliding_window=12, **sizes, **heads))

    @staticmethod
    def gpt2():  # learned positions
        from transformers import GPT2Config, GPT2LMHeadModel

        return GPT2LMHeadModel(GPT2Config(vocab_size=300, n_embd=16, n_layer=2, n_head=2, n_positions=64))


@pytest.mark.parametrize(("make", "shares"), [(Odd.bloom, False), (Odd.gemma2, True), (Odd.gpt2, True)])
def test_any_model_gives_the_sums_of_its_texts_alone(model, make, shares):
    torch.manual_seed(0)
    odd = make().eval()
    for weight in odd.parameters():
        torch.nn.init.normal_(weight, std=0.5)  # an untrained one says the same to everything
    texts = (PROMPTS[:3] + ["the"] * 2, COMPLETIONS)
    for prompts, completions in (texts, (["early again " * 6] * 2, ["late", "so late"])):
        shared = score_completions(odd, model[1], prompts, completions)
        expected = [naive(odd, model[1], *pair, False) for pair in zip(prompts, completions, strict=True)]
        assert shared.logps.tolist() == pytest.approx(expected, abs=1e-4, rel=1e-6)
    assert bool(pairs_per_token(odd)) == shares


@contextmanager
def shapes_run(model):
    """Shapes of the ids that go through the model."""
    shapes = []
    handle = model.model.register_forward_pre_hook(
        lambda module, args, kwargs: shapes.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    yield shapes
    handle.remove()


def test_the_prompt_is_run_once_for_all_its_completions(model):
    completions = ["late", "early again", "so late again"]
    score_completions(*model, ["the"], ["late"])  # asks once what the model can do
    with shapes_run(model[0]) as shapes:
        score_completions(*model, ["the neighbour was"] * 3, completions)
    prompt, _ = encode_pair(model[1], "the neighbour was", "x", 64, False)
    answers = [encode_pair(model[1], "the neighbour was", text, 64, False)[1] for text in completions]
    tree = {tuple(answer[:length]) for answer in answers for length in range(1, len(answer))}
    assert shapes == [(1, len(prompt) + len(tree))]


def test_questions_about_one_context_share_it(model):
    context = "the visitor was early and the neighbour was late again, and the visitor was late and early. "
    prompts = [f"{context}{end}" for end in ("who was early?", "who was late?", "who was again?")]
    with shapes_run(model[0]) as shapes:
        shared = score_completions(*model, prompts * 2, ["late"] * 3 + ["x y"] * 3)
    assert sum(rows * width for rows, width in shapes) < 2 * len(encode_pair(model[1], prompts[0], "x", 256, False)[0])
    expected = [naive(*model, prompt, answer, False) for answer in ("late", "x y") for prompt in prompts]
    assert shared.logps.tolist() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("tokens_per_batch", [30, 200])
def test_one_prompt_of_many_completions_keeps_to_the_budget(model, tokens_per_batch):
    completions = [f"{n} {'so ' * (n % 5)}late" for n in range(60)]
    with shapes_run(model[0]) as shapes:
        scored = score_completions(*model, ["the"] * 60, completions, tokens_per_batch=tokens_per_batch)
    assert max(rows * width for rows, width in shapes) <= tokens_per_batch
    assert len(shapes) > 2
    whole = score_completions(*model, ["the"] * 60, completions, tokens_per_batch=100000)
    assert torch.allclose(scored.logps, whole.logps, atol=1e-5, rtol=0)


def test_more_tokens_than_positions_are_refused(model):
    with pytest.raises(BadInput, match="item 1: .* exceed the model's 256 positions"):
        score_completions(*model, ["late " * 400], ["late"], max_length=1024)


def test_a_completion_without_tokens_is_refused(model):
    with pytest.raises(BadInput, match="item 2: the completion '' has no token"):
        score_completions(*model, ["a", "b"], ["x", ""])
