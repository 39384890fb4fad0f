"""Checks of a model folder's files without loading them, so that faults are reported before a run begins."""

from __future__ import annotations

import importlib.util
import json
import re
import struct
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

from pipeline_core.errors import NotUsable, quoted

CONFIG, ADAPTER, GENERATION = "config.json", "adapter_config.json", "generation_config.json"
TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id")
"""Settings that hold token ids."""
WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
"""Files that hold or list a model's weights, in search order."""
VOCABULARIES = ("tokenizer.json", "tokenizer.*.json", "vocab*", "*.model", "*.spm", "*.vocab", "*bpe*", "tekken.json")
"""Patterns of vocabulary files; a folder with a tokenizer has at least one."""
LETTERS = ("ByT5Tokenizer", "CanineTokenizer", "PerceiverTokenizer")
"""Tokenizers of bytes or letters, which need no vocabulary file."""
PICKLE = b"\x80"
"""First byte of a pickle of protocol 2 or later."""
LONGEST_HEADER = 100_000_000
"""Maximum size in bytes of a safetensors header; set by the format."""


def check_model_folder(folder: Path, *, weights: bool = True) -> None:
    """Refuse a folder that cannot be loaded: wrong or no settings, an adapter, missing or damaged weights or tokenizer.

    `weights`: check the weights too; without it they come from elsewhere.

    Raises:
        NotUsable: one sentence that names the file.
    """
    if not (folder / CONFIG).is_file():
        adapter = " (it holds an adapter: merge it into its model first)" if (folder / ADAPTER).exists() else ""
        raise NotUsable(f"{folder} is no model folder: it has no {CONFIG}{adapter}")
    if (folder / ADAPTER).exists():
        # The model library would load the adapter and the base model that it names.
        raise NotUsable(
            f"{folder} holds an adapter ({ADAPTER}): merge it into its model first, or remove it to use the weights "
            "that lie beside it"
        )
    settings = read_object(folder / CONFIG)
    if not isinstance(settings.get("model_type"), str):
        empty = "is empty" if not settings else "names no `model_type`"
        raise NotUsable(f"{folder / CONFIG} {empty}, so nothing says what model it is")
    if not _is_known(settings["model_type"]):
        own = "; it needs code of its own (`auto_map`), which is not run" if "auto_map" in settings else ""
        kind = quoted(settings["model_type"])
        raise NotUsable(f"{folder / CONFIG} names the `model_type` {kind}, which transformers does not know{own}")
    _check_types(folder / CONFIG, settings)
    if (folder / GENERATION).is_file():
        _check_types(folder / GENERATION, read_object(folder / GENERATION))
    for file in weight_files(folder) if weights else ():
        _check_weights(file)
    _check_tokenizer(folder)


def _is_known(model_type: str) -> bool:
    """True if transformers has this model type; imports transformers only if it has no folder of that name."""
    name, spec = model_type.replace("-", "_"), importlib.util.find_spec("transformers")
    models = Path(spec.origin).parent / "models" if spec and spec.origin else Path()
    # A slash would lead out of the folder; `auto` has a `configuration_auto.py` and is no model.
    is_name = re.fullmatch(r"\w+", name, re.ASCII) and name != "auto"
    if is_name and (models / name / f"configuration_{name}.py").is_file():
        return True
    from transformers import CONFIG_MAPPING

    return model_type in CONFIG_MAPPING


def _check_types(file: Path, settings: dict[str, Any]) -> None:
    """Refuse classes that are not names and control tokens that are not ids."""
    named = settings.get("architectures")
    if named is not None and not (isinstance(named, list) and all(isinstance(name, str) for name in named)):
        raise NotUsable(f"{file}: `architectures` is {_shown(named)}, and a list of names of classes is needed")
    for name, value in settings.items():
        ids = value if isinstance(value, list) and name == "eos_token_id" else [value]
        # `type`, not `isinstance`: JSON's true is an `int`.
        if name in TOKENS and not all(id_ is None or type(id_) is int for id_ in ids):
            several = " or a list of them" if name == "eos_token_id" else ""
            raise NotUsable(f"{file}: `{name}` is {_shown(value)}, and the id of a token{several} is needed")


def _shown(value: object) -> str:
    return one_line(json.dumps(value), 40)


def weight_files(folder: Path) -> list[Path]:
    """Files that hold the weights of the model in `folder`, all inside it.

    Raises:
        NotUsable: there are none, or an index lists a file that is missing or lies elsewhere.
    """
    first = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    if first is None:
        raise NotUsable(f"{folder} has no weights: neither {WEIGHTS[0]} nor {WEIGHTS[2]}, nor an index of several")
    return parts_of(first) if first.suffix == ".json" else [first]


def parts_of(index: Path) -> list[Path]:
    """Files that an index of weights lists. They must be plain names: the digest does not cover files elsewhere.

    Raises:
        NotUsable: any other index, or a listed file that does not exist.
    """
    listed = read_object(index)
    file_of = listed.get("weight_map")
    if not isinstance(file_of, dict) or not file_of or not all(isinstance(name, str) for name in file_of.values()):
        raise NotUsable(f"{index} has no `weight_map` from weights to the names of their files")
    if not isinstance(listed.get("metadata"), dict):
        raise NotUsable(f"{index} has no `metadata`, without which no part is loaded; an empty one, {{}}, will do")
    names = sorted(set(file_of.values()))
    for name in names:
        if Path(name).name != name or name in ("", ".", ".."):
            raise NotUsable(f"{index} points to {one_line(name)}: weights must lie in the model's own folder")
        if not (index.parent / name).is_file():
            raise NotUsable(f"{index} lists {one_line(name)}, which is not there")
    return [index.parent / name for name in names]


def read_object(file: Path) -> dict[str, Any]:
    """Content of a JSON file that holds an object. Raises `NotUsable` for any other file."""
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # lists within lists are no ValueError
        raise NotUsable(f"{file} cannot be read as JSON: {one_line(str(error))}") from error
    if not isinstance(value, dict):
        raise NotUsable(f"{file} holds {'a list' if isinstance(value, list) else 'no object'}, and settings are needed")
    return value


def _check_weights(file: Path) -> None:
    """Refuse a damaged file of weights. A safetensors header tells where each weight ends, and so the file's size."""
    size = file.stat().st_size
    with file.open("rb") as opened:
        start = opened.read(8)
        if file.suffix != ".safetensors":
            if fault := _pickle_fault(file, start):
                raise NotUsable(f"{file} {fault}")
            return
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        # A damaged file may give any length, and reading that much would fill the memory.
        header = opened.read(length) if 0 < length <= min(LONGEST_HEADER, size) else b""
    try:
        entries = {name: entry for name, entry in json.loads(header).items() if name != "__metadata__"}
        needed = 8 + length + max((entry["data_offsets"][1] for entry in entries.values()), default=0)
    except (ValueError, AttributeError, KeyError, TypeError, IndexError, RecursionError):
        raise NotUsable(f"{file} is no safetensors file, or damaged: its header cannot be read") from None
    if size != needed:
        raise NotUsable(f"{file} is damaged: it has {size} bytes, and its header lists {needed}")


def _pickle_fault(file: Path, start: bytes) -> str:
    """Fault of a file that torch did not write: neither an archive with a pickle nor an (older) pickle; else empty."""
    if not start:
        return "is damaged: it is empty"
    if start.startswith(PICKLE):
        return ""
    if not start.startswith(b"PK"):  # torch writes archives since 1.6, and pickles before
        return f"is no file of weights: it begins with {start!r}"
    try:
        with ZipFile(file) as archive:
            names = archive.namelist()
    except (BadZipFile, OSError, ValueError):
        return "is damaged: its end is missing"
    return "" if any(name.endswith("data.pkl") for name in names) else "is no file of weights: it has no data.pkl"


def _check_tokenizer(folder: Path) -> None:
    files = ("tokenizer_config.json", "special_tokens_map.json", "tokenizer.json", GENERATION)
    # All are read, so that a damaged one is named here and not by the library.
    settings = {name: read_object(folder / name) for name in files if (folder / name).is_file()}
    words = any(found for pattern in VOCABULARIES for found in folder.glob(pattern))
    if not words and settings.get("tokenizer_config.json", {}).get("tokenizer_class") not in LETTERS:
        raise NotUsable(f"{folder} has no tokenizer: no {VOCABULARIES[0]}, nor another file of its vocabulary")
    if (folder / "tokenizer.json").is_file():
        from tokenizers import Tokenizer

        try:
            Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as error:  # the library raises `Exception` itself
            raise NotUsable(f"{folder / 'tokenizer.json'} is no tokenizer: {one_line(str(error))}") from error


def one_line(text: str, most: int = 160) -> str:
    """Text in one line, cut after `most` characters."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[:most]}..."


def is_masked(folder: Path) -> bool:
    """True if a model folder's configuration names a masked language model."""
    file = Path(folder) / "config.json"
    named = json.loads(file.read_text(encoding="utf-8")).get("architectures") if file.is_file() else None
    return isinstance(named, list) and any(str(name).endswith("ForMaskedLM") for name in named)
