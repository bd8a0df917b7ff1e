"""Mamba 2 and its hybrids in GGUF's conventions (see tiny_gguf.py)."""
import numpy as np

FIRST = ("mamba", "falcon_mamba", "jamba")  # Mamba 1
TYPES = FIRST + ("mamba2", "falcon_h1", "granitemoehybrid", "nemotron_h")


def first(c, *names):
    return next(c[name] for name in names if c.get(name) is not None)


def sizes(c):
    """(heads, numbers of a head, groups)"""
    return (first(c, "mamba_num_heads", "mamba_n_heads", "num_heads"),
            first(c, "mamba_head_dim", "mamba_d_head", "head_dim"), first(c, "mamba_n_groups", "n_groups"))


def fold_falcon(c, weights):
    """Its multipliers are in the weights."""
    f, out = c, dict(weights)
    d_ssm, d_state = c["mamba_d_ssm"], c["mamba_n_groups"] * c["mamba_d_state"]
    widths = (d_ssm, d_ssm, d_state, d_state, c["mamba_n_heads"])
    parts = np.concatenate([np.full(n, m) for n, m in zip(widths, c["ssm_multipliers"])]) * c["ssm_in_multiplier"]
    by_name = {"q_proj.weight": f["attention_in_multiplier"], "v_proj.weight": f["attention_in_multiplier"],
               "k_proj.weight": f["attention_in_multiplier"] * f["key_multiplier"], "o_proj.weight": f["attention_out_multiplier"],
               "mamba.out_proj.weight": f["ssm_out_multiplier"], "mamba.in_proj.weight": parts[:, None],
               "gate_proj.weight": f["mlp_multipliers"][0], "down_proj.weight": f["mlp_multipliers"][1],
               "embed_tokens.weight": f["embedding_multiplier"], "lm_head.weight": f["lm_head_multiplier"]}
    for name, value in weights.items():
        for end, factor in by_name.items():
            if name.endswith(end):
                out[name] = value * factor
    return out


def mamba_names(c, weights):
    """Shapes and names of the mixer's tensors."""
    n_group = 1 if c["model_type"] in FIRST else sizes(c)[2]
    out = {}
    for name, value in weights.items():
        if name.endswith("conv1d.weight"):
            value = value.reshape(value.shape[0], -1)
        elif name.endswith(".A_log"):
            value = -np.exp(value if value.ndim == 2 else value.reshape(-1, 1))
        elif name.endswith(".D") and c["model_type"] not in FIRST:
            value = value.reshape(-1, 1)
        elif name.endswith((".mixer.norm.weight", ".mamba.norm.weight")):
            value = value.reshape(n_group, -1)
        out[name.replace(".dt_bias", ".dt_proj.bias")] = value
    return out


def split_shared(c, weights):
    """(others, tensors by GGUF's names): Granite's shared feed-forward, which is the only one of dense models."""
    end, others, ready = "_shexp.weight" if c["num_local_experts"] else ".weight", {}, {}
    for name, value in weights.items():
        layer = name.split(".")[2] if ".shared_mlp." in name else None
        if layer and "input_linear" in name:
            ready[f"blk.{layer}.ffn_gate{end}"], ready[f"blk.{layer}.ffn_up{end}"] = np.split(value, 2)
        elif layer:
            ready[f"blk.{layer}.ffn_down{end}"] = value
        else:
            others[name] = value
    return others, ready


def prepare(c, weights):
    """(config as the writer reads it, tensors, tensors by GGUF's names, numbers by layer)"""
    c, ready, lists = dict(c), {}, {}
    if c["model_type"] == "jamba":
        attends = [i % c["attn_layer_period"] == c["attn_layer_offset"] for i in range(c["num_hidden_layers"])]
        lists["attention.head_count_kv"] = [c["num_key_value_heads"] if a else 0 for a in attends]
        weights = {name.replace(".feed_forward.experts.", ".mlp.experts."): value for name, value in weights.items()}
    if c["model_type"] in ("mamba2", "mamba", "falcon_mamba"):
        c.update(num_attention_heads=0, num_key_value_heads=0, intermediate_size=0, max_position_embeddings=2**20,
                 rms_norm_eps=c["layer_norm_epsilon"])
    if c["model_type"] == "falcon_h1":
        weights = fold_falcon(c, weights)
    if c["model_type"] == "granitemoehybrid":
        weights, ready = split_shared(c, weights)
        attends = [kind == "attention" for kind in c["layer_types"]]
        lists["attention.head_count_kv"] = [c["num_key_value_heads"] if a else 0 for a in attends]
    if c["model_type"] == "nemotron_h":
        lists["attention.head_count_kv"] = [c["num_key_value_heads"] if k == "*" else 0 for k in c["hybrid_override_pattern"]]
        width = c["moe_intermediate_size"] if "E" in c["hybrid_override_pattern"] else c["intermediate_size"]
        lists["feed_forward_length"] = [width if k in "-E" else 0 for k in c["hybrid_override_pattern"]]
    return c, mamba_names(c, weights), ready, lists


def write_keys(w, c):
    if c["model_type"] in FIRST:
        w.number("ssm.conv_kernel", first(c, "mamba_d_conv", "conv_kernel"))
        w.number("ssm.inner_size", 2 * c["hidden_size"])
        w.number("ssm.state_size", first(c, "mamba_d_state", "state_size"))
        w.number("ssm.time_step_rank", first(c, "mamba_dt_rank", "time_step_rank"))
        if c["model_type"] != "jamba":
            w.number("ssm.dt_b_c_rms", c["model_type"] == "falcon_mamba")
        return
    n_head, head_dim, n_group = sizes(c)
    w.number("ssm.conv_kernel", first(c, "mamba_d_conv", "conv_kernel"))
    w.number("ssm.inner_size", n_head * head_dim)
    w.number("ssm.state_size", first(c, "mamba_d_state", "ssm_state_size", "state_size"))
    w.number("ssm.time_step_rank", n_head)
    w.number("ssm.group_count", n_group)
    if arch_of(c):
        w.number("expert_shared_feed_forward_length", c["moe_shared_expert_intermediate_size"])
        w.number("expert_shared_count", c["n_shared_experts"])
        w.number("expert_weights_scale", c["routed_scaling_factor"])
        w.number("expert_weights_norm", c["norm_topk_prob"])
    if c.get("moe_latent_size"):
        w.number("moe_latent_size", c["moe_latent_size"])
    if c["model_type"] == "granitemoehybrid":
        w.number("rope.scaling.finetuned", c["position_embedding_type"] == "rope")
        if c["num_local_experts"]:
            w.number("expert_shared_feed_forward_length", c["shared_intermediate_size"])


def is_unread(c, key):
    """Keys that converters write and that mean nothing."""
    if c["model_type"] == "jamba":
        return key.startswith("rope.")
    if c["model_type"] in ("mamba2", "mamba", "falcon_mamba"):
        return key in ("feed_forward_length", "attention.head_count", "attention.head_count_kv", "attention.layer_norm_epsilon")
    if c["model_type"] == "nemotron_h":
        return key in ("attention.layer_norm_epsilon", "expert_shared_count") or key.startswith("rope.")
    return c.get("position_embedding_type") == "nope" and key == "rope.freq_base"


def arch_of(c):
    """Nemotron H with experts has a name of its own; None: the usual table."""
    return "nemotron_h_moe" if c["model_type"] == "nemotron_h" and c.get("n_routed_experts") else None


def rows(row, by_name):
    """No key for the limits of a step; the published models have none."""
    free = {"time_step_limit": [0.0, 1e9]}
    made = [row("mamba2", **free), row("falcon-h1"),
            row("granite-hybrid", **free), row("granite-hybrid-dense", **free, mamba_conv_bias=True), row("nemotron-h", **free),
            row("nemotron-h-moe", **free), row("nemotron-h-latent", **free)]
    # The norms of steps have the epsilon of the others there.
    made += [row("mamba"), row("falcon-mamba", mixer_rms_eps=1e-5), row("jamba")]
    return made
