"""Tiny random sequence classifiers of transformers' architectures, beside a byte-level tokenizer."""

from pathlib import Path
from typing import Any

import torch

VOCABULARY = 300
NAMES = {
    VOCABULARY: "vocab_size decoder_vocab_size",
    32: "hidden_size n_embd d_model emb_dim embedding_size word_embed_proj_dim",
    64: "intermediate_size ffn_dim d_ff decoder_ffn_dim encoder_ffn_dim d_inner dff dim_ff moe_intermediate_size "
    "shared_expert_intermediate_size true_hidden_size feed_forward_size",
    2: "num_hidden_layers n_layer n_layers num_layers decoder_layers encoder_layers num_decoder_layers bos_token_id "
    "eos_token_id num_experts_per_tok linear_num_key_heads",
    4: "num_attention_heads n_head n_heads num_heads attention_heads decoder_attention_heads encoder_attention_heads "
    "num_key_value_heads num_kv_heads linear_num_value_heads num_experts num_local_experts n_routed_experts",
    8: "head_dim d_head d_kv kv_channels linear_key_head_dim linear_value_head_dim",
    128: "max_position_embeddings n_positions n_ctx max_seq_len",
    0: "pad_token_id",
}
SIZES = {name: size for size, names in NAMES.items() for name in names.split()}
"""Settings by the names that configurations give them."""
EXTRA: dict[str, dict[str, Any]] = {
    "funnel": {"block_sizes": [1, 1], "num_decoder_layers": 1},
    "mobilebert": {"hidden_size": 32, "true_hidden_size": 32, "intra_bottleneck_size": 32},
    "falcon": {"num_kv_heads": 1},
}
DERIVED = ("layer_types", "layers_block_type", "mlp_layer_types", "no_rope_layers", "attention_layers", "dtype")


def config_of(kind: str, **settings: Any) -> Any:
    """A small configuration of a model type with one output."""
    from transformers import CONFIG_MAPPING

    maker = CONFIG_MAPPING[kind]
    known = _smaller(maker().to_dict()) | EXTRA.get(kind, {})
    made = maker(**known)
    made.num_labels = 1
    if made.is_encoder_decoder and getattr(made, "decoder_start_token_id", None) is None:
        made.decoder_start_token_id = 0
    for name, value in settings.items():
        setattr(made, name, value)
    return made


def _smaller(known: dict[str, Any]) -> dict[str, Any]:
    found = {}
    for name, value in known.items():
        if isinstance(value, dict) and name.endswith("_config"):
            found[name] = _smaller(value)
        elif name not in (*DERIVED, "id2label", "label2id", "architectures", "transformers_version"):
            found[name] = SIZES[name] if name in SIZES and value is not None else value
    return found


def classifier_of(config: Any) -> Any:
    """A random classifier (eval mode, float32), whose scores differ between texts."""
    from transformers import AutoModelForSequenceClassification

    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForSequenceClassification.from_config(config)
        for parameter in model.parameters():
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter, std=0.2)
    return model.float().eval()


def byte_tokenizer(pad: str | None = "<pad>", eos: str = "</s>", end: bool = False) -> Any:
    """A tokenizer of bytes; `end` appends the end token to every text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    specials = ["<pad>", "<s>", "</s>", "<unk>"]
    letters = {letter: number + 4 for number, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    vocabulary = {token: number for number, token in enumerate(specials)} | letters
    raw = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    raw.pre_tokenizer, raw.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    raw.add_special_tokens([token for token in specials if token not in ("<pad>", "<unk>") or token == pad])
    if end:
        ids = [("</s>", 2)]
        raw.post_processor = processors.TemplateProcessing(single="$A </s>", pair="$A </s> $B </s>", special_tokens=ids)
    names = ["input_ids", "attention_mask"]
    return PreTrainedTokenizerFast(tokenizer_object=raw, pad_token=pad, eos_token=eos, model_input_names=names)


def write_classifier(folder: Path, kind: str = "llama", tokenizer: Any = None, **settings: Any) -> Path:
    """A classifier and its tokenizer as a folder."""
    classifier_of(config_of(kind, **settings)).save_pretrained(folder)
    (tokenizer or byte_tokenizer()).save_pretrained(folder)
    return folder
