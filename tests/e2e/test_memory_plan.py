"""What an engine plans for keys, values and work space is what the process takes: within 3 percent, or 32 MB."""
import json
import subprocess
import sys

import gguf
import numpy as np
import pytest

from conftest import BUILD, ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
CASES = [("default", 1024, 4, "f16")] + [
    pytest.param(*case, marks=pytest.mark.long)
    for case in [("default", 2048, 4, "f32"), ("default", 2048, 8, "q8_0"), ("gemma", 2048, 4, "f16"), ("gemma", 4096, 2, "q8_0")]
]
# Shapes of true models with few layers and random weights.
SHAPES = {
    "experts": ["random_model.py", "q4_k", "--experts", "16", "--experts-used", "4", "--layers", "4"],
    "latent": ["random_latent.py", "q4_0", "--layers", "2"],
    "recurrent": ["random_recurrent.py", "qwen35", "--layers", "4"],
    "states": ["random_recurrent.py", "mamba2", "--layers", "4"],
}


def check(*args):
    probe = BUILD / "probe_memory"
    if not probe.exists():
        pytest.skip("probe_memory is not built")
    done = subprocess.run([probe, *map(str, args)], capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    planned = said["kv"] + said["scratch"]
    assert abs(said["grown"] - planned) <= max(0.03 * planned, 32e6), said
    print(said)


@pytest.mark.parametrize("model, n_ctx, n_sequence, kind", CASES)
def test_the_plan_is_what_is_taken(models, model, n_ctx, n_sequence, kind):
    check(models(model), n_ctx, n_sequence, kind)


@pytest.mark.long
@pytest.mark.parametrize("shape", SHAPES)
def test_the_plan_is_what_is_taken_by_other_layers(tmp_path, shape):
    script, *args = SHAPES[shape]
    subprocess.run([sys.executable, ROOT / "bench" / script, *args, "--out", tmp_path], check=True, timeout=1200)
    (model,) = tmp_path.glob("*.gguf")
    check(model, 2048, 6, "f16")


# Nothing in these prompts repeats, so that the draft model is asked for every guess.
@pytest.mark.long
def test_the_plan_counts_the_draft_model(models):
    check(models("default"), 1024, 4, "f16", models("default"))


def write_adapter(path, model, rank):
    """A GGUF adapter of all queries, keys and values with small random numbers."""
    reader = gguf.GGUFReader(model)
    rng = np.random.default_rng(1)
    w = gguf.GGUFWriter(path, "llama")
    w.add_type("adapter")
    w.add_string("adapter.type", "lora")
    w.add_float32("adapter.lora.alpha", rank)
    for t in reader.tensors:
        if t.name.split(".")[-2] not in ("attn_q", "attn_k", "attn_v"):
            continue
        n_col, n_row = (int(n) for n in t.shape)
        w.add_tensor(t.name + ".lora_a", rng.normal(0, 0.01, (rank, n_col)).astype(np.float32))
        w.add_tensor(t.name + ".lora_b", rng.normal(0, 0.01, (n_row, rank)).astype(np.float32))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


@pytest.mark.long
def test_the_plan_holds_with_an_adapter(models, tmp_path):
    write_adapter(tmp_path / "adapter.gguf", models("default"), 16)
    check(models("default"), 1024, 4, "f16", "-", tmp_path / "adapter.gguf")
