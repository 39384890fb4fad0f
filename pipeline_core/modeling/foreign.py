"""Takes a foreign checkpoint in: everything it needs must be there before it becomes a base artifact."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline_core.errors import BadInput
from pipeline_core.modeling.masked import is_masked

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from pipeline_core.specs import Metrics

LOADING_ERRORS = (OSError, ValueError, KeyError, IndexError, TypeError, RuntimeError, ImportError, AttributeError)
"""What the model library raises for files it cannot use; none of these is ours to repair."""


def load_complete(
    folder: Path, dtype: str, gguf_file: str | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Model and tokenizer of `folder`, or of a GGUF file in it, with every weight found.

    A masked language model stays one: some suites measure it, and nothing trains it.

    Raises:
        BadInput: for a folder that is no language model, lacks weights or has no tokenizer.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

    what = folder / gguf_file if gguf_file else folder
    kind: Any = "auto" if dtype == "auto" else getattr(torch, dtype)
    extra = {"gguf_file": gguf_file} if gguf_file else {}
    try:
        loaded: Any = (AutoModelForMaskedLM if is_masked(folder) else AutoModelForCausalLM).from_pretrained(
            folder, dtype=kind, output_loading_info=True, local_files_only=True, **extra
        )
    except LOADING_ERRORS as error:
        raise BadInput(f"{what} cannot be read as a causal language model: {error}") from error
    model, found = loaded
    if missing := sorted(found["missing_keys"]):
        # The library fills them with random numbers and only warns.
        raise BadInput(
            f"{what} is no complete causal language model: {len(missing)} weights are missing, first {missing[0]}"
        )
    if broken := [name for name, weight in model.named_parameters() if not weight.isfinite().all()]:
        raise BadInput(f"{what} has weights that are not finite in {model.dtype}: {broken[0]}")
    tokenizer = _tokenizer(folder, what, extra)
    return model, within(tokenizer, model.get_input_embeddings().weight.shape[0]) if gguf_file else tokenizer


def _tokenizer(folder: Path, what: Path, extra: dict[str, str]) -> PreTrainedTokenizerBase:
    from transformers import AutoTokenizer

    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, local_files_only=True, **extra)
    except LOADING_ERRORS as error:
        raise BadInput(f"{what} has no tokenizer that can be read: {error}") from error
    return tokenizer


def within(tokenizer: PreTrainedTokenizerBase, known: int) -> PreTrainedTokenizerBase:
    """The tokenizer without added tokens the model has no row for: reading GGUF adds `<|endoftext|>` to any."""
    import json

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
    """Write model and tokenizer as a plain folder: no quantisation settings, padding and length limits set."""
    from pipeline_core.modeling import save_model

    if hasattr(model.config, "quantization_config"):
        # The weights are plain numbers by now; saving refuses to believe it.
        del model.config.quantization_config
        model.hf_quantizer = None  # type: ignore[assignment]
    known = model.get_input_embeddings().weight.shape[0]  # type: ignore[index]
    if len(tokenizer) > known:
        raise BadInput(f"the tokenizer knows {len(tokenizer)} tokens and the model {known}")
    positions = getattr(model.config, "max_position_embeddings", None)
    if positions:
        tokenizer.model_max_length = min(tokenizer.model_max_length, positions)
    save_model(model, tokenizer, out)
    return {"parameters": float(model.num_parameters()), "vocabulary": float(len(tokenizer))}
