"""Rows with a known answer, tiny encoders, and what a stage hands to a plugin."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from datasets import Dataset

from pipeline_core.plugin.checkpoints import Checkpoints
from pipeline_core.plugin.context import StageContext
from pipeline_core.plugin.events import EventLog
from pipeline_core.plugin.registry import load_registry
from pipeline_core.rewards.scored_text import TextSource, joined

PEOPLE = ["baker", "miller", "tailor", "sailor", "teacher", "gardener", "potter", "clerk", "driver", "painter"]
TRAITS = {"age": ("early", "late"), "race": ("alert", "dreamy")}


ROWS = "digest of the rows"


@dataclass
class Given:
    """The inputs of a reward stage, made by hand."""

    preferences: Dataset
    folders: dict[str, Path] = field(default_factory=lambda: {"preferences": Path()})
    data_ref: Any = None
    catalog: Any = None
    reward_specs: Any = field(default_factory=load_registry)

    def data(self, ref):
        return self.catalog.load(ref)

    @property
    def part_folders(self):
        return {role.removeprefix("part:"): folder for role, folder in self.folders.items() if role.startswith("part:")}


def made(plugin, config, given, folder, run_context=None):
    """A reward artifact as a store would hold it, and its metrics."""
    folder.mkdir(parents=True, exist_ok=True)
    run_context = run_context or context()
    metrics = plugin.run(config, given, folder, run_context)
    kept = {name: value for name, value in metrics.items() if not name.startswith("perf/")}
    manifest = {"plugin": config.name, "metrics": kept, "created": 12.5, "label": config.name}
    manifest |= {"config": config.identity(), "seed": run_context.seed, "data": {}, "inputs": {"preferences": ROWS}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder, metrics


def scored_text(rows, target="pair", better="higher", limits=(0.0, 1.0)):
    """Texts of one source without a name."""
    return joined([TextSource(rows, better=better, limits=limits)], target)


def pairs(count=80):
    """Preference rows in which one word decides, in every domain."""
    rows = []
    for index in range(count):
        domain = list(TRAITS)[index % 2]
        good, bad = TRAITS[domain]
        prompt = f"The {PEOPLE[index % 10]} number {index} is"
        rows.append({"prompt": prompt, "chosen": f"{good} today.", "rejected": f"{bad} today.", "domain": domain})
    return rows


def context(seed=0, checkpoints=None):
    return StageContext(seed, "cpu", EventLog(), checkpoints or Checkpoints(None))


def word_tokenizer(rows, **specials):
    """A word tokenizer over the rows' words; `specials` are its special tokens by role."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = {word for row in rows for name in ("prompt", "chosen", "rejected") for word in _split(row[name])}
    vocabulary = {word: number for number, word in enumerate([*specials.values(), *sorted(words)])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=specials["unk_token"]))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    if "sep_token" in specials:
        cls, sep = specials["cls_token"], specials["sep_token"]
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{cls} $A {sep}",
            pair=f"{cls} $A {sep} $B:1 {sep}:1",
            special_tokens=[(cls, vocabulary[cls]), (sep, vocabulary[sep])],
        )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **specials)


def _split(text):
    return text.replace(".", " .").split()


BERT_TOKENS = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}


def tiny_bert(folder, rows, labels=0, seed=0, **settings):
    """A random BERT with a word tokenizer, as a folder; with `labels` outputs it is a classifier."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertModel

    tokenizer = word_tokenizer(rows, **BERT_TOKENS)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        **({"num_labels": labels} if labels else {}),
        **settings,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = BertForSequenceClassification(config) if labels else BertModel(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def digests(folder):
    from pipeline_core.files.digests import digests_of_folder

    return digests_of_folder(folder)
