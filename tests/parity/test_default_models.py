"""Real models that packages carry: Hearth on quantized files against llama.cpp on their float32 selves.

The reference R is llama-cpp-python on the same file dequantized to float32, with float32 caches: llama.cpp on
the quantized file itself rounds activations to 8 bits and is further from R than anything tested here. Run by
the long target (marker `long`).
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
import tiny_models  # noqa: E402

pytestmark = pytest.mark.long

ROOM = tiny_models.default_root() / "long"


def real_text():
    """English prose that every Python carries: the language reference."""
    from pydoc_data.topics import topics

    return "\n\n".join(topics[name] for name in ("execmodel", "objects", "import", "class"))


def kl_divergence(reference, value, step=50):
    """Mean over rows of KL(softmax(reference) || softmax(value)), in float64."""
    assert reference.shape == value.shape
    total = 0.0
    for start in range(0, len(reference), step):
        p, q = (np.asarray(a[start : start + step], np.float64) for a in (reference, value))
        p, q = (a - a.max(-1, keepdims=True) for a in (p, q))
        p, q = (a - np.log(np.exp(a).sum(-1, keepdims=True)) for a in (p, q))
        total += float((np.exp(p) * (p - q)).sum())
    return total / len(reference)


@pytest.fixture(scope="module")
def smollm2(models):
    return models("default")


@pytest.fixture(scope="module")
def gemma3(models):
    return models("gemma")


def reference_of(path, tokens):
    """R: llama.cpp on the same file dequantized to float32. The big file goes, its logits stay."""
    ROOM.mkdir(parents=True, exist_ok=True)
    plain, out = ROOM / (path.stem + "-dequantized.gguf"), ROOM / (path.stem + "-dequantized.npy")
    if not llamacpp.is_answered(path, tokens, out):
        gguf_files.dequantize(path, plain)
        llamacpp.judge(plain, tokens, out)
        plain.unlink()
    return np.load(out, mmap_mode="r")


@pytest.mark.parametrize("activations", ["f32", "q16"])
def test_smollm2_q4_1_is_its_dequantized_self(smollm2, activations):
    tokens = llamacpp.tokens_of(smollm2, real_text(), 1000)
    got = harness.logits(smollm2, tokens, "--activations", activations)
    assert kl_divergence(reference_of(smollm2, tokens), got) <= 1e-5


@pytest.mark.parametrize("activations", ["f32", "q16"])
def test_gemma3_q4_k_m_is_its_dequantized_self(gemma3, activations):
    """1,000 tokens cross its window of 512. The bound leaves room for llama.cpp's table of GELU values."""
    tokens = llamacpp.tokens_of(gemma3, real_text(), 1000)
    got = harness.logits(gemma3, tokens, "--activations", activations)
    assert kl_divergence(reference_of(gemma3, tokens), got) <= 1e-5


@pytest.fixture(scope="module")
def padded(smollm2):
    """SmolLM2 of width 768, float32."""
    ROOM.mkdir(parents=True, exist_ok=True)
    path = ROOM / "smollm2-768-f32.gguf"
    if not path.exists():
        gguf_files.pad_smollm2(smollm2, path)
    return path


def test_the_padded_smollm2_answers_as_the_narrow_one(smollm2, padded):
    tokens = llamacpp.tokens_of(smollm2, real_text(), 300)
    narrow = ROOM / (smollm2.stem + "-f32.gguf")
    if not narrow.exists():
        gguf_files.dequantize(smollm2, narrow)
    assert tiny_models.nmse(harness.logits(narrow, tokens), harness.logits(padded, tokens)) <= 1e-9
    told = [harness.run("run", path, "Tell me about lighthouses.", "--temp", "0", "-n", "40")
            for path in (narrow, padded)]
    assert told[0] == told[1] and len(told[0].split()) >= 10


# Without the types that llama.cpp quantizes only with an importance matrix (IQ1, IQ2, IQ3_XXS).
KINDS = ["Q2_K", "Q3_K_S", "Q3_K_M", "Q4_0", "Q4_1", "Q4_K_S", "Q4_K_M", "Q5_0", "Q5_1", "Q5_K_M", "Q6_K", "Q8_0",
         "IQ3_S", "IQ4_NL", "IQ4_XS", "TQ1_0", "TQ2_0", "F16", "BF16"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_padded_smollm2_of_every_type_is_its_dequantized_self(padded, kind):
    path = ROOM / f"smollm2-768-{kind}.gguf"
    if not path.exists():
        gguf_files.quantize(padded, path, kind)
    tokens = llamacpp.tokens_of(path, real_text(), 250)
    assert kl_divergence(reference_of(path, tokens), harness.logits(path, tokens)) <= 1e-5
