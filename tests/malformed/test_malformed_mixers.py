"""Latent attention and recurrent layers whose ranks and sizes contradict their tensors, or are none, are refused with one
sentence that names the key or the tensor. GGUF files of one block: deepseek2, mamba2, qwen3next, lfm2."""
import json
import random
import struct

import gguf_file
import pytest
from gguf_file import F32, STRING, U32
from test_malformed_moe import hearth, refused, show  # noqa: F401

D, VOCAB, FF = 32, 64, 48
BIG = 2**31
COMMON = {"context_length": 128, "embedding_length": D, "block_count": 1, "feed_forward_length": FF}
TABLES = {"token_embd": (D, VOCAB), "output_norm": (D,), "output": (D, VOCAB)}
DENSE = {"blk.0.ffn_norm": (D,), "blk.0.ffn_gate": (D, FF), "blk.0.ffn_up": (D, FF), "blk.0.ffn_down": (FF, D)}

# 4 heads with keys of 6 + 2 rotated numbers and values of 5, ranks 12 and 10.
LATENT = ("deepseek2", {**COMMON, "attention.head_count": 4, "attention.head_count_kv": 1, "attention.q_lora_rank": 12,
                        "attention.kv_lora_rank": 10, "attention.key_length": 12, "attention.value_length": 10,
                        "attention.key_length_mla": 8, "attention.value_length_mla": 5, "rope.dimension_count": 2,
                        "leading_dense_block_count": 1},
          {**TABLES, **DENSE, "blk.0.attn_norm": (D,), "blk.0.attn_q_a": (D, 12), "blk.0.attn_q_a_norm": (12,),
           "blk.0.attn_q_b": (12, 32), "blk.0.attn_kv_a_mqa": (D, 12), "blk.0.attn_kv_a_norm": (10,),
           "blk.0.attn_k_b": (6, 10, 4), "blk.0.attn_v_b": (10, 5, 4), "blk.0.attn_output": (20, D)})
# 8 heads of 8 in 2 groups with states of 4; the convolution has 3 rows of tail.
MAMBA = ("mamba2", {**COMMON, "feed_forward_length": 0, "attention.head_count": 0, "ssm.conv_kernel": 4, "ssm.inner_size": 64,
                    "ssm.state_size": 4, "ssm.time_step_rank": 8, "ssm.group_count": 2},
         {**TABLES, "blk.0.attn_norm": (D,), "blk.0.ssm_in": (D, 64 + 64 + 16 + 8), "blk.0.ssm_conv1d": (4, 80),
          "blk.0.ssm_conv1d.bias": (80,), "blk.0.ssm_dt.bias": (8,), "blk.0.ssm_a": (1, 8), "blk.0.ssm_d": (1, 8),
          "blk.0.ssm_norm": (32, 2), "blk.0.ssm_out": (64, D)})
# 2 key heads of 4 and 4 value heads of 6.
DELTA = ("qwen3next", {**COMMON, "attention.head_count": 4, "attention.head_count_kv": 2, "attention.key_length": 8,
                       "attention.value_length": 8, "ssm.conv_kernel": 4, "ssm.state_size": 4, "ssm.group_count": 2,
                       "ssm.time_step_rank": 4, "ssm.inner_size": 24, "full_attention_interval": 4, "expert_count": 2,
                       "expert_used_count": 1, "expert_feed_forward_length": 8, "expert_shared_feed_forward_length": 8},
         {**TABLES, "blk.0.attn_norm": (D,), "blk.0.post_attention_norm": (D,), "blk.0.attn_qkv": (D, 40),
          "blk.0.attn_gate": (D, 24), "blk.0.ssm_ba": (D, 8), "blk.0.ssm_conv1d": (4, 40), "blk.0.ssm_dt.bias": (4,),
          "blk.0.ssm_a": (4,), "blk.0.ssm_norm": (6,), "blk.0.ssm_out": (24, D), "blk.0.ffn_gate_inp": (D, 2),
          "blk.0.ffn_gate_exps": (D, 8, 2), "blk.0.ffn_up_exps": (D, 8, 2), "blk.0.ffn_down_exps": (8, D, 2),
          "blk.0.ffn_gate_inp_shexp": (D,), "blk.0.ffn_gate_shexp": (D, 8), "blk.0.ffn_up_shexp": (D, 8),
          "blk.0.ffn_down_shexp": (8, D)})
CONV = ("lfm2", {**COMMON, "attention.head_count": 4, "attention.head_count_kv": 0, "shortconv.l_cache": 3},
        {**{k: v for k, v in TABLES.items() if k != "output_norm"}, "token_embd_norm": (D,), **DENSE, "blk.0.attn_norm": (D,),
         "blk.0.shortconv.in_proj": (D, 3 * D), "blk.0.shortconv.out_proj": (D, D), "blk.0.shortconv.conv": (3, D)})
MODELS = {"latent": LATENT, "mamba": MAMBA, "delta": DELTA, "conv": CONV}


def gguf(model, keys=None, shapes=None):
    """The file of a model; `keys` and `shapes` replace, add or remove (None)."""
    arch, numbers, tensors = model
    rng = random.Random(7)
    g = gguf_file.Gguf()
    g.add("general.architecture", STRING, arch)
    for key, value in {**numbers, **(keys or {})}.items():
        if value is not None:
            g.add(f"{arch}.{key}", U32, value)
    g.add(arch + ".attention.layer_norm_rms_epsilon", F32, 1e-5)
    g.add("tokenizer.ggml.model", STRING, "none")
    for name, shape in {**tensors, **(shapes or {})}.items():
        if shape is None:
            continue
        n = 1
        for size in shape:
            n *= size
        full = name if name.endswith(".bias") or name in ("blk.0.ssm_a", "blk.0.ssm_d") else name + ".weight"
        g.tensor(full, shape, 0, struct.pack(f"<{n}f", *(rng.uniform(-0.9, -0.1) for _ in range(n))))
    return g.build()


def shown(program, root, name, **changes):
    (root / "model.gguf").write_bytes(gguf(MODELS[name], **changes))
    return show(program, root / "model.gguf")


@pytest.mark.parametrize("name", MODELS)
def test_the_valid_files_open(name, hearth, tmp_path):  # noqa: F811
    done = shown(hearth, tmp_path, name)
    assert done.returncode == 0, done.stderr


WRONG = [
    ("latent", {"attention.kv_lora_rank": None}, "attention.kv_lora_rank"),
    ("latent", {"attention.kv_lora_rank": 0}, "attention.kv_lora_rank"),
    ("latent", {"attention.kv_lora_rank": BIG}, "attention.kv_lora_rank"),
    ("latent", {"attention.kv_lora_rank": 11}, "attn_kv_a_mqa"),
    ("latent", {"attention.q_lora_rank": 13}, "attn_q_a"),
    ("latent", {"attention.q_lora_rank": BIG}, "attention.q_lora_rank"),
    ("latent", {"attention.key_length_mla": 2}, "no room"),
    ("latent", {"attention.key_length_mla": 9}, "attn_q_b"),
    ("latent", {"attention.value_length_mla": 6}, "attn_v_b"),
    ("latent", {"attention.value_length_mla": 0}, "attention.value_length_mla"),
    ("latent", {"rope.dimension_count": 0}, "rope.dimension_count"),
    ("latent", {"rope.dimension_count": 3}, "rot|attn_"),
    ("latent", {"attention.head_count": 5}, "attn_"),
    ("latent", {"attention.head_count": 0}, "attention.head_count"),
    ("mamba", {"ssm.conv_kernel": 1}, "1 taps"),
    ("mamba", {"ssm.conv_kernel": 5}, "ssm_conv1d"),
    ("mamba", {"ssm.conv_kernel": BIG}, "ssm.conv_kernel"),
    ("mamba", {"ssm.inner_size": 63}, "8 heads of 7"),
    ("mamba", {"ssm.inner_size": 128}, "ssm_in"),
    ("mamba", {"ssm.inner_size": BIG}, "ssm.inner_size"),
    ("mamba", {"ssm.state_size": 0}, "ssm.state_size"),
    ("mamba", {"ssm.state_size": 8}, "ssm_in"),
    ("mamba", {"ssm.state_size": BIG}, "ssm.state_size"),
    ("mamba", {"ssm.time_step_rank": 0}, "ssm.time_step_rank"),
    ("mamba", {"ssm.time_step_rank": 7}, "7"),
    ("mamba", {"ssm.group_count": 3}, "group|share"),
    ("mamba", {"ssm.group_count": 0}, "ssm.group_count"),
    ("delta", {"ssm.conv_kernel": None}, "ssm.conv_kernel"),
    ("delta", {"ssm.state_size": None}, "ssm.state_size"),
    ("delta", {"ssm.state_size": 5}, "attn_qkv"),
    ("delta", {"ssm.group_count": 3}, "4 value heads cannot share 3 key heads"),
    ("delta", {"ssm.time_step_rank": 5}, "value heads"),
    ("delta", {"ssm.time_step_rank": 0}, "ssm.time_step_rank"),
    ("delta", {"ssm.inner_size": 25}, "ssm.inner_size"),
    ("delta", {"ssm.inner_size": 28}, "attn_qkv"),
    ("delta", {"ssm.inner_size": BIG}, "ssm.inner_size"),
    ("delta", {"full_attention_interval": 0}, "full_attention_interval"),
    ("delta", {"full_attention_interval": 1}, "blk.0.attn_"),
    ("conv", {"shortconv.l_cache": 1}, "shortconv.l_cache"),
    ("conv", {"shortconv.l_cache": 4}, "shortconv.conv"),
    ("conv", {"shortconv.l_cache": BIG}, "shortconv.l_cache"),
    ("conv", {"attention.head_count_kv": 2}, "attn_q"),
]


@pytest.mark.parametrize("name, keys, told", WRONG, ids=lambda v: json.dumps(v) if isinstance(v, dict) else "")
def test_a_wrong_size_is_refused(name, keys, told, hearth, tmp_path):  # noqa: F811
    done = shown(hearth, tmp_path, name, keys=keys)
    refused(done)
    assert any(t in done.stderr for t in told.split("|")), done.stderr


EACH = [(name, tensor) for name, (_, _, tensors) in MODELS.items() for tensor in tensors
        if tensor.startswith("blk.") and ".ffn_" not in tensor and "conv1d.bias" not in tensor]


@pytest.mark.parametrize("name, tensor", EACH, ids=str)
def test_a_missing_or_misshapen_tensor_is_refused_by_name(name, tensor, hearth, tmp_path):  # noqa: F811
    shape = MODELS[name][2][tensor]
    refused(shown(hearth, tmp_path, name, shapes={tensor: None}))
    done = shown(hearth, tmp_path, name, shapes={tensor: (*shape[:-1], shape[-1] + 1)})
    refused(done, tensor)
