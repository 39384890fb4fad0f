"""Exports reward models as folders that load without Evenhand, with the code they need beside their weights.

Every folder has a `score.py` with `score(prompts, completions)`, which applies the sign. An encoder is also a sequence
classifier of transformers.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from pipeline_core.errors import BadInput
from pipeline_core.export.encoding import encoding_code
from pipeline_core.plugin.registry import load_registry
from pipeline_core.rewards.layout import FOLDER, facts_of, maker_of, manifest_of, part_folders
from pipeline_core.store.artifacts import MANIFEST

SCORE = "score.py"
"""File with `score(prompts, completions)`, which returns (N,) scores, sign applied; in every exported reward."""
ENCODING = "encoding.py"
"""File that turns prompts and completions into token ids; beside `score.py` of an encoder or a classifier."""
ENCODER_CODE = "modeling_scalar_reward.py"
"""File with the class of an encoder and its head; the sign is multiplied into the head's weights."""
SEGMENTS = {
    "pair": ("prompt, completion", ""),
    "joined": ("prompt + completion", "  # with a space between them if neither has one there"),
    "completion": ("completion", ""),
    "rendered": ("prompt + completion", ""),
}
USAGE = f'import runpy\n\nscore = runpy.run_path("FOLDER/{SCORE}")["score"]\nvalues = score(prompts, completions)'


def export_encoder(folder: Path, out: Path, sign: int) -> str:
    """Export a scalar encoder as a sequence classifier with its own code; the sign is multiplied into its head."""
    from safetensors.torch import load_file, save_file

    from pipeline_core.models.encoder import load_encoder
    from pipeline_core.models.padded_rows import can_pad

    facts = facts_of(folder)
    for file in folder.iterdir():
        # Slow tokenizers keep their vocabulary in such files.
        if file.name.startswith("tokenizer") or file.suffix in (".txt", ".model") or file.name == "vocab.json":
            shutil.copyfile(file, out / file.name)
    weights = {f"encoder.{name}": weight for name, weight in load_file(folder / "model.safetensors").items()}
    head = load_file(folder / "head.safetensors")
    # So transformers alone gives the right order too.
    weights |= {f"head.{name}": (weight * sign).contiguous() for name, weight in head.items()}
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
    _write_config(json.loads((folder / "config.json").read_text(encoding="utf-8")), facts, out)
    _write_code(ENCODER_CODE, out)
    reads = _reads(folder, facts["reads"])
    model, tokenizer = load_encoder(folder, facts["pooling"], "cpu")
    # `sign` is 1 here: the head's weights have it.
    score_facts = {"reads": reads, "max_length": facts["max_length"], "output": 0, "exclusive": False, "sign": 1}
    score_facts["pads"] = can_pad(model, tokenizer, facts["max_length"], "cpu")
    segments, remark = SEGMENTS[reads]
    return (
        f"{write_score('tokens', score_facts, out)}\n\n# Or one text by transformers alone:\n"
        "from transformers import AutoModelForSequenceClassification, AutoTokenizer\n\n"
        'tokenizer = AutoTokenizer.from_pretrained("FOLDER", truncation_side="left")\n'
        'model = AutoModelForSequenceClassification.from_pretrained("FOLDER", trust_remote_code=True).eval()\n'
        f"batch = tokenizer({segments}, truncation=True, max_length={facts['max_length']}, "
        f'return_tensors="pt"){remark}\n'
        "score = model(**batch).logits[:, 0]"
    )


def export_classifier(folder: Path, out: Path, sign: int) -> str:
    """Export a sequence classifier unchanged; `reward.json` has the index of the score and the sign.

    Code by others that its configuration names is left out: the reward was loaded without it.
    """
    from pipeline_core.models.encoder import are_exclusive
    from pipeline_core.models.padded_rows import can_pad, logits_of
    from pipeline_core.rewards.classifiers import open_classifier

    own = shutil.ignore_patterns(MANIFEST, "reward.json", "sign.json")  # `reward.json` is written anew, with the sign
    shutil.copytree(folder, out, ignore=own, dirs_exist_ok=True)
    written = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    written.pop("auto_map", None)
    (out / "config.json").write_text(json.dumps(written, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    facts = facts_of(folder)
    model, tokenizer, _ = open_classifier(folder, facts["output"], facts["max_length"])
    facts |= {"reads": _reads(folder, facts["reads"]), "exclusive": are_exclusive(model.config), "sign": sign}
    # Decided here: `score.py` has no code that probes a model.
    facts["pads"] = can_pad(lambda **batch: logits_of(model, batch), tokenizer, facts["max_length"], "cpu")
    remark = "# The model alone gives its raw outputs; reward.json has the index of the score and its sign."
    return f"{remark}\n{write_score('tokens', facts, out)}"


def export_words(folder: Path, out: Path, sign: int) -> str:
    """Export a score of word n-grams as numbers, with the function that reads them."""
    shutil.copyfile(folder / "weights.safetensors", out / "weights.safetensors")
    return write_score("words", facts_of(folder) | {"sign": sign}, out)


def export_lexicon(folder: Path, out: Path, sign: int) -> str:
    """Export a word list with the function that counts its words."""
    words = json.loads((folder / "words.json").read_text(encoding="utf-8"))
    return write_score("lexicon", {"words": words, "sign": sign}, out)


def export_ensemble(folder: Path, out: Path, sign: int) -> str:
    """Export an ensemble with its rewards. Raises `BadInput` when a reward cannot be exported."""
    return _export_parts("ensemble", folder, out, sign)


def export_length_controlled(folder: Path, out: Path, sign: int) -> str:
    """Export a length-controlled reward with its inner reward. Raises `BadInput` when that cannot be exported."""
    return _export_parts("length_controlled", folder, out, sign)


def _export_parts(kind: str, folder: Path, out: Path, sign: int) -> str:
    """Export each part into its own folder, with its own sign, and the score that combines them."""
    registry = load_registry()  # a writer is not given one
    for part in part_folders(folder):
        spec = maker_of(part, registry)
        target = out / FOLDER / part.name
        target.mkdir(parents=True)
        if spec.export:
            spec.export(part, target, int(manifest_of(part)["metrics"]["sign"]))
        if not (target / SCORE).exists():  # a writer of another package may leave no `score.py`
            raise BadInput(f"{part.name}, a part of it, is of {spec.name!r}, which nothing but Evenhand can load")
    return write_score("parts", facts_of(folder) | {"kind": kind, "sign": sign}, out)


def write_score(kind: str, facts: Mapping[str, Any], out: Path) -> str:
    """Write `score.py` and its facts as `reward.json`; return the code that uses it."""
    (out / "reward.json").write_text(json.dumps(facts, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")
    _write_code(f"score_{kind}.py", out, SCORE)
    if kind == "tokens":
        (out / ENCODING).write_text(encoding_code(), encoding="utf-8")
    return USAGE


def _reads(folder: Path, reads: str) -> str:
    """Format of the encoder's input: `joined` instead of `pair` if the tokenizer separates two segments by no token."""
    from transformers import AutoTokenizer

    if reads != "pair":
        return reads
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    # A separating token shows in the count: [CLS] a [SEP] has two, [CLS] a [SEP] b [SEP] three.
    single, double = (tokenizer.num_special_tokens_to_add(pair=pair) for pair in (False, True))
    return "pair" if double > single else "joined"


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


def _write_code(template: str, out: Path, name: str = "") -> None:
    code = (files("pipeline_core.export") / f"{template}.tmpl").read_text(encoding="utf-8")
    (out / (name or template)).write_text(code, encoding="utf-8")
