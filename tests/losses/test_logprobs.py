import math

import pytest
import torch

from pipeline_core.losses.logprobs import full_logps, targets_of_places, token_logps


@pytest.mark.parametrize("chunk", [3, 100])
@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_chunked_head_equals_full_logits(chunk, with_bias, temperature):
    generator = torch.Generator().manual_seed(1)

    def random(*shape):
        return torch.randn(*shape, generator=generator, requires_grad=True)

    hidden, weight, bias = random(10, 6), random(17, 6), random(17) if with_bias else None
    target, slope = torch.randint(17, (10,), generator=generator), torch.randn(10, generator=generator)
    leaves = [leaf for leaf in (hidden, weight, bias) if leaf is not None]

    logits = torch.nn.functional.linear(hidden, weight, bias)
    plain = full_logps(logits, target, temperature)
    plain_grads = torch.autograd.grad((plain * slope).sum(), leaves)
    fused, entropy = token_logps(hidden, weight, target, bias_V=bias, temperature=temperature, chunk=chunk)
    fused_grads = torch.autograd.grad((fused * slope).sum(), leaves)

    assert torch.allclose(fused, plain, atol=1e-5)
    for ours, theirs in zip(fused_grads, plain_grads, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5)
    expected = torch.distributions.Categorical(logits=logits / temperature).entropy()
    assert torch.allclose(entropy, expected, atol=1e-5)


@pytest.mark.parametrize("chunk", [3, 100])
@pytest.mark.parametrize("with_bias", [False, True])
def test_entropy_has_a_gradient_on_demand(chunk, with_bias):
    generator = torch.Generator().manual_seed(1)

    def random(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64, requires_grad=True)

    hidden, weight, bias = random(10, 6), random(17, 6), random(17) if with_bias else None
    target = torch.randint(17, (10,), generator=generator)
    slopes = torch.randn(2, 10, generator=generator, dtype=torch.float64)
    leaves = [leaf for leaf in (hidden, weight, bias) if leaf is not None]

    def gradients(logps, entropy):
        return torch.autograd.grad((logps * slopes[0] + entropy * slopes[1]).sum(), leaves)

    logits = torch.nn.functional.linear(hidden, weight, bias) / 0.7
    plain = gradients(full_logps(logits, target), torch.distributions.Categorical(logits=logits).entropy())
    asked = {"bias_V": bias, "temperature": 0.7, "chunk": chunk}
    fused = gradients(*token_logps(hidden, weight, target, **asked, entropy_gradient=True))
    for ours, theirs in zip(fused, plain, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-12)
    _, entropy = token_logps(hidden, weight, target, **asked)
    assert not entropy.requires_grad


def test_frozen_head_gets_no_gradient_and_hidden_states_the_right_one():
    hidden = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    weight, target = torch.randn(5, 3, dtype=torch.float64), torch.tensor([0, 4, 2, 2])
    assert torch.autograd.gradcheck(lambda h: token_logps(h, weight, target)[0], hidden)
    assert weight.grad is None


def test_a_bias_alone_can_be_trained():
    bias = torch.randn(5, dtype=torch.float64, requires_grad=True)
    hidden, weight = torch.randn(4, 3, dtype=torch.float64), torch.randn(5, 3, dtype=torch.float64)
    target = torch.tensor([0, 4, 2, 2])
    assert torch.autograd.gradcheck(lambda b: token_logps(hidden, weight, target, bias_V=b, chunk=3)[0], bias)


def test_full_logits_of_rows_and_tokens_keep_their_digits():
    logits = torch.tensor([[[1.0, 3.0], [0.0, 0.0]]], dtype=torch.float64)
    expected = [[-2 - math.log1p(math.exp(-2)), -math.log(2)]]
    assert full_logps(logits, torch.tensor([[0, 1]])).tolist() == [pytest.approx(expected[0], abs=1e-15)]
    assert full_logps(logits.bfloat16(), torch.tensor([[0, 1]])).dtype == torch.float32


def test_no_temperature_is_a_temperature_of_one():
    hidden, weight, target = torch.randn(4, 3), torch.randn(5, 3), torch.tensor([0, 4, 2, 2])
    assert torch.equal(token_logps(hidden, weight, target)[0], token_logps(hidden, weight, target, temperature=1.0)[0])


def test_no_token_at_all():
    hidden = torch.zeros(0, 3, requires_grad=True)
    logps, _ = token_logps(hidden, torch.randn(5, 3), torch.zeros(0, dtype=torch.long))
    logps.sum().backward()
    assert hidden.grad.shape == (0, 3)


@pytest.mark.parametrize("weight_dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("sure", [0.0, 4.0, 9.0])
def test_half_precision_gradients_are_right_also_where_the_model_is_sure(weight_dtype, sure):
    generator = torch.Generator().manual_seed(2)
    weight = torch.randn(50, 64, generator=generator).to(weight_dtype)
    target = torch.randint(50, (20,), generator=generator)
    direction = weight[target].float() / weight[target].float().norm(dim=1, keepdim=True)
    hidden = (direction * sure * 0.5 + 0.1 * torch.randn(20, 64, generator=generator)).bfloat16()

    def gradients(hidden, weight):
        hidden, weight = hidden.clone().requires_grad_(), weight.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16):
            logps, _ = token_logps(hidden, weight, target)
            logps.sum().backward()
        return logps.detach(), hidden.grad.double(), weight.grad.double()

    logps, ours, ours_weight = gradients(hidden, weight)
    exact_logps, exact, exact_weight = gradients(hidden.double(), weight.double())
    assert torch.allclose(logps.double(), exact_logps, atol=1e-5)
    errors = (ours - exact).norm(dim=1) / exact.norm(dim=1)
    assert errors.max() < 0.02  # bfloat16 keeps eight bits
    assert (ours_weight - exact_weight).norm() / exact_weight.norm() < 0.02


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, None])
@pytest.mark.parametrize("biased", [False, True])
def test_places_asked_for_several_targets_give_what_all_logits_give(chunk, biased):
    generator = torch.Generator().manual_seed(0)
    hidden_UH, weight_VH = torch.randn(6, 4, generator=generator), torch.randn(9, 4, generator=generator)
    bias_V = torch.randn(9, generator=generator) if biased else None
    place_Q = torch.tensor([3, 0, 3, 5, 3, 1, 2, 4, 4])
    target_Q = torch.randint(0, 9, (9,), generator=generator)
    found, are_likeliest = targets_of_places(hidden_UH, weight_VH, target_Q, place_Q, bias_V=bias_V, chunk=chunk)
    logits_UV = torch.nn.functional.linear(hidden_UH, weight_VH, bias_V)
    assert torch.allclose(found, full_logps(logits_UV[place_Q], target_Q), atol=1e-6)
    assert are_likeliest.tolist() == (logits_UV[place_Q].argmax(-1) == target_Q).tolist()
    first, _ = targets_of_places(hidden_UH, weight_VH, target_Q[:2], place_Q[:2] * 0, bias_V=bias_V, chunk=chunk)
    assert torch.allclose(first, full_logps(logits_UV[[0, 0]], target_Q[:2]), atol=1e-6), (
        "later places are not asked for"
    )
    top_U, place_U = logits_UV.argmax(-1), torch.arange(6)
    assert targets_of_places(hidden_UH, weight_VH, top_U, place_U, bias_V=bias_V, chunk=chunk)[1].all()
