"""Sequence classifiers as rewards: opening them, the output that is the score, and what its number means."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline_core.errors import BadInput
from pipeline_core.plugin.types import RewardFn, Scale
from pipeline_core.rewards.layout import facts_of, write_facts

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel


def open_classifier(folder: Path, output: int | str | None, max_length: int) -> tuple[PreTrainedModel, Any, int]:
    """Model, tokenizer and the output's column.

    Raises:
        BadInput: when the folder holds no classifier with all its weights and no others, or the output is not clear.
    """
    import torch
    from transformers import AutoModelForSequenceClassification

    from pipeline_core.models.encoder import check_length, tokenizer_of
    from pipeline_core.models.foreign import load_weights
    from pipeline_core.models.model_files import check_model_folder

    check_model_folder(folder)
    model = load_weights(
        AutoModelForSequenceClassification, folder, "trained classifier", other_heads=True, dtype=torch.float32
    )
    tokenizer = tokenizer_of(folder)
    check_length(model, tokenizer, max_length)
    if getattr(model.config, "pad_token_id", None) is None:
        model.config.pad_token_id = tokenizer.pad_token_id  # by which others who load the artifact find the last token
    return model.eval(), tokenizer, _column(model, output)


def _column(model: PreTrainedModel, output: int | str | None) -> int:
    labels = {int(index): str(label) for index, label in (model.config.id2label or {}).items()}
    if output is None and len(labels) == 1:
        return 0
    found = [index for index, label in labels.items() if output in (index, label)]
    if len(found) != 1:
        choices = ", ".join(f"{index} ({label})" for index, label in labels.items())
        raise BadInput(f"reward.output {output!r} names none of the model's outputs; choose one of {choices}")
    return found[0]


def scorer(model: PreTrainedModel, tokenizer: Any, column: int, reads: Any, max_length: int, device: str) -> RewardFn:
    """The raw score: the output itself, or its log-odds against the others where the outputs are exclusive."""
    from pipeline_core.models.encoder import are_exclusive, scores
    from pipeline_core.models.padded_rows import can_pad, logits_of
    from pipeline_core.models.tokens.encoding import encode

    exclusive = are_exclusive(model.config)
    number: Callable[..., Tensor] = log_odds if exclusive else lambda logits, column: logits[:, column]

    def one(**batch: Tensor) -> Tensor:
        return number(logits_of(model, batch).float(), column)

    pads = can_pad(one, tokenizer, max_length, device)

    def score(prompts: Sequence[str], completions: Sequence[str]) -> Tensor:
        encoded = encode(tokenizer, prompts, completions, max_length, reads)
        return scores(one, tokenizer, encoded, device, pads=pads)

    return score


def log_odds(logits: Tensor, column: int) -> Tensor:
    """Log-odds, log p / (1 - p) of one of the exclusive outputs: (B, outputs) to (B,)."""
    others = [other for other in range(logits.shape[1]) if other != column]
    return logits[:, column] - logits[:, others].logsumexp(1)


def save_classifier(
    model: PreTrainedModel, tokenizer: Any, column: int, reads: str, max_length: int, out: Path
) -> None:
    """Write what `load` opens."""
    from pipeline_core.models.loading import save_model

    save_model(model, tokenizer, out)
    write_facts({"output": column, "reads": reads, "max_length": max_length}, out)


def load(folder: Path, device: str) -> RewardFn:
    """The raw score."""
    import torch

    facts = facts_of(folder)
    model, tokenizer, column = open_classifier(folder, facts["output"], facts["max_length"])
    model.to(torch.device(device))  # type: ignore[arg-type]
    return scorer(model, tokenizer, column, facts["reads"], facts["max_length"], device)


def scale(folder: Path) -> Scale | None:
    """`logit`; None for a regression, and for a single output of which the model does not say what it is."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    kind = getattr(config, "problem_type", None)
    is_classifier = kind in ("single_label_classification", "multi_label_classification")
    return "logit" if is_classifier or (kind is None and config.num_labels > 1) else None
