"""8-bit activations: Hearth's integer products must be no further from the float32 model than llama.cpp's.

R is llama.cpp on the file dequantized to float32. Both llama.cpp on the quantized file and Hearth with
`--activations q8` round activations to 8 bits; Hearth may lose a tenth more than llama.cpp loses. Prompt rows and
generated rows are multiplied by different code, and prompt rows differently at some levels of instructions (what
this CPU lacks falls to the best that it has), so all are judged. Run by the long target (marker `long`);
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
# Kind of rows -> HEARTH_CPU, options.
ROWS = {"prompt": ("", ()), "generated": ("", ("--as-generated",)), "prompt, VNNI": ("avx512-vnni", ()),
        "prompt, AVX2": ("avx2", ())}


def theirs_of(path, tokens):
    return llamacpp.judge(path, tokens, ROOM / (path.stem + "-llamacpp.npy"))


def ours_of(path, tokens, kind):
    level, options = ROWS[kind]
    with pytest.MonkeyPatch.context() as patch:
        if level:
            patch.setenv("HEARTH_CPU", level)
        return harness.logits(path, tokens, "--activations", "q8", *options)


def losses(path, n_token):
    """KL(R, llama.cpp), then KL(R, Hearth) for each kind of rows."""
    tokens = llamacpp.tokens_of(path, real_text(), n_token)
    reference = reference_of(path, tokens)
    theirs = kl_divergence(reference, theirs_of(path, tokens))
    return theirs, {kind: kl_divergence(reference, ours_of(path, tokens, kind)) for kind in ROWS}


def perplexity(logits, tokens, step=50):
    total = 0.0
    for i in range(0, len(tokens) - 1, step):
        following = np.asarray(tokens[i + 1 : i + 1 + step])
        rows = np.asarray(logits[i : i + len(following)], np.float64)
        most = rows.max(-1, keepdims=True)
        total += float((np.log(np.exp(rows - most).sum(-1)) + most[:, 0] - rows[np.arange(len(following)), following]).sum())
    return np.exp(total / (len(tokens) - 1))


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
    print("| model | KL llama.cpp | " + " | ratio | ".join(ROWS) + " | ratio | perplexity R | llama.cpp | Hearth |")
    print("| :--- |" + " ---: |" * (4 + 2 * len(ROWS)))
    for path in map(pathlib.Path, sys.argv[2:]):
        theirs, ours = losses(path, int(sys.argv[1]))
        tokens = llamacpp.tokens_of(path, real_text(), int(sys.argv[1]))
        cells = [f"{theirs:.2e}"] + [cell for value in ours.values() for cell in (f"{value:.2e}", f"{value / theirs:.2f}")]
        cells += [f"{perplexity(a, tokens):.2f}"
                  for a in (reference_of(path, tokens), theirs_of(path, tokens), ours_of(path, tokens, "prompt"))]
        print(f"| {path.stem} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
