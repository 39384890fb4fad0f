"""Tiny random models of every architecture that the installed transformers can load as a causal language model."""

from __future__ import annotations

from typing import Any

import torch

from tests.models.architectures.overrides import OVERRIDES

VOCABULARY = 300
POSITIONS = 128
WINDOW = 12
"""Of local attention, wherever a configuration has one: shorter than the longest rows of the sweep."""

SIZES = {
    VOCABULARY: "vocab_size decoder_vocab_size vocab_size_per_layer_input",
    32: "hidden_size n_embd d_model emb_dim embedding_dim embedding_size word_embed_proj_dim input_embedding_size "
    "output_embedding_size attention_hidden_size lru_width hidden_size_global",
    64: "intermediate_size ffn_dim d_ff decoder_ffn_dim encoder_ffn_dim ffn_hidden_size dff dim_ff feed_forward_size "
    "d_inner moe_intermediate_size intermediate_size_mlp mlp_dim shared_expert_intermediate_size mamba_d_ssm "
    "shared_intermediate_size shared_experts_intermediate_size dense_intermediate_size expert_ffn_hidden_size "
    "moe_shared_expert_intermediate_size",
    4: "num_hidden_layers n_layer n_layers num_layers decoder_layers encoder_layers num_decoder_layers "
    "num_encoder_layers num_blocks num_attention_heads n_head n_heads num_heads attention_heads "
    "decoder_attention_heads encoder_attention_heads num_decoder_attention_heads num_encoder_attention_heads "
    "swa_num_attention_heads linear_num_heads linear_num_value_heads qk_rope_head_dim rotary_dim "
    "num_experts num_local_experts n_routed_experts moe_num_experts index_topk_blocks index_block_size",
    2: "num_key_value_heads num_kv_heads swa_num_key_value_heads linear_num_key_heads num_query_groups "
    "num_experts_per_tok num_experts_per_token moe_k moe_topk top_k_experts zero_expert_num mamba_expand eos_token_id",
    8: "head_dim d_head kv_channels dim_head swa_head_dim linear_head_dim linear_key_head_dim linear_value_head_dim "
    "d_kv v_head_dim qk_nope_head_dim attention_head_size index_head_dim q_lora_rank kv_lora_rank state_size "
    "mamba_d_state ssm_state_size mamba_dt_rank time_step_rank laurel_rank hidden_size_per_layer_input d_rel "
    "adapter_rank",
    POSITIONS: "max_position_embeddings n_positions n_ctx max_seq_len context_length model_max_length "
    "max_target_positions",
    WINDOW: "sliding_window sliding_window_size window_size attention_window_size attention_chunk_size local_attention "
    "local_attention_window_len qk_head_dim",
    16: "chunk_size mamba_chunk_size index_topk index_n_heads indexer_n_heads",
    1: "n_group topk_group num_expert_group n_shared_experts num_shared_experts moe_num_shared_experts bos_token_id "
    "first_k_dense_replace num_dense_layers",
    0: "pad_token_id",
}
SMALL = {name: size for size, names in SIZES.items() for name in names.split()}
"""What configurations call their sizes, and how small they are made."""
DERIVED = {
    *("layer_types", "layers_block_type", "mlp_layer_types", "no_rope_layers", "moe_layers", "attention_layers"),
    "per_layer_config",
}
"""Settings by layer that configurations derive from the number of layers."""
DECODERS = (
    "bert", "bert-generation", "big_bird", "camembert", "data2vec-text", "electra", "ernie", "megatron-bert", "rembert",
    "roberta", "roberta-prelayernorm", "roc_bert", "roformer", "xlm-roberta", "xlm-roberta-xl", "xmod",
)  # fmt: skip
"""Encoders by default; as causal models they are saved with `is_decoder`."""


def config_of(kind: str) -> Any:
    """A small configuration of a causal language model of a model type."""
    from transformers import CONFIG_MAPPING

    return CONFIG_MAPPING[kind](**small_settings(kind), **({"is_decoder": True} if kind in DECODERS else {}))


def small_settings(kind: str) -> dict[str, Any]:
    """Settings of a small configuration of a model type."""
    from transformers import CONFIG_MAPPING

    maker = CONFIG_MAPPING[kind]
    known = _shrunken(_defaults(kind, maker), maker)
    known.pop("is_decoder", None)
    for name, value in OVERRIDES.get(kind, {}).items():
        *parts, last = name.split(".")
        place = known
        for part in parts:
            place = place.setdefault(part, {})
        if value is None:
            place.pop(last, None)
        else:
            place[last] = value
    return known


def _defaults(kind: str, maker: Any) -> dict[str, Any]:
    try:
        return maker().to_dict()
    except Exception:  # defaults that contradict each other
        return {name: value for name, value in SMALL.items() if hasattr(maker, name)}


def _shrunken(known: dict[str, Any], maker: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in known.items():
        if isinstance(value, dict) and name.endswith("_config"):
            found[name] = _shrunken(value, maker)
        elif name in SMALL and value is not None:
            found[name] = SMALL[name]
        elif name in DERIVED or name in ("transformers_version", "architectures", "dtype", "id2label", "label2id"):
            continue
        else:
            found[name] = value
    return found


WIDE, OWN = "wide", "own"
INITS = (WIDE, OWN)
"""Random weights: far from zero, so that a wrong position, mask or state shows in what a model answers; or those that
transformers itself starts with, with which it may show in little more than rounding.
"""


def model_of(kind: str, init: str = WIDE) -> Any:
    """A random model (eval mode, float32) of a model type, the same every time."""
    return random_model(config_of(kind), init)


SPREAD = 0.15
"""Standard deviation of wide weights."""
NARROW = {"nemotron_h": 0.1}
"""The same where float32 would round a recurrent state by more than the sweep allows."""


def random_model(config: Any, init: str = WIDE) -> Any:
    """A model of a configuration with one of `INITS`."""
    from transformers import AutoModelForCausalLM

    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config)
        for parameter in model.parameters() if init == WIDE else ():
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter, std=NARROW.get(config.model_type, SPREAD))
    return model.float().eval()


def kinds() -> dict[str, str]:
    """Class by model type, of everything that the installed transformers loads as a causal language model."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    return dict(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)


def tokenizer_of_bytes() -> Any:
    """A byte-level tokenizer of at most `VOCABULARY` tokens, with tokens for a start, an end and padding."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer, raw.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<pad>", "<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator(["the neighbour was late and the visitor was early again"] * 4, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=raw, bos_token="<s>", eos_token="</s>", pad_token="<pad>")
