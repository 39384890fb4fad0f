"""Every shortcut of the forward pass against the plain one."""

import pytest
import torch

from pipeline_core.models.adapters import LoraSettings
from pipeline_core.models.collation import collate
from pipeline_core.models.completions import completion_logps
from pipeline_core.models.loading import load_model, load_trainable
from pipeline_core.models.probing import backbone_and_head
from tests.models.plain import plain_completion_logps
from tests.training.tiny import write_model

PROMPTS = [[5, 6, 7], [8], [9, 10, 11, 12, 13]]
COMPLETIONS = [[20, 21], [22, 23, 24, 25], [26], [27, 28, 0], [30], [31, 32, 33]]


@pytest.fixture(scope="module", params=["llama", "gpt2", "gemma2", "mistral", "granite", "cohere"])
def folder(request, tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("family") / request.param, request.param)


def loss_and_gradients(model, forward, batch):
    model.zero_grad()
    logps, entropy = forward(model, batch, 0.9)
    slope = torch.arange(1, logps.numel() + 1).view_as(logps) / logps.numel()
    (logps * slope).sum().backward()
    return (
        logps.detach(),
        entropy.detach(),
        {n: w.grad.clone() for n, w in model.named_parameters() if w.grad is not None},
    )


@pytest.mark.parametrize("sizes", [[1, 1, 1], [2, 2, 2], [3, 1, 2]])
@pytest.mark.parametrize("lora", [None, LoraSettings(r=2), LoraSettings(r=2, target_modules=("q_proj", "lm_head"))])
def test_shortcuts_equal_the_plain_forward(folder, sizes, lora):
    if lora and lora.target_modules != "all-linear" and folder.name == "gpt2":
        pytest.skip("its layers have other names")
    model = load_trainable(folder, "cpu", lora, seed=1)
    for name, weight in model.named_parameters():
        if "lora_B" in name:  # an adapter that does nothing could be left out unseen
            weight.data.fill_(0.02)
    batch = collate(PROMPTS, COMPLETIONS[: sum(sizes)], 1, "cpu", sizes)
    logps, entropy, gradients = loss_and_gradients(model, completion_logps, batch)
    plain_logps, plain_entropy, plain_gradients = loss_and_gradients(model, plain_completion_logps, batch)
    assert torch.allclose(logps, plain_logps, atol=1e-5)
    assert torch.allclose(entropy, plain_entropy, atol=1e-5)
    assert gradients.keys() == plain_gradients.keys()
    assert any(gradient.abs().max() > 1e-3 for gradient in gradients.values())
    for name, gradient in gradients.items():
        scale = max(1.0, plain_gradients[name].abs().max().item())
        assert torch.allclose(gradient, plain_gradients[name], atol=1e-5 * scale), name


def test_only_a_head_without_anything_after_it_is_used_apart(folder):
    parts = backbone_and_head(load_model(folder)[0])
    assert (parts is None) == (folder.name in ("gemma2", "granite", "cohere"))


def test_an_unknown_step_after_the_head_is_noticed_once(tmp_path, monkeypatch):
    model, _ = load_model(write_model(tmp_path))
    calls, forward = [], type(model).forward

    def shifted(self, *arguments, **named):
        calls.append(1)
        out = forward(self, *arguments, **named)
        out.logits = out.logits - 1e-3 * out.logits**2
        return out

    monkeypatch.setattr(type(model), "forward", shifted)
    assert backbone_and_head(model) is None
    assert backbone_and_head(model) is None
    assert len(calls) == 1


def test_padding_changes_nothing(folder):
    model, _ = load_model(folder)
    batch = collate(PROMPTS, COMPLETIONS, 1, "cpu")
    logps, _ = completion_logps(model, batch)
    for prompt, ids in enumerate(PROMPTS):
        for place in (2 * prompt, 2 * prompt + 1):
            alone, _ = completion_logps(model, collate([ids], [COMPLETIONS[place]], 1, "cpu"))
            assert torch.allclose(logps[place, : alone.shape[1]], alone[0], atol=1e-5)
            assert logps[place, alone.shape[1] :].abs().sum() == 0
