"""What converters do to families with recurrent layers: keys, and tensors that are cut, reordered or transformed."""
import re

import numpy as np

DELTA = ("qwen3next", "qwen35", "qwen35moe")


def write_keys(w, c):
    """The keys that only these families have."""
    if w.arch in ("lfm2", "lfm2moe"):
        w.number("shortconv.l_cache", c["conv_L_cache"])
    if w.arch == "lfm2moe":
        w.number("leading_dense_block_count", c["num_dense_layers"])
        w.number("expert_gating_func", 2)
    if w.arch in DELTA:
        w.number("ssm.conv_kernel", c["linear_conv_kernel_dim"])
        w.number("ssm.state_size", c["linear_key_head_dim"])
        w.number("ssm.group_count", c["linear_num_key_heads"])
        w.number("ssm.time_step_rank", c["linear_num_value_heads"])
        w.number("ssm.inner_size", c["linear_value_head_dim"] * c["linear_num_value_heads"])
        w.number("full_attention_interval", c["full_attention_interval"])
        if "layer_types" in c:
            w.number("attention.recurrent_layers", [t == "linear_attention" for t in c["layer_types"]])
        if w.arch != "qwen3next":
            w.number("rope.dimension_sections", [*c["rope_parameters"]["mrope_section"], 0])
    if w.arch == "kimi-linear":
        w.number("ssm.conv_kernel", c["linear_attn_config"]["short_conv_kernel_size"])
        w.number("kda.head_dim", c["linear_attn_config"]["head_dim"])
        w.number("attention.kv_lora_rank", c["kv_lora_rank"])
        w.number("attention.key_length_mla", c["qk_nope_head_dim"] + c["qk_rope_head_dim"])
        w.number("attention.value_length_mla", c["v_head_dim"])
        w.number("expert_gating_func", 2)
        w.number("expert_shared_count", c["num_shared_experts"])
        w.number("leading_dense_block_count", c["first_k_dense_replace"])
        w.number("expert_weights_scale", c["routed_scaling_factor"])
    if w.arch in ("qwen3next", "qwen35moe"):
        w.number("expert_shared_feed_forward_length", c["shared_expert_intermediate_size"])


def lists(arch, c):
    """Per-layer numbers that replace the single ones, and numbers that converters compute."""
    out = {}
    if arch in ("lfm2", "lfm2moe"):
        full = [i in c["full_attn_idxs"] if "full_attn_idxs" in c else t == "full_attention"
                for i, t in enumerate(c.get("layer_types", [""] * c["num_hidden_layers"]))]
        out["attention.head_count_kv"] = [c["num_key_value_heads"] if f else 0 for f in full]
    if arch == "kimi-linear":
        full = c["linear_attn_config"]["full_attn_layers"]
        out["attention.head_count_kv"] = [1 if i + 1 in full else 0 for i in range(c["num_hidden_layers"])]
        out["attention.key_length"] = c["kv_lora_rank"] + c["qk_rope_head_dim"]
        out["rope.dimension_count"] = c["qk_rope_head_dim"]
    if arch == "lfm2":
        width, multiple = c["block_ff_dim"], c["block_multiple_of"]
        if c["block_auto_adjust_ff_dim"]:
            width = int(c["block_ffn_dim_multiplier"] * int(2 * width / 3))
            width = -(-width // multiple) * multiple
        out["feed_forward_length"] = width
    return out


def in_turns(value, axis, c, width):
    """Heads of values grouped by key head -> the first of every key head, the second of every key head, ..."""
    n_key, n_value = c["linear_num_key_heads"], c["linear_num_value_heads"]
    value = np.moveaxis(value, axis, 0)
    heads = value.reshape(n_key, n_value // n_key, width, *value.shape[1:]).swapaxes(0, 1)
    return np.moveaxis(heads.reshape(value.shape), 0, axis)


def write_delta(w, c, layer, leaf, value):
    """One tensor of a gated delta net."""
    dk, dv, n_key = c["linear_key_head_dim"], c["linear_value_head_dim"], c["linear_num_key_heads"]
    keys, turns, at = 2 * n_key * dk, w.arch != "qwen3next", f"blk.{layer}."
    turned = {"in_proj_z.weight": (0, dv), "in_proj_b.weight": (0, 1), "in_proj_a.weight": (0, 1), "A_log": (0, 1),
              "dt_bias": (0, 1), "out_proj.weight": (1, dv)}
    if leaf == "conv1d.weight":
        value = value.reshape(value.shape[0], -1)
    if turns and leaf in turned:
        value = in_turns(value, turned[leaf][0], c, turned[leaf][1])
    if turns and leaf in ("in_proj_qkv.weight", "conv1d.weight"):
        value = np.concatenate([value[:keys], in_turns(value[keys:], 0, c, dv)])
    if leaf == "in_proj_qkvz.weight" and not c.get("gguf_grouped"):
        per_key = c["linear_num_value_heads"] // n_key * dv
        parts = np.split(value.reshape(n_key, -1, value.shape[-1]), [dk, 2 * dk, 2 * dk + per_key], axis=1)
        q, k, v, z = (p.reshape(-1, value.shape[-1]) for p in parts)
        w.tensor(at + "attn_qkv.weight", np.concatenate([q, k, v]))
        w.tensor(at + "attn_gate.weight", z)
        return
    names = {"in_proj_qkvz.weight": "ssm_in.weight", "in_proj_ba.weight": "ssm_ba.weight", "in_proj_qkv.weight": "attn_qkv.weight",
             "in_proj_z.weight": "attn_gate.weight", "in_proj_b.weight": "ssm_beta.weight", "in_proj_a.weight": "ssm_alpha.weight",
             "conv1d.weight": "ssm_conv1d.weight", "A_log": "ssm_a", "dt_bias": "ssm_dt.bias", "norm.weight": "ssm_norm.weight",
             "out_proj.weight": "ssm_out.weight"}
    w.tensor(at + names[leaf], -np.exp(value) if leaf == "A_log" else value)


def write_kimi(w, c, layer, leaf, value):
    """One tensor of a KDA layer, or the expansions of a latent one; whether it was one."""
    at = f"blk.{layer}."
    own = {"A_log": "ssm_a", "dt_bias": "ssm_dt.bias", "b_proj.weight": "ssm_beta.weight", "o_norm.weight": "ssm_norm.weight"}
    own |= {f"{part}_{half}_proj.weight": f"ssm_{part}_{half}.weight" for part in "fg" for half in "ab"}
    convolution = re.fullmatch(r"([qkv])_conv1d\.weight", leaf)
    if leaf == "kv_b_proj.weight":
        heads = value.reshape(c["num_attention_heads"], -1, value.shape[-1])
        keys, values = np.split(heads, [c["qk_nope_head_dim"]], axis=1)
        w.tensor(at + "attn_k_b.weight", keys.swapaxes(1, 2))
        w.tensor(at + "attn_v_b.weight", values)
    elif convolution:
        w.tensor(at + f"ssm_conv1d_{convolution[1]}.weight", value.reshape(1, value.shape[0], 1, -1))
    elif leaf in own:
        w.tensor(at + own[leaf], -np.exp(value) if leaf == "A_log" else value)
    return leaf == "kv_b_proj.weight" or convolution or leaf in own


def write_own_tensors(w, c, weights):
    """Writes what these families have of their own; returns the others, renamed where it helps."""
    if w.arch == "kimi-linear":
        def is_own(name, value):
            match = re.search(r"layers\.(\d+)\.self_attn\.(.*)$", name)
            return match and write_kimi(w, c, match[1], match[2], value)

        return {name: value for name, value in weights.items() if not is_own(name, value)}
    if w.arch not in DELTA + ("lfm2", "lfm2moe"):
        return weights
    others = {}
    for name, value in weights.items():
        delta = re.search(r"layers\.(\d+)\.linear_attn\.(.*)$", name)
        both = re.fullmatch(r"(.*\.mlp\.experts)\.(gate_up_proj|down_proj)", name)
        if delta:
            write_delta(w, c, delta[1], delta[2], value)
        elif both and both[2] == "gate_up_proj":
            others[both[1] + ".gate_proj.weight"], others[both[1] + ".up_proj.weight"] = np.split(value, 2, axis=1)
        elif both:
            others[name + ".weight"] = value
        elif name.endswith("conv.conv.weight"):
            others[name] = value.reshape(value.shape[0], -1)
        elif name.endswith(".expert_bias"):
            others[name.replace("expert_bias", "e_score_correction_bias")] = value
        else:
            others[name] = value + 1 if w.arch in DELTA and name.endswith("norm.weight") else value
    return others


def rows(row, by_name, vary):
    """llama.cpp wants keys as wide as values, and takes the norms' epsilon for those of queries and keys too."""
    same = dict(linear_key_head_dim=16, linear_value_head_dim=16, rms_norm_eps=1e-6)
    yield row("lfm2")
    yield row("lfm2-moe", routed_scaling_factor=1.0)
    yield row("qwen3-next", **same)
    yield row("qwen3-next", suffix="-old", gguf_grouped=True, **same)
    for name in ("qwen3.5", "qwen3.5-moe"):
        yield row(name, text_config=vary(by_name(name).text_config, **same))
    config = by_name("kimi-linear").config["linear_attn_config"]  # heads of both kinds: as many
    yield row("kimi-linear", linear_attn_config=dict(config, num_heads=6, head_dim=16), rms_norm_eps=1e-6)
