"""A language model whose next word depends on the word before alone, by a table: its figures are known beforehand."""

import torch

from pipeline_core.modeling import save_model


def rigged_model(folder, words, after):
    """A Hugging Face folder; `after[one][other]` is the logit of `other` after `one`, 0 where there is none.

    It is a Llama of one layer that adds nothing: the final norm and the head read the word's own direction.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    vocabulary = {word: index for index, word in enumerate(["<unk>", "<end>", *dict.fromkeys(words)])}
    split = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    split.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=split, unk_token="<unk>", eos_token="<end>", pad_token="<end>")
    size = (len(vocabulary) + 7) // 8 * 8
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=size,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=False,
        eos_token_id=1,
        bos_token_id=1,
        pad_token_id=1,
    )
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        model.model.layers[0].self_attn.o_proj.weight.zero_()
        model.model.layers[0].mlp.down_proj.weight.zero_()
        model.model.embed_tokens.weight.copy_(torch.eye(len(vocabulary), size))
        model.lm_head.weight.zero_()
        for one, logits in after.items():
            for other, logit in logits.items():
                model.lm_head.weight[vocabulary[other], vocabulary[one]] = logit / size**0.5
    save_model(model, tokenizer, folder)
    return folder


def evaluate(plugin, settings, model, out):
    """Metrics and measures of an evaluation's `run` on a model folder."""
    import json

    from pipeline_core.catalog import Catalog
    from pipeline_core.checkpoints import Checkpoints
    from pipeline_core.context import Inputs, StageContext
    from pipeline_core.events import EventLog
    from pipeline_core.registry import load_registry

    registry = load_registry()
    spec = registry.get("evaluate", plugin)
    config = spec.config.model_validate({"name": plugin, **settings})
    inputs = Inputs({"model": model}, Catalog.from_environment(), registry)
    context = StageContext(seed=0, device="cpu", events=EventLog(), checkpoints=Checkpoints(None))
    out.mkdir()
    metrics = spec.run(config, inputs, out, context)
    return metrics, json.loads((out / "measures.json").read_text())
