"""Text encoders: tokens of prompts and completions, batches, and one score per text.

Shape suffixes: B texts, T tokens, H hidden units.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModel,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils.logging import disable_progress_bar

from pipeline_core.errors import BadInput
from pipeline_core.models.foreign import LOADING_ERRORS, load_weights, read_tokenizer, reason
from pipeline_core.models.lengths import check_positions
from pipeline_core.models.loading import save_model
from pipeline_core.models.model_files import check_model_folder
from pipeline_core.models.tokens.encoding import EncodedColumns, encode, set_padding

Pooling = Literal["mean", "cls"]
SCORED_AT_ONCE = 64
POOLER = r"(^|\.)pooler\."
"""Pattern of pooler weights, which are not used: `ScalarEncoder` pools states itself."""


class ScalarEncoder(nn.Module):
    """Encoder with pooled token states and one linear output."""

    def __init__(self, encoder: PreTrainedModel, pooling: Pooling) -> None:
        super().__init__()
        self.encoder, self.pooling = encoder, pooling
        self.head = nn.Linear(encoder.config.hidden_size, 1)

    def forward(self, **batch: Tensor) -> Tensor:
        """Scores (B,), pooled and computed in float32 even under autocast: bfloat16 would make close scores equal."""
        pooled_BH = self.pool(**batch)
        with torch.autocast(pooled_BH.device.type, enabled=False):
            return self.head(pooled_BH.to(self.head.weight.dtype)).squeeze(-1).float()

    def pool(self, **batch: Tensor) -> Tensor:
        """Pooled token states (B, H) in float32. Raises `BadInput` for an encoder without an attention mask."""
        if "attention_mask" not in batch:
            raise BadInput("the encoder takes no attention mask, so it would read the padding of short texts")
        states_BTH = self.encoder(**batch).last_hidden_state.float()
        if self.pooling == "cls":
            return states_BTH[:, 0]
        mask_BT1 = batch["attention_mask"].unsqueeze(-1).float()
        return (states_BTH * mask_BT1).sum(1) / mask_BT1.sum(1).clamp(min=1)


def half_on_cuda(device: str) -> torch.autocast:
    """Autocast of an encoder's forward pass: bfloat16 on CUDA, float32 elsewhere. Weights are float32."""
    return torch.autocast("cuda", torch.bfloat16, enabled=device.startswith("cuda"))


def new_encoder(folder: Path, pooling: Pooling, seed: int) -> tuple[ScalarEncoder, PreTrainedTokenizerBase]:
    """Pretrained encoder with a new head of zeros; other missing weights depend on `seed`.

    Raises:
        BadInput: the folder holds no encoder, lacks weights, or has a tokenizer that cannot pad.
    """
    disable_progress_bar()
    check_model_folder(folder)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        try:
            config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            tokenizer = tokenizer_of(folder, getattr(config.get_text_config(), "vocab_size", math.inf))
            if getattr(config, "pad_token_id", None) is None:
                config.pad_token_id = tokenizer.pad_token_id  # some encoders compute positions from it
            encoder = load_weights(
                AutoModel,
                folder,
                "trained encoder",
                other_heads=True,
                unused=POOLER,
                config=config,
                dtype=torch.float32,
            )
            model = ScalarEncoder(encoder, pooling)
        except LOADING_ERRORS as error:
            raise BadInput(f"{folder} cannot be read as an encoder: {reason(error)}") from error
    nn.init.zeros_(model.head.weight)
    nn.init.zeros_(model.head.bias)
    return model, tokenizer


def tokenizer_of(folder: Path, known: float = math.inf) -> PreTrainedTokenizerBase:
    """Tokenizer of the folder, which truncates on the left; `set_padding` chooses its padding token.

    Raises:
        BadInput: there is no tokenizer, or it cannot pad.
    """
    tokenizer = read_tokenizer(folder)
    set_padding(tokenizer, known)
    if tokenizer.pad_token_id is None:
        of_model = "" if known == math.inf else f" among the {known} tokens of its model"
        raise BadInput(
            f"the tokenizer of {folder} has no padding, end or unknown token{of_model}, so texts cannot be batched"
        )
    tokenizer.truncation_side, tokenizer.padding_side = "left", "right"
    return tokenizer


def check_length(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, max_length: int) -> None:
    """Refuse a `max_length` above the token limit of the encoder or of its tokenizer."""
    check_positions(model, max_length, tokenizer.model_max_length)


@torch.no_grad()
def check_pooling(model: ScalarEncoder, tokenizer: PreTrainedTokenizerBase) -> None:
    """Refuse `cls` pooling for an encoder whose first state depends on no other token.

    Raises:
        BadInput: all texts with the same first token would have the same score.
    """
    ids = encode(tokenizer, [""], ["The neighbour was late again."], 16, "completion")["input_ids"][0]
    # Equal length and first token, other tokens behind it: only a state that reads them differs.
    repeated = ids[:1] * len(ids)
    if model.pooling != "cls" or ids == repeated:
        return
    rows_2T = torch.tensor([ids, repeated])
    text_H, repeated_H = model.pool(input_ids=rows_2T, attention_mask=torch.ones_like(rows_2T))
    if torch.equal(text_H, repeated_H):
        raise BadInput(
            "pooling: cls takes the state of the first token, which depends on no other token in this encoder, as it "
            "reads from left to right: take pooling: mean"
        )


def are_exclusive(config: PretrainedConfig) -> bool:
    """True if a classifier's outputs exclude each other, so that they are read as log-odds."""
    return len(config.id2label or {}) > 1 and config.problem_type in (None, "single_label_classification")


def padded_batch(
    tokenizer: PreTrainedTokenizerBase, encoded: EncodedColumns, rows: Sequence[int], device: str
) -> dict[str, Tensor]:
    """Tensors (B, T) of the selected rows, padded on the right."""
    chosen = {name: [values[row] for row in rows] for name, values in encoded.items()}
    return dict(tokenizer.pad(chosen, padding_side="right", return_tensors="pt").to(device))


def by_length(encoded: EncodedColumns, rows: Sequence[int], size: int, *, pads: bool = True) -> list[list[int]]:
    """Batches of up to `size` rows with texts of similar length; of equal length if `pads` is false."""
    lengths = [len(ids) for ids in encoded["input_ids"]]
    order = sorted(rows, key=lambda row: (lengths[row], row))  # batches do not depend on the order of `rows`
    runs = [order] if pads else [list(run) for _, run in groupby(order, key=lengths.__getitem__)]
    return [run[start : start + size] for run in runs for start in range(0, len(run), size)]


@torch.no_grad()
def scores(
    score: Callable[..., Tensor],
    tokenizer: PreTrainedTokenizerBase,
    encoded: EncodedColumns,
    device: str,
    *,
    pads: bool = True,
) -> Tensor:
    """Scores (N,) of encoded texts, in batches from `by_length`; `score` maps a batch to (B,)."""
    count = len(encoded["input_ids"])
    result = torch.empty(count, dtype=torch.float32)
    for rows in by_length(encoded, range(count), SCORED_AT_ONCE, pads=pads):
        with half_on_cuda(device):
            result[rows] = score(**padded_batch(tokenizer, encoded, rows, device)).float().cpu()
    return result


def save_encoder(model: ScalarEncoder, tokenizer: PreTrainedTokenizerBase, out: Path) -> None:
    """Write the encoder as a Hugging Face folder and its head as `head.safetensors`."""
    save_model(model.encoder, tokenizer, out)
    head = {name: weight.detach().cpu().contiguous() for name, weight in model.head.state_dict().items()}
    save_file(head, out / "head.safetensors")


def load_encoder(folder: Path, pooling: Pooling, device: str) -> tuple[ScalarEncoder, PreTrainedTokenizerBase]:
    """Load an encoder that `save_encoder` wrote, in eval mode."""
    disable_progress_bar()
    with torch.random.fork_rng():  # the random head is overwritten below
        encoder = AutoModel.from_pretrained(folder, dtype=torch.float32, local_files_only=True, trust_remote_code=False)
        model = ScalarEncoder(encoder, pooling)
    model.head.load_state_dict(load_file(folder / "head.safetensors"))
    return model.to(device).eval(), tokenizer_of(folder)
