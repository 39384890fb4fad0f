"""Issue 16, M4, M7, M8 and M13: models that read padding, masks, positions and caches their own way."""

import math

import pytest
import torch

from pipeline_core.errors import BadInput
from pipeline_core.losses.groups import uniform
from pipeline_core.losses.preference import logistic_loss
from pipeline_core.models import probing
from pipeline_core.models.collation import collate, joint_states
from pipeline_core.models.completions import completion_logps
from pipeline_core.models.doubling import in_float64
from pipeline_core.models.layouts import BatchLayout, layout_of, layouts
from pipeline_core.models.lengths import check_rows, positions_of
from pipeline_core.models.likelihood.scoring import score_tokens
from pipeline_core.models.likelihood.trees import TokenPair, tree_rows
from pipeline_core.models.loading import load_model
from pipeline_core.models.probing import backbone_and_head, states_of
from pipeline_core.models.sampling.decoding import SamplingSettings
from pipeline_core.models.sampling.sample import generate
from pipeline_core.models.sampling.ways import SamplingMethod, way_of
from pipeline_core.plugin.checkpoints import Checkpoints
from pipeline_core.plugin.context import StageContext
from pipeline_core.plugin.events import EventLog
from pipeline_core.training.preference.encoded_rows import encode_rows
from pipeline_core.training.preference.settings import PreferenceConfig
from pipeline_core.training.preference.train import train_preferences
from plugins.policy.sft._train import train_completions
from tests.models.architectures.exact import token_logps
from tests.models.architectures.tiny import OWN, WINDOW, config_of, model_of, random_model, tokenizer_of_bytes
from tests.training.tiny import TinyInputs, pairs

BRANCHED = [TokenPair(0, (5, 6, 7), (8, 9)), TokenPair(1, (5, 6, 7), (9, 9))]


@pytest.fixture(scope="module")
def tokenizer():
    return tokenizer_of_bytes()


def naive(model, pairs):
    with torch.no_grad():
        return torch.stack([token_logps(model, *pair).sum() for pair in pairs])


def longrope(border):
    """Phi-3 whose rotations change for rows of more than `border` tokens."""
    config = config_of("phi3").to_dict()
    rope = {"rope_type": "longrope", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": border}
    factors = {"short_factor": [1.0] * 4, "long_factor": [4.0, 3.0, 5.0, 2.0]}
    own = {"original_max_position_embeddings": border, "rope_parameters": rope | factors}
    return random_model(type(config_of("phi3"))(**config | own))


def ids(length, start=5):
    return [start + place % 200 for place in range(length)]


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_usual_models_keep_to_the_usual_way(kind):
    model = model_of(kind)
    both = collate([ids(3), ids(9)], [ids(4), ids(2, 50), ids(5, 60), ids(3, 70)], 0, "cpu")
    single = collate([ids(3), ids(9)], [ids(4), ids(2, 50)], 0, "cpu")
    assert layouts(model, both) == (BatchLayout.SHARED, [])
    assert layouts(model, single) == (BatchLayout.LEFT, [])
    assert way_of(model, 40) is SamplingMethod.PADDED
    assert any(row.branched for row in tree_rows(model, BRANCHED, 64))


def test_m4_pairs_of_a_hybrid_model_run_a_row_each_and_are_exact(tokenizer):
    model = model_of("qwen3_5_text")
    batch = collate([ids(3), ids(9)], [ids(4), ids(2, 50), ids(5, 60), ids(3, 70)], 0, "cpu")
    assert layouts(model, batch)[0] in (BatchLayout.LEFT, BatchLayout.RIGHT)
    found = completion_logps(model, batch)[0].sum(1)
    rows = [(ids(3), ids(4)), (ids(3), ids(2, 50)), (ids(9), ids(5, 60)), (ids(9), ids(3, 70))]
    assert torch.allclose(found.double(), naive(model, rows), atol=1e-4, rtol=0)
    rollout = generate(model, tokenizer, ["the", "the visitor"], SamplingSettings(5), seed=0, samples=3)
    for row, (prompt, completion) in enumerate(zip(rollout.row_prompts, rollout.completion_ids, strict=True)):
        prompt_ids = rollout.prompt_ids[rollout.prompts.index(prompt)]
        wanted = token_logps(model, prompt_ids, completion)
        assert torch.allclose(rollout.logps[row, : len(completion)].double(), wanted, atol=1e-4, rtol=0)


@pytest.fixture
def context(tmp_path):
    return StageContext(
        seed=5, device="cpu", events=EventLog(), checkpoints=Checkpoints(None), scratch=tmp_path / "scratch"
    )


def folder_of(kind, tokenizer, folder):
    model_of(kind).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_m4_dpo_on_a_hybrid_model_starts_at_log_2_and_saves_a_model(tmp_path, tokenizer, context):
    folder = folder_of("qwen3_5_text", tokenizer, tmp_path / "model")
    (out := tmp_path / "out").mkdir()
    settings = PreferenceConfig(name="x", batch_size=4, steps=2, learning_rate=1e-3)
    train_preferences(TinyInputs(folder, pairs(8)), logistic_loss(0.5), uniform(), settings, context, out)
    assert context.events.history[0]["loss"] == pytest.approx(math.log(2), abs=1e-4)
    assert context.events.history[0]["margin"] == pytest.approx(0, abs=1e-3)
    assert len(context.events.history) == 2
    assert load_model(out)[0].dtype is torch.float32


def test_m7_the_first_loss_of_sft_is_that_of_its_rows_alone(tmp_path, tokenizer, context):
    folder = folder_of("recurrent_gemma", tokenizer, tmp_path / "model")
    (out := tmp_path / "out").mkdir()
    settings = PreferenceConfig(name="x", batch_size=6, steps=1)
    train_completions(TinyInputs(folder, pairs(6)), "chosen", settings, context, out)
    rows = encode_rows(tokenizer, pairs(6), ("chosen",), settings)
    model = model_of("recurrent_gemma")
    with torch.no_grad():
        each = [token_logps(model, rows.prompts[row], rows.completions[row][0]).mean() for row in range(6)]
    assert context.events.history[0]["loss"] == pytest.approx(-float(torch.stack(each).mean()), abs=1e-5)


def test_m7_a_recurrent_model_gets_no_padding_on_the_left():
    model = model_of("recurrent_gemma")
    batch = collate([ids(2), ids(11)], [ids(4, 40), ids(2, 50)], 0, "cpu")
    wanted = naive(model, [(ids(2), ids(4, 40)), (ids(11), ids(2, 50))])
    with torch.no_grad():
        logits = joint_states(states_of(model), batch)
    wrong = logits.double().log_softmax(-1).gather(-1, batch.ids_BT[..., None])[0, :4].sum()
    assert abs(float(wrong - wanted[0])) > 0.01  # what padding on the left does to it
    assert layout_of(model, 14) is BatchLayout.RIGHT
    assert torch.allclose(completion_logps(model, batch)[0].sum(1).double(), wanted, atol=1e-4, rtol=0)


def test_m7_padding_whose_embedding_is_zero_is_not_taken_for_harmless():
    """The state of RecurrentGemma stays zero behind such padding, but gradients go through it."""
    assert layout_of(model_of("recurrent_gemma", OWN), 14) is BatchLayout.RIGHT


def test_m7_padding_whose_embedding_is_zero_leaves_gradients_finite():
    """Gemma 3n takes a root of the magnitude of a state, whose gradient at zero is infinite."""
    model = model_of("gemma3n_text", OWN)
    assert not model.get_input_embeddings().weight[0].any()
    completion_logps(model, collate([ids(2), ids(11)], [ids(4, 40), ids(2, 50)], 0, "cpu"))[0].sum().backward()
    assert all(weight.grad is None or weight.grad.isfinite().all() for weight in model.parameters())


@pytest.mark.parametrize("kind", ["falcon_h1", "inkling_text"])
def test_m4_a_state_that_cannot_select_rows_is_not_shared_in_short_rows_either(kind, tokenizer):
    model = model_of(kind)
    rollout = generate(model, tokenizer, ["a"], SamplingSettings(4), seed=0, samples=2)
    assert way_of(model, len(rollout.prompt_ids[0]) + 4) is SamplingMethod.CACHED
    for completion, logps in zip(rollout.completion_ids, rollout.logps, strict=True):
        with torch.no_grad():
            wanted = token_logps(model, rollout.prompt_ids[0], completion)
        assert torch.allclose(logps[: len(completion)].double(), wanted, atol=2e-5, rtol=0)


@pytest.mark.parametrize("kind", ["modernbert-decoder", "lfm2"])
def test_m8_small_weights_hide_no_wrong_mask(kind):
    """Trees are off by 1e-4 and 5e-5 nats, which a probe in float32 cannot tell from rounding in deep models."""
    model = model_of(kind, OWN)
    pairs = [(ids(start), ids(length, 20 * length)) for start in (3, 12, 25) for length in (1, 3, 12, 25)]
    pairs = [(prompt, [token % 250 + 5 for token in completion]) for prompt, completion in pairs]
    length = torch.tensor([len(completion) for _, completion in pairs])
    off = (score_tokens(model, pairs).logps - naive(model, pairs)).abs() / length
    assert float(off.max()) <= 2e-6


def test_m8_small_weights_do_not_make_a_model_causal():
    with pytest.raises(BadInput, match="not causal"):
        check_rows(model_of("prophetnet", OWN), 9)


def deep_llama():
    """24 layers whose logits are large: float32 rounds by more than 1e-6 nats."""
    config = config_of("llama")
    config.num_hidden_layers = 24
    return random_model(config)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_m8_rounding_alone_makes_no_model_slower(dtype):
    model = deep_llama().to(dtype)
    batch = collate([ids(3), ids(20)], [ids(4), ids(2, 50), ids(5, 60), ids(3, 70)], 0, "cpu")
    assert layouts(model, batch) == (BatchLayout.SHARED, [])
    assert layout_of(model, 60) is BatchLayout.LEFT
    assert way_of(model, 60) is SamplingMethod.PADDED
    assert any(row.branched for row in tree_rows(model, BRANCHED, 64))
    assert {parameter.dtype for parameter in model.parameters()} == {dtype}


def test_m8_a_model_that_does_not_run_in_float64_is_tried_in_float32(monkeypatch):
    def single_only(model):
        layer = model.model.layers[0]
        kept = layer.forward

        def forward(hidden, *args, **given):
            if hidden.dtype is torch.float64:
                raise TypeError("no kernel for float64")
            return kept(hidden, *args, **given)

        monkeypatch.setattr(layer, "forward", forward)
        return model

    model = single_only(deep_llama())
    assert probing._in_float64(model, lambda: probing.logps_alone(model, ids(5)), lambda: torch.zeros(4)) is None
    assert layout_of(model, 40) is BatchLayout.LEFT
    assert layout_of(single_only(model_of("recurrent_gemma")), 40) is BatchLayout.RIGHT


def test_m8_tables_made_in_float32_make_no_model_slower():
    """MiniMax decays by tables in its passes over prompts and by a formula in its steps: 4e-8 nats."""
    assert way_of(model_of("minimax"), 40) is SamplingMethod.PADDED


@pytest.mark.parametrize("kind", ["mixtral", "phi3"])
def test_m8_a_pass_in_float64_leaves_the_model_as_it_is(kind):
    model = longrope(16) if kind == "phi3" else model_of(kind)
    state = {name: value.clone() for name, value in (*model.named_parameters(), *model.named_buffers())}
    experts = model.get_experts_implementation()
    with torch.no_grad():
        short, before = (model(torch.tensor([ids(length)])).logits for length in (5, 30))
        with in_float64(model) as passes:
            precise = model(torch.tensor([ids(30)])).logits
        after, again = (model(torch.tensor([ids(length)])).logits for length in (30, 5))
    assert passes.complete
    assert precise.dtype is torch.float64
    assert 0 < float((precise - before).abs().max()) < 1e-4
    assert torch.equal(after, before)
    assert torch.equal(again, short)
    assert torch.get_default_dtype() is torch.float32
    assert model.get_experts_implementation() == experts
    for name, value in (*model.named_parameters(), *model.named_buffers()):
        assert torch.equal(value, state[name]), name


def test_m8_a_window_by_the_place_in_a_row_cuts_no_tree():
    model = model_of("gpt_neo")
    prompt = ids(WINDOW - 4)
    pairs = [(prompt, ids(3, 20 * number)) for number in range(1, 9)]
    rows = tree_rows(model, [TokenPair(place, tuple(a), tuple(b)) for place, (a, b) in enumerate(pairs)], 2048)
    assert max(map(len, rows)) <= WINDOW  # a tree of all of them would have 24 tokens
    assert torch.allclose(score_tokens(model, pairs).logps, naive(model, pairs), atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", ["gpt_neo", "mistral", "gemma2", "llama4_text"])
def test_m8_texts_longer_than_a_window_are_exact(kind):
    model = model_of(kind)
    pairs = [(ids(3 * WINDOW), ids(4, 20 * number)) for number in range(1, 4)] + [(ids(5), ids(3))]
    assert torch.allclose(score_tokens(model, pairs).logps, naive(model, pairs), atol=2e-4, rtol=0)


@pytest.mark.parametrize(
    ("kind", "most"), [("mpt", 128), ("gpt2", 128), ("roberta", 127), ("opt", 128), ("llama", 128)]
)
def test_m8_the_limit_of_positions_is_known_whatever_it_is_called(kind, most):
    assert positions_of(model_of(kind)) == most
    with pytest.raises(BadInput, match=f"exceed the model's {most} positions"):
        check_rows(model_of(kind), most + 1)


def test_m8_a_table_shorter_than_the_configuration_says_sets_the_limit():
    model = model_of("gpt2")
    model.config.n_positions = 10**6
    assert positions_of(model) == 128


def test_m13_rows_on_either_side_of_a_change_of_positions_are_exact(tokenizer):
    border = 16
    model = longrope(border)
    pairs = [(ids(4), ids(3)), (ids(4), ids(3, 40)), (ids(20), ids(6)), (ids(20), ids(4, 90)), (ids(12), ids(5))]
    pairs.append((ids(12), ids(6)))
    wanted = naive(model, pairs)
    batch = collate([ids(4), ids(20)], [ids(3), ids(3, 40), ids(6), ids(4, 90)], 0, "cpu")
    with torch.no_grad():
        logits = torch.nn.functional.linear(joint_states(states_of(model), batch), backbone_and_head(model)[1].weight)
    wrong = logits.log_softmax(-1).gather(-1, batch.ids_BT[..., None])[..., 0] * batch.mask_BT
    assert float((wrong.sum(1).double() - wanted[:4]).abs().max()) > 0.05  # all in one batch
    assert torch.allclose(completion_logps(model, batch)[0].sum(1).double(), wanted[:4], atol=1e-4, rtol=0)
    for shares in (True, False):
        assert torch.allclose(score_tokens(model, pairs, share_prompts=shares).logps, wanted, atol=1e-4, rtol=0)
    assert check_rows(model, 30).border == border
    generate(model, tokenizer, ["the"], SamplingSettings(8), seed=0)
    with pytest.raises(BadInput, match="crosses the 16 tokens at which the model changes its position embeddings"):
        generate(model, tokenizer, ["the"], SamplingSettings(20), seed=0)


def test_a_model_that_is_not_causal_is_refused():
    config = config_of("bert")
    config.is_decoder = False
    with pytest.raises(BadInput, match="not causal"):
        score_tokens(random_model(config), [(ids(4), ids(3))])
