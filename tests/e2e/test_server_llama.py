"""hearth serve in llama-server's words. tests/long/test_llama_server_suite.py runs that program's own tests."""
import json
import math
import re
import urllib.parse

import pytest

from server import Server


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("slots")


@pytest.fixture(scope="module")
def server(hearth, models, folder):
    flags = ["--ctx", "1024", "--slot-save-path", folder, "--metrics", "--state-folder", folder / "state"]
    with Server(hearth, models("default"), *flags, env={"HEARTH_TEST_SCRIPTS": "1"}) as s:
        yield s


def complete(server, status=200, **body):
    return server.json("/completion", {"prompt": "The sky is", "n_predict": 8, "temperature": 0} | body, status=status)


# ---- completion


def test_a_completion_says_all_that_llama_server_says(server):
    r = complete(server)
    assert set(r) >= {
        "index", "content", "tokens", "id_slot", "stop", "model", "tokens_predicted", "tokens_evaluated", "generation_settings",
        "prompt", "has_new_line", "truncated", "stop_type", "stopping_word", "tokens_cached", "timings",
    }
    assert r["content"] and r["prompt"] == "The sky is" and r["stop"] is True and r["stop_type"] == "limit"
    assert (r["tokens_predicted"], r["tokens_evaluated"], r["tokens"]) == (8, 3, [])
    t = r["timings"]
    assert t["prompt_n"] + t["cache_n"] == 3 and t["predicted_n"] == 8 and t["predicted_ms"] > 0
    assert t["predicted_per_second"] == pytest.approx(8000 / t["predicted_ms"])
    assert r["generation_settings"]["temperature"] == 0 and r["generation_settings"]["n_predict"] == 8


def test_a_stream_adds_up_to_the_reply_in_one_piece(server):
    whole = complete(server, return_tokens=True)
    frames = server.events("/completion", {"prompt": "The sky is", "n_predict": 8, "temperature": 0, "stream": True, "return_tokens": True})
    assert "".join(f["content"] for f in frames) == whole["content"]
    assert [i for f in frames for i in f["tokens"]] == whole["tokens"] and len(whole["tokens"]) == 8
    assert [f["stop"] for f in frames] == [False] * (len(frames) - 1) + [True]
    assert frames[-1]["timings"]["predicted_n"] == 8 and frames[-2]["tokens_predicted"] == 8


@pytest.mark.parametrize("prompt,n", [
    ("The sky is", 1), (["The sky is"], 1), (["The sky is", "A dog"], 2), ([[504, 6376, 314], "A dog"], 2),
    ([504, 6376, 314], 0), (["The sky", 314], 0), ({"prompt_string": "The sky is"}, 0), ([504, "sky", 314, " is"], 0),
])
def test_prompts_come_in_every_shape(server, prompt, n):
    r = complete(server, prompt=prompt)
    if isinstance(prompt, list) and n:
        assert len(r) == n and [x["index"] for x in r] == list(range(n)) and all(x["content"] for x in r)
    else:
        assert r["content"]


def test_tokens_and_their_text_give_the_same(server):
    ids = server.json("/tokenize", {"content": "The sky is"})["tokens"]
    assert complete(server, prompt=ids)["content"] == complete(server)["content"]
    assert complete(server, prompt=ids)["prompt"] == "The sky is"


def test_several_completions_are_a_list(server):
    r = complete(server, n_cmpl=3, temperature=1.5, seed=7)
    assert [x["index"] for x in r] == [0, 1, 2] and len({x["content"] for x in r}) > 1


@pytest.mark.parametrize("more,kind,word", [
    ({"n_predict": 2}, "limit", ""), ({"stop": [" canvas"]}, "word", " canvas"),
    ({"prompt": "<|im_start|>user\nSay yes<|im_end|>\n<|im_start|>assistant\n", "n_predict": 400}, "eos", ""),
])
def test_why_it_ended_is_told(server, more, kind, word):
    r = complete(server, **more)
    assert (r["stop_type"], r["stopping_word"]) == (kind, word) and word not in r["content"] or not word


def test_no_tokens_means_the_prompt_alone(server):
    r = complete(server, n_predict=0)
    assert r["content"] == "" and r["tokens_predicted"] == 0


def test_probabilities_before_and_after_the_filters(server):
    r = complete(server, n_probs=4, n_predict=3)
    for p in r["completion_probabilities"]:
        assert len(p["top_logprobs"]) == 4 and p["logprob"] == p["top_logprobs"][0]["logprob"]
        assert sum(math.exp(t["logprob"]) for t in p["top_logprobs"]) < 1
    assert "".join(p["token"] for p in r["completion_probabilities"]) == r["content"]
    after = complete(server, n_probs=4, n_predict=3, post_sampling_probs=True, temperature=1, top_k=2, seed=1)
    for p in after["completion_probabilities"]:
        kept = [t["prob"] for t in p["top_probs"] if t["prob"] > 0]
        assert 1 <= len(kept) <= 2 and sum(kept) == pytest.approx(1, abs=1e-3)


def test_wanted_members_are_all_that_comes(server):
    r = complete(server, response_fields=["content", "generation_settings/n_predict", "no/such"])
    assert set(r) == {"content", "generation_settings/n_predict"} and r["generation_settings/n_predict"] == 8


def test_what_is_cached_is_told_and_can_be_refused(server):
    prompt = "One two three four five six seven eight nine ten eleven twelve " * 8
    complete(server, prompt=prompt)
    assert complete(server, prompt=prompt)["timings"]["cache_n"] > 60
    assert complete(server, prompt=prompt, cache_prompt=False)["timings"]["cache_n"] == 0


def test_bias_bans_tokens_and_eos_can_be_ignored(server):
    word = complete(server, n_predict=1)["content"]
    assert complete(server, n_predict=1, logit_bias=[[word, False]])["content"] != word
    r = complete(server, n_predict=1, ignore_eos=True)
    assert r["generation_settings"]["logit_bias"] and all(b["bias"] is None for b in r["generation_settings"]["logit_bias"])


def test_the_same_seed_gives_the_same_and_another_another(server):
    one, same, other = (complete(server, temperature=1.5, seed=s)["content"] for s in (1, 1, 2))
    assert one == same != other


def test_progress_of_a_long_prompt_is_told(server):
    body = {"prompt": "word " * 400, "n_predict": 1, "stream": True, "return_progress": True, "cache_prompt": False}
    told = [f["prompt_progress"] for f in server.events("/completion", body) if "prompt_progress" in f]
    assert told and all(p["total"] == told[0]["total"] and p["processed"] <= p["total"] for p in told)


@pytest.mark.parametrize("body,what", [
    ({"prompt": 5}, "prompt"), ({"prompt": [[]]}, ""), ({"prompt": {"a": 1}}, "prompt"), ({"prompt": [{"multimodal_data": ["x"]}]}, "prompt"),
    ({"n_predict": "x"}, "n_predict"), ({"temperature": "x"}, "temperature"), ({"top_p": 2}, "top_p"), ({"samplers": ["nope"]}, "samplers"),
    ({"n_probs": -1}, "n_probs"), ({"json_schema": 5}, "json_schema"), ({"grammar": 5}, "grammar"), ({"lora": [{"id": 9}]}, "lora"),
    ({"prompt": [1000000]}, ""), ({"logit_bias": 5}, "logit_bias"), ({"stop": 5}, "stop"),
])
def test_a_wrong_field_is_a_400_in_llama_server_s_shape(server, body, what):
    error = complete(server, status=400, **body)["error"]
    assert error["code"] == 400 and error["type"] == "invalid_request_error" and what in error["message"]


def test_infill_without_its_tokens_is_not_supported(server):
    error = server.json("/infill", {"input_prefix": "a", "input_suffix": "b"}, status=501)["error"]
    assert error["type"] == "not_supported_error" and "Infill is not supported by this model" in error["message"]
    assert "input_suffix" in server.json("/infill", {"input_prefix": "a"}, status=400)["error"]["message"]


# ---- texts and tokens


@pytest.mark.parametrize("text", ["Hello world", "", " two  spaces ", "naïve café ☕", "<|im_start|>user\nhi<|im_end|>", "a\nb\tc"])
def test_tokenizing_and_back_changes_nothing(server, text):
    ids = server.json("/tokenize", {"content": text})["tokens"]
    assert server.json("/detokenize", {"tokens": ids})["content"] == text


def test_pieces_stand_beside_their_ids(server):
    r = server.json("/tokenize", {"content": "Hello ☕", "with_pieces": True})["tokens"]
    joined = b"".join(p["piece"].encode() if isinstance(p["piece"], str) else bytes(p["piece"]) for p in r)
    assert joined.decode() == "Hello ☕" and any(isinstance(p["piece"], list) for p in r)


def test_control_tokens_are_found_only_where_they_may_be(server):
    one = server.json("/tokenize", {"content": "<|im_start|>"})["tokens"]
    many = server.json("/tokenize", {"content": "<|im_start|>", "parse_special": False})["tokens"]
    assert len(one) == 1 < len(many)


def test_a_template_is_applied(server):
    r = server.json("/apply-template", {"messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "U"}]})
    assert r["prompt"] == "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nU<|im_end|>\n<|im_start|>assistant\n"
    assert server.json("/apply-template", {}, status=400)["error"]["type"] == "invalid_request_error"


def test_embeddings_have_llama_server_s_shape_here_and_openai_s_there(server):
    ours = server.json("/embedding", {"content": ["a dog", "a cat"]})
    assert [e["index"] for e in ours] == [0, 1] and len(ours[0]["embedding"][0]) == 576
    assert server.json("/embeddings", {"input": "a dog"})[0]["embedding"] == ours[0]["embedding"]
    theirs = server.json("/v1/embeddings", {"input": "a dog", "model": "smollm2-135m-instruct"})
    assert theirs["data"][0]["embedding"] == pytest.approx(ours[0]["embedding"][0], abs=1e-6)


# ---- the server


def test_props_tell_what_editors_read(server):
    p = server.json("/props")
    assert p["default_generation_settings"]["n_ctx"] == 1024 and p["total_slots"] == 16
    assert "<|im_start|>" in p["chat_template"] and p["modalities"] == {"vision": False, "video": False, "audio": False}
    assert p["model_path"].endswith(".gguf") and p["model_alias"] and isinstance(p["is_sleeping"], bool)
    assert server.json("/props", {"x": 1}, status=501)["error"]["type"] == "not_supported_error"


def test_props_of_a_model_by_name_wake_nothing(server):
    assert server.json("/props?model=smollm2-135m-instruct&autoload=false")["total_slots"] == 16
    assert server.get("/props?model=nope").status == 404


def test_slots_are_listed(server):
    slots = server.json("/slots")
    assert len(slots) == 16 and all(s["n_ctx"] == 1024 and s["is_processing"] is False for s in slots)
    assert server.get("/slots?fail_on_no_slot=1").status == 200


def test_a_slot_is_saved_and_restored(hearth, models, server, folder):
    prompt = "Once upon a time there was a fox who lived in a forest with many other animals, and " * 3
    first = complete(server, prompt=prompt, id_slot=2, return_tokens=True)
    saved = server.json("/slots/2?action=save", {"filename": "fox.bin"})
    n = first["tokens_evaluated"] + first["tokens_predicted"]
    assert n - 2 <= saved["n_saved"] <= n and saved["n_written"] == (folder / "fox.bin").stat().st_size
    with Server(hearth, models("default"), "--ctx", "1024", "--slot-save-path", folder) as other:
        assert other.json("/slots/0?action=restore", {"filename": "fox.bin"})["n_restored"] == saved["n_saved"]
        again = other.json("/completion", {"prompt": prompt, "n_predict": 8, "temperature": 0})
        assert again["content"] == first["content"] and again["timings"]["cache_n"] >= first["tokens_evaluated"] - 1
    assert server.json("/slots/2?action=erase", {})["id_slot"] == 2
    assert server.json("/slots/2?action=save", {"filename": "x"}, status=400)


@pytest.mark.parametrize("name", ["../x", "/etc/x", ".x", "", "a/b", "a\\b", "a\x00b", "x" * 300])
def test_files_of_slots_have_plain_names(server, name):
    complete(server, id_slot=3)
    assert "filename" in server.json("/slots/3?action=save", {"filename": name}, status=400)["error"]["message"].lower()


@pytest.mark.parametrize("path", ["/slots/x?action=save", "/slots/9999?action=save", "/slots/0?action=what", "/slots/0"])
def test_actions_on_slots_that_cannot_be_are_refused(server, path):
    assert server.json(path, {"filename": "x"}, status=400)["error"]["type"] == "invalid_request_error"


def test_metrics_count_what_was_done(server):
    def read():
        text = server.get("/metrics").body.decode()
        return {k: float(v) for k, v in re.findall(r"^(llamacpp:\w+) (\S+)$", text, re.M)}

    before = read()
    r = complete(server, cache_prompt=False)
    after = read()
    assert after["llamacpp:tokens_predicted_total"] - before["llamacpp:tokens_predicted_total"] == r["tokens_predicted"]
    assert after["llamacpp:prompt_tokens_total"] - before["llamacpp:prompt_tokens_total"] == r["tokens_evaluated"]
    assert after["llamacpp:prompt_seconds_total"] > before["llamacpp:prompt_seconds_total"]


def test_a_schema_that_comes_again_is_compiled_once(server):
    def read():
        return [float(v) for v in re.findall(r"^hearth_grammar_\w+_total (\S+)$", server.get("/metrics").body.decode(), re.M)]

    hits, misses = read()
    for _ in range(3):
        complete(server, json_schema={"enum": ["one", "two"], "title": "sent again"})
    assert read() == [hits + 2, misses + 1]


def test_adapters_are_listed_and_their_ids_checked(server):
    assert server.json("/lora-adapters") == []
    assert server.json("/lora-adapters", [{"id": 0, "scale": 1}], status=400)["error"]["code"] == 400
    assert server.json("/lora-adapters", [])["success"] is True


def test_as_llama_server_the_context_is_shared_by_the_slots(hearth, models, tmp_path):
    link = tmp_path / "llama-server"
    link.symlink_to(hearth)
    import server as module

    class LlamaServer(module.Server):
        def __init__(self, *words):
            real = module.subprocess.Popen
            strip = lambda args, **more: real([a for i, a in enumerate(args) if i != 1], **more)  # noqa: E731: no "serve"
            module.subprocess.Popen = strip
            try:
                super().__init__(*words)
            finally:
                module.subprocess.Popen = real

    with LlamaServer(link, "-m", models("default"), "-c", "1024", "-np", "4", "--alias", "tiny", "--slots") as s:
        assert s.json("/props")["default_generation_settings"]["n_ctx"] == 256
        assert len(s.json("/slots")) == 4 and s.json("/v1/models")["data"][0]["id"] == "tiny"
        assert s.json("/completion", {"prompt": "a", "n_predict": 2})["model"] == "tiny"
        other = {"prompt": "a", "max_tokens": 2, "model": "davinci-002"}  # the name is not looked at
        assert s.json("/v1/completions", other)["choices"][0]["text"]


def test_unicode_in_a_script_comes_out_whole(server):
    text = "ä€🙂 and \"quotes\"\n"
    reply = server.post("/completion", {"prompt": "x", "stream": True}, headers={"X-Hearth-Script": urllib.parse.quote(text)})
    frames = [json.loads(f.removeprefix("data: ")) for f in reply.body.decode().split("\n\n") if f]
    assert "".join(f["content"] for f in frames) == text
