"""The commands that are no conversation: help, errors, tokens, logits, show, embed, perplexity, info."""
import json
import os
import subprocess

import numpy as np
import pytest

COMMANDS = ["run", "show", "tokenize", "detokenize", "logits", "perplexity", "embed", "bench", "quantize", "imatrix",
            "template", "info"]


@pytest.fixture(scope="session")
def smollm2(models):
    return models("default")


def assert_one_line(done, code, *words):
    """One line on standard error that holds the words, nothing on standard output."""
    text = done.stderr.decode()
    assert done.returncode == code, text
    assert done.stdout == b""
    assert text.startswith("hearth") and text.endswith("\n") and text.count("\n") == 1, text
    for word in words:
        assert word in text


# ---- help and usage


def test_help_lists_every_command(run_hearth):
    text = run_hearth("--help").stdout.decode()
    for command in COMMANDS:
        assert f"\n  {command} " in text
    assert run_hearth("help").stdout.decode() == text
    assert run_hearth("--version").stdout.decode().startswith("hearth ")


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_explains_itself(run_hearth, command):
    text = run_hearth(command, "--help").stdout.decode()
    assert text.startswith(f"Usage: hearth {command} ")
    assert "--help" in text
    assert max(map(len, text.splitlines())) <= 110
    assert run_hearth(command, "-h").stdout.decode() == text
    assert run_hearth("help", command).stdout.decode() == text


@pytest.mark.parametrize(
    "args, words",
    [
        ([], ["no command"]),
        (["rum"], ["'rum'", "'run'"]),
        (["--verbose"], ["--verbose"]),
        (["help", "nothing"], ["nothing"]),
        (["run"], ["too few", "MODEL"]),
        (["run", "m", "p", "q"], ["too many"]),
        (["run", "m", "--tmp", "1"], ["--tmp", "--temp"]),
        (["run", "m", "--temperature=1"], ["--temperature=1"]),
        (["run", "m", "-x"], ["-x"]),
        (["run", "m", "--temp"], ["--temp", "needs a value"]),
        (["run", "m", "--temp=hot"], ["--temp", "'hot'"]),
        (["run", "m", "--temp", "nan"], ["--temp", "'nan'"]),
        (["run", "m", "--temp", "-1"], ["--temp", "'-1'"]),
        (["run", "m", "--temp="], ["--temp", "''"]),
        (["run", "m", "-n", "0"], ["--n-predict", "'0'"]),
        (["run", "m", "-n", "1.5"], ["'1.5'"]),
        (["run", "m", "-n5x"], ["'5x'"]),
        (["run", "m", "--seed", "99999999999999999999"], ["--seed"]),
        (["run", "m", "--top-p", "1.1"], ["--top-p", "'1.1'"]),
        (["run", "m", "--kv", "q8"], ["f32|f16|bf16|q8_0|q4_0", "'q8'"]),
        (["run", "m", "--ctk", "q8"], ["--ctk", "f32|f16|bf16|q8_0|q4_0", "'q8'"]),
        (["run", "m", "--raw=yes"], ["--raw", "no value"]),
        (["run", "m", "--raw", "--system", "x", "p"], ["--system", "--raw"]),
        (["run", "m", "p", "--threads", "0"], ["--threads"]),
        (["logits", "m"], ["--tokens"]),
        (["logits", "m", "--tokens", "1"], ["--out"]),
        (["perplexity", "m"], ["--file"]),
        (["embed", "m"], ["TEXT"]),
        (["info", "m"], ["too many"]),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(run_hearth, args, words):
    assert_one_line(run_hearth(*args, check=False), 2, *words)


def test_options_stand_anywhere_and_end_at_two_dashes(run_hearth, smollm2):
    plain = run_hearth("tokenize", smollm2, "--", "--json").stdout
    assert run_hearth("detokenize", smollm2, stdin=plain).stdout == b"--json"
    first = run_hearth("tokenize", "--json", smollm2, "x").stdout
    assert first == run_hearth("tokenize", smollm2, "x", "--json").stdout


# ---- bad models


@pytest.mark.parametrize("command", ["run", "show", "tokenize", "detokenize", "embed"])
def test_a_missing_model_is_one_line_and_exit_code_1(run_hearth, command, tmp_path):
    args = [] if command == "show" else ["1"]
    path = tmp_path / "nothing.gguf"
    assert_one_line(run_hearth(command, path, *args, check=False), 1, str(path))
    assert_one_line(run_hearth(command, tmp_path, *args, check=False), 1, str(tmp_path))
    path.write_bytes(b"GGUF")
    assert_one_line(run_hearth(command, path, *args, check=False), 1, str(path))


def test_control_characters_of_a_name_do_not_reach_the_terminal(run_hearth, tmp_path):
    done = run_hearth("show", tmp_path / "a\x1b[2Jb\n", check=False)
    assert_one_line(done, 1)
    assert b"\x1b" not in done.stderr


# ---- tokens


TEXTS = [
    "Hello world",
    "  leading and trailing  ",
    "Grüße, 世界! Привет 🙂 नमस्ते",
    "def f(x):\n    return x ** 2\n\n\n",
    "<|im_start|>user\nhi<|im_end|>",
    "a\tb\r\nc 1234567890 ...",
]


@pytest.mark.parametrize("text", TEXTS)
def test_tokens_lead_back_to_the_text(run_hearth, smollm2, text, tmp_path):
    ids = run_hearth("tokenize", smollm2, text).stdout
    assert ids.split() and ids.endswith(b"\n") and ids.count(b"\n") == 1
    assert run_hearth("detokenize", smollm2, *ids.decode().split()).stdout.decode() == text
    assert run_hearth("detokenize", smollm2, stdin=ids).stdout.decode() == text
    assert run_hearth("tokenize", smollm2, stdin=text.encode()).stdout == ids
    (tmp_path / "text").write_bytes(text.encode())
    assert run_hearth("tokenize", smollm2, "--file", tmp_path / "text").stdout == ids
    assert run_hearth("tokenize", smollm2, "--ids", text).stdout == ids
    listed = json.loads(run_hearth("tokenize", smollm2, "--json", text).stdout)
    assert [t["id"] for t in listed["tokens"]] == [int(i) for i in ids.split()]
    assert listed["n_tokens"] == len(listed["tokens"])
    lines = run_hearth("tokenize", smollm2, "--pieces", text).stdout.decode().splitlines()
    assert [int(line.split()[0]) for line in lines] == [int(i) for i in ids.split()]


def test_control_tokens_are_read_and_written_as_asked(run_hearth, smollm2):
    assert run_hearth("tokenize", smollm2, "<|im_start|>a").stdout.split()[0] == b"1"
    ids = run_hearth("tokenize", smollm2, "--as-text", "<|im_start|>a").stdout
    assert b"1" not in ids.split()
    assert run_hearth("detokenize", smollm2, stdin=ids).stdout == b"<|im_start|>a"
    assert run_hearth("detokenize", smollm2, "1", "28120", "2").stdout == b"<|im_start|>hello<|im_end|>"
    assert run_hearth("detokenize", smollm2, "--no-special", "1", "28120", "2").stdout == b"hello"
    assert json.loads(run_hearth("detokenize", smollm2, "--json", "28120").stdout) == {"text": "hello"}


@pytest.mark.parametrize("ids", ["49152", "4294967297", "x", "1.5", "-"])
def test_bad_ids_are_errors(run_hearth, smollm2, ids):
    assert_one_line(run_hearth("detokenize", smollm2, "1", ids, check=False), 1, ids)


# ---- logits


@pytest.mark.parametrize("activations", ["f32", "q16", "q8"])
def test_logits_are_a_numpy_file_that_no_setting_changes(run_hearth, smollm2, tmp_path, activations):
    ids = [1, 4093, 198, 504, 3575, 282, 4649, 314, 7042, 30, 2]
    (tmp_path / "ids").write_text("\n".join(map(str, ids)))
    files = []
    for i, more in enumerate([["--chunk", "1"], ["--chunk", "4", "-t", "2"], ["-t", "1"], []]):
        files.append(tmp_path / f"{i}.npy")
        tokens = f"@{tmp_path / 'ids'}" if i % 2 else ",".join(map(str, ids))
        assert run_hearth("logits", smollm2, "--tokens", tokens, "--out", files[-1], "--activations", activations,
                          *more).stdout == b""
    logits = np.load(files[0])
    assert logits.shape == (len(ids), 49152) and logits.dtype == np.float32
    assert np.isfinite(logits).all()
    for path in files[1:]:
        assert np.array_equal(np.load(path), logits)
    # A causal model: the first rows do not know what follows.
    run_hearth("logits", smollm2, "--tokens", "1,4093,198", "--out", tmp_path / "short.npy", "--activations", activations)
    assert np.array_equal(np.load(tmp_path / "short.npy"), logits[:3])


def test_logits_of_generated_rows_are_those_of_a_prompt_but_for_rounding(run_hearth, smollm2, tmp_path):
    ids = ",".join(str(i * 37 % 40000) for i in range(1, 40))
    # Attention adds in another order; with 8-bit activations such a difference moves roundings.
    for activations, most in (("f32", 1e-5), ("q16", 1e-3), ("q8", 0.1)):
        rows = []
        for name, more in (("prompt", []), ("generated", ["--as-generated"]), ("one", ["--as-generated", "--chunk", "1"])):
            out = tmp_path / f"{name}.npy"
            run_hearth("logits", smollm2, "--tokens", ids, "--out", out, "--activations", activations, *more)
            rows.append(np.load(out))
        assert np.abs(rows[0] - rows[1]).max() < most * np.abs(rows[0]).max()
        assert np.array_equal(rows[1], rows[2])  # neighbours do not matter


def test_sixteen_bits_are_nearly_exact_and_what_a_small_model_gets(run_hearth, smollm2, tmp_path):
    ids = ",".join(str(i * 37 % 40000) for i in range(1, 40))
    logits = {}
    for activations in ("f32", "q16", "auto"):
        run_hearth("logits", smollm2, "--tokens", ids, "--out", tmp_path / "x.npy", "--activations", activations)
        logits[activations] = np.load(tmp_path / "x.npy")
    assert np.abs(logits["q16"] - logits["f32"]).max() < 2e-3 * np.abs(logits["f32"]).max()
    assert np.array_equal(logits["auto"], logits["q16"])


@pytest.mark.parametrize("ids", ["1,2,49152", "", "1,two"])
def test_failed_logits_leave_no_file(run_hearth, smollm2, tmp_path, ids):
    done = run_hearth("logits", smollm2, "--tokens", ids, "--out", tmp_path / "x.npy", check=False)
    assert_one_line(done, 1)
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_place_is_an_error(run_hearth, smollm2, tmp_path):
    out = tmp_path / "no" / "x.npy"
    assert_one_line(run_hearth("logits", smollm2, "--tokens", "1", "--out", out, check=False), 1, str(out))


# ---- show, info


def test_show_tells_what_the_model_is(run_hearth, smollm2):
    shown = json.loads(run_hearth("show", smollm2, "--json", "--verbose", "--tensors").stdout)
    assert shown["family"] == "llama"
    assert (shown["n_layer"], shown["d_model"], shown["n_vocab"]) == (30, 576, 49152)
    assert (shown["n_head"], shown["n_kv_head"], shown["head_dim"]) == (9, 3, 64)
    assert shown["parameters"] == 134515008
    assert shown["types"]["q4_1"]["tensors"] == 210
    assert (shown["tokenizer"], shown["pre_tokenizer"], shown["chat_format"]) == ("bpe", "smollm", "model")
    assert shown["metadata"]["llama.context_length"] == 8192
    assert shown["metadata"]["llama.rope.freq_base"] == 100000
    assert shown["metadata"]["tokenizer.ggml.add_bos_token"] is False
    assert len(shown["tensors"]) == 272
    assert sum(t["bytes"] for t in shown["tensors"]) == sum(t["bytes"] for t in shown["types"].values())
    text = run_hearth("show", smollm2, "--verbose", "--tensors").stdout.decode()
    for word in ["llama", "134.5 M", "q4_1", "8192", "own template"]:
        assert word in text
    assert "general.name = Smollm2" in text and "[49152, 576] token_embd.weight" in text


def test_info_names_the_machine_and_its_kernels(run_hearth):
    info = json.loads(run_hearth("info", "--json").stdout)
    assert info["physical_cores"] >= 1 and info["memory_bytes"] > 0
    assert info["kernels"]["gemm_f32"]
    assert {"quantize_q8", "gemm_q8", "gemv_q8 q4_K", "panel_q8 iq2_xxs"} <= set(info["kernels"])
    plain = json.loads(run_hearth("info", "--json", env={"HEARTH_CPU": "ref"}).stdout)
    assert set(plain["kernels"].values()) == {"ref"}
    text = run_hearth("info").stdout.decode()
    assert "gemm_f32" in text and "gemv_q8 q4_K" in text


# ---- embed, perplexity


def test_embeddings_have_length_one_unless_told(run_hearth, models):
    model = models("minilm")
    lines = run_hearth("embed", model, "a cat", "a dog", "tax law").stdout.decode().splitlines()
    cat, dog, law = [np.array([float(x) for x in line.split()]) for line in lines]
    assert abs(np.linalg.norm(cat) - 1) < 1e-5
    assert cat @ dog > cat @ law
    done = json.loads(run_hearth("embed", model, "--json", "a cat", "--no-normalize").stdout)
    vector = np.array(done["embeddings"][0]["embedding"])
    assert done["n"] == len(vector) == len(cat)
    assert abs(np.linalg.norm(vector) - 1) > 1e-3
    assert np.allclose(vector / np.linalg.norm(vector), cat, atol=1e-6)


def test_perplexity_follows_its_stated_method(run_hearth, smollm2, tmp_path):
    text = (" The quick brown fox jumps over the lazy dog, and then it runs away." * 40).encode()
    (tmp_path / "text").write_bytes(text)
    args = ["perplexity", smollm2, "-f", tmp_path / "text"]
    done = json.loads(run_hearth(*args, "-c", "64", "--windows", "3", "--json").stdout)
    ids = [int(i) for i in run_hearth("tokenize", smollm2, "-f", tmp_path / "text").stdout.split()]
    nll = []
    for w in range(3):
        window = ids[64 * w : 64 * w + 64]
        run_hearth("logits", smollm2, "--tokens", ",".join(map(str, window)), "--out", tmp_path / "w.npy")
        rows = np.load(tmp_path / "w.npy").astype(np.float64)
        for i in range(32, 63):
            row = rows[i] - rows[i].max()
            nll.append(np.log(np.exp(row).sum()) - row[window[i + 1]])
    assert done["n_scored"] == len(nll) == 3 * 31
    assert done["perplexity"] == pytest.approx(np.exp(np.mean(nll)), rel=1e-9)
    assert done["standard_error"] > 0
    assert_one_line(run_hearth(*args, "-c", "100000", check=False), 1, "100000")


# ---- standard output that fails


def test_a_reader_that_goes_away_is_no_error(hearth, smollm2, tmp_path):
    (tmp_path / "text").write_text("word " * 50000)
    tokenize = ["tokenize", smollm2, "-f", tmp_path / "text"]
    for args in (tokenize, ["show", smollm2, "--tensors"], ["run", "--help"]):
        child = subprocess.Popen(
            [hearth, *map(str, args)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert len(child.stdout.read(1)) == 1
        child.stdout.close()
        assert child.stderr.read() == b""
        assert child.wait(60) == 0
        child.stderr.close()


def test_a_full_disk_is_an_error(hearth):
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full")
    with open("/dev/full", "wb") as full:
        done = subprocess.run([hearth, "info"], stdout=full, stderr=subprocess.PIPE, timeout=60)
    assert done.returncode == 1
    assert done.stderr.startswith(b"hearth: cannot write to standard output")
