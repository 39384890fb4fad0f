import pytest
import torch

from pipeline_core.ops.logprobs import full_logps, token_logps


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


def test_frozen_head_gets_no_gradient_and_hidden_states_the_right_one():
    hidden = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    weight, target = torch.randn(5, 3, dtype=torch.float64), torch.tensor([0, 4, 2, 2])
    assert torch.autograd.gradcheck(lambda h: token_logps(h, weight, target)[0], hidden)
    assert weight.grad is None


def test_no_token_at_all():
    hidden = torch.zeros(0, 3, requires_grad=True)
    logps, _ = token_logps(hidden, torch.randn(5, 3), torch.zeros(0, dtype=torch.long))
    logps.sum().backward()
    assert hidden.grad.shape == (0, 3)
