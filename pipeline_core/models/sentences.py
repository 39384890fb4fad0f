"""Sentence embeddings: an encoder's mean token state, scaled to length 1.

Shape suffixes: N texts, H hidden units.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline_core.models.encoder import SCORED_AT_ONCE, by_length, new_encoder, padded_batch
from pipeline_core.models.lengths import positions_of
from pipeline_core.models.padded_rows import can_pad
from pipeline_core.models.tokens.encoding import encode

MAX_LENGTH = 256


class SentenceEncoder:
    """Embeds texts with a pretrained encoder, each text once; texts that are too long lose their beginning."""

    def __init__(self, folder: Path, device: str) -> None:
        model, self._tokenizer = new_encoder(folder, "mean", seed=0)  # any seed: head and pooler are not used
        self._model = model.to(device).eval()
        self._max_length = int(min(MAX_LENGTH, positions_of(model.encoder), self._tokenizer.model_max_length))
        self._device, self._pads = device, can_pad(self._model.pool, self._tokenizer, self._max_length, device)
        self._known: dict[str, NDArray[np.float32]] = {}

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embeddings (N, H)."""
        if new := [text for text in dict.fromkeys(texts) if text not in self._known]:
            self._known |= dict(zip(new, self._embed(new), strict=True))
        return np.stack([self._known[text] for text in texts])

    @torch.inference_mode()
    def _embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        encoded = encode(self._tokenizer, [""] * len(texts), texts, self._max_length, "completion")
        result_NH = np.empty((len(texts), self._model.encoder.config.hidden_size), np.float32)
        for rows in by_length(encoded, range(len(texts)), SCORED_AT_ONCE, pads=self._pads):
            pooled_BH = self._model.pool(**padded_batch(self._tokenizer, encoded, rows, self._device))
            result_NH[rows] = torch.nn.functional.normalize(pooled_BH, dim=-1).cpu().numpy()
        return result_NH
