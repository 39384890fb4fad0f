"""Settings that single architectures need to be built small; keys of parts are joined with a dot, None drops one."""

from __future__ import annotations

from typing import Any

LINEAR = "linear_attention"
MAMBA_HEADS = {"mamba_n_heads": 4, "mamba_d_head": 16, "mamba_n_groups": 1}
LATENT = {"num_key_value_heads": 4, "head_dim": 4}
"""Multi-head latent attention has as many keys as queries."""
GEMMA_4 = {"per_layer_config": None, "hidden_size_per_layer_input": 8}
DOTS_3 = {
    "per_layer_config": {
        place: {"num_attention_heads": 4, "num_key_value_heads": 4, "q_lora_rank": 8, "kv_lora_rank": 8}
        | {"head_dim": 12, "qk_nope_head_dim": 8, "qk_rope_head_dim": 4, "v_head_dim": 8}
        for place in (1, 3)
    },
    "num_key_value_heads": 4,
    "head_dim": 12,
    "layer_types": ["indexed_attention", "sliding_attention"] * 2,
}
ROPE = {"rope_type": "default", "rope_theta": 10000.0}
QWEN_4 = {"indexer_n_heads": 16, "indexer_kv_heads": 1, "indexer_head_dim": 8, "indexer_budget": 8} | {
    "indexer_compress_ratio": 4,
    "hc_lowrank": 8,
    "ngram_vocab_size_base": 1000,
    "make_ngram_vocab_size_divisible_by": 8,
    "split_ngram_parts": 1,
}
GEMMA_3N = {"num_kv_shared_layers": 2, "activation_sparsity_pattern": [0.5, 0.0, 0.0, 0.0]}


def within(part: str, settings: dict[str, Any]) -> dict[str, Any]:
    """The settings of a part of a configuration."""
    return {f"{part}.{name}": value for name, value in settings.items()}


OVERRIDES: dict[str, dict[str, Any]] = {
    "axk1": LATENT,
    "axk2": LATENT,
    "bailing_hybrid": LATENT | {"layer_group_size": 2},
    "blt": {"encoder_hash_byte_group_vocab": 64, "encoder_hash_byte_group_size": [3, 4]},
    "bamba": MAMBA_HEADS | {"attn_layer_indices": [1, 3]},
    "cohere_compass_text": {
        "layer_types": ["sliding_attention", "full_attention"] * 2,
        "rope_parameters": dict.fromkeys(("sliding_attention", "full_attention"), ROPE),
    },
    "dbrx": {"attn_config.rope_theta": 10000.0, "attn_config.kv_n_heads": 2, "attn_config.clip_qkv": 8.0},
    "deepseek_v2": LATENT | {"num_experts_per_tok": 2},
    "deepseek_v3": LATENT,
    "deepseek_v32": LATENT,
    "dots1": {"n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2, "first_k_dense_replace": 1},
    "dots3_note": within("text_config", DOTS_3)
    | {"vision_config": {"adapter_out_dim": 32}, "audio_config": {"adapter_out_dim": 32}},
    "dots3_note_text": DOTS_3,
    "falcon_h1": MAMBA_HEADS | {"mamba_d_ssm": 64},
    "gemma3n": within("text_config", GEMMA_3N),
    "gemma3n_text": GEMMA_3N,
    "gemma4": within("text_config", GEMMA_4),
    "gemma4_text": GEMMA_4,
    "gemma4_unified": within("text_config", GEMMA_4),
    "gemma4_unified_text": GEMMA_4,
    "glm4_moe_lite": LATENT,
    "glm_moe_dsa": LATENT | {"indexer_types": None},
    "gpt_neo": {"attention_types": [[["global", "local"], 2]]},
    "granitemoehybrid": MAMBA_HEADS | {"layer_types": [LINEAR, "full_attention"] * 2},
    "hrm_text": {"num_layers_per_stack": 2, "num_hidden_layers": None},
    "hunyuan_v1_dense": {"head_dim": 8},
    "hunyuan_v1_moe": {"head_dim": 8},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "kimi_linear": LATENT | {"layer_types": [LINEAR, "full_attention"] * 2},
    "laguna": {"num_attention_heads_per_layer": [4] * 4},
    "lfm2": {"full_attn_idxs": [1, 3]},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"] * 2},
    "longcat_flash": LATENT,
    "mamba2": {"num_heads": 8, "n_groups": 2},
    "minicpm3": LATENT,
    "ministral": {"head_dim": 8},
    "nemotron": {"num_key_value_heads": 2},
    "qwen4_exp": within("text_config", QWEN_4),
    "qwen4_exp_text": QWEN_4,
    "reformer": {"is_decoder": True, "axial_pos_embds_dim": [16, 16], "axial_pos_shape": [8, 16], "attn_layers": None}
    | {"local_attn_chunk_length": 16, "lsh_attn_chunk_length": 16, "num_buckets": 4},
    "xlstm": {"qk_dim_factor": 1.0, "hidden_size": 64, "embedding_dim": 64, "num_heads": 4},
    "xmod": {"default_language": "en_XX"},
    "youtu": LATENT,
    "zamba": {"num_key_value_heads": 4, "attention_hidden_size": 64, "attention_head_dim": 16, "attn_layer_period": 2}
    | {"layers_block_type": [LINEAR, "hybrid", LINEAR, "hybrid"]},
    "zamba2": {"layers_block_type": [LINEAR, "hybrid", LINEAR, "hybrid"], "hybrid_layer_ids": None}
    | {"num_key_value_heads": 4, "n_mamba_heads": 4, "mamba_headdim": 16, "attention_hidden_size": 64}
    | {"attention_head_dim": 16},
    "zaya": {"num_experts_per_tok": 1},
}

DRAFTS = "it drafts tokens from another model's keys and values, and runs with that model only"
WHOLE = "its configuration is that of the whole, of which transformers builds no language model"
NOT_BUILT = {
    "gemma3n": "its vision part needs the package timm; gemma3n_text is the language model",
    "gemma4_assistant": DRAFTS,
    "gemma4_unified_assistant": DRAFTS,
    "musicgen": WHOLE,
    "musicgen_melody": WHOLE,
}
"""Why a model type of the mapping is not built."""

TIED = ("dots3_note", "dots3_note_text", "hy_v4")
"""An indexer keeps 16 keys by scores of a ReLU. With the library's own weights some scores are equal (0) where not
all of them can be kept: in 4 of the 378 selections that sampling compares for dots3_note. Which are kept depends
on the shape of the batch. With wider weights it has no such selection, and where all keys are kept the models are
exact to 2e-15.
"""
