"""llama.cpp as the judge of GGUF: what tiny_gguf.py writes is what it takes the format to mean.

Run by the long target (marker `long`), which installs llama-cpp-python into its environment. Each evaluation
is a process of its own, since llama.cpp ends the process on files it does not like.
"""
import pathlib
import sys

import numpy as np
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")
pytest.importorskip("mlx_lm", reason="the reference is not installed")

import llamacpp  # noqa: E402
import test_encoders  # noqa: E402
import tiny_gguf  # noqa: E402
import tiny_models  # noqa: E402

pytestmark = pytest.mark.long

# llama.cpp looks GELU up in a table of 2^16 half-precision values: 1e-7 to 1e-6 of NMSE by itself.
GELU_TABLE = ("gemma", "starcoder2", "phi")
GELU_BOUND = 3e-6


@pytest.mark.parametrize("family", [pytest.param(f, id=f.name) for f in tiny_gguf.gguf_rows()])
def test_llamacpp_gives_the_logits_of_the_tiny_file(family):
    path, folder = tiny_gguf.build(family, tiny_models.default_root())
    tokens = np.load(folder / "tokens.npy")
    reference = np.load(folder / "ref.npy")
    if family.name == "gguf-gemma3n":  # it divides by n - 1 where transformers and mlx-lm divide by n
        reference = tiny_models.reference_logits(
            folder, tokens, exact=True, adjust=dict(family.reference, std="sample"))[0]
    bound = GELU_BOUND if family.name.removeprefix("gguf-").startswith(GELU_TABLE) else 1e-9
    if family.text_config.get("num_hidden_layers", 0) >= 26:
        bound = 1e-7
    assert tiny_models.nmse(reference, llamacpp.judge(path, tokens, folder / "llamacpp.npy")) <= bound


@pytest.mark.parametrize("arch, config, shapes, forward, how", test_encoders.gguf_cases())
def test_llamacpp_gives_the_embeddings_of_the_tiny_encoder(arch, config, shapes, forward, how, tmp_path):
    weights = test_encoders.random_weights(shapes, arch)
    path = tiny_gguf.convert_encoder(arch, config, weights, tmp_path / "model.gguf", how)
    tokens = test_encoders.TOKENS
    want = test_encoders.pool(forward(weights, config, tokens), how)
    got = llamacpp.embedding(path, tokens, tmp_path / "out.npy")
    # BERT's exact GELU: llama.cpp takes the tanh form, from its table
    assert tiny_models.nmse(want, got / np.linalg.norm(got)) <= (1e-5 if arch == "bert" else 1e-9)
