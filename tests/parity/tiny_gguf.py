"""Writes the tiny models of families.py as GGUF files, in GGUF's conventions.

What a converter has to know per family is here and nowhere else: the architecture's name, its metadata, which
query and key rows are permuted, which norms carry their + 1, which matrices are fused. Tensor names come from
the gguf package's own table. The long tests prove the files with llama.cpp; the others give them to Hearth.
"""
import dataclasses
import math
import pathlib
import re

import numpy as np

import families
import tiny_gguf_hybrid
import tiny_gguf_mamba
import tiny_gguf_rwkv
import tiny_models
from families import vary

ARCH = {
    "llama": "llama", "mistral": "llama", "ministral3": "mistral3", "smollm3": "smollm3", "qwen2": "qwen2",
    "qwen3": "qwen3", "gemma": "gemma", "gemma2": "gemma2", "gemma3_text": "gemma3", "gemma4_text": "gemma4",
    "gemma3n_text": "gemma3n", "phi3": "phi3", "phi": "phi2", "cohere": "command-r", "cohere2": "cohere2",
    "olmo2": "olmo2", "olmo3": "olmo2", "granite": "granite", "glm4": "glm4", "glm": "chatglm",
    "starcoder2": "starcoder2", "exaone4": "exaone4", "exaone": "exaone", "seed_oss": "seed_oss",
    "ernie4_5": "ernie4_5", "hunyuan_v1_dense": "hunyuan-dense", "minicpm": "minicpm", "stablelm": "stablelm",
    "nemotron": "nemotron", "internlm2": "internlm2",
    "mixtral": "llama", "qwen2_moe": "qwen2moe", "qwen3_moe": "qwen3moe", "gpt_oss": "gpt-oss", "glm4_moe": "glm4moe",
    "olmoe": "olmoe", "granitemoe": "granitemoe", "ernie4_5_moe": "ernie4_5-moe", "hunyuan": "hunyuan-moe",
    "dots1": "dots1", "minimax_m2": "minimax-m2", "bailing_moe": "bailingmoe2",
    "deepseek_v2": "deepseek2", "deepseek_v3": "deepseek2", "glm4_moe_lite": "deepseek2", "youtu_llm": "deepseek2",
    "minicpm3": "minicpm3", "mistral4": "mistral4", "llama4_text": "llama4", "mimo_v2_flash": "mimo2", "deepseek": "deepseek",
    "lfm2": "lfm2", "lfm2_moe": "lfm2moe", "qwen3_next": "qwen3next", "qwen3_5_text": "qwen35",
    "qwen3_5_moe_text": "qwen35moe", "kimi_linear": "kimi-linear",
    "mamba2": "mamba2", "falcon_h1": "falcon-h1", "granitemoehybrid": "granitehybrid", "nemotron_h": "nemotron_h",
    "rwkv7": "rwkv7", "mamba": "mamba", "falcon_mamba": "mamba", "jamba": "jamba",
}
# Converters turn the hub's half-and-half pairs of these into neighbours; the others keep the hub's order.
PERMUTED = {"llama", "mistral3", "smollm3", "granite", "granitemoe", "minicpm", "internlm2", "deepseek", "granitehybrid"}
NORM_PLUS_ONE = {"gemma", "gemma2", "gemma3", "nemotron"}


def arch_of(c):
    """The architecture's name; the first Ling has no norms on queries and keys."""
    if c["model_type"] == "bailing_moe" and not c["use_qk_norm"]:
        return "bailingmoe"
    return tiny_gguf_mamba.arch_of(c) or ARCH[c["model_type"]]


def permute(rows, n_head):
    """[n_head * d, ...]: element i and i + d/2 of each head become neighbours."""
    shape = rows.shape
    return rows.reshape(n_head, 2, shape[0] // n_head // 2, *shape[1:]).swapaxes(1, 2).reshape(shape)


def llama3_divisors(c, head_dim, scaling):
    """What inverse frequencies are divided by (rope_freqs.weight)."""
    low, high, factor = (scaling.get(k, v) for k, v in
                         (("low_freq_factor", 1.0), ("high_freq_factor", 4.0), ("factor", 8.0)))
    original = scaling.get("original_max_position_embeddings", 8192)
    wavelength = 2 * math.pi * c["rope_theta"] ** (np.arange(0, head_dim, 2) / head_dim)
    smooth = np.clip((original / wavelength - low) / (high - low), 0, 1)
    return 1 / ((1 - smooth) / factor + smooth)


class Writer:
    """Collects metadata and tensors of one file."""

    def __init__(self, path, arch, changes=None):
        import gguf

        self.gguf, self.arch, self.changes, self.written = gguf, arch, changes or {}, {}
        self.file = gguf.GGUFWriter(str(path), arch)
        code = next(k for k, v in gguf.MODEL_ARCH_NAMES.items() if v == arch)
        self.names = gguf.get_tensor_name_map(code, 64)

    def number(self, key, value):
        """A metadata value of this architecture, typed as converters type it; None leaves it out."""
        self.written[key] = value
        value = self.changes.get(key, value)
        if value is None:
            return
        add = {bool: self.file.add_bool, int: self.file.add_uint32, float: self.file.add_float32,
               list: self.file.add_array, str: self.file.add_string}[type(value)]
        add(f"{self.arch}.{key}", value)

    def name(self, hub_name):
        mapped = self.names.get_name(hub_name, try_suffixes=(".weight", ".bias"))
        if mapped is None:
            raise KeyError(f"{self.arch} has no place for {hub_name}")
        return mapped

    def next_name(self, hub_name):
        """The name of what only a predicting layer has, or None."""
        part = re.fullmatch(r"model\.layers\.(\d+)\.(eh_proj|enorm|hnorm|embed_tokens|shared_head\.norm|shared_head\.head|"
                            r"final_layernorm)\.weight", hub_name)
        if part and part[2] == "final_layernorm":
            return f"blk.{part[1]}.layer_output_norm.weight"
        return part and f"blk.{part[1]}.nextn.{part[2].replace('.', '_')}.weight"

    def tensor(self, name, value):
        self.file.add_tensor(name, np.ascontiguousarray(value, np.float32))

    def close(self):
        self.file.write_header_to_file()
        self.file.write_kv_data_to_file()
        self.file.write_tensors_to_file()
        self.file.close()


def scaling_of(c):
    """The scaling dictionary, whichever key holds it."""
    return {k: v for k, v in (c.get("rope_scaling") or c.get("rope_parameters") or {}).items()
            if not isinstance(v, dict)}


def write_common(w, c):
    """The keys that converters write for every family."""
    n_head = c["num_attention_heads"]
    w.number("block_count", c.get("num_hidden_layers", c.get("num_layers")))
    w.number("context_length", c.get("max_position_embeddings") or c["model_max_length"])
    w.number("embedding_length", c["hidden_size"])
    ff = c.get("intermediate_size", c.get("moe_intermediate_size"))
    w.number("feed_forward_length", c.get("intermediate_size_mlp", ff[0] if isinstance(ff, list) else ff))
    w.number("attention.head_count", n_head)
    w.number("attention.head_count_kv", c.get("num_key_value_heads", n_head))
    w.number("vocab_size", c["vocab_size"])
    if c.get("gguf_nextn"):  # the last layers predict
        w.number("nextn_predict_layers", c["gguf_nextn"])
    for key in ("rms_norm_eps", "norm_eps", "layernorm_epsilon"):
        if key in c:
            w.number("attention.layer_norm_rms_epsilon", c[key])
    for key in ("layer_norm_eps", "norm_epsilon", "layer_norm_epsilon"):
        if key in c:
            w.number("attention.layer_norm_epsilon", c[key])
    if "head_dim" in c and w.arch not in ("granite", "granitemoe", "gemma4", "mamba2"):
        w.number("attention.key_length", c["head_dim"])
        w.number("attention.value_length", c.get("v_head_dim", c["head_dim"]))
    w.file.add_string("tokenizer.ggml.model", "none")


def write_rope(w, c):
    """Base and scaling; llama3's scaling is a tensor."""
    head_dim = c.get("head_dim") or c["hidden_size"] // c["num_attention_heads"]
    scaling = scaling_of(c)
    kind = scaling.get("rope_type") or scaling.get("type") or "default"
    theta = c.get("rope_theta", scaling.get("rope_theta", 10000.0))
    if kind == "dynamic":  # Hunyuan's alpha
        theta *= scaling["alpha"] ** (head_dim / (head_dim - 2))
    if not isinstance((c.get("rope_parameters") or {}).get("full_attention"), dict):
        w.number("rope.freq_base", float(theta))
    part = c.get("partial_rotary_factor", scaling.get("partial_rotary_factor", c.get("rotary_dim", head_dim) / head_dim))
    if w.arch != "gemma4":
        w.number("rope.dimension_count", c.get("qk_rope_head_dim") or int(part * head_dim))
    if kind == "linear":
        w.number("rope.scaling.type", "linear")
        w.number("rope.scaling.factor", float(scaling["factor"]))
    elif kind == "yarn":
        w.number("rope.scaling.type", "yarn")
        w.number("rope.scaling.factor", float(scaling["factor"]))
        w.number("rope.scaling.original_context_length", scaling["original_max_position_embeddings"])
        for key in ("beta_fast", "beta_slow"):
            if key in scaling:
                w.number("rope.scaling.yarn_" + key, float(scaling[key]))
    elif kind == "llama3":
        w.tensor("rope_freqs.weight", llama3_divisors(c, head_dim, scaling))
    elif kind in ("longrope", "su"):
        original = c.get("original_max_position_embeddings") or scaling["original_max_position_embeddings"]
        ratio = c["max_position_embeddings"] / original
        w.number("rope.scaling.type", "longrope")
        w.number("rope.scaling.original_context_length", original)
        w.number("rope.scaling.attn_factor", math.sqrt(1 + math.log(ratio) / math.log(original)))
        w.tensor("rope_factors_long.weight", np.array(scaling["long_factor"]))
        w.tensor("rope_factors_short.weight", np.array(scaling["short_factor"]))
    if w.arch == "phi3" and kind == "default":
        w.number("rope.scaling.original_context_length", c["original_max_position_embeddings"])


def sliding_layers(c):
    return [t == "sliding_attention" for t in c["layer_types"]]


def write_special(w, c):
    """The keys that only one family has."""
    arch = w.arch
    if arch == "mistral3":
        scaling = scaling_of(c)
        w.number("attention.temperature_scale", scaling["llama_4_scaling_beta"])
        w.number("rope.scaling.yarn_log_multiplier", scaling["mscale_all_dim"])
    if arch == "gemma2":
        w.number("attn_logit_softcapping", c["attn_logit_softcapping"])
        w.number("final_logit_softcapping", c["final_logit_softcapping"])
    if arch in ("gemma2", "gemma3", "gemma3n", "gemma4", "cohere2", "phi3", "gpt-oss") or c["model_type"] == "olmo3":
        w.number("attention.sliding_window", c["sliding_window"])
    if arch == "gemma3n":
        w.number("final_logit_softcapping", c["final_logit_softcapping"])
    if arch in ("gemma3", "gemma3n"):
        w.number("rope.freq_base_swa", c["rope_local_base_freq"])
    if arch == "exaone4" and c["sliding_window"]:
        w.number("attention.sliding_window", c["sliding_window"])
    if arch in ("gemma3n", "gemma4") or c["model_type"] == "olmo3" or (arch == "exaone4" and c["sliding_window"]):
        w.number("attention.sliding_window_pattern", sliding_layers(c))
    if arch in ("gemma3n", "gemma4"):
        w.number("attention.shared_kv_layers", c["num_kv_shared_layers"])
        w.number("embedding_length_per_layer_input", c["hidden_size_per_layer_input"])
    if arch == "gemma3n":
        w.number("altup.active_idx", c["altup_active_idx"])
        w.number("altup.num_inputs", c["altup_num_inputs"])
        from statistics import NormalDist
        w.number("activation_sparsity_scale", [
            NormalDist().inv_cdf(s) if s > 0 else -1e30 for s in c["activation_sparsity_pattern"]])
    if arch == "gemma4":
        write_gemma4(w, c)
    if arch in ("command-r", "cohere2", "granite", "granitemoe", "granitehybrid"):
        w.number("logit_scale", c.get("logit_scale", c.get("logits_scaling")))
    if arch in ("command-r", "cohere2"):
        w.number("rope.scaling.type", "none")
    if arch in ("granite", "granitemoe", "granitehybrid"):
        w.number("attention.scale", c["attention_multiplier"])
        w.number("embedding_scale", c["embedding_multiplier"])
        w.number("residual_scale", c["residual_multiplier"])
    if "kv_lora_rank" in c:
        write_latent(w, c)
    if arch == "minicpm":
        w.number("embedding_scale", float(c["scale_emb"]))
        w.number("residual_scale", c["scale_depth"] / c["num_hidden_layers"] ** 0.5)
        w.number("logit_scale", c["hidden_size"] / c["dim_model_base"])
    if arch == "llama4":
        w.number("interleave_moe_layer_step", c["interleave_moe_layer_step"])
    if arch == "mimo2":
        w.number("rope.freq_base_swa", c["swa_rope_theta"])
        w.number("attention.sliding_window", c["sliding_window_size"])
        w.number("attention.sliding_window_pattern", c["hybrid_layer_pattern"])
        w.number("attention.value_scale", c["attention_value_scale"])
    tiny_gguf_hybrid.write_keys(w, c)
    if arch == "stablelm":
        w.number("use_parallel_residual", c["use_parallel_residual"])
    if arch == "exaone":
        w.number("attention.layer_norm_rms_epsilon", c["layer_norm_epsilon"])
    if arch == "nemotron":
        w.number("attention.layer_norm_epsilon", c["norm_eps"])


def write_latent(w, c):
    """Latent attention: the sizes of expanded heads, or where they are split from each other, those of the state too."""
    d_key, d_value = c["qk_nope_head_dim"] + c["qk_rope_head_dim"], c.get("v_head_dim")
    if c["q_lora_rank"]:
        w.number("attention.q_lora_rank", c["q_lora_rank"])
    w.number("attention.kv_lora_rank", c["kv_lora_rank"])
    w.number("attention.key_length", c["kv_lora_rank"] + c["qk_rope_head_dim"] if w.is_split else d_key)
    w.number("attention.value_length", c["kv_lora_rank"] if w.is_split else d_value or c["hidden_size"] // c["num_attention_heads"])
    if w.is_split:
        w.number("attention.key_length_mla", d_key)
        w.number("attention.value_length_mla", d_value)
    multiplier = scaling_of(c).get("mscale_all_dim")
    if multiplier:
        w.number("rope.scaling.yarn_log_multiplier", 0.1 * multiplier)
    if w.arch == "mistral4":
        w.number("attention.temperature_scale", c["rope_parameters"]["llama_4_scaling_beta"])
        w.number("attention.temperature_length", c["rope_parameters"]["original_max_position_embeddings"])
    if w.arch in ("deepseek2", "mistral4"):
        w.number("leading_dense_block_count", c.get("first_k_dense_replace", c["num_hidden_layers"]))
        w.number("expert_shared_count", c.get("n_shared_experts", 0))
        if "moe_intermediate_size" not in c:
            w.number("expert_feed_forward_length", c["intermediate_size"])


def split_expansion(value, c):
    """kv_b_proj [n_head * (d_nope + d_v), rank] -> keys turned [n_head, rank, d_nope], values [n_head, d_v, rank]."""
    heads = value.reshape(c["num_attention_heads"], -1, value.shape[-1])
    keys, values = np.split(heads, [c["qk_nope_head_dim"]], axis=1)
    return keys.swapaxes(1, 2), values


def write_gemma4(w, c):
    """Two head widths, two rotations, and a mask of turning pairs for the wide one."""
    full, sliding = c["rope_parameters"]["full_attention"], c["rope_parameters"]["sliding_attention"]
    wide, narrow = c["global_head_dim"], c["head_dim"]
    for leaf in ("key_length", "value_length"):
        w.number("attention." + leaf, wide)
        w.number("attention." + leaf + "_swa", narrow)
    w.number("rope.dimension_count", wide)
    w.number("rope.dimension_count_swa", narrow)
    w.number("rope.freq_base", full["rope_theta"])
    w.number("rope.freq_base_swa", sliding["rope_theta"])
    w.number("final_logit_softcapping", c["final_logit_softcapping"])
    turning = int(full["partial_rotary_factor"] * wide / 2)
    w.tensor("rope_freqs.weight", np.array([1.0] * turning + [1e30] * (wide // 2 - turning)))


def lists_of_gemma4(c):
    """Per-layer numbers that replace the single ones: key heads and feed-forward widths."""
    n_layer, out = c["num_hidden_layers"], {}
    if c["use_double_wide_mlp"]:
        first = n_layer - c["num_kv_shared_layers"]
        out["feed_forward_length"] = [c["intermediate_size"] * (2 if i >= first else 1) for i in range(n_layer)]
    if c["num_global_key_value_heads"]:
        out["attention.head_count_kv"] = [
            c["num_key_value_heads"] if s else c["num_global_key_value_heads"] for s in sliding_layers(c)]
    return out


def first_of(value):
    return value[0] if isinstance(value, list) else value


def write_expert_keys(w, c):
    """What converters say of routed experts."""
    arch = w.arch
    counts = [c[k] for k in ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts") if c.get(k)]
    if not counts:
        return
    used = next(c[k] for k in ("num_experts_per_tok", "num_experts_per_token", "moe_k", "moe_topk") if k in c)
    width = first_of(c.get("moe_intermediate_size") or c["intermediate_size"])
    w.number("expert_count", counts[0])
    w.number("expert_used_count", first_of(used))
    if arch not in ("llama", "granitemoe", "olmoe"):
        w.number("expert_feed_forward_length", width)
    if arch == "qwen2moe":
        w.number("expert_shared_feed_forward_length", c["shared_expert_intermediate_size"])
    if arch == "ernie4_5-moe":
        w.number("interleave_moe_layer_step", c["moe_layer_interval"])
        w.number("leading_dense_block_count", c["moe_layer_start_index"])
        w.number("expert_shared_feed_forward_length", width * c["moe_num_shared_experts"])
    if arch == "hunyuan-moe":
        w.number("expert_shared_feed_forward_length", c["intermediate_size"] * first_of(c["num_shared_expert"]))
    if arch == "deepseek":
        w.number("leading_dense_block_count", c["first_k_dense_replace"])
        w.number("expert_shared_count", c["n_shared_experts"])
    if arch in ("glm4moe", "dots1", "bailingmoe", "bailingmoe2"):
        w.number("leading_dense_block_count", c["first_k_dense_replace"])
        w.number("expert_shared_count", c.get("n_shared_experts") or c["num_shared_experts"])
    if arch == "bailingmoe2":
        w.number("expert_shared_feed_forward_length", width * c["num_shared_experts"])
    if arch in ("glm4moe", "dots1", "deepseek2", "mistral4", "bailingmoe", "bailingmoe2"):
        w.number("expert_weights_scale", c["routed_scaling_factor"])
        w.number("expert_weights_norm", c["norm_topk_prob"])
    if arch in ("glm4moe", "dots1", "minimax-m2", "bailingmoe2") or c.get("topk_method") == "noaux_tc":
        w.number("expert_gating_func", 2)
    if "n_group" in c:
        w.number("expert_group_count", c["n_group"])
        w.number("expert_group_used_count", c["topk_group"])


EXPERT_PARTS = {"w1": "gate", "w2": "down", "w3": "up", "gate_proj": "gate", "down_proj": "down", "up_proj": "up"}


def write_experts(w, weights):
    """Writes the routed experts' tensors, stacked; returns the others."""
    stacks, others = {}, {}
    for name, value in weights.items():
        layer = (re.search(r"layers\.(\d+)\.", name) or [0, 0])[1]
        each = re.search(r"\.experts\.(\d+)\.(\w+)\.weight$", name)
        whole = re.search(r"\.(?:switch_mlp|experts)\.(gate_proj|up_proj|down_proj)\.(weight|bias)$", name)
        turned = re.search(r"\.feed_forward\.experts\.(gate_up_proj|down_proj)$", name)  # Llama 4: inputs by outputs
        if turned:
            parts = np.split(value, 2, axis=2) if turned[1] == "gate_up_proj" else [value]
            for part, rows in zip(("gate", "up") if len(parts) == 2 else ("down",), parts):
                w.tensor(f"blk.{layer}.ffn_{part}_exps.weight", np.ascontiguousarray(rows.swapaxes(1, 2)))
        elif each:
            stacks.setdefault(f"blk.{layer}.ffn_{EXPERT_PARTS[each[2]]}_exps.weight", {})[int(each[1])] = value
        elif whole:
            w.tensor(f"blk.{layer}.ffn_{EXPERT_PARTS[whole[1]]}_exps.{whole[2]}", value)
        elif name.endswith("input_linear.weight"):
            gate, up = np.split(value, 2, axis=1)
            w.tensor(f"blk.{layer}.ffn_gate_exps.weight", gate)
            w.tensor(f"blk.{layer}.ffn_up_exps.weight", up)
        elif name.endswith("output_linear.weight"):
            w.tensor(f"blk.{layer}.ffn_down_exps.weight", value)
        elif name.endswith(("e_score_correction_bias", ".gate.expert_bias")):
            w.tensor(f"blk.{layer}.exp_probs_b.bias", value.reshape(-1))
        elif name.endswith("shared_expert_gate.weight"):
            w.tensor(f"blk.{layer}.ffn_gate_inp_shexp.weight", value.reshape(-1))
        elif name.endswith((".sinks", ".attention_sink_bias")):
            w.tensor(f"blk.{layer}.attn_sinks.weight", value)
        else:
            others[name] = value
    for name, parts in stacks.items():
        w.tensor(name, np.stack([parts[i] for i in range(len(parts))]))
    return others


def split_grouped(rows, c):
    """InternLM 2's wqkv: per key head its queries, its key, its value."""
    n_head, n_kv = c["num_attention_heads"], c["num_key_value_heads"]
    parts = rows.reshape(n_kv, n_head // n_kv + 2, -1, rows.shape[-1])
    return (parts[:, :-2].reshape(-1, rows.shape[-1]), parts[:, -2].reshape(-1, rows.shape[-1]),
            parts[:, -1].reshape(-1, rows.shape[-1]))


def write_tensors(w, c, weights):
    """Renames, permutes and shifts; fused matrices stay fused as converters leave them."""
    arch, n_head = w.arch, c["num_attention_heads"]
    n_kv = c.get("num_key_value_heads", n_head)
    stacks = {}
    weights = write_experts(w, tiny_gguf_hybrid.write_own_tensors(w, c, weights))
    for name, value in sorted(weights.items()):
        if any(part in name for part in ("vision_tower", "vision_model", "multi_modal_projector", "embed_vision")):
            continue
        hub = name.removeprefix("language_model.").replace("model.language_model.", "model.")
        leaf = ".bias" if hub.endswith(".bias") else ".weight"
        if arch in NORM_PLUS_ONE and "norm" in hub and leaf == ".weight":
            value = value + 1
        if arch in PERMUTED and "q_proj." in hub:
            value = permute(value, n_head)
        if arch in PERMUTED and "k_proj." in hub:
            value = permute(value, n_kv)
        if "altup_projections" in hub or "altup_unembed_projections" in hub:
            base, index = hub.removesuffix(".weight").rsplit(".", 1)
            stacks.setdefault(base, {})[int(index)] = value
            continue
        if "wqkv" in hub:
            prefix = hub.split("attention")[0]
            q, k, v = split_grouped(value, c)
            for part, rows in (("wq", permute(q, n_head)), ("wk", permute(k, n_kv)), ("wv", v)):
                w.tensor(w.name(f"{prefix}attention.{part}.weight"), rows)
            continue
        if "layernorm.norms." in hub:  # StableLM: one vector per head
            base, index = hub.removesuffix(".weight").split(".norms.")
            stacks.setdefault(base + ".norms", {})[int(index)] = value
            continue
        if "query_key_value" in hub and arch == "bailingmoe":
            width, layer = c["hidden_size"] // n_head, re.search(r"layers\.(\d+)\.", hub)[1]
            q, k, v = np.split(value, [n_head * width, (n_head + n_kv) * width])
            for part, rows in (("q", permute(q, n_head)), ("k", permute(k, n_kv)), ("v", v)):
                w.tensor(f"blk.{layer}.attn_{part}.weight", rows)
            continue
        if "kv_b_proj" in hub and w.is_split:
            for part, heads in zip("kv", split_expansion(value, c)):
                w.tensor(w.name(hub.replace("kv_b_proj", part + "_b_proj")), heads)
            continue
        if hub.endswith((".layer_scalar", "correct_output_scale")):
            hub += ".weight"
        w.tensor(w.next_name(hub) or w.name(hub), value)
    for base, parts in stacks.items():
        name = base.replace(".norms", "") if ".norms" in base else base
        w.tensor(w.name(name + ".weight"), np.stack([parts[i] for i in sorted(parts)]))


def convert(family, weights, path, changes=None):
    """Writes the GGUF file of a family's published tensors; `changes` replaces metadata. Returns the metadata."""
    c = dict(family.text_config)
    w = Writer(path, arch_of(c), changes)
    lists = lists_of_gemma4(c) if w.arch == "gemma4" else tiny_gguf_hybrid.lists(w.arch, c)
    if w.arch == "mimo2":
        lists = {"attention.head_count_kv": [c["swa_num_key_value_heads"] if windowed else c["num_key_value_heads"]
                                             for windowed in c["hybrid_layer_pattern"]]}
    number = w.number
    w.number = lambda key, value: number(key, lists.get(key, value))
    w.is_split = "kv_lora_rank" in c and w.arch in ("deepseek2", "mistral4") and not family.name.endswith("-joined")
    if w.is_split:
        c["num_key_value_heads"] = 1
    if c["model_type"] == "ministral3":
        c["rope_theta"] = c["rope_parameters"]["rope_theta"]
    if c["model_type"] in tiny_gguf_mamba.TYPES:
        c, weights, ready, lists = tiny_gguf_mamba.prepare(c, weights)
        tiny_gguf_mamba.write_keys(w, c)
        for name, value in ready.items():
            w.tensor(name, value)
    if c["model_type"] in tiny_gguf_rwkv.TYPES:
        tiny_gguf_rwkv.write_keys(w, c)
        c, weights, ready = tiny_gguf_rwkv.prepare(c, weights)
        for name, value in ready.items():
            w.tensor(name, value)
    write_common(w, c)
    if c["num_attention_heads"]:
        write_rope(w, c)
    write_special(w, c)
    write_expert_keys(w, c)
    write_tensors(w, c, weights)
    w.close()
    return w.written


# ---------------------------------------------------------------------------------------------
# Which rows, and what GGUF cannot say

def latent_rows(row):
    """llama.cpp has one epsilon for all norms, the published betas of yarn, groups by their two best experts, direct
    queries where there are 26 or 27 layers, and MiniCPM 3's three factors."""
    def joined(family):  # as older files have it
        return dataclasses.replace(family, name=family.name + "-joined")

    yarn = dict(families.by_name("deepseek3").config["rope_scaling"], beta_fast=32.0, beta_slow=1.0)
    older = dict(yarn, mscale=0.707, mscale_all_dim=0.707)
    flat = dict(rms_norm_eps=1e-6, n_group=1, topk_group=1, topk_method="greedy", rope_scaling=older)
    small = dict(num_hidden_layers=26, moe_intermediate_size=12, n_routed_experts=8, moe_layer_freq=1, first_k_dense_replace=1)
    third = row("deepseek3", rms_norm_eps=1e-6, rope_scaling=yarn)
    lite = dataclasses.replace(row("deepseek2-lite", **flat, **small), to_hub=families.by_name("deepseek3").to_hub)
    long = dict(families.by_name("minicpm3").config["rope_scaling"])
    return [third, joined(third), joined(row("deepseek2", **flat)), lite, row("glm4-moe-lite"),
            dataclasses.replace(row("youtu"), to_hub=families.by_name("deepseek3").to_hub),
            dataclasses.replace(row("mistral4", n_group=1, topk_group=1, rms_norm_eps=1e-6, rope_parameters=dict(
                families.by_name("mistral4").config["rope_parameters"], beta_fast=32.0, beta_slow=1.0)),
                to_hub=families.by_name("deepseek3").to_hub),
            row("minicpm3", rms_norm_eps=1e-5, scale_emb=12, dim_model_base=256, rope_scaling=long)]


def gguf_rows():
    """Families as GGUF can describe them: where the format has no key, the value it implies."""
    by_name = families.by_name

    def row(base, suffix="", **changes):
        reference = dict(changes.pop("reference", by_name(base).reference))
        config = vary(by_name(base).config, **changes)
        return dataclasses.replace(by_name(base), name="gguf-" + base + suffix, config=config, reference=reference,
                                   no_rewrite="not a folder")

    plain = ["llama", "llama-tied-headdim", "llama-bias", "llama-linear", "llama-llama3", "mistral",
             "ministral3-text", "smollm3", "qwen2", "qwen2-tied", "qwen2-yarn", "qwen3", "qwen3-untied-yarn",
             "gemma", "phi3", "phi3-longrope", "phi4-mini", "cohere",
             "cohere2", "olmo2", "olmo3", "granite", "glm4", "glm4-nobias", "starcoder2",
             "seed-oss", "ernie4_5", "hunyuan-v1-dense", "minicpm", "minicpm-nohead", "gemma4-text", "phi", "exaone",
             "stablelm", "stablelm-parallel", "internlm2"]
    rows = [row(name) for name in plain]
    rows += [row(name) for name in ("mixtral", "mixtral-stacked", "qwen2-moe", "qwen3-moe", "glm4-moe", "glm4-moe-groups",
                                    "granite-moe", "hunyuan-moe", "minimax-m2", "mimo-v2", "bailing-moe",
                                    "bailing-moe-2", "deepseek-1")]
    rows += tiny_gguf_mamba.rows(row, by_name)
    rows += tiny_gguf_rwkv.rows(row, by_name)
    # No keys for chunks and the scale by position: those of the published models.
    rows.append(row("llama4", text_config=vary(by_name("llama4").text_config, attention_chunk_size=8192, floor_scale=8192)))
    rows += [row(name, num_key_value_heads=6) for name in ("olmoe", "dots1")]  # as many as of queries, for llama.cpp
    # Experts in all layers behind the first dense ones; yarn rounded, with the published betas.
    rows.append(row("ernie4_5-moe"))
    rows.append(row("gpt-oss", reference={}, rope_scaling=dict(
        by_name("gpt-oss").config["rope_scaling"], beta_fast=32.0, beta_slow=1.0, truncate=True)))
    # llama.cpp takes these only with heads that make up the width.
    rows += [row(name, head_dim=12) for name in ("exaone4-full", "glm", "nemotron")]
    # It applies the published betas of yarn whatever the file says (but for Mistral 3).
    for name in ("llama-yarn", "olmo3-yarn"):
        scaling = by_name(name).config["rope_scaling"]
        rows.append(row(name, rope_scaling=dict(scaling, beta_fast=32.0, beta_slow=1.0)))
    # It knows Command R+ and EXAONE 4 with windows by their 64 layers.
    small = dict(num_hidden_layers=64, intermediate_size=40)
    rows.append(row("cohere-qknorm", **small))
    rows.append(row("exaone4", head_dim=12, layer_types=(["sliding_attention"] * 3 + ["full_attention"]) * 16, **small))
    # It takes the long divisors when the context, which it rounds up to 256, exceeds the original one.
    rows.append(row("phi3-longrope-short", original_max_position_embeddings=512, max_position_embeddings=2048))
    # Gemma 3n: the widths of the published models, their ten sparse layers, sharing from layer 20 on, no clipping.
    inner = dict(hidden_size_per_layer_input=256, vocab_size_per_layer_input=283, laurel_rank=64,
                 activation_sparsity_pattern=[0.95] * 7, num_kv_shared_layers=0, altup_coef_clip=120.0,
                 final_logit_softcapping=30.0)
    rows.append(row("gemma3n", text_config=vary(by_name("gemma3n").text_config, **inner)))
    # No key for query_pre_attn_scalar: the head's width. Gemma 3's embedding scale is not rounded in GGUF.
    rows.append(row("gemma2-window", query_pre_attn_scalar=20))
    for name in ("gemma3", "gemma3-linear"):
        rows.append(row(name, query_pre_attn_scalar=20, reference={"embedding_scale": "exact"}))
    rows += latent_rows(row)
    keys = by_name("gemma4-keys-are-values")
    rows.append(dataclasses.replace(
        keys, name="gguf-gemma4-keys-are-values", config=dict(keys.text_config, architectures=["Gemma4ForCausalLM"]),
        to_hub=families.same_names, no_rewrite="not a folder"))
    rows += tiny_gguf_hybrid.rows(row, by_name, vary)
    return rows


def build(family, root):
    """(path of the GGUF file, folder with tokens.npy and ref.npy)."""
    from safetensors.numpy import load_file

    folder = tiny_models.build(family, root)
    path = folder / "model.gguf"
    modules = tiny_gguf_hybrid, tiny_gguf_mamba, tiny_gguf_rwkv
    made_by = pathlib.Path(__file__), *(pathlib.Path(m.__file__) for m in modules), folder / "built"
    newest = max(part.stat().st_mtime for part in made_by)
    if not path.exists() or path.stat().st_mtime < newest:
        convert(family, load_file(folder / "model.safetensors"), path)
    return path, folder


POOLING = {"mean": 1, "cls": 2, "last": 3, "rank": 4}


def convert_encoder(arch, config, weights, path, how):
    """Writes a tiny BERT ("bert") or nomic-bert ("nomic-bert") that pools by mean, cls, last or rank."""
    c = config
    w = Writer(path, arch)
    w.number("block_count", c.get("num_hidden_layers", c.get("n_layer")))
    w.number("context_length", c.get("max_position_embeddings", 2048))
    w.number("embedding_length", c.get("hidden_size", c.get("n_embd")))
    w.number("feed_forward_length", c.get("intermediate_size", c.get("n_inner")))
    w.number("attention.head_count", c.get("num_attention_heads", c.get("n_head")))
    w.number("attention.layer_norm_epsilon", c.get("layer_norm_eps", c.get("layer_norm_epsilon")))
    w.number("attention.causal", False)
    w.number("pooling_type", POOLING[how])
    w.number("vocab_size", c["vocab_size"])
    w.file.add_token_type_count(c["type_vocab_size"])
    if "rotary_emb_base" in c:
        w.number("rope.freq_base", float(c["rotary_emb_base"]))
    w.file.add_string("tokenizer.ggml.model", "none")
    for name, value in sorted(weights.items()):
        w.tensor(w.name(name.removeprefix("bert.")), value)
    w.close()
    return path
