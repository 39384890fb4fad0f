"""Sequence classifiers as rewards: loading, selection of the output that is the score, and its scale."""

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
    """Load model and tokenizer, and find the column of the output.

    Raises:
        BadInput: the folder has no classifier, weights are missing or left over, or the output is ambiguous.
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
        model.config.pad_token_id = tokenizer.pad_token_id  # other loaders of the artifact find the last token by it
    return model.eval(), tokenizer, _column(model, output)


def _column(model: PreTrainedModel, output: int | str | None) -> int:
    labels = {int(index): str(label) for index, label in (model.config.id2label or {}).items()}
    if output is None and len(labels) == 1:
        return 0
    columns = [index for index, label in labels.items() if output in (index, label)]
    if len(columns) != 1:
        choices = ", ".join(f"{index} ({label})" for index, label in labels.items())
        raise BadInput(f"reward.output {output!r} names none of the model's outputs; choose one of {choices}")
    return columns[0]


def scorer(model: PreTrainedModel, tokenizer: Any, column: int, reads: Any, max_length: int, device: str) -> RewardFn:
    """Raw score: the logit of the output, or its log-odds against the others if the outputs are exclusive."""
    from pipeline_core.models.encoder import are_exclusive, scores
    from pipeline_core.models.padded_rows import can_pad, logits_of
    from pipeline_core.models.tokens.encoding import encode

    exclusive = are_exclusive(model.config)
    number: Callable[..., Tensor] = log_odds if exclusive else lambda logits, column: logits[:, column]

    def score_batch(**batch: Tensor) -> Tensor:
        return number(logits_of(model, batch).float(), column)  # bfloat16 under autocast would make close scores equal

    pads = can_pad(score_batch, tokenizer, max_length, device)  # once for a model: it runs the longest text allowed

    def score(prompts: Sequence[str], completions: Sequence[str]) -> Tensor:
        encoded = encode(tokenizer, prompts, completions, max_length, reads)
        return scores(score_batch, tokenizer, encoded, device, pads=pads)

    return score


def log_odds(logits: Tensor, column: int) -> Tensor:
    """Log-odds, log p / (1 - p), of one column of exclusive outputs: logits (B, outputs) to (B,)."""
    others = [other for other in range(logits.shape[1]) if other != column]
    return logits[:, column] - logits[:, others].logsumexp(1)


def save_classifier(
    model: PreTrainedModel, tokenizer: Any, column: int, reads: str, max_length: int, out: Path
) -> None:
    """Write the files that `load` reads: model, tokenizer and facts."""
    from pipeline_core.models.loading import save_model

    save_model(model, tokenizer, out)
    write_facts({"output": column, "reads": reads, "max_length": max_length}, out)


def load(folder: Path, device: str) -> RewardFn:
    """Raw score of the classifier in an artifact folder."""
    import torch

    facts = facts_of(folder)
    model, tokenizer, column = open_classifier(folder, facts["output"], facts["max_length"])
    model.to(torch.device(device))  # type: ignore[arg-type]
    return scorer(model, tokenizer, column, facts["reads"], facts["max_length"], device)


def scale(folder: Path) -> Scale | None:
    """`logit` for a classifier; None for a regression, and for a single output without a `problem_type`."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    kind = getattr(config, "problem_type", None)
    is_classifier = kind in ("single_label_classification", "multi_label_classification")
    # several outputs without a type are classes, as in transformers; one output without a type may be anything
    return "logit" if is_classifier or (kind is None and config.num_labels > 1) else None
