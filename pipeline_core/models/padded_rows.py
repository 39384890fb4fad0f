"""Sequence classifiers on padded rows: every text gets the logits that it gets alone.

transformers' heads on decoders read the last position whose id differs from the padding id of the *configuration*. The
*tokenizer* may pad with another id, or a text may end in that id. Other models change their answer for a padded row:
they mix padding in (FNet, ConvBERT), or pool the last position of the batch (XLNet).

Shape suffixes: B texts, T tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pipeline_core.errors import BadInput
from pipeline_core.models.encoder import padded_batch
from pipeline_core.models.foreign import reason
from pipeline_core.models.tokens.encoding import encode

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

PROBES = ("No", "late.", "The neighbour was late again.")
"""Texts of a few tokens: padding has the most effect on short texts."""
CLOSE = 1e-5
"""Largest rounding difference, as a share of the largest probed score."""


def logits_of(model: PreTrainedModel, batch: dict[str, Tensor]) -> Tensor:
    """Logits (B, outputs) of rows padded on the right, equal to those of each row alone.

    Padding is replaced by an id that no text of the batch holds. The configuration names that id meanwhile, so that the
    head finds the last attended token. Rows run one at a time if no such id is left, or if the head refuses them
    together (T5's head needs equally many end tokens in each).
    """
    ids_BT = batch["input_ids"]
    mask_BT = batch.get("attention_mask", torch.ones_like(ids_BT))
    free = _free_id(model, ids_BT, mask_BT)
    if free is None and not mask_BT.all():
        return _each_alone(model, batch, mask_BT)
    with _padding_id(model, -1 if free is None else free):  # -1: nothing is padded, every place counts
        filled = ids_BT if free is None else ids_BT.masked_fill(mask_BT == 0, free)
        try:
            logits: Tensor = model(**{**batch, "input_ids": filled}).logits
        except ValueError:
            if len(ids_BT) == 1:  # alone already
                raise
            logits = _each_alone(model, batch, mask_BT)
    return logits


def _free_id(model: Any, ids_BT: Tensor, mask_BT: Tensor) -> int | None:
    """Padding id of the batch if no text holds it, else the smallest id that no text holds; None if all are in use."""
    used, padding = set(ids_BT[mask_BT != 0].tolist()), ids_BT[mask_BT == 0].tolist()[:1]
    size = getattr(model.config.get_text_config(), "vocab_size", None)  # CANINE has none: it hashes letters
    ids = padding if size is None else (id_ for id_ in (*padding, *range(size)) if id_ < size)
    return next((id_ for id_ in ids if id_ not in used), None)


@contextmanager
def _padding_id(model: Any, value: int) -> Iterator[None]:
    """Set the configuration's padding id to `value` inside the block."""
    # Some heads of transformers read the text part, others the whole; both may be one object.
    configs = [model.config, model.config.get_text_config()]
    before = [getattr(config, "pad_token_id", None) for config in configs]
    try:
        for config in configs:
            config.pad_token_id = value
        yield
    finally:
        for config, old in zip(configs, before, strict=True):
            config.pad_token_id = old


def _each_alone(model: PreTrainedModel, batch: dict[str, Tensor], mask_BT: Tensor) -> Tensor:
    rows = []
    for row, mask_T in enumerate(mask_BT):
        kept = mask_T.nonzero().squeeze(1)
        rows.append(logits_of(model, {name: values[row : row + 1, kept] for name, values in batch.items()}))
    return torch.cat(rows)


@torch.no_grad()
def can_pad(score: Callable[..., Tensor], tokenizer: PreTrainedTokenizerBase, max_length: int, device: str) -> bool:
    """True if texts beside a text of `max_length` tokens keep the scores that they have alone. Otherwise a batch may
    only hold texts of one length. `score` maps a batch to (B,) or (B, outputs).

    Raises:
        BadInput: no text can be scored.
    """
    texts = [*PROBES, PROBES[-1] * max_length]
    encoded = encode(tokenizer, [""] * len(texts), texts, max_length, "completion")
    try:
        alone = torch.cat([score(**padded_batch(tokenizer, encoded, [row], device)) for row in range(len(PROBES))])
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        raise BadInput(f"the model cannot read a text: {reason(error)}") from error
    try:
        together = score(**padded_batch(tokenizer, encoded, range(len(texts)), device))[:-1]
    except torch.OutOfMemoryError:  # a RuntimeError that says nothing about padding
        raise
    except (ValueError, RuntimeError):
        return False
    return bool((together - alone).abs().max() <= CLOSE * alone.abs().max())
