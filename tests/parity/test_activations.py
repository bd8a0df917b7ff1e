"""8-bit activations: Hearth's integer products must be no further from the float32 model than llama.cpp's.

R is llama.cpp on the file dequantized to float32. Both llama.cpp on the quantized file and Hearth with
`--activations q8` round activations to 8 bits; Hearth may lose a tenth more than llama.cpp loses. Prompt rows and
generated rows are multiplied by different code, so both are judged. Run by the long target (marker `long`);
`test_activations.py N_TOKEN MODEL.gguf...` prints the table.
"""
import pathlib
import sys

import numpy as np
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")
pytest.importorskip("gguf", reason="the gguf package is not installed")

import gguf_files  # noqa: E402
import harness  # noqa: E402
import llamacpp  # noqa: E402
from test_default_models import KINDS, ROOM, gemma3, kl_divergence, padded, real_text, reference_of, smollm2  # noqa: E402, F401

pytestmark = pytest.mark.long

MOST = 1.1
# What float32 sums in another order, and llama.cpp's table of GELU values, make of the same model.
NOISE = 1e-5
ROWS = {"prompt": (), "generated": ("--as-generated",)}


def losses(path, n_token):
    """KL(R, llama.cpp), then KL(R, Hearth) for each kind of rows."""
    tokens = llamacpp.tokens_of(path, real_text(), n_token)
    reference = reference_of(path, tokens)
    theirs = kl_divergence(reference, llamacpp.judge(path, tokens, ROOM / (path.stem + "-llamacpp.npy")))
    ours = {kind: kl_divergence(reference, harness.logits(path, tokens, "--activations", "q8", *options))
            for kind, options in ROWS.items()}
    return theirs, ours


def check(path, n_token):
    theirs, ours = losses(path, n_token)
    told = ", ".join(f"{kind} rows {value:.3e} ({value / theirs:.2f})" for kind, value in ours.items())
    print(f"{path.stem}: llama.cpp {theirs:.3e}, {told}")
    for kind, value in ours.items():
        assert value <= MOST * theirs + NOISE, f"{kind} rows: KL {value:.3e}, llama.cpp's {theirs:.3e}"


def test_smollm2_q4_1_loses_no_more_than_llamacpp(smollm2):  # noqa: F811
    check(smollm2, 1000)


def test_gemma3_q4_k_m_loses_no_more_than_llamacpp(gemma3):  # noqa: F811
    check(gemma3, 1000)


@pytest.mark.parametrize("kind", KINDS)
def test_the_padded_smollm2_of_every_type_loses_no_more_than_llamacpp(padded, kind):  # noqa: F811
    path = ROOM / f"smollm2-768-{kind}.gguf"
    if not path.exists():
        gguf_files.quantize(padded, path, kind)
    check(path, 250)


def main():
    print(f"{'model':32} {'llama.cpp':>10} {'prompt':>10} {'ratio':>6} {'generated':>10} {'ratio':>6}")
    for path in map(pathlib.Path, sys.argv[2:]):
        theirs, ours = losses(path, int(sys.argv[1]))
        columns = " ".join(f"{value:10.3e} {value / theirs:6.3f}" for value in ours.values())
        print(f"{path.stem:32} {theirs:10.3e} {columns}", flush=True)


if __name__ == "__main__":
    main()
