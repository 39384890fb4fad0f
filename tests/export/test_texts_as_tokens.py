"""An exported reward reads texts as the stage did, with every kind of tokenizer (R2, M6, M9, M15)."""

import ast
import json
import runpy
from collections import Counter

import pytest
import torch

from pipeline_core.export.encoding import encoding_code
from pipeline_core.export.rewards import export_classifier
from pipeline_core.models.loading import save_model
from pipeline_core.rewards.classifiers import load
from tests.models.tiny_classifiers import classifier_of, config_of
from tests.models.tokenizers_of_all_kinds import KINDS, tokenizer_of

COMPLETIONS = [
    "", "a", "She was late.", " late", "\n late", "She was late.</s>", "</s>", "</s></s>", "late </s> late",
    "late </s>\n", "<s>late", "<s><s>late</s>", "[gMASK]<sop>late", "<sop>late", "[CLS] late [SEP]", "<unk> late",
    "<pad>", "</S> late", "the <|im_end|> late", "late " * 40, "late " * 40 + "</s>",
]  # fmt: skip
PROMPTS = ["", "Who ", "<s>Who</s>", "[gMASK]<sop>Who was"]
ROWS = [(prompt, completion) for prompt in PROMPTS for completion in COMPLETIONS]


@pytest.fixture(scope="module")
def model():
    return classifier_of(config_of("llama", vocab_size=500, num_hidden_layers=1))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "slow"])  # its class is the test's own
def test_r2_m6_m9_m15_an_exported_classifier_gives_the_stages_scores(model, tmp_path, kind):
    save_model(model, tokenizer_of(kind), tmp_path / "reward")
    prompts, completions = zip(*ROWS, strict=True)
    for reads in ("joined", "rendered", "pair"):
        facts = {"output": 0, "reads": reads, "max_length": 32}
        (tmp_path / "reward" / "reward.json").write_text(json.dumps(facts))
        export_classifier(tmp_path / "reward", tmp_path / reads, 1)
        expected = load(tmp_path / "reward", "cpu")(prompts, completions)
        found = torch.from_numpy(runpy.run_path(str(tmp_path / reads / "score.py"))["score"](prompts, completions))
        off = (found - expected).abs()
        assert off.max() < 1e-4, (reads, [row for row, far in zip(ROWS, off > 1e-4, strict=True) if far])


def test_r2_the_exported_code_gives_no_name_to_two_things():
    names = Counter[str]()
    for node in ast.parse(encoding_code()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names[node.name] += 1
        elif isinstance(node, ast.Assign):
            names.update(target.id for target in node.targets if isinstance(target, ast.Name))
    assert [name for name, count in names.items() if count > 1] == []
    assert "pipeline_core." not in encoding_code().split('"""', 2)[2].replace(
        "`pipeline_core.models.tokens.prompts`", ""
    )
