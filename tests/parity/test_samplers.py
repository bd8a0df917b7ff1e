"""The sampler against llama.cpp's chain on llama.cpp's own logits, and against numpy's formulas without it.

Distributions are compared, not draws: probe_sampler writes what the draw would see. llama.cpp's samplers get the same
logits, history and parameters through llama-cpp-python; what they leave is normalised in float64.
"""
import ctypes
import os
import pathlib
import subprocess

import numpy as np
import pytest

PAIR = np.dtype([("id", "<i4"), ("logprob", "<f4")])
TEXT = ("The quick brown fox jumps over the lazy dog. The quick brown fox: again and again, the quick brown fox "
        "jumps over the lazy dog and \"the quick\" brown")


@pytest.fixture(scope="session")
def probe():
    path = pathlib.Path(os.environ.get("HEARTH_PROBES", "build/release")) / "probe_sampler"
    if not path.exists():
        pytest.skip("probe_sampler is not built")
    return path


@pytest.fixture
def run_probe(probe, tmp_path):
    """run_probe(logits, history=[...], mask=..., NAME=VALUE, words=[...]) -> bytes of standard output."""

    def run(logits, history=(), mask=None, words=(), check=True, **parameters):
        np.asarray(logits, "<f4").tofile(tmp_path / "logits")
        np.asarray(history, "<i4").tofile(tmp_path / "history")
        args = [f"history={tmp_path / 'history'}", *words, *(f"{k}={v}" for k, v in parameters.items())]
        if mask is not None:
            np.asarray(mask, "u1").tofile(tmp_path / "mask")
            args.append(f"mask={tmp_path / 'mask'}")
        done = subprocess.run([probe, tmp_path / "logits", *args], capture_output=True, timeout=120)
        if not check:
            return done
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    return run


def distribution(pairs, n_vocab):
    p = np.zeros(n_vocab)
    p[pairs["id"]] = np.exp(pairs["logprob"].astype(np.float64))
    return p


def close(a, b):
    """The same tokens with the same shares. At the edge of a cut-off a few of hundreds may fall either way, because
    llama.cpp adds shares in float32."""
    only = (a > 0) != (b > 0)
    return only.sum() <= 3 and (a + b)[only].sum() < 1e-3 and np.abs(a - b).max() < 1e-5 + (a + b)[only].sum()


# ---- formulas


def softmax(x):
    e = np.exp(np.asarray(x, np.float64) - np.max(x))
    return e / e.sum()


@pytest.fixture(scope="session")
def rows():
    rng = np.random.default_rng(7)
    tall = rng.standard_normal(5000) * 2
    tall[rng.integers(0, 5000, 40)] += 8
    return [r.astype("<f4") for r in (tall, rng.standard_normal(300), np.zeros(129), np.array([3.0]))]


def test_nothing_switched_on_leaves_the_softmax(run_probe, rows):
    for row in rows:
        got = distribution(np.frombuffer(run_probe(row), PAIR), len(row))
        np.testing.assert_allclose(got, softmax(row), rtol=2e-5)


def test_raw_logprobs_do_not_see_the_chain(run_probe, rows):
    for row in rows:
        got = np.frombuffer(run_probe(row, temperature=0.3, top_k=2, words=["raw=1"]), PAIR)
        np.testing.assert_allclose(distribution(got, len(row)), softmax(row), rtol=2e-5)
        assert list(got["logprob"]) == sorted(got["logprob"], reverse=True)


def test_only_allowed_tokens_are_left(run_probe, rows):
    for row in rows[:3]:
        mask = np.arange(len(row)) % 3 == 1
        got = distribution(np.frombuffer(run_probe(row, mask=mask, top_p=0.9), PAIR), len(row))
        assert got[~mask].sum() == 0 and got[mask].sum() > 0.999
        one = np.arange(len(row)) == 100
        assert distribution(np.frombuffer(run_probe(row, mask=one), PAIR), len(row))[100] == 1
        none = run_probe(row, mask=np.zeros(len(row)), check=False)
        assert none.returncode == 1 and b"no token is allowed" in none.stderr


def test_bias_moves_and_bans(run_probe, rows):
    row = rows[1]
    got = distribution(np.frombuffer(run_probe(row, words=["bias=5:2", "bias=6:-inf", "bias=5:1"]), PAIR), len(row))
    want = row.copy()
    want[5] += 3
    want[6] = -np.inf
    np.testing.assert_allclose(got, softmax(want), rtol=2e-5)


def test_penalties_follow_their_formula(run_probe, rows):
    row, rng = rows[0], np.random.default_rng(2)
    history = rng.integers(0, 60, 500)
    for last_n in (1, 40, -1):
        want, window = row.astype(np.float64), history[-last_n:] if last_n > 0 else history
        for token, n in zip(*np.unique(window, return_counts=True)):
            x = want[token]
            want[token] = (x * 1.4 if x <= 0 else x / 1.4) - (0.3 * n + 0.7)
        got = run_probe(row, history, repeat_last_n=last_n, repeat_penalty=1.4, frequency_penalty=0.3, presence_penalty=0.7)
        np.testing.assert_allclose(distribution(np.frombuffer(got, PAIR), len(row)), softmax(want), rtol=1e-4)


def test_dry_follows_its_formula(run_probe, rows):
    """A token that stood behind an earlier copy of the sequence's end loses multiplier * base ^ (copy's length - allowed)."""
    row, rng = rows[0], np.random.default_rng(12)
    for n, allowed, last_n in ((400, 2, 64), (400, 1, -1), (30, 3, 100), (5, 0, 5)):
        history = list(rng.integers(0, 3, n))
        window = history[-last_n:] if last_n > 0 else history
        longest = {}
        for end in range(len(window) - 1):
            k = 0
            while k <= end and window[end - k] == window[-1 - k]:
                k += 1
            if k >= allowed:
                longest[window[end + 1]] = max(k, longest.get(window[end + 1], 0))
        want = row.astype(np.float64)
        for token, k in longest.items():
            want[token] -= 0.5 * 1.3 ** (k - allowed)
        got = run_probe(row, history, dry_multiplier=0.5, dry_base=1.3, dry_allowed_length=allowed, dry_penalty_last_n=last_n)
        np.testing.assert_allclose(distribution(np.frombuffer(got, PAIR), len(row)), softmax(want), rtol=1e-4)


@pytest.mark.parametrize("parameters", [
    dict(temperature=0.7), dict(top_k=20), dict(top_p=0.7), dict(min_p=0.1), dict(typical_p=0.6), dict(top_n_sigma=1),
    dict(xtc_probability=1, xtc_threshold=0.02, top_k=40), dict(dynatemp_range=0.5, top_k=50), dict(mirostat=2)])
def test_draws_follow_the_distribution(run_probe, rows, parameters):
    """Chi-square of the draws at 20,000 positions against what the probe says they follow, tokens of less than 10
    expected draws taken together. The bound is passed by chance once in a million; the seed is fixed."""
    row, n = rows[0], 20_000
    share = distribution(np.frombuffer(run_probe(row, seed=3, **parameters), PAIR), len(row))
    draws = np.frombuffer(run_probe(row, seed=3, draws=n, **parameters), "<i4")
    count = np.bincount(draws, minlength=len(row))
    assert count[share == 0].sum() == 0
    large = share * n >= 10
    observed = np.append(count[large], count[~large].sum())
    expected = np.append(share[large], share[~large].sum()) * n
    observed, expected = observed[expected > 0], expected[expected > 0]
    degrees = len(expected) - 1
    chi = ((observed - expected) ** 2 / expected).sum()
    bound = degrees * (1 - 2 / (9 * max(degrees, 1)) + 4.75 * np.sqrt(2 / (9 * max(degrees, 1)))) ** 3  # Wilson-Hilferty
    assert degrees == 0 or chi < bound


def test_unknown_steps_and_absurd_numbers_are_named(run_probe, rows):
    for words, name in [(["samplers=top_k;topq"], b"topq"), (["typical_p=2"], b"typical_p"), (["dry_base=nan", "dry_multiplier=1"], b"dry_base"),
                        (["repeat_penalty=0"], b"repeat_penalty"), (["mirostat=3"], b"mirostat"), (["bias=5:nan"], b"logit_bias"),
                        (["bias=900:1"], b"logit_bias"), (["xtc_probability=-1"], b"xtc_probability"), (["top_k=-2"], b"top_k")]:
        done = run_probe(rows[1], words=words, check=False)
        assert done.returncode == 1 and name in done.stderr, words


# ---- llama.cpp


class Llama:
    """llama.cpp's vocabulary of a model, its logits for TEXT, and its samplers."""

    def __init__(self, path):
        import llama_cpp as lib
        import llamacpp

        self.lib, self.path = lib, path
        options = lib.llama_model_default_params()
        options.vocab_only = True
        lib.llama_backend_init()
        self.model = lib.llama_model_load_from_file(str(path).encode(), options)
        self.vocab = lib.llama_model_get_vocab(self.model)
        self.n_vocab = lib.llama_vocab_n_tokens(self.vocab)
        buffer = (lib.llama_token * 256)()
        n = lib.llama_tokenize(self.vocab, TEXT.encode(), len(TEXT), buffer, 256, True, False)
        self.history = list(buffer[:n])
        self.rows = llamacpp.logits(path, self.history)

    def apply(self, samplers, logits, history):
        """The shares of all tokens after the chain."""
        lib = self.lib
        chain = lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params())
        for s in samplers:
            lib.llama_sampler_chain_add(chain, s)
        for token in history:
            lib.llama_sampler_accept(chain, token)
        data = (lib.llama_token_data * len(logits))()
        for i, x in enumerate(logits):
            data[i].id, data[i].logit = i, float(x)
        array = lib.llama_token_data_array(data=data, size=len(logits), selected=-1, sorted=False)
        lib.llama_sampler_apply(chain, ctypes.byref(array))
        left = np.array([(array.data[i].id, array.data[i].logit) for i in range(array.size)])
        lib.llama_sampler_free(chain)
        p = np.zeros(len(logits))
        p[left[:, 0].astype(int)] = softmax(left[:, 1])
        return p


@pytest.fixture(scope="session")
def llama(models):
    pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")
    return Llama(models("default"))


def chains(lib, vocab, n_vocab):
    """Name -> (our parameters, words, llama.cpp's samplers)."""
    bytes_of = [b"\n", b":", b'"', b"*", b"over the"]
    breakers = (ctypes.c_char_p * len(bytes_of))(*bytes_of)
    bias = (lib.llama_logit_bias * 2)()
    bias[0].token, bias[0].bias, bias[1].token, bias[1].bias = 260, -2.5, 2, float("-inf")
    init = {k.removeprefix("llama_sampler_init_"): getattr(lib, k) for k in dir(lib) if k.startswith("llama_sampler_init_")}

    def dry(multiplier, base, allowed, last_n, used):
        return init["dry"](vocab, multiplier, base, allowed, last_n, breakers if used else None, len(breakers) if used else 0)

    words = [f"breaker={b.decode()}" for b in bytes_of]
    full = dict(repeat_penalty=1.1, dry_multiplier=0.8, dry_penalty_last_n=64, top_n_sigma=2, top_k=40, typical_p=0.95,
                top_p=0.9, min_p=0.02, temperature=0.8)
    return {
        "temperature": (dict(temperature=0.6), [], [init["temp"](0.6)]),
        "top_k": (dict(top_k=17), [], [init["top_k"](17)]),
        "top_p": (dict(top_p=0.9), [], [init["top_p"](0.9, 0)]),
        "top_p_min_keep": (dict(top_p=0.01, min_keep=5), [], [init["top_p"](0.01, 5)]),
        "min_p": (dict(min_p=0.03), [], [init["min_p"](0.03, 0)]),
        "min_p_min_keep": (dict(min_p=0.9, min_keep=7), [], [init["min_p"](0.9, 7)]),
        "typical": (dict(typical_p=0.7), [], [init["typical"](0.7, 0)]),
        "top_n_sigma": (dict(top_n_sigma=1.5), [], [init["top_n_sigma"](1.5)]),
        "xtc": (dict(xtc_probability=1, xtc_threshold=0.05), [], [init["xtc"](1.0, 0.05, 0, 1)]),
        "dynatemp": (dict(top_k=30, temperature=0.9, dynatemp_range=0.6, dynatemp_exponent=1.3), [],
                     [init["top_k"](30), init["temp_ext"](0.9, 0.6, 1.3)]),
        "penalties": (dict(repeat_last_n=20, repeat_penalty=1.3, frequency_penalty=0.2, presence_penalty=0.5), [],
                      [init["penalties"](n_vocab, 20, 1.3, 0.2, 0.5)]),
        "penalties_after_top_k": (dict(top_k=50, repeat_penalty=1.3, frequency_penalty=0.4), ["samplers=top_k;penalties"],
                                  [init["top_k"](50), init["penalties"](n_vocab, 64, 1.3, 0.4, 0.0)]),
        "dry": (dict(dry_multiplier=0.8, dry_penalty_last_n=100), [], [dry(0.8, 1.75, 2, 100, False)]),
        "dry_breakers": (dict(dry_multiplier=2, dry_base=1.2, dry_allowed_length=1, dry_penalty_last_n=30), words,
                         [dry(2.0, 1.2, 1, 30, True)]),
        "bias": (dict(), ["bias=260:-2.5", "bias=2:-inf"], [init["logit_bias"](n_vocab, 2, bias)]),
        "mirostat_2": (dict(temperature=0.9, mirostat=2, mirostat_tau=3), [], [init["temp"](0.9), init["mirostat_v2"](1, 3.0, 0.1)]),
        "mirostat_1": (dict(temperature=0.9, mirostat=1, mirostat_tau=3), [], [init["temp"](0.9), init["mirostat"](n_vocab, 1, 3.0, 0.1, 100)]),
        "all": (full, words, [init["penalties"](n_vocab, 64, 1.1, 0.0, 0.0), dry(0.8, 1.75, 2, 64, True), init["top_n_sigma"](2.0),
                              init["top_k"](40), init["typical"](0.95, 0), init["top_p"](0.9, 0), init["min_p"](0.02, 0),
                              init["temp"](0.8)]),
        "another_order": (dict(temperature=0.5, top_p=0.9, min_p=0.05, top_k=100), ["samplers=temperature;min-p;topp;top_k"],
                          [init["temp"](0.5), init["min_p"](0.05, 0), init["top_p"](0.9, 0), init["top_k"](100)]),
    }


NAMES = ["temperature", "top_k", "top_p", "top_p_min_keep", "min_p", "min_p_min_keep", "typical", "top_n_sigma", "xtc", "dynatemp",
         "penalties", "penalties_after_top_k", "dry", "dry_breakers", "bias", "mirostat_2", "mirostat_1", "all", "another_order"]


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_llamacpp_leaves_the_same_distribution(llama, run_probe, name):
    for n in (1, 12, len(llama.history)):
        parameters, words, samplers = chains(llama.lib, llama.vocab, llama.n_vocab)[name]
        row, history = llama.rows[n - 1], llama.history[:n]
        want = llama.apply(samplers, row, history)
        if any(w.startswith("breaker=") for w in words):
            words = [*words, f"model={llama.path}"]
        got = distribution(np.frombuffer(run_probe(row, history, words=words, **parameters), PAIR), llama.n_vocab)
        assert close(got, want), (name, n, (got > 0).sum(), (want > 0).sum(), np.abs(got - want).max())
