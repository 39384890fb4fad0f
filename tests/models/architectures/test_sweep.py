"""Issue 16, M4, M7, M8: every architecture does what stages do with it as a plain pass does, or is refused."""

import re

import pytest
import torch
import transformers

from tests.models.architectures import page
from tests.models.architectures.__main__ import measured
from tests.models.architectures.operations import Outcome, outcomes
from tests.models.architectures.overrides import NOT_BUILT, TIED
from tests.models.architectures.tiny import INITS, OWN, kinds, model_of, tokenizer_of_bytes

QUICK = ("llama", "gpt_neo", "mamba", "recurrent_gemma", "qwen3_5_text")
"""Phi-3 with longrope is in test_models.py."""
NEVER_REFUSED = (
    "llama", "mistral", "qwen2", "qwen3", "qwen3_5", "qwen3_5_text", "gemma2", "gemma3", "gemma3_text", "phi", "phi3",
    "gpt2", "gpt_neox", "opt", "bloom", "falcon", "mixtral", "mamba",
)  # fmt: skip
written_for_another = pytest.mark.skipif(
    page.version() != transformers.__version__, reason="docs/models.md was measured with another transformers"
)


def check(found: dict[str, Outcome], limit: float, share: float) -> None:
    for name, one in found.items():
        assert one.deviation <= limit, (name, one)
        assert one.gradient <= share, (name, one)


@pytest.mark.parametrize("init", INITS)
@pytest.mark.parametrize("kind", QUICK)
def test_what_stages_do_is_the_plain_pass(kind, init):
    found = outcomes(model_of(kind, init), tokenizer_of_bytes())
    check(found, 2e-5, 1e-3)
    assert not any(one.refused for one in found.values())


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(set(kinds()) - set(NOT_BUILT)))
def test_every_architecture_is_exact_or_refused(kind):
    torch.set_num_threads(1)
    found = measured(kind)
    for init, (single, double) in found.items():
        tied = {"sampling"} if kind in TIED and init == OWN else set()
        check({name: one for name, one in single.items() if name not in tied}, 2e-5, 1e-3)
        check({name: one for name, one in double.items() if name not in tied}, 1e-9, 1e-7)
    if page.version() == transformers.__version__:
        notes = {one.refused: 0 for single, _ in found.values() for one in single.values()}
        told = {name: re.sub(r"\[\d+\]", "[0]", said) for name, said in page.read()[kind].said.items()}
        assert page.line(found, notes).said == told


@written_for_another
def test_the_page_names_every_architecture_that_transformers_loads():
    assert set(page.read()) | set(NOT_BUILT) == set(kinds())
    assert not set(page.read()) & set(NOT_BUILT)


@written_for_another
def test_few_architectures_are_refused_and_none_of_the_usual():
    lines = page.read()
    refused = {kind for kind, one in lines.items() if one.is_refused}
    assert len(refused) <= 0.15 * len(lines)
    assert not refused & set(NEVER_REFUSED)
    for kind, one in lines.items():
        for column, limit in page.LIMITS.items():
            if kind in TIED and column.endswith("own"):
                continue
            assert one.largest[column] == page.NOT_MEASURED or float(one.largest[column]) <= limit, (kind, column)
