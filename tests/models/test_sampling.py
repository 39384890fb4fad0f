import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_core.errors import BadInput
from pipeline_core.models.collation import collate
from pipeline_core.models.completions import completion_logps
from pipeline_core.models.loading import load_model
from pipeline_core.models.sampling.decoding import SamplingSettings
from pipeline_core.models.sampling.drawing import draw_tokens, uniforms
from pipeline_core.models.sampling.rollouts import join_rollouts
from pipeline_core.models.sampling.sample import end_tokens, generate, until_stop
from tests.models.architectures.tiny import model_of, tokenizer_of_bytes
from tests.training.tiny import pairs, write_model

PROMPTS = list(dict.fromkeys(pairs(20)["prompt"]))


@pytest.fixture(scope="module")
def model_and_tokenizer(model_folder):
    model, tokenizer = load_model(model_folder)
    return model.double(), tokenizer


def test_frequencies_follow_the_probabilities():
    probabilities = torch.tensor([0.5, 0.0, 0.2, 0.3])
    numbers = uniforms(0, 0, 0, 20000)
    tokens, logps = draw_tokens(probabilities.log().expand(20000, -1), numbers)
    frequencies = torch.bincount(tokens, minlength=4) / 20000
    assert torch.allclose(frequencies, probabilities, atol=0.015)  # four standard errors
    assert frequencies[1] == 0
    assert torch.allclose(logps, probabilities.log()[tokens])


def test_draw_worked_by_hand():
    logits = torch.tensor([[0.5, 0.2, 0.3]]).log().expand(4, -1)
    tokens, _ = draw_tokens(logits, torch.tensor([0.0, 0.49, 0.51, 0.999], dtype=torch.float64))
    assert tokens.tolist() == [0, 0, 1, 2]
    cut, logps = draw_tokens(logits, torch.tensor([0.0, 0.6, 0.7, 0.999], dtype=torch.float64), top_p=0.75)
    assert cut.tolist() == [0, 0, 2, 2]  # the nucleus is tokens 0 and 2: 0.5 / 0.8 = 0.625
    assert logps[-1].item() == pytest.approx(torch.tensor(0.3).log().item())  # of the whole distribution
    assert draw_tokens(logits, torch.full((4,), 0.999, dtype=torch.float64), temperature=0)[0].tolist() == [0, 0, 0, 0]


@given(st.lists(st.floats(-1e4, 1e4), min_size=2, max_size=8), st.floats(0, 1, exclude_max=True), st.floats(0.01, 1))
def test_a_drawn_token_always_has_probability(logits, number, top_p):
    row = torch.tensor([logits], dtype=torch.float64)
    token, logp = draw_tokens(row, torch.tensor([number], dtype=torch.float64), top_p=top_p)
    assert 0 <= token.item() < len(logits)
    assert logp.exp().item() > 0


@pytest.mark.parametrize("vocabulary", [3, 256, 700])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_are_not_finite_still_give_a_token(vocabulary, value):
    logits = torch.full((4, vocabulary), value)
    for top_p in (1.0, 0.9):
        tokens, _ = draw_tokens(logits, torch.tensor([0.0, 0.3, 0.9, 1 - 2**-53], dtype=torch.float64), top_p=top_p)
        assert ((tokens >= 0) & (tokens < vocabulary)).all()


def test_more_tokens_than_positions_are_refused(tmp_path):
    model, tokenizer = load_model(write_model(tmp_path, "gpt2"))
    with pytest.raises(BadInput, match="exceed the model's 128 positions"):
        generate(model, tokenizer, ["the"], SamplingSettings(max_new_tokens=128), seed=0)


@settings(max_examples=5, deadline=None)
@given(batch_rows=st.integers(1, 40))
def test_samples_do_not_depend_on_the_batch(model_and_tokenizer, batch_rows):
    chosen = SamplingSettings(max_new_tokens=7)
    whole = generate(*model_and_tokenizer, PROMPTS, chosen, seed=3, samples=3, batch_rows=1000)
    parts = generate(*model_and_tokenizer, PROMPTS, chosen, seed=3, samples=3, batch_rows=batch_rows)
    assert parts.completion_ids == whole.completion_ids
    assert torch.allclose(parts.logps, whole.logps, atol=1e-9)
    assert len({tuple(ids) for ids in whole.completion_ids}) > len(PROMPTS)


def test_samples_follow_the_prompts_number(model_and_tokenizer):
    chosen = SamplingSettings(max_new_tokens=6)
    whole = generate(*model_and_tokenizer, PROMPTS, chosen, seed=3, samples=2)
    odd = generate(
        *model_and_tokenizer, PROMPTS[1::2], chosen, seed=3, samples=2, prompt_indices=range(1, len(PROMPTS), 2)
    )
    cohorts = [whole.completion_ids[start : start + 2] for start in range(0, len(whole.completion_ids), 2)]
    assert odd.completion_ids == [ids for cohort in cohorts[1::2] for ids in cohort]
    other = generate(*model_and_tokenizer, PROMPTS, chosen, seed=4, samples=2)
    assert other.completion_ids != whole.completion_ids


def test_logps_equal_the_training_forward(model_and_tokenizer):
    model, tokenizer = model_and_tokenizer
    chosen = SamplingSettings(max_new_tokens=8, temperature=0.8)
    rollout = generate(model, tokenizer, PROMPTS, chosen, seed=1, samples=2)
    batch = collate(rollout.prompt_ids, rollout.completion_ids, tokenizer.pad_token_id, "cpu")
    logps, _ = completion_logps(model, batch, temperature=0.8)
    assert torch.allclose(rollout.logps[:, : logps.shape[1]], logps, atol=1e-9)


def test_rows_that_end_leave_the_batch_and_keep_their_end_token(model_and_tokenizer, monkeypatch):
    model, tokenizer = model_and_tokenizer
    generate(model, tokenizer, PROMPTS, SamplingSettings(max_new_tokens=40), seed=0)  # finds out what the model can do
    widths = []
    monkeypatch.setattr(type(model), "forward", _watched(type(model).forward, widths))
    rollout = generate(
        model,
        tokenizer,
        PROMPTS,
        SamplingSettings(max_new_tokens=40, temperature=3.0),
        seed=0,
        samples=4,
        batch_rows=99,
    )
    ended = [ids for ids, end in zip(rollout.completion_ids, rollout.ended, strict=True) if end]
    assert ended
    assert all(ids[-1] == 0 and 0 not in ids[:-1] for ids in ended)
    assert all(len(ids) == 40 for ids, end in zip(rollout.completion_ids, rollout.ended, strict=True) if not end)
    assert not any("<end>" in text for text in rollout.texts)
    decoded = widths[1:]
    assert decoded == sorted(decoded, reverse=True)
    assert decoded[-1] < decoded[0]


def test_prompt_runs_once_for_its_cohort(model_and_tokenizer, monkeypatch):
    model, tokenizer = model_and_tokenizer
    generate(model, tokenizer, PROMPTS, SamplingSettings(max_new_tokens=40), seed=0)  # finds out what the model can do
    widths = []
    monkeypatch.setattr(type(model), "forward", _watched(type(model).forward, widths))
    generate(model, tokenizer, PROMPTS[:2], SamplingSettings(max_new_tokens=2), seed=0, samples=5)
    assert widths[0] == 2


def test_stop_strings_end_the_text_before_them(model_and_tokenizer):
    free = generate(*model_and_tokenizer, PROMPTS, SamplingSettings(max_new_tokens=12), seed=2, samples=2)
    stopped = SamplingSettings(max_new_tokens=12, stop=("e", "zz"))
    cut = generate(*model_and_tokenizer, PROMPTS, stopped, seed=2, samples=2)
    hits = [index for index, text in enumerate(free.texts) if "e" in text]
    assert 0 < len(hits) < len(free.texts)
    for index, (ours, theirs) in enumerate(zip(cut.texts, free.texts, strict=True)):
        assert ours == theirs.split("e")[0]
        assert len(cut.completion_ids[index]) <= len(free.completion_ids[index])
        assert cut.ended[index] == (index in hits or free.ended[index])


@pytest.mark.parametrize("stop", [" ", "e", "t ", "zz"])
def test_m17_a_stop_string_is_looked_for_in_the_text_without_the_space_at_the_border(stop):
    model, tokenizer = model_of("llama"), tokenizer_of_bytes()
    prompts, ended = ["the", "the visitor was"], {tokenizer.eos_token_id}
    chosen = SamplingSettings(8, stop=(stop,))
    free = generate(model, tokenizer, prompts, SamplingSettings(8), seed=3, samples=12)
    cut = generate(model, tokenizer, prompts, chosen, seed=3, samples=12)
    for row, (ours, theirs) in enumerate(zip(cut.texts, free.texts, strict=True)):
        ids = cut.completion_ids[row]
        assert ours == theirs.split(stop)[0]
        assert cut.ended[row] == (stop in theirs or ids[-1] in ended)
        assert ids == until_stop(tokenizer, cut.row_prompts[row], free.completion_ids[row], chosen)


@pytest.mark.parametrize("kind", ["llama", "moshi", "falcon_h1"])
def test_m17_rows_end_at_stop_strings_in_every_way_of_drawing(kind):
    model, tokenizer = model_of(kind), tokenizer_of_bytes()
    chosen = SamplingSettings(6, stop=("e", "a"))
    rollout = generate(model, tokenizer, ["the", "late again"], chosen, seed=3, samples=8)
    free = generate(model, tokenizer, ["the", "late again"], SamplingSettings(6), seed=3, samples=8)
    for row, prompt in enumerate(rollout.row_prompts):
        assert rollout.completion_ids[row] == until_stop(tokenizer, prompt, free.completion_ids[row], chosen)


@pytest.mark.parametrize("listed", [[2, 5000], [-1], 5000, [2, None]])
def test_m10_end_tokens_that_the_model_does_not_have_are_left_out(listed):
    model, tokenizer = model_of("llama"), tokenizer_of_bytes()
    model.generation_config.eos_token_id = listed
    assert end_tokens(model, tokenizer) == [2]
    rollout = generate(model, tokenizer, ["a"], SamplingSettings(3, min_new_tokens=2), seed=0)
    assert len(rollout.completion_ids[0]) >= 2


def test_greedy_is_the_same_for_every_seed(model_and_tokenizer):
    greedy = SamplingSettings(max_new_tokens=5, temperature=0)
    first, second = (generate(*model_and_tokenizer, PROMPTS, greedy, seed=seed) for seed in (0, 1))
    assert first.texts == second.texts


def test_top_k_and_banned_tokens_by_hand():
    logits = torch.tensor([[0.4, 0.1, 0.3, 0.2]]).log().expand(4, -1)
    numbers = torch.tensor([0.0, 0.5, 0.6, 0.999], dtype=torch.float64)
    two, logps = draw_tokens(logits, numbers, top_k=2)  # tokens 0 and 2: 0.4 / 0.7 = 0.571
    assert two.tolist() == [0, 0, 2, 2]
    assert logps[-1].item() == pytest.approx(torch.tensor(0.3).log().item())
    without, _ = draw_tokens(logits, numbers, banned=torch.tensor([0]))  # 0.1, 0.3, 0.2 of 0.6
    assert without.tolist() == [1, 2, 2, 3]
    assert draw_tokens(logits, numbers, temperature=0, banned=torch.tensor([0]))[0].tolist() == [2] * 4
    # At a low temperature the banned token leads by 129 nats: exp(-129) is 0 in float32.
    cold = {"temperature": 0.01, "banned": torch.tensor([0])}
    assert draw_tokens(logits.where(logits < -1, logits + 1), numbers, **cold)[0].tolist() == [2] * 4
    narrow, _ = draw_tokens(logits, numbers, top_p=0.4, banned=torch.tensor([0]))  # 0.3 / 0.6 is enough
    assert narrow.tolist() == [2] * 4


def test_no_end_before_the_least_length(model_and_tokenizer):
    free = SamplingSettings(max_new_tokens=12, temperature=3.0)
    least = SamplingSettings(max_new_tokens=12, temperature=3.0, min_new_tokens=6)
    short, long = (generate(*model_and_tokenizer, PROMPTS, one, seed=0, samples=6) for one in (free, least))
    assert min(map(len, short.completion_ids)) <= 6 < min(map(len, long.completion_ids))


def test_stop_strings_before_the_least_length_are_passed_over(model_and_tokenizer):
    model, tokenizer = model_and_tokenizer
    least = SamplingSettings(max_new_tokens=12, stop=("e",), min_new_tokens=6)
    rollout = generate(model, tokenizer, PROMPTS, least, seed=2, samples=4)
    free = generate(model, tokenizer, PROMPTS, SamplingSettings(max_new_tokens=12, stop=("e",)), seed=2, samples=4)
    assert min(map(len, free.completion_ids)) < 6 <= min(map(len, rollout.completion_ids))
    for text, ids in zip(rollout.texts, rollout.completion_ids, strict=True):
        begun = tokenizer.decode(ids[:6], skip_special_tokens=True)
        assert "e" not in text[len(begun) :]
    assert any("e" in text for text in rollout.texts)


def test_cohorts_of_unequal_size_hold_the_same_samples(model_and_tokenizer):
    chosen = SamplingSettings(max_new_tokens=6)
    whole = generate(*model_and_tokenizer, PROMPTS[:4], chosen, seed=3, samples=5)
    sizes = [2, 0, 5, 3]
    some = generate(*model_and_tokenizer, PROMPTS[:4], chosen, seed=3, samples=sizes)
    cohorts = [whole.completion_ids[start : start + 5] for start in range(0, 20, 5)]
    assert some.completion_ids == [ids for cohort, size in zip(cohorts, sizes, strict=True) for ids in cohort[:size]]
    assert some.row_prompts == [p for p, size in zip(PROMPTS, sizes, strict=False) for _ in range(size)]
    rest = generate(*model_and_tokenizer, PROMPTS[:4], chosen, seed=3, samples=[3, 5, 0, 0], first_sample=2)
    both = join_rollouts(generate(*model_and_tokenizer, PROMPTS[:4], chosen, seed=3, samples=2), rest)
    assert both.sizes == [5, 7, 2, 2]
    assert both.completion_ids[:5] == cohorts[0]
    assert both.completion_ids[5:10] == cohorts[1]
    assert [len(row.nonzero()) for row in both.logps] == list(map(len, both.completion_ids))
    assert torch.allclose(both.logps[:5], whole.logps[:5, : both.logps.shape[1]], atol=1e-9)


def test_rows_and_prompts_can_be_left_out(model_and_tokenizer):
    whole = generate(*model_and_tokenizer, PROMPTS[:3], SamplingSettings(max_new_tokens=4), seed=3, samples=3)
    some = whole.take([[0, 2], [], [8]])
    assert (some.prompts, some.sizes, some.prompt_indices) == ([PROMPTS[0], PROMPTS[2]], [2, 1], [0, 2])
    assert some.texts == [whole.texts[row] for row in (0, 2, 8)]
    assert torch.equal(some.logps, whole.logps[[0, 2, 8]])


def test_no_prompts(model_and_tokenizer):
    assert generate(*model_and_tokenizer, [], SamplingSettings(), seed=0).texts == []


def _watched(forward, widths):
    def watching(self, input_ids=None, **arguments):
        widths.append(len(input_ids))
        return forward(self, input_ids=input_ids, **arguments)

    return watching
