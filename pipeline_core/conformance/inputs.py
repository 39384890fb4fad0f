"""Inputs of plugins in the conformance kit: a tiny model, rewards, and rows of the sandbox."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline_core.data.catalog import Catalog
from pipeline_core.data.refs import DataRef, places_of
from pipeline_core.plugin.context import PART, REWARD
from pipeline_core.plugin.registry import Registry
from pipeline_core.plugin.specs import Evaluation, PluginConfig, PolicyOptimizer, ScoringConfig, Spec
from pipeline_core.stage.key import Job
from pipeline_core.stage.run import run_stage
from pipeline_core.stage.settings import ExecutionSettings
from pipeline_core.store.artifacts import ArtifactRef, Store

PREFERENCES = DataRef(entry="sandbox_pairs", split="train", rows=24)
JUDGES = DataRef(entry="sandbox_pairs", split="train", rows=240)
"""Rows of input rewards, enough to decide their sign."""
PARTS = {"one": "train", "two": "heldout"}
"""Parts of a combining extender besides `PREFERENCES`: label to split of the same entry."""
RUNNER = ExecutionSettings(launch="in_process", device="cpu")


def load_data(config: PluginConfig) -> None:
    """Load the data a configuration names, so that the catalog's copy is not written during the plugin's run."""
    catalog = Catalog.from_environment()
    for _, ref, _ in places_of(config):
        catalog.load(ref)


def inputs_of(spec: Spec, root: Path, registry: Registry) -> dict[str, ArtifactRef]:
    """Input artifacts of the plugin's stage by role, made in a store at `root`."""
    store = Store(root)
    inputs: dict[str, ArtifactRef] = {}
    suite = spec if isinstance(spec, Evaluation) else None
    measures_reward = suite is not None and suite.subject == "reward"
    needs_reward = isinstance(spec, PolicyOptimizer | Evaluation) and spec.needs_reward
    if spec.stage in ("policy", "evaluate") and not measures_reward:
        store.prepare()
        manifest = store.find("model", "tiny")
        model = manifest.ref if manifest else commit_folder(store, "model", "tiny", tiny_model(store.partial("tiny")))
        inputs["model"] = model
        if spec.stage == "policy" or (suite and suite.needs_reference):
            inputs["reference"] = model
    if issubclass(spec.config, ScoringConfig):
        inputs[f"{REWARD}tfidf_ridge"] = _reward({"name": "tfidf_ridge"}, store, registry)
    elif needs_reward or measures_reward:
        # An evaluation may ask a reward for probabilities, which a word list does not have.
        inputs["reward"] = _reward({"name": "tfidf_ridge" if measures_reward else "lexicon"}, store, registry)
    if registry.combines(spec.stage, spec.name):
        inputs |= _parts_to_combine(spec, store, registry)
    return inputs


def _parts_to_combine(spec: Spec, store: Store, registry: Registry) -> dict[str, ArtifactRef]:
    if spec.stage == "reward":
        rewards = ({"name": "lexicon"}, {"name": "tfidf_ridge", "held_out": 0.25})
        return {f"{PART}{config['name']}": _reward(config, store, registry) for config in rewards}
    store.prepare()
    return {PART + label: store_rows(store, label, split) for label, split in PARTS.items()}


def _reward(config: dict[str, Any], store: Store, registry: Registry) -> ArtifactRef:
    job = Job(stage="reward", label="reward", config=config, data=JUDGES, runner=RUNNER)
    return run_stage(job, store, registry).ref


def store_rows(store: Store, label: str, split: str) -> ArtifactRef:
    """Commit rows of the sandbox as the artifact of an extension."""
    from pipeline_core.augmentation.rows import OWN_LICENCE, write_rows

    if manifest := store.find("preferences", label):
        return manifest.ref
    rows = Catalog.from_environment().load(DataRef(entry=PREFERENCES.entry, split=split, rows=24, seed=1))
    provenance = {"source_id": "", "made_by": label, "licence": OWN_LICENCE}
    work = store.partial(label)
    work.mkdir(parents=True)
    write_rows(({**row, **provenance} for row in rows.to_list()), work / "rows.parquet")
    return commit_folder(store, "preferences", label, work)


def commit_folder(store: Store, kind: str, key: str, work: Path) -> ArtifactRef:
    """Commit a hand-made folder to a store, for use as an input."""
    facts: dict[str, Any] = {"config": {}, "inputs": {}, "data": {}, "metrics": {}, "seconds": 0.0, "seed": 0}
    return store.commit(kind, key, work, stage="test", plugin="test", label=key, **facts).ref


def store_with(inputs: dict[str, ArtifactRef], root: Path, made: Path) -> Path:
    """Make a store at `root` that holds only the inputs, as links into the store `made`."""
    for ref in inputs.values():
        target = root / ref.kind / ref.key
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():  # model and reference are one artifact
            target.symlink_to(made / ref.kind / ref.key)
    return root


def tiny_model(folder: Path) -> Path:
    """Write a random causal model of a few thousand parameters with its own tokenizer as a Hugging Face folder."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=_tiny_bpe(), bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=256,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=True,
    )
    with torch.random.fork_rng():  # the caller's random numbers go on as if nothing was drawn
        torch.manual_seed(0)
        LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _tiny_bpe() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<pad>", "<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),  # all 256 bytes: any text has tokens
        show_progress=False,
    )
    tokenizer.train_from_iterator(["the neighbour was late and the visitor was early again"] * 4, trainer)
    return tokenizer
