"""Models with routed experts that contradict themselves are refused with a sentence that says what is wrong."""

import json
import os
import pathlib
import random
import struct
import subprocess

import folder_cases
import gguf_file
import pytest
from gguf_file import F32, STRING, U32

ROOT = pathlib.Path(__file__).resolve().parents[2]
N_EMBD, N_EXPERT, WIDTH = 32, 6, 16

CONFIG = {**folder_cases.CONFIG, "model_type": "qwen3_moe", "num_experts": N_EXPERT, "num_experts_per_tok": 2,
          "moe_intermediate_size": WIDTH, "decoder_sparse_step": 1, "mlp_only_layers": [], "norm_topk_prob": True}
GROUPED = {**CONFIG, "model_type": "dots1", "n_routed_experts": N_EXPERT, "n_shared_experts": 1, "n_group": 3,
           "topk_group": 2, "routed_scaling_factor": 1.5, "first_k_dense_replace": 0}


@pytest.fixture(scope="session")
def hearth():
    ready = os.environ.get("HEARTH_BIN") or os.environ.get("HEARTH")
    for path in [ready] if ready else sorted(ROOT.glob("build/*/hearth")):
        if os.access(path, os.X_OK):
            return str(path)
    pytest.skip("no hearth program; build it, or name it in HEARTH_BIN")


def tensors(shared=False):
    t = {n: s for n, s in folder_cases.llama_tensors().items() if ".mlp." not in n}
    t["model.layers.0.self_attn.q_norm.weight"] = t["model.layers.0.self_attn.k_norm.weight"] = ("F32", (8,))
    t["model.layers.0.mlp.gate.weight"] = ("F32", (N_EXPERT, N_EMBD))
    for e in range(N_EXPERT):
        for part, shape in (("gate", (WIDTH, N_EMBD)), ("up", (WIDTH, N_EMBD)), ("down", (N_EMBD, WIDTH))):
            t[f"model.layers.0.mlp.experts.{e}.{part}_proj.weight"] = ("F32", shape)
    if shared:
        t["model.layers.0.mlp.gate.e_score_correction_bias"] = ("F32", (N_EXPERT,))
        for part, shape in (("gate", (WIDTH, N_EMBD)), ("up", (WIDTH, N_EMBD)), ("down", (N_EMBD, WIDTH))):
            t[f"model.layers.0.mlp.shared_experts.{part}_proj.weight"] = ("F32", shape)
    return t


def show(hearth, path):
    done = subprocess.run([hearth, "show", str(path)], capture_output=True, text=True, timeout=60)
    assert done.returncode in (0, 1), f"exit code {done.returncode}: {done.stderr[-500:]}"
    return done


def show_folder(hearth, root, config, named):
    (root / "config.json").write_text(json.dumps(config))
    (root / "model.safetensors").write_bytes(folder_cases.safetensors(named))
    return show(hearth, root)


def refused(done, *words):
    assert done.returncode == 1 and len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert all(w in done.stderr for w in words), done.stderr


def test_the_valid_folders_open(hearth, tmp_path):
    assert show_folder(hearth, tmp_path, CONFIG, tensors()).returncode == 0
    done = show_folder(hearth, tmp_path, GROUPED, tensors(shared=True))
    assert done.returncode == 0, done.stderr


WRONG_NUMBERS = [
    ({"num_experts": 0}, "num_experts"),
    ({"num_experts": -6}, "num_experts"),
    ({"num_experts": 2**31}, "num_experts"),
    ({"num_experts": "6"}, "num_experts"),
    ({"num_experts": None}, "number of experts"),
    ({"num_experts": 5}, "router of experts|gate.weight"),
    ({"num_experts": 7}, "gate.weight"),
    ({"num_experts_per_tok": 7}, "7 experts are used per token, but there are 6"),
    ({"num_experts_per_tok": 0}, "num_experts_per_tok"),
    ({"num_experts_per_tok": 65}, "num_experts_per_tok"),
    ({"num_experts_per_tok": None}, "per token"),
    ({"moe_intermediate_size": 0}, "moe_intermediate_size"),
    ({"moe_intermediate_size": 17}, "experts.0.gate_proj.weight"),
    ({"moe_intermediate_size": 2**40}, "moe_intermediate_size"),
    ({"decoder_sparse_step": 0}, "decoder_sparse_step"),
    ({"decoder_sparse_step": 2}, "mlp.gate_proj.weight"),
    ({"mlp_only_layers": [0]}, "mlp.gate_proj.weight"),
    ({"hidden_act": "mish"}, "mish"),
]


@pytest.mark.parametrize("changes, told", WRONG_NUMBERS, ids=lambda v: json.dumps(v) if isinstance(v, dict) else "")
def test_a_wrong_number_of_the_config_is_refused(changes, told, hearth, tmp_path):
    done = show_folder(hearth, tmp_path, {**CONFIG, **changes}, tensors())
    refused(done)
    assert any(t in done.stderr for t in told.split("|")), done.stderr


WRONG_GROUPS = [
    ({"n_group": 4}, "6 experts cannot form 4 equal groups"),
    ({"n_group": 5000}, "n_group"),
    ({"topk_group": 4}, "4 groups of experts take part, but there are 3"),
    ({"topk_group": 0}, "topk_group"),
    ({"topk_group": 1, "num_experts_per_tok": 3}, "3 experts are used, but 1 groups of 2 take part"),
    ({"n_shared_experts": 2}, "shared_experts.gate_proj.weight"),
    ({"n_shared_experts": 5000}, "n_shared_experts"),
    ({"first_k_dense_replace": 1}, "mlp.gate_proj.weight"),
    ({"scoring_func": "tanh"}, "tanh"),
]


@pytest.mark.parametrize("changes, told", WRONG_GROUPS, ids=lambda v: json.dumps(v) if isinstance(v, dict) else "")
def test_a_wrong_number_of_groups_is_refused(changes, told, hearth, tmp_path):
    refused(show_folder(hearth, tmp_path, {**GROUPED, **changes}, tensors(shared=True)), told)


@pytest.mark.parametrize("name", [n for n in tensors(shared=True) if ".mlp." in n and ".experts.3" not in n or ".experts.3.up" in n])
def test_a_missing_tensor_is_refused_by_name(name, hearth, tmp_path):
    rest = {n: s for n, s in tensors(shared=True).items() if n != name}
    # other families say shared_expert, and the message names the first spelling
    refused(show_folder(hearth, tmp_path, GROUPED, rest), name.replace("shared_experts", "shared_expert"), "is missing")


@pytest.mark.parametrize("name", ["gate.weight", "experts.4.up_proj.weight", "experts.5.down_proj.weight",
                                  "gate.e_score_correction_bias", "shared_experts.down_proj.weight"])
def test_a_tensor_of_another_shape_is_refused_by_name(name, hearth, tmp_path):
    name = "model.layers.0.mlp." + name
    t = tensors(shared=True)
    shape = t[name][1]
    t[name] = ("F32", (shape[0] + 1, *shape[1:]))
    refused(show_folder(hearth, tmp_path, GROUPED, t), name)


def test_experts_stored_in_different_types_are_refused(hearth, tmp_path):
    t = tensors()
    t["model.layers.0.mlp.experts.2.up_proj.weight"] = ("BF16", (WIDTH, N_EMBD))
    refused(show_folder(hearth, tmp_path, CONFIG, t), "experts.2.up_proj.weight", "another way")


def test_one_expert_too_many_is_refused(hearth, tmp_path):
    t = tensors()
    t[f"model.layers.0.mlp.experts.{N_EXPERT}.up_proj.weight"] = ("F32", (WIDTH, N_EMBD))
    refused(show_folder(hearth, tmp_path, CONFIG, t), f"experts.{N_EXPERT}.up_proj.weight has no place")


def test_a_dense_family_with_experts_is_refused(hearth, tmp_path):
    config = {**folder_cases.CONFIG, "model_type": "qwen3", "num_experts": 4}
    t = {**folder_cases.llama_tensors()}
    refused(show_folder(hearth, tmp_path, config, t), "4 experts", "qwen3")


# ---- families whose layers differ


LLAMA4 = {**CONFIG, "model_type": "llama4_text", "num_local_experts": N_EXPERT, "num_experts_per_tok": 1, "num_experts": None,
          "moe_intermediate_size": None, "intermediate_size": WIDTH,
          "intermediate_size_mlp": 24, "interleave_moe_layer_step": 1, "attention_chunk_size": 16}
MIMO = {**CONFIG, "model_type": "mimo_v2_flash", "n_routed_experts": N_EXPERT, "num_experts": None, "hybrid_layer_pattern": [1],
        "moe_layer_freq": [1], "sliding_window_size": 8, "layernorm_epsilon": 1e-5, "v_head_dim": 8,
        "swa_num_attention_heads": 4, "swa_num_key_value_heads": 2, "swa_head_dim": 8, "swa_v_head_dim": 8}


def llama4_tensors():
    t = {n: s for n, s in folder_cases.llama_tensors().items() if ".mlp." not in n}
    p = "model.layers.0.feed_forward."
    t[p + "router.weight"] = ("F32", (N_EXPERT, N_EMBD))
    for part, shape in (("gate", (WIDTH, N_EMBD)), ("up", (WIDTH, N_EMBD)), ("down", (N_EMBD, WIDTH))):
        t[p + f"experts.{part}_proj.weight"] = ("F32", (N_EXPERT, *shape))
        t[p + f"shared_expert.{part}_proj.weight"] = ("F32", shape)
    return t


def mimo_tensors():
    t = {n: s for n, s in tensors().items() if "_norm.weight" not in n}
    t["model.layers.0.mlp.gate.e_score_correction_bias"] = ("F32", (N_EXPERT,))
    t["model.layers.0.self_attn.attention_sink_bias"] = ("F32", (4,))
    return t


def test_the_valid_folders_of_mixed_families_open(hearth, tmp_path):
    for config, named in ((LLAMA4, llama4_tensors()), (MIMO, mimo_tensors())):
        done = show_folder(hearth, tmp_path, config, named)
        assert done.returncode == 0, done.stderr


WRONG_LLAMA4 = [
    ({"attention_chunk_size": 0}, "attention_chunk_size"), ({"attention_chunk_size": -5}, "attention_chunk_size"),
    ({"floor_scale": 0}, "floor_scale"), ({"no_rope_layers": [2]}, "no_rope_layers"),
    ({"no_rope_layer_interval": 0}, "no_rope_layer_interval"), ({"moe_layers": [1]}, "moe_layers"),
    ({"moe_layers": ["0"]}, "moe_layers"), ({"moe_layers": [-1]}, "moe_layers"),
    ({"interleave_moe_layer_step": 0}, "interleave_moe_layer_step"),
    ({"interleave_moe_layer_step": 2}, "feed_forward.gate_proj.weight"), ({"intermediate_size_mlp": 0}, "intermediate_size_mlp"),
    ({"layer_types": ["full_attention"]}, 'layer 0 is of type "full_attention", but has positions'),
    ({"intermediate_size": 15}, "experts.gate_proj.weight"),
]


@pytest.mark.parametrize("changes, told", WRONG_LLAMA4, ids=lambda v: json.dumps(v) if isinstance(v, dict) else "")
def test_a_wrong_number_of_llama_4_is_refused(changes, told, hearth, tmp_path):
    refused(show_folder(hearth, tmp_path, {**LLAMA4, **changes}, llama4_tensors()), told)


WRONG_MIMO = [
    ({"hybrid_layer_pattern": None}, "hybrid_layer_pattern"), ({"hybrid_layer_pattern": []}, "hybrid_layer_pattern"),
    ({"hybrid_layer_pattern": [2]}, "hybrid_layer_pattern"), ({"hybrid_layer_pattern": [0]}, "has no attention sinks"),
    ({"moe_layer_freq": []}, "moe_layer_freq"), ({"moe_layer_freq": [0]}, "mlp.gate_proj.weight"),
    ({"sliding_window_size": None}, "sliding_window_size"), ({"sliding_window_size": 0}, "sliding_window_size"),
    ({"swa_num_attention_heads": 3}, "3 query heads cannot share 2 key heads"),
    ({"swa_num_key_value_heads": 0}, "swa_num_key_value_heads"), ({"swa_head_dim": 6}, "self_attn.q_proj.weight"),
    ({"swa_v_head_dim": 9}, "self_attn.v_proj.weight"), ({"swa_rope_theta": -1}, "theta"),
    ({"topk_method": "greedy"}, "greedy"), ({"add_swa_attention_sink_bias": False}, "attention_sink_bias exists"),
]


@pytest.mark.parametrize("changes, told", WRONG_MIMO, ids=lambda v: json.dumps(v) if isinstance(v, dict) else "")
def test_a_wrong_number_of_mimo_is_refused(changes, told, hearth, tmp_path):
    refused(show_folder(hearth, tmp_path, {**MIMO, **changes}, mimo_tensors()), told)


# ---- GGUF


def gguf(keys=None, shapes=None):
    """A qwen3moe of one block; `keys` and `shapes` replace or remove (None)."""
    rng = random.Random(5)
    g = gguf_file.Gguf()
    g.add("general.architecture", STRING, "qwen3moe")
    numbers = {"context_length": 128, "embedding_length": N_EMBD, "block_count": 1, "feed_forward_length": 64,
               "attention.head_count": 4, "attention.head_count_kv": 2, "attention.key_length": 8,
               "attention.value_length": 8, "expert_count": N_EXPERT, "expert_used_count": 2,
               "expert_feed_forward_length": WIDTH, **(keys or {})}
    for key, value in numbers.items():
        if value is not None:
            g.add("qwen3moe." + key, U32, value)
    g.add("qwen3moe.attention.layer_norm_rms_epsilon", F32, 1e-5)
    g.add("tokenizer.ggml.model", STRING, "none")
    all_shapes = {"token_embd": (N_EMBD, 64), "output_norm": (N_EMBD,), "output": (N_EMBD, 64),
                  "blk.0.attn_norm": (N_EMBD,), "blk.0.ffn_norm": (N_EMBD,), "blk.0.attn_q": (N_EMBD, 32),
                  "blk.0.attn_k": (N_EMBD, 16), "blk.0.attn_v": (N_EMBD, 16), "blk.0.attn_output": (32, N_EMBD),
                  "blk.0.attn_q_norm": (8,), "blk.0.attn_k_norm": (8,), "blk.0.ffn_gate_inp": (N_EMBD, N_EXPERT),
                  "blk.0.ffn_gate_exps": (N_EMBD, WIDTH, N_EXPERT), "blk.0.ffn_up_exps": (N_EMBD, WIDTH, N_EXPERT),
                  "blk.0.ffn_down_exps": (WIDTH, N_EMBD, N_EXPERT), **(shapes or {})}
    for name, shape in all_shapes.items():
        if shape is not None:
            n = 1
            for size in shape:
                n *= size
            g.tensor(name + ".weight", shape, 0, struct.pack(f"<{n}f", *(rng.uniform(-0.2, 0.2) for _ in range(n))))
    return g.build()


def show_gguf(hearth, root, **changes):
    (root / "model.gguf").write_bytes(gguf(**changes))
    return show(hearth, root / "model.gguf")


def test_the_valid_gguf_opens(hearth, tmp_path):
    done = show_gguf(hearth, tmp_path)
    assert done.returncode == 0, done.stderr


WRONG_KEYS = [
    ({"expert_count": 0}, "expert_count"), ({"expert_count": None}, "expert_count"), ({"expert_count": 5}, "ffn_gate_inp"),
    ({"expert_count": 2**31}, "expert_count"), ({"expert_used_count": 0}, "expert_used_count"),
    ({"expert_used_count": 7}, "7 experts are used per token, but there are 6"),
    ({"expert_used_count": None}, "expert_used_count"), ({"expert_feed_forward_length": 15}, "ffn_gate_exps"),
    ({"expert_gating_func": 9}, "expert_gating_func"), ({"expert_group_count": 4}, "equal groups"),
    ({"expert_group_count": 3, "expert_group_used_count": 4}, "take part"),
    ({"leading_dense_block_count": 1}, "blk.0.ffn_gate.weight"), ({"expert_shared_count": 1}, "ffn_gate_shexp"),
]


@pytest.mark.parametrize("keys, told", WRONG_KEYS, ids=lambda v: json.dumps(v) if isinstance(v, dict) else "")
def test_a_wrong_metadata_value_is_refused(keys, told, hearth, tmp_path):
    refused(show_gguf(hearth, tmp_path, keys=keys), told)


PARTS = ["ffn_gate_inp", "ffn_gate_exps", "ffn_up_exps", "ffn_down_exps"]


@pytest.mark.parametrize("part", PARTS)
def test_a_missing_stack_is_refused_by_name(part, hearth, tmp_path):
    refused(show_gguf(hearth, tmp_path, shapes={"blk.0." + part: None}), f"blk.0.{part}.weight", "is missing")


WRONG_STACKS = [(N_EMBD, WIDTH, N_EXPERT - 1), (N_EMBD, WIDTH, N_EXPERT + 1), (N_EMBD, WIDTH + 1, N_EXPERT),
                (WIDTH, N_EMBD, N_EXPERT), (N_EMBD, WIDTH * N_EXPERT), (N_EMBD, WIDTH, N_EXPERT, 1), (N_EMBD, N_EXPERT, WIDTH)]


@pytest.mark.parametrize("shape", WRONG_STACKS, ids=str)
def test_a_stack_of_another_shape_is_refused_by_name(shape, hearth, tmp_path):
    done = show_gguf(hearth, tmp_path, shapes={"blk.0.ffn_up_exps": shape})
    if shape[-1] == 1:  # a last dimension of one says nothing
        assert done.returncode in (0, 1)
        return
    refused(done, "blk.0.ffn_up_exps.weight", "[6 x 16 x 32] is needed")
