"""hearth serve with what helps a model: a small one that guesses ahead, and low-rank adapters that requests choose."""
import subprocess

import pytest

from server import Server

gguf = pytest.importorskip("gguf", reason="the gguf package is not installed")
np = pytest.importorskip("numpy", reason="numpy is not installed")

SAY = {"messages": [{"role": "user", "content": "Write a short poem about the sea."}], "max_tokens": 24, "temperature": 0}


# ---- a model that guesses


def test_a_draft_model_guesses_and_changes_no_word(hearth, models, tmp_path):
    model = models("default")
    with Server(hearth, model, "--ctx", "512") as s:
        plain = s.json("/v1/chat/completions", SAY)
    config = tmp_path / "serve.json"
    config.write_text('{"model-draft": "%s", "draft-max": 6}' % model)
    for flags in (["-md", model, "--draft-max", "6"], ["--spec-draft-model", model, "--spec-draft-n-max", "6"], ["--config", config]):
        with Server(hearth, "-m", model, "--ctx", "512", *flags) as s:
            guessed = s.json("/v1/chat/completions", SAY)
            none = s.json("/completion", {"prompt": "The sky is", "n_predict": 8, "temperature": 0, "speculative.n_max": 0})
            slots = s.json("/slots")
        assert guessed["choices"][0]["message"] == plain["choices"][0]["message"]
        t = guessed["timings"]
        # The model guesses for itself: what it is sure of is right.
        assert t["draft_n"] >= t["draft_n_accepted"] > 0.7 * t["draft_n"]
        assert "draft_n" not in none["timings"]
        assert slots[0]["speculative"] is True


def test_draft_max_0_guesses_nothing(hearth, models):
    model = models("default")
    with Server(hearth, model, "--ctx", "512", "-md", model, "--draft-max", "0") as s:
        assert "draft_n" not in s.json("/v1/chat/completions", SAY)["timings"]


def test_a_draft_model_that_cannot_work_is_refused(hearth, models, tmp_path):
    def complaint(*flags):
        r = subprocess.run([hearth, "serve", "--check", *flags], capture_output=True, text=True)
        assert r.returncode != 0
        return r.stdout + r.stderr

    assert "--model-draft" in complaint("-m", models("default"), "-md", tmp_path / "none.gguf")
    assert "--model-draft needs a --model" in complaint("-md", models("default"))
    with Server(hearth, models("default"), "-md", models("gemma"), ready=False) as s:
        reply = s.post("/v1/chat/completions", SAY)
        assert reply.status >= 400 and b"the draft model has 262144 tokens, the model 49152" in reply.body


# ---- adapters


@pytest.fixture(scope="module")
def adapted(hearth, models, tmp_path_factory):
    """A server with two random adapters that wait to be asked for."""
    folder = tmp_path_factory.mktemp("adapters")
    n_layer, width = 30, 576  # SmolLM2-135M
    paths = []
    for seed in (1, 2):
        path = folder / f"{seed}.gguf"
        w = gguf.GGUFWriter(path, "llama")
        w.add_type("adapter")
        w.add_string("adapter.type", "lora")
        w.add_float32("adapter.lora.alpha", 4.0)
        rng = np.random.default_rng(seed)
        for layer in range(n_layer):
            name = f"blk.{layer}.attn_q.weight"
            w.add_tensor(f"{name}.lora_a", (rng.standard_normal((4, width)) / 8).astype(np.float32))
            w.add_tensor(f"{name}.lora_b", (rng.standard_normal((width, 4)) / 8).astype(np.float32))
        w.write_header_to_file()
        w.write_kv_data_to_file()
        w.write_tensors_to_file()
        w.close()
        paths.append(path)
    with Server(hearth, models("default"), "--ctx", "512", "--lora", paths[0], "--lora", paths[1], "--lora-init-without-apply") as s:
        yield s


def said(server, **more):
    return server.json("/v1/chat/completions", SAY | more)["choices"][0]["message"]["content"]


def test_a_chat_chooses_its_adapters(adapted):
    plain = said(adapted)
    assert said(adapted, lora=[]) == plain
    assert said(adapted, lora=[{"id": 0, "scale": 0}, {"id": 1, "scale": 0}]) == plain
    first, second = said(adapted, lora=[{"id": 0, "scale": 1}]), said(adapted, lora=[{"id": 1, "scale": 1}])
    assert len({plain, first, second}) == 3
    both = {"prompt": "The sky is", "max_tokens": 12, "temperature": 0, "lora": [{"id": 0, "scale": 1}]}
    openai = adapted.json("/v1/completions", both)["choices"][0]["text"]
    assert openai == adapted.json("/completion", both | {"n_predict": 12})["content"]
    assert said(adapted) == plain, "a request's adapters are its own"


def test_scales_of_the_server_hold_where_a_request_names_none(adapted):
    plain, first = said(adapted), said(adapted, lora=[{"id": 0, "scale": 1}])
    try:
        assert adapted.json("/lora-adapters", [{"id": 0, "scale": 1}])["success"] is True
        assert [a["scale"] for a in adapted.json("/lora-adapters")] == [1, 0]
        assert said(adapted) == first and said(adapted, lora=[]) == plain
    finally:
        adapted.json("/lora-adapters", [])
    assert said(adapted) == plain


@pytest.mark.parametrize("lora,words", [
    ([{"id": 9, "scale": 1}], "names adapter 9; the server has 2"), (5, "lora"), ([5], "'id' and 'scale'"),
    ([{"scale": 1}], "'id' and 'scale'"), ([{"id": 0, "scale": "much"}], "'id' and 'scale'"), ([{"id": 0, "scale": 1e300}], "'id' and 'scale'"),
])
def test_adapters_that_are_none_are_refused(adapted, lora, words):
    for path in ("/v1/chat/completions", "/v1/completions"):
        fault = adapted.json(path, SAY | {"prompt": "a", "lora": lora}, status=400)["error"]
        assert words in fault["message"]
