"""Loading of foreign checkpoints: all weights and the tokenizer must be there before a base artifact is written."""

from __future__ import annotations

import json
import re
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any, cast

from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError

from pipeline_core.errors import BadInput
from pipeline_core.models.adapters import tell_untied
from pipeline_core.models.loading import save_model
from pipeline_core.models.model_files import check_model_folder, is_masked, one_line
from pipeline_core.plugin.types import Metrics

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

LOADING_ERRORS = (
    OSError,
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    RuntimeError,
    ImportError,
    AttributeError,
    EOFError,
    UnpicklingError,
    SafetensorError,
    StrictDataclassError,
)
"""Errors of the model library for files it cannot use; they are faults of the files, not of this project."""
KNOWN_EXTRAS = re.compile(
    r"(^|\.)(v_head|value_head|mtp)\.|(^|\.)pooler\.|seq_relationship\.|sop_classifier\."
    r"|(inv_freq|(cos|sin)_cached|position_ids|masked_bias|causal_mask|num_batches_tracked)$|(^|\.)(attn|attention)\.bias$"
)
"""Weights that no model output depends on: heads for other uses, and buffers that are recomputed."""
ROPE_FACTORS = re.compile(r"(^|\.)rope_(freqs|factors_long|factors_short)\.weight$")
"""Tensors of a GGUF file that divide the rotary frequencies, as in Llama 3.1 and Phi 3: llama.cpp applies them."""
GGUF_EXTRAS = re.compile(r"^cls\.|\.attn_rot_embd(\.weight)?$")
"""Tensors of a GGUF file that no log-probability depends on: classifier heads, computed rotary frequencies."""
PREDICTS_FURTHER = re.compile(r"^(blk\.\d+\.)nextn\.")
"""Tensor of a block that predicts the token after the next; the whole block is left out."""
NAMED = 3
"""Maximum number of weights that a message names."""


def load_complete(
    folder: Path, dtype: str, gguf_file: str | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Model and tokenizer of `folder`, or of a GGUF file in it; every weight must be found and used.

    A masked language model is loaded as such: some suites measure it, and no stage trains it.

    Raises:
        BadInput: the folder is no language model, lacks weights or holds others, or has no tokenizer.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

    kind: Any = "auto" if dtype == "auto" else getattr(torch, dtype)
    what = "causal language model"
    if not gguf_file:
        check_model_folder(folder)
        auto = AutoModelForMaskedLM if is_masked(folder) else AutoModelForCausalLM
        return load_weights(auto, folder, what, dtype=kind), read_tokenizer(folder)
    model = load_weights(AutoModelForCausalLM, folder, what, dtype=kind, gguf_file=gguf_file)
    _check_all_read(folder / gguf_file, model)
    embeddings: Any = model.get_input_embeddings()
    return model, without_unknown_tokens(read_tokenizer(folder, gguf_file), embeddings.weight.shape[0])


def load_weights(
    auto: Any, folder: Path, kind: str, *, other_heads: bool = False, unused: str = r"(?!)", **settings: Any
) -> PreTrainedModel:
    """Load a transformers model class with the weights of `folder`; none may be missing or left over.

    `other_heads`: accept weights of modules that the model does not have. `unused`: pattern of weights that may be
    missing. Code that comes with a model is never run.

    Raises:
        BadInput: names the fault, and calls the model a `kind`.
    """
    what = folder / settings["gguf_file"] if "gguf_file" in settings else folder
    try:
        loaded: Any = auto.from_pretrained(
            folder,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # reported below
            local_files_only=True,
            trust_remote_code=False,
            **settings,
        )
    except LOADING_ERRORS as error:
        raise BadInput(f"{what} cannot be read as a {kind}: {reason(error)}") from error
    model, found = loaded
    missing = sorted(name for name in found["missing_keys"] if not re.search(unused, name))
    if missing:
        # The library fills them with random numbers and only warns.
        raise BadInput(f"{what} is no complete {kind}: {_named(missing, 'missing')}")
    if sizes := sorted(found["mismatched_keys"]):
        name, given, needed = sizes[0]
        raise BadInput(
            f"{what} is no such {kind} as its config.json says: {name} has the shape {tuple(given)} in place of "
            f"{tuple(needed)}"
        )
    if surplus := sorted(name for name in found["unexpected_keys"] if _is_dropped(name, model, other_heads)):
        raise BadInput(
            f"{what} holds more than the {kind} of its config.json takes, and without it is another model: "
            f"{_named(surplus, 'left over')}"
        )
    # float16 ends at 65504: a larger weight has become infinite.
    if broken := [name for name, weight in model.named_parameters() if not weight.isfinite().all()]:
        raise BadInput(f"{what} has weights that are not finite in {model.dtype}: {broken[0]}")
    return cast("PreTrainedModel", model)


def reason(error: BaseException) -> str:
    """Library error in one line, rewritten where the library advises running code that comes with a model."""
    if isinstance(error, UnpicklingError):
        holds = "holds code" if "global" in str(error).lower() else "is damaged, or holds code,"
        return f"its file of weights {holds} and is not loaded; convert it to safetensors"
    if "trust_remote_code" in str(error):
        return "it needs code of its own (`auto_map`), which is not run; take a model that transformers itself knows"
    if isinstance(error, KeyError) and len(error.args) == 1 and isinstance(error.args[0], str):
        return f"transformers looks up {error.args[0]!r} and does not find it"  # such as an activation
    return one_line(str(error)) or type(error).__name__


def _named(names: list[str], state: str) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    weights = "1 weight is" if len(names) == 1 else f"{len(names)} weights are"
    return f"{weights} {state}, {', '.join(names[:NAMED])}{more}"


def _is_dropped(name: str, model: PreTrainedModel, other_heads: bool) -> bool:
    """True if dropping a weight that the model has no place for would change its outputs."""
    if KNOWN_EXTRAS.search(name):
        return False
    first, dot, _ = name.partition(".")
    # A head's weights begin with a module that this model does not have, such as `classifier.`
    own = {*dict(model.named_children()), model.base_model_prefix}
    return not (other_heads and dot and first not in own)


def read_tokenizer(folder: Path, gguf_file: str | None = None) -> PreTrainedTokenizerBase:
    """Tokenizer of `folder`, or of a GGUF file in it. Raises `BadInput` if it cannot be read."""
    from transformers import AutoTokenizer

    extra = {"gguf_file": gguf_file} if gguf_file else {}
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, **extra
        )
    except LOADING_ERRORS as error:
        what = folder / gguf_file if gguf_file else folder
        raise BadInput(f"{what} has no tokenizer that can be read: {reason(error)}") from error
    return tokenizer


def _check_all_read(file: Path, model: PreTrainedModel) -> None:
    """Refuse a GGUF file with tensors, or factors of rotary frequencies, that the model made from it lacks.

    transformers drops them silently. Raises `BadInput`, which names the first.
    """
    from gguf import GGUFReader
    from transformers.modeling_gguf_pytorch_utils import TENSOR_PROCESSORS, TensorProcessor, get_gguf_hf_weights_map

    reader = GGUFReader(str(file))
    field: Any = reader.fields.get("general.architecture")
    processor = TENSOR_PROCESSORS.get(field.contents() if field else "", TensorProcessor)
    known: dict[str, Any] = get_gguf_hf_weights_map(model, processor(config={}))
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    further = {found[1] for name in tensors if (found := PREDICTS_FURTHER.search(name))}

    def is_used(name: str) -> bool:
        if ROPE_FACTORS.search(name):
            return _scales_positions(model) or bool((tensors[name].data == 1).all())
        # A parameter's name in the model may lack `.weight`; if it stays empty, loading reports it as missing.
        is_known = name in known or name.removesuffix(".weight") in known
        return is_known or GGUF_EXTRAS.search(name) is not None or name.startswith(tuple(further))

    if dropped := sorted(name for name in tensors if not is_used(name)):
        raise BadInput(
            f"{file} holds {dropped[0]}, which the model library leaves out, and without it is another model: take the "
            "same model as a folder (base.name=checkpoint)"
        )


def _scales_positions(model: Any) -> bool:
    rope = getattr(model.config, "rope_parameters", None) or {}
    return str(rope.get("rope_type", "default")) != "default"


def without_unknown_tokens(tokenizer: PreTrainedTokenizerBase, known: int) -> PreTrainedTokenizerBase:
    """Tokenizer without added tokens that have no row in the model: reading GGUF always adds `<|endoftext|>`."""
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    if len(tokenizer) <= known:
        return tokenizer
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    state["added_tokens"] = [token for token in state["added_tokens"] if token["id"] < known]
    smaller = Tokenizer.from_str(json.dumps(state))
    plain = PreTrainedTokenizerFast(tokenizer_object=smaller, **tokenizer.special_tokens_map)
    plain.chat_template = tokenizer.chat_template
    return plain


def write_base(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, out: Path) -> Metrics:
    """Write model and tokenizer as a plain folder: without quantisation settings, with padding and length limits."""
    if hasattr(model.config, "quantization_config"):
        # The weights are no longer quantised, but saving would still refuse them.
        del model.config.quantization_config
        model.hf_quantizer = None  # type: ignore[assignment]
    known = model.get_input_embeddings().weight.shape[0]  # type: ignore[index]
    if len(tokenizer) > known:
        raise BadInput(f"the tokenizer knows {len(tokenizer)} tokens and the model {known}")
    positions = getattr(model.config, "max_position_embeddings", None)
    if positions:
        # A tokenizer without a limit says 1e30.
        tokenizer.model_max_length = min(tokenizer.model_max_length, positions)
    tell_untied(model)
    save_model(model, tokenizer, out)
    return {"parameters": float(model.num_parameters()), "vocabulary": float(len(tokenizer))}
