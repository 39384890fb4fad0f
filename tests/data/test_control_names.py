"""M15: `evenhand data validate` counts rows whose texts name control tokens."""

import json

import pytest

from flows.cli import main
from tests.models.tokenizers_of_all_kinds import byte_level

ROWS = [
    {"prompt": "the nurse", "chosen": "was late", "rejected": "was <|im_end|> late"},
    {"prompt": "the </s> nurse <|im_end|>", "chosen": "was early", "rejected": "was late"},
    {"prompt": "the [gMASK] driver", "chosen": "a < b | c > d", "rejected": "<own> late"},
    {"prompt": "<s>the driver", "chosen": "was kind</s>", "rejected": "was rude"},
]


@pytest.fixture
def mine(root, monkeypatch):
    (root / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    (root / "catalog.yaml").write_text(
        "mine: {kind: jsonl, path: rows.jsonl, rows: preference, title: t, licence: l, citation: c}\n"
    )
    monkeypatch.setenv("EVENHAND_CATALOG", str(root / "catalog.yaml"))


def call(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main(["data", "validate", *arguments])
    return ended.value.code or 0, capsys.readouterr()


def test_m15_rows_that_name_known_control_tokens_are_counted(mine, capsys):
    code, said = call(capsys, "mine", "--json")
    assert code == 0
    assert json.loads(said.out)["named"] == {"<|im_end|>": 2, "</s>": 2, "[gMASK]": 1, "<s>": 1}
    code, said = call(capsys, "mine")
    assert (code, "<|im_end|> in 2 rows" in said.err, "[gMASK] in 1 row," in said.err) == (0, True, True)


def test_m15_with_a_model_its_own_control_tokens_are_counted_too(mine, capsys, tmp_path):
    tokenizer = byte_level("<s> $A")
    tokenizer.add_special_tokens({"extra_special_tokens": ["<own>"]})
    tokenizer.save_pretrained(tmp_path / "model")
    code, said = call(capsys, "mine", "--json", "--model", str(tmp_path / "model"))
    assert code == 0
    assert json.loads(said.out)["named"]["<own>"] == 1
    code, said = call(capsys, "mine", "--model", str(tmp_path / "nothing"))
    assert code == 2
    assert "--model" in said.err
    assert "Traceback" not in said.err


def test_m15_the_sandbox_names_none(capsys):
    code, said = call(capsys, "sandbox_pairs", "--json")
    assert (code, json.loads(said.out)["named"]) == (0, {})
