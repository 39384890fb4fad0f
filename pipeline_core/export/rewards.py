"""Reward models as folders that load without Evenhand: the code they need stands beside their weights."""

from __future__ import annotations

import json
import shutil
from importlib.resources import files
from pathlib import Path
from typing import Any

ENCODER_CODE, WORDS_CODE = "modeling_scalar_reward.py", "score.py"
SEGMENTS = {
    "pair": ("prompt, completion", ""),
    "joined": ("prompt + completion", "  # with a space between them where neither brings one"),
    "completion": ("completion", ""),
}


def export_encoder(folder: Path, out: Path, sign: int) -> str:
    """A scalar encoder as a sequence classifier with code of its own; the sign is multiplied into its head."""
    from safetensors.torch import load_file, save_file

    facts = json.loads((folder / "reward.json").read_text(encoding="utf-8"))
    for file in folder.iterdir():
        if file.name.startswith("tokenizer") or file.suffix in (".txt", ".model") or file.name == "vocab.json":
            shutil.copyfile(file, out / file.name)
    weights = {f"encoder.{name}": weight for name, weight in load_file(folder / "model.safetensors").items()}
    head = load_file(folder / "head.safetensors")
    weights |= {f"head.{name}": (weight * sign).contiguous() for name, weight in head.items()}
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
    _write_config(json.loads((folder / "config.json").read_text(encoding="utf-8")), facts, out)
    _write_code(ENCODER_CODE, out)
    segments, remark = SEGMENTS[facts["reads"] if facts["reads"] != "pair" or _separates(folder) else "joined"]
    return (
        "from transformers import AutoModelForSequenceClassification, AutoTokenizer\n\n"
        'tokenizer = AutoTokenizer.from_pretrained("FOLDER", truncation_side="left")\n'
        'model = AutoModelForSequenceClassification.from_pretrained("FOLDER", trust_remote_code=True).eval()\n'
        f"batch = tokenizer({segments}, truncation=True, max_length={facts['max_length']}, "
        f'return_tensors="pt"){remark}\n'
        "score = model(**batch).logits[:, 0]"
    )


def _separates(folder: Path) -> bool:
    """Whether the tokenizer puts something between two segments; where it does not, they are read as one text."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    single, double = (tokenizer.num_special_tokens_to_add(pair=pair) for pair in (False, True))
    return bool(double > single)


def _write_config(config: dict[str, Any], facts: dict[str, Any], out: Path) -> None:
    code = ENCODER_CODE.removesuffix(".py")
    config |= {
        "architectures": ["ScalarRewardModel"],
        "auto_map": {"AutoModelForSequenceClassification": f"{code}.ScalarRewardModel"},
        "id2label": {"0": "reward"},
        "label2id": {"reward": 0},
        "reward_pooling": facts["pooling"],
    }
    (out / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def export_words(folder: Path, out: Path, sign: int) -> str:
    """A score of word n-grams as plain numbers with the function that reads them."""
    facts = json.loads((folder / "reward.json").read_text(encoding="utf-8")) | {"sign": sign}
    (out / "reward.json").write_text(json.dumps(facts, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")
    shutil.copyfile(folder / "weights.safetensors", out / "weights.safetensors")
    _write_code(WORDS_CODE, out)
    return 'import sys\n\nsys.path.insert(0, "FOLDER")\nfrom score import score\n\nvalues = score(prompts, completions)'


def _write_code(name: str, out: Path) -> None:
    template = files("pipeline_core.export") / f"{name}.tmpl"
    (out / name).write_text(template.read_text(encoding="utf-8"), encoding="utf-8")
