"""How many held-out texts a reward could not read in full."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from pipeline_core.loops.encoder import Reads
    from pipeline_core.rewards.scored_text import ScoredText


def truncation(text: ScoredText, tokenizer: PreTrainedTokenizerBase, max_length: int, reads: Reads) -> dict[str, float]:
    """The metric `held_out/truncated`: texts of more than `max_length` tokens; none where nothing is held out."""
    from pipeline_core.loops.encoder import count_cut, encode

    if not len(text):
        return {}
    encoded = encode(tokenizer, text.prompts, text.completions, max_length, reads)
    cut = count_cut(tokenizer, text.prompts, text.completions, encoded, max_length, reads)
    return {"held_out/truncated": float(cut)}
