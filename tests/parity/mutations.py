"""Changes to a config.json that must show in the logits or be refused.

Every key of a family's config is either changed by a rule below or listed as harmless with the reason. A key
that is in neither place fails the test, so that a new row of the table cannot bring an unchecked parameter.
"""
import copy

DROPOUT = "only used while training"
TOKENIZER = "concerns text, not logits"
LABEL = "a label, not arithmetic"
IMAGES = "concerns images"
UNREAD = "a note of the authors that transformers does not read either"

HARMLESS = {
    "architectures": "model_type decides",
    "attention_dropout": DROPOUT,
    "embd_pdrop": DROPOUT,
    "embed_dropout": DROPOUT,
    "embedding_dropout": DROPOUT,
    "hidden_dropout": DROPOUT,
    "resid_pdrop": DROPOUT,
    "residual_dropout": DROPOUT,
    "initializer_range": DROPOUT,
    "bos_token_id": TOKENIZER,
    "eos_token_id": TOKENIZER,
    "pad_token_id": TOKENIZER,
    "transformers_version": LABEL,
    "torch_dtype": "the tensors carry their types",
    "dtype": "the tensors carry their types",
    "use_cache": "how to run, not what",
    "cache_implementation": "how to run, not what",
    "pretraining_tp": "how the weights were split while training",
    "model_type": "names the family",
    "image_token_index": IMAGES,
    "image_token_id": IMAGES,
    "boi_token_index": IMAGES,
    "eoi_token_index": IMAGES,
    "mm_tokens_per_image": IMAGES,
    "multimodal_projector_bias": IMAGES,
    "projector_hidden_act": IMAGES,
    "spatial_merge_size": IMAGES,
    "vision_feature_layer": IMAGES,
    "vision_config": IMAGES,
    "audio_config": IMAGES,
    "norm_type": UNREAD,
    "mlp_type": UNREAD,
    "order_of_interleaved_layers": UNREAD,
    "position_embedding_type": UNREAD,
    "use_embedding_sharing": UNREAD,
    "use_gated_activation": UNREAD,
    "use_parallel_block": UNREAD,
    "use_parallel_embedding": UNREAD,
    "rotary_pct": UNREAD,
    "attention_head_dim": "repeats head_dim",
    "use_rotary_pos_emb": UNREAD,
    "top_k_experts": "enable_moe_block is false",
    "output_router_logits": "what to return, not what to compute",
    "router_aux_loss_coef": DROPOUT,
    "input_jitter_noise": DROPOUT,
}

ACTIVATIONS = {"silu": "gelu", "gelu_pytorch_tanh": "gelu", "gelu_new": "gelu", "gelu": "silu", "relu2": "silu"}


def text_of(config):
    return config.get("text_config", config)


def reason_harmless(family, path):
    """Why a change at `path` cannot show in this family's logits, or None."""
    key, text, model_type = path[-1], text_of(family.config), text_of(family.config)["model_type"]
    scaling = text.get("rope_scaling") or text.get("rope_parameters") or {}
    if key in family.ignored:
        return family.ignored[key]
    if len(path) == 1 and "text_config" in family.config and key in ("vocab_size", "tie_word_embeddings"):
        return "text_config states it"
    if key == "max_position_embeddings" and scaling.get("type") not in ("longrope", "su"):
        return "a limit, not arithmetic"
    if key == "original_max_position_embeddings" and model_type == "phi3" and not text["rope_scaling"]:
        return "no scaling"
    if key in ("sliding_window", "max_window_layers") and text.get("use_sliding_window") is False:
        return "use_sliding_window is false"
    if key == "use_sliding_window" and text.get("sliding_window") in (None, 32768):
        return "no window within the sequence"
    if key == "layer_types" and model_type == "smollm3":
        return "use_sliding_window is false"
    if key == "sliding_window_pattern" and "layer_types" in text:
        return "layer_types wins"
    if key == "sliding_window" and (text[key] or 0) > family.n_tokens:
        return None  # the rule makes it small
    if key == "layer_types" and text.get("sliding_window", 0) is None:
        return "no window"
    if (model_type, key) in (("phi3", "attention_bias"), ("hunyuan_v1_dense", "mlp_bias"),
                             ("hunyuan_v1_dense", "use_cla"), ("hunyuan_v1_dense", "cla_share_factor")):
        return UNREAD
    if key == "cla_share_factor" and not text.get("use_cla"):
        return "use_cla is false"
    if key == "num_global_key_value_heads" and not text.get("attention_k_eq_v"):
        return "attention_k_eq_v is false"
    if key == "hidden_activation" and text[key] is None:
        return "gemma's old files leave it empty"
    if key == "hidden_act" and model_type == "gemma":
        return None
    if path[-2:] == ("rope_parameters", "type"):
        return "rope_type says it"
    if path[-2] == "rope_scaling" if len(path) > 1 else False:
        if model_type == "hunyuan_v1_dense" and key not in ("alpha", "type"):
            return "alpha alone decides"
        if key == "short_factor" and family.n_tokens > text.get("original_max_position_embeddings", 0):
            return "the sequence is longer than the original context"
        if key == "long_factor" and family.n_tokens <= text.get("original_max_position_embeddings", 0):
            return "the sequence fits the original context"
    if key == "vocab_size_per_layer_input" and not text.get("hidden_size_per_layer_input"):
        return "no per-layer inputs"
    if key == "global_head_dim" and not any(t == "full_attention" for t in text["layer_types"]):
        return "no full layer"
    if key == "use_double_wide_mlp" and not text["num_kv_shared_layers"]:
        return "no layer shares keys and values"
    return HARMLESS.get(key)


def changed(family, path, value):
    """Another value for the key at `path`; KeyError when there is no rule for it."""
    key, text = path[-1], text_of(family.config)
    if key in family.mutations:
        return family.mutations[key]
    if isinstance(value, bool):
        return not value
    if value is None:
        return {"rope_scaling": {"rope_type": "linear", "type": "linear", "factor": 2.0},
                "sliding_window": 11, "attn_logit_softcapping": 3.0, "final_logit_softcapping": 3.0,
                "sliding_window_pattern": "LG", "use_bidirectional_attention": "all",
                "num_global_key_value_heads": 1, "num_experts": 8}[key]
    if key in ("hidden_act", "hidden_activation", "activation_function"):
        return ACTIVATIONS[value]
    if key in ("rope_type", "type"):
        return "linear" if value != "linear" else "default"
    if key == "sliding_window_pattern" and isinstance(value, str):
        return value.replace("LL", "LG", 1)
    if key == "layer_types":
        other = {"full_attention": "sliding_attention", "sliding_attention": "full_attention"}
        return [other[value[0]], *value[1:]]
    if isinstance(value, list):
        first = value[0]
        return [(1 - first) if key == "no_rope_layers" else first * 1.3 + 1, *value[1:]]
    if isinstance(value, float):  # yarn's bounds are rounded to whole dimensions: only a large change shows
        return value * (4.0 if "eps" in key else 3.0 if key.startswith("beta") else 1.4)
    if key == "original_max_position_embeddings":
        return value * 4
    if key == "sliding_window":
        return 9
    if key == "num_hidden_layers" or key == "num_layers":
        return value - 1
    if key in ("num_attention_heads", "num_key_value_heads"):
        return value * 2
    if isinstance(value, int):
        grow = ("hidden_size", "intermediate_size", "head_dim", "vocab_size", "rank", "altup_num_inputs", "global")
        return value + 4 if any(part in key for part in grow) else value - 1 if value > 1 else value + 1
    raise KeyError(key)


def walk(node, path=()):
    """(path, value) of every leaf; lists are leaves."""
    for key, value in node.items():
        if isinstance(value, dict):
            yield from walk(value, path + (key,))
        else:
            yield path + (key,), value


def replaced(config, path, value):
    out = copy.deepcopy(config)
    node = out
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    return out


def of(family):
    """(name, config) for every change that must show."""
    for path, value in walk(family.config):
        if reason_harmless(family, path) is None:
            new = changed(family, path, value)
            yield ".".join(path) + f"={new!r:.60}", replaced(family.config, path, new)
