"""Models larger than the memory they may take: --memory, in each way that containers store experts."""
import json
import re
import struct
import subprocess
import threading
import time

import numpy as np
import pytest

gguf = pytest.importorskip("gguf")

N_EXPERT, N_USED, N_LAYER, D, D_FF, VOCAB = 96, 4, 3, 128, 128, 300
TOKENS = ",".join(str(i * 7 % VOCAB) for i in range(30))


def normal(rng, *shape):
    return (rng.standard_normal(shape) / np.sqrt(shape[-1])).astype(np.float32)


def write_gguf(path, kind):
    rng = np.random.default_rng(5)
    w = gguf.GGUFWriter(str(path), "qwen3moe")
    w.add_context_length(256)
    w.add_embedding_length(D)
    w.add_block_count(N_LAYER)
    w.add_feed_forward_length(D_FF)
    w.add_expert_feed_forward_length(D_FF)
    w.add_expert_count(N_EXPERT)
    w.add_expert_used_count(N_USED)
    w.add_head_count(4)
    w.add_head_count_kv(2)
    w.add_key_length(32)
    w.add_value_length(32)
    w.add_layer_norm_rms_eps(1e-5)
    w.add_vocab_size(VOCAB)
    w.add_tokenizer_model("no_vocab")

    def add(name, *shape):
        w.add_tensor(name + ".weight", gguf.quants.quantize(normal(rng, *shape), kind), raw_dtype=kind)

    add("token_embd", VOCAB, D)
    add("output", VOCAB, D)
    w.add_tensor("output_norm.weight", np.ones(D, np.float32))
    for i in range(N_LAYER):
        at = f"blk.{i}."
        for name, n in (("attn_norm", D), ("ffn_norm", D), ("attn_q_norm", 32), ("attn_k_norm", 32)):
            w.add_tensor(at + name + ".weight", np.ones(n, np.float32))
        for name, n_row in (("attn_q", 128), ("attn_k", 64), ("attn_v", 64), ("attn_output", D)):
            add(at + name, n_row, D)
        w.add_tensor(at + "ffn_gate_inp.weight", 30 * normal(rng, N_EXPERT, D))
        for name in ("ffn_gate_exps", "ffn_up_exps", "ffn_down_exps"):
            add(at + name, N_EXPERT, D, D)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


DTYPES = {"float32": "F32", "float16": "F16", "uint8": "U8", "uint32": "U32"}


def write_folder(folder, config, tensors):
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    head, off = {}, 0
    for name, value in tensors.items():
        head[name] = {"dtype": DTYPES[str(value.dtype)], "shape": value.shape, "data_offsets": [off, off + value.nbytes]}
        off += value.nbytes
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    with open(folder / "model.safetensors", "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for value in tensors.values():
            f.write(value.tobytes())


def dense_tensors(rng, norms):
    t = {"model.embed_tokens.weight": normal(rng, VOCAB, D), "lm_head.weight": normal(rng, VOCAB, D),
         "model.norm.weight": np.ones(D, np.float32)}
    for i in range(N_LAYER):
        at = f"model.layers.{i}."
        for name, n in norms.items():
            t[f"{at}{name}.weight"] = np.ones(n, np.float32)
        for name, n_row in (("q", 128), ("k", 64), ("v", 64), ("o", D)):
            t[f"{at}self_attn.{name}_proj.weight"] = normal(rng, n_row, D)
    return t


QWEN = {"model_type": "qwen3_moe", "hidden_size": D, "num_hidden_layers": N_LAYER, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 32, "intermediate_size": D_FF, "moe_intermediate_size": D_FF,
        "num_experts": N_EXPERT, "num_experts_per_tok": N_USED, "norm_topk_prob": True, "vocab_size": VOCAB,
        "max_position_embeddings": 256, "rope_theta": 10000.0, "rms_norm_eps": 1e-5, "tie_word_embeddings": False,
        "hidden_act": "silu", "attention_bias": False}
QWEN_NORMS = {"input_layernorm": D, "post_attention_layernorm": D, "self_attn.q_norm": 32, "self_attn.k_norm": 32}


def write_separate(folder):
    """A tensor per expert, as hubs publish Qwen 3."""
    rng = np.random.default_rng(6)
    t = dense_tensors(rng, QWEN_NORMS)
    for i in range(N_LAYER):
        at = f"model.layers.{i}.mlp."
        t[at + "gate.weight"] = 30 * normal(rng, N_EXPERT, D)
        for e in range(N_EXPERT):
            for name in ("gate", "up", "down"):
                t[f"{at}experts.{e}.{name}_proj.weight"] = normal(rng, D, D).astype(np.float16)
    write_folder(folder, QWEN, t)


def write_mlx(folder):
    """Stacked experts in three planes: codes, scales, biases."""
    rng = np.random.default_rng(7)
    t = dense_tensors(rng, QWEN_NORMS)
    for i in range(N_LAYER):
        at = f"model.layers.{i}.mlp."
        t[at + "gate.weight"] = 30 * normal(rng, N_EXPERT, D)
        for name in ("gate", "up", "down"):
            base = f"{at}switch_mlp.{name}_proj"
            t[base + ".weight"] = rng.integers(0, 1 << 32, (N_EXPERT, D, D // 4), np.uint32)
            t[base + ".scales"] = (rng.random((N_EXPERT, D, D // 64)) / 1000).astype(np.float16)
            t[base + ".biases"] = (-0.06 * rng.random((N_EXPERT, D, D // 64))).astype(np.float16)
    write_folder(folder, dict(QWEN, quantization={"group_size": 64, "bits": 8}), t)


def write_gpt_oss(folder):
    """Gate and up alternate in the rows of one tensor; blocks and exponents are two."""
    rng = np.random.default_rng(8)
    t = dense_tensors(rng, {"input_layernorm": D, "post_attention_layernorm": D})
    for i in range(N_LAYER):
        at = f"model.layers.{i}."
        for name, n in (("q", 128), ("k", 64), ("v", 64), ("o", D)):
            t[f"{at}self_attn.{name}_proj.bias"] = np.zeros(n, np.float32)
        t[at + "self_attn.sinks"] = np.zeros(4, np.float32)
        t[at + "mlp.router.weight"] = 30 * normal(rng, N_EXPERT, D)
        t[at + "mlp.router.bias"] = np.zeros(N_EXPERT, np.float32)
        for name, n_row in (("gate_up", 8 * D), ("down", D)):
            n_col = D if name == "gate_up" else 4 * D
            base = f"{at}mlp.experts.{name}_proj"
            t[base + "_blocks"] = rng.integers(0, 256, (N_EXPERT, n_row, n_col // 32, 16), np.uint8)
            t[base + "_scales"] = rng.integers(121, 123, (N_EXPERT, n_row, n_col // 32), np.uint8)
            t[base + "_bias"] = normal(rng, N_EXPERT, n_row)
    config = {k: QWEN[k] for k in ("hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
                                   "head_dim", "vocab_size", "rope_theta", "tie_word_embeddings", "num_experts_per_tok")}
    config.update(model_type="gpt_oss", intermediate_size=4 * D, num_local_experts=N_EXPERT, rms_norm_eps=1e-5,
                  sliding_window=64, max_position_embeddings=256, layer_types=["full_attention"] * N_LAYER,
                  quantization_config={"quant_method": "mxfp4"})
    write_folder(folder, config, t)


def write_llama4(folder):
    """Turned matrices: a line holds numbers of gate and of up."""
    rng = np.random.default_rng(9)
    t = dense_tensors(rng, {"input_layernorm": D, "post_attention_layernorm": D})
    for i in range(N_LAYER):
        at = f"model.layers.{i}.feed_forward."
        t[at + "router.weight"] = 30 * normal(rng, N_EXPERT, D)
        for name in ("gate", "up", "down"):
            t[f"{at}shared_expert.{name}_proj.weight"] = normal(rng, D, D)
        t[at + "experts.gate_up_proj"] = normal(rng, N_EXPERT, D, 2 * D).astype(np.float16)
        t[at + "experts.down_proj"] = normal(rng, N_EXPERT, D, D).astype(np.float16)
    config = {k: v for k, v in QWEN.items() if k not in ("num_experts", "norm_topk_prob", "moe_intermediate_size")}
    config.update(model_type="llama4_text", num_local_experts=N_EXPERT, interleave_moe_layer_step=1, intermediate_size=D,
                  intermediate_size_mlp=D, attention_chunk_size=32, use_qk_norm=True)
    write_folder(folder, config, t)


MAKERS = {"q8_0.gguf": lambda p: write_gguf(p, gguf.GGMLQuantizationType.Q8_0),
          "q4_0.gguf": lambda p: write_gguf(p, gguf.GGMLQuantizationType.Q4_0),
          "separate": write_separate, "mlx": write_mlx, "gpt-oss": write_gpt_oss, "llama4": write_llama4}


@pytest.fixture(scope="module", params=list(MAKERS))
def model(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("memory") / request.param
    MAKERS[request.param](path)
    return path


def fewest(run_hearth, model, command, *options):
    """Megabytes below which a command refuses, as the refusal says."""
    done = run_hearth(*command, "--memory", "1M", *options, check=False)
    said = done.stderr.decode()
    assert done.returncode == 1
    parts = re.search(r"too little memory: (\d+) MB of weights stay resident, .* need (\d+) MB, and experts at least (\d+) MB", said)
    assert parts, said
    return sum(map(int, parts.groups())) + 2


def test_streamed_logits_are_the_resident_ones(run_hearth, model, tmp_path):
    command = ("logits", model, "--tokens", TOKENS, "--out", tmp_path / "a.npy")
    least = fewest(run_hearth, model, command)
    for options in ((), ("--activations", "q8", "--as-generated", "--chunk", "1"), ("--activations", "q8", "--chunk", "11"),
                    ("--activations", "q16", "--chunk", "11")):
        done = run_hearth(*command, *options)
        assert done.stderr == b""
        want = (tmp_path / "a.npy").read_bytes()
        for more in (0, 1, 2):
            done = run_hearth("logits", model, "--tokens", TOKENS, "--out", tmp_path / "b.npy", "--memory",
                              f"{least + more}M", *options)
            assert re.search(rb"stay on disk; a cache of .* holds \d+ of %d\n" % (N_LAYER * N_EXPERT), done.stderr)
            assert (tmp_path / "b.npy").read_bytes() == want, (options, more)


def test_bench_tells_what_is_resident_and_what_came_from_disk(run_hearth, model):
    command = ("bench", model, "-p", "0", "-n", "20", "-r", "1", "--no-limits")
    least = fewest(run_hearth, model, command)
    rows = json.loads(run_hearth(*command, "--memory", f"{least}M", "-o", "json").stdout)
    assert 0 <= rows[0]["share_experts_cached"] < 1
    assert rows[0]["disk_bytes_per_second"] > 0 and rows[0]["share_disk"] > 0
    rows = json.loads(run_hearth(*command, "-o", "json").stdout)
    assert rows[0]["share_experts_cached"] is None and rows[0]["disk_bytes_per_second"] is None


@pytest.mark.parametrize("text", ["0.0001", "x", "1Q", "-1G", "1GG", "nan", "inf"])
def test_sizes_that_are_none_are_refused(run_hearth, text):
    done = run_hearth("logits", "nowhere", "--tokens", "1", "--out", "x", "--memory", text, check=False)
    assert done.returncode == 2 and b"--memory must be a size like 500M or 8G" in done.stderr


def test_a_file_that_is_cut_off_meanwhile_is_an_error_and_not_a_crash(hearth, run_hearth, tmp_path):
    path = tmp_path / "model.gguf"
    MAKERS["q8_0.gguf"](path)
    command = ("bench", path, "-p", "0", "-n", "8000", "-r", "100", "--no-limits")
    least = fewest(run_hearth, path, ("logits", path, "--tokens", "1", "--ctx", "8001", "--out", tmp_path / "a.npy"))
    process = subprocess.Popen([str(hearth), *map(str, command), "--memory", f"{least + 5}M"], stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE)
    said = []
    reader = threading.Thread(target=lambda: said.append(process.stderr.read()))
    reader.start()
    time.sleep(2)
    assert process.poll() is None
    with open(path, "r+b") as f:
        f.truncate(100_000)
    process.wait(timeout=60)
    reader.join()
    assert process.returncode == 1
    assert re.search(rb"layer \d+, expert \d+: .*model\.gguf: became shorter", said[0]), said


def test_bench_counts_the_experts_that_tokens_use(run_hearth, tmp_path):
    write_gguf(tmp_path / "m.gguf", gguf.GGMLQuantizationType.Q8_0)
    done = run_hearth("bench", tmp_path / "m.gguf", "-p", "3", "-n", "2", "-b", "1,5", "-r", "1", "--json", "--no-limits")
    pp, one, five = json.loads(done.stdout)
    matrix, small = D * D, 34 / 32  # bytes of a weight
    attention = N_LAYER * (3 * matrix + N_EXPERT * D * 4 / small)  # a router is f32
    norms = N_LAYER * (2 * D + 2 * 32) + D
    dense = (attention + VOCAB * D) * small
    experts = N_LAYER * 3 * N_EXPERT * matrix * small
    for entry, n in ((one, 1), (five, 5)):
        used = 1 - (1 - N_USED / N_EXPERT) ** n
        assert entry["bytes_per_token"] * n == pytest.approx(dense + experts * used, abs=8 * norms)
    layers = N_LAYER * (3 * matrix + N_EXPERT * D + 3 * N_USED * matrix)
    assert pp["ops_per_token"] / 2 == layers + norms
