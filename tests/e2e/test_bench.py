"""hearth bench and bench/compare.py: what they print, not how fast anything is."""
import csv
import io
import json
import math
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Keys that llama-bench's JSON has too, with their types, and our own.
KEYS = {
    "model_filename": str, "model_type": str, "model_size": int, "model_n_params": int, "n_threads": int,
    "type_k": str, "type_v": str, "n_prompt": int, "n_gen": int, "n_depth": int, "avg_ns": int, "stddev_ns": int,
    "avg_ts": (int, float), "stddev_ts": (int, float), "samples_ns": list, "samples_ts": list,
    "n_users": int, "bytes_per_token": (int, float, type(None)), "ops_per_token": (int, float),
    "share_bandwidth": (int, float, type(None)), "share_peak": (int, float, type(None)),
}  # fmt: skip
FAST = ["-p", "5", "-n", "2", "-r", "2", "-t", "2"]


@pytest.fixture(scope="session")
def smollm2(models):
    return models("default")


@pytest.fixture(scope="session")
def bench(run_hearth, smollm2):
    """bench(*args) -> the entries that `hearth bench` prints as JSON."""

    def run(*args):
        return json.loads(run_hearth("bench", smollm2, "-o", "json", *args).stdout)

    return run


def test_json_has_llama_benchs_keys(bench, smollm2):
    pp, tg = bench(*FAST, "--no-limits")
    for entry in (pp, tg):
        for key, kind in KEYS.items():
            assert isinstance(entry[key], kind), key
        assert entry["model_filename"] == str(smollm2) and entry["n_threads"] == 2
        assert entry["model_size"] > 90e6 and entry["model_n_params"] == 134515008
        assert entry["type_k"] == entry["type_v"] == "f16"
        assert len(entry["samples_ns"]) == len(entry["samples_ts"]) == 2
        assert entry["share_bandwidth"] is None and entry["share_peak"] is None
    assert (pp["n_prompt"], pp["n_gen"], pp["n_users"], pp["bytes_per_token"]) == (5, 0, 1, None)
    assert (tg["n_prompt"], tg["n_gen"], tg["n_users"]) == (0, 2, 1)
    # 30 layers of 576 x (576 + 2 x 192 + 576) + 3 x 576 x 1536 weights; the tied output only when generating
    layers = 30 * (576 * (576 + 192 + 192 + 576) + 3 * 576 * 1536)
    assert pp["ops_per_token"] / 2 == pytest.approx(layers, rel=1e-3)
    assert tg["ops_per_token"] / 2 == pytest.approx(layers + 49152 * 576, rel=1e-3)
    assert tg["bytes_per_token"] == pytest.approx(tg["model_size"], rel=0.01)


def test_averages_are_those_of_the_samples(bench):
    for entry in bench("-p", "3", "-n", "2", "-b", "1,3", "-d", "4", "-r", "3", "--no-limits"):
        n_token = entry["n_prompt"] + entry["n_gen"] * entry["n_users"]
        ns, ts = entry["samples_ns"], entry["samples_ts"]
        assert min(ns) > 0 and entry["n_depth"] == 4
        for one, speed in zip(ns, ts):
            assert speed == pytest.approx(n_token / one * 1e9, rel=1e-4)
        for key, samples in (("ns", ns), ("ts", ts)):
            mean = sum(samples) / 3
            assert entry[f"avg_{key}"] == pytest.approx(mean, rel=1e-4)
            deviation = math.sqrt(sum((x - mean) ** 2 for x in samples) / 2)
            assert entry[f"stddev_{key}"] == pytest.approx(deviation, rel=1e-3, abs=1)


def test_lists_make_every_combination(bench):
    entries = bench("-p", "2,3", "-n", "1", "-d", "0,40", "-b", "1,2", "-r", "1", "--no-limits", "--kv", "f32")
    got = [(e["n_prompt"], e["n_gen"], e["n_depth"], e["n_users"]) for e in entries]
    each = [(2, 0, 1), (3, 0, 1), (0, 1, 1), (0, 1, 2)]
    assert got == [(p, n, d, b) for d in (0, 40) for p, n, b in each]
    assert {e["type_k"] for e in entries} == {"f32"}
    one, two = entries[2:4]
    assert one["bytes_per_token"] == 2 * two["bytes_per_token"]


def test_keys_and_values_have_types_of_their_own(bench, run_hearth, smollm2):
    one = ("-p", "2", "-n", "2", "-d", "40", "-r", "1", "--no-limits")
    assert {(e["type_k"], e["type_v"]) for e in bench(*one, "--ctk", "q8_0", "--ctv", "q4_0")} == {("q8_0", "q4_0")}
    assert {(e["type_k"], e["type_v"]) for e in bench(*one, "--ctk", "bf16")} == {("bf16", "f16")}
    assert {(e["type_k"], e["type_v"]) for e in bench(*one, "--ctv", "f32", "--kv", "q8_0")} == {("q8_0", "f32")}
    assert b"q8_0/f32" in run_hearth("bench", smollm2, *one, "--ctv", "f32", "--kv", "q8_0").stdout


def test_zero_leaves_a_kind_of_test_out(bench):
    assert [e["n_gen"] for e in bench("-p", "0", "-n", "1", "-r", "1", "--no-limits")] == [1]
    assert [e["n_prompt"] for e in bench("-p", "2", "-n", "0", "-r", "1", "--no-limits")] == [2]


def test_csv_and_json_say_the_same(run_hearth, smollm2):
    text = run_hearth("bench", smollm2, *FAST, "--no-limits", "-o", "csv").stdout.decode()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [(r["n_prompt"], r["n_gen"]) for r in rows] == [("5", "0"), ("0", "2")]
    for row in rows:
        assert set(row) >= set(KEYS) - {"samples_ns", "samples_ts"}
        assert row["model_filename"] == str(smollm2)
        assert float(row["avg_ts"]) > 0 and int(row["avg_ns"]) > 0
        assert row["share_peak"] == row["share_bandwidth"] == ""


def test_markdown_is_a_table(run_hearth, smollm2):
    done = run_hearth("bench", smollm2, *FAST, "--no-limits", "-o", "md", "-d", "3", "-b", "2")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in done.stdout.decode().splitlines()]
    assert {len(row) for row in rows} == {len(rows[0])} and len(rows) == 4
    assert all(set(cell) <= set(":-") and len(cell) >= 3 for cell in rows[1])
    at = rows[0].index("test")
    assert [row[at] for row in rows[2:]] == ["pp5 @ 3", "tg2 @ 3 x 2"]
    for row in rows[2:]:
        assert float(row[rows[0].index("t/s")].split()[0]) > 0
    assert done.stderr == b""


def test_the_plain_table_has_a_row_for_each_test(run_hearth, smollm2):
    lines = run_hearth("bench", smollm2, *FAST, "--no-limits").stdout.decode().splitlines()
    assert len(lines) == 3 and lines[0].startswith("model ")
    assert " pp5 " in lines[1] and " tg2 " in lines[2]


def test_machine_tells_its_limits(run_hearth):
    one = json.loads(run_hearth("bench", "--machine", "--json", "-t", "1", env={"HEARTH_CPU": "avx2,neon"}).stdout)
    assert one["n_threads"] == 1 and one["walk_bytes"] >= 16 << 20
    for key in ("read_bytes_per_second", "read_bytes_per_second_one_thread", "f32_ops_per_second", "int8_ops_per_second"):
        assert 1e6 < one[key] < 1e16, key
    assert one["int8_instruction"] and one["f32_instruction"]
    assert one["int8_ops_per_second"] >= one["int8_vector_ops_per_second"]
    assert "zmm" not in one["f32_instruction"]  # the mask is obeyed


def test_shares_are_of_the_limits(bench):
    pp, tg = bench(*FAST)
    assert pp["share_bandwidth"] is None and tg["share_peak"] is None
    assert 0 < pp["share_peak"] < 1.5
    assert 0 < tg["share_bandwidth"] < 100  # the file may lie in a cache


@pytest.mark.parametrize(
    "args, words",
    [
        ([], ["too few", "MODEL"]),
        (["m", "n"], ["too many"]),
        (["m", "--reps", "3"], ["--reps"]),
        (["m", "-p", "5,"], ["--n-prompt", "'5,'"]),
        (["m", "-p", ""], ["--n-prompt", "''"]),
        (["m", "-n", "-1"], ["--n-gen", "'-1'"]),
        (["m", "-n", "1 2"], ["--n-gen", "'1 2'"]),
        (["m", "-d", "99999999999999999999"], ["--depth"]),
        (["m", "-b", "0"], ["--users", "'0'"]),
        (["m", "-b", ",".join("1" * 17)], ["--users"]),
        (["m", "-r", "0"], ["--repetitions", "'0'"]),
        (["m", "-r", "101"], ["--repetitions", "'101'"]),
        (["m", "-o", "sql"], ["table|csv|json|md", "'sql'"]),
        (["m", "--kv", "q8"], ["--kv", "'q8'"]),
        (["m", "--machine"], ["--machine"]),
        (["--machine", "-o", "csv"], ["--machine"]),
        (["m", "--profile", "-o", "csv"], ["--profile"]),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(run_hearth, args, words):
    done = run_hearth("bench", *args, check=False)
    text = done.stderr.decode()
    assert done.returncode == 2 and done.stdout == b"" and text.count("\n") == 1
    for word in words:
        assert word in text


def test_a_missing_model_is_refused(run_hearth, tmp_path):
    done = run_hearth("bench", tmp_path / "nothing.gguf", check=False)
    assert done.returncode == 1 and done.stdout == b"" and b"nothing.gguf" in done.stderr


def test_an_encoder_is_refused(run_hearth, models):
    done = run_hearth("bench", models("minilm"), "--no-limits", "-o", "json", check=False)
    assert done.returncode == 1 and done.stdout == b"" and b"encoder" in done.stderr


def test_profile_tells_where_the_time_goes(run_hearth, smollm2):
    options = ["bench", smollm2, "-p", 32, "-n", 4, "-r", 2, "-t", 2, "--no-limits", "--profile"]
    for test in json.loads(run_hearth(*options, "-o", "json").stdout):
        profile = test["profile"]
        assert all(share >= 0 for share in profile.values()) and 0.5 < sum(profile.values()) <= 1.001
        linear = [profile[name] for name in ("qkv", "attn_out", "gate_up", "down", "output")]
        assert min(linear + [profile["attention"], profile["small"], profile["wait"]]) > 0
        assert profile["gate_up"] > profile["attn_out"]
    table = run_hearth(*options).stdout.decode().splitlines()
    assert table[-3].split()[:3] == ["%", "of", "time"] and "gate_up" in table[-3]
    assert [line.split()[0] for line in table[-2:]] == ["pp32", "tg4"]
    assert "profile" not in json.loads(run_hearth("bench", smollm2, "-p", 8, "-n", 0, "-r", 1, "--json").stdout)[0]


# ---- bench/compare.py, with programs that make up their numbers

STUB = """#!{python}
import json, sys
args, name = sys.argv[1:], {name!r}
with open({log!r}, "a") as f:
    f.write(name + (" machine" if "--machine" in args else "") + "\\n")
    i_round = sum(line.split()[-1] == "machine" for line in open({log!r})) + ("--machine" in args)
if "--machine" in args:
    print(json.dumps({{"cpu_info": "Stub", "n_threads": 2, "read_bytes_per_second": 1e9, "f32_ops_per_second": 1e9,
                      "bf16_ops_per_second": 0, "int8_ops_per_second": 4e9}}))
    sys.exit()
assert args[args.index("-t") + 1] == "2" and args[args.index("-o") + 1] == "json"
speed = {speed} * (100 if i_round == 2 else 1)  # one bad round, which a median passes over
common = dict(n_depth=0, ops_per_token=2e6, peak="int8")
users = [int(n) for n in args[args.index("-b") + 1].split(",")] if "-b" in args else [1]
print(json.dumps([dict(common, n_prompt=8, n_gen=0, avg_ts=10 * speed, bytes_per_token=None)] +
                 [dict(common, n_prompt=0, n_gen=4, n_users=n, avg_ts=speed * (1 if n == 1 else n ** 0.5), bytes_per_token=1e7 / n) for n in users]))
"""


@pytest.fixture
def stub(tmp_path):
    """stub(name, speed) -> path of a program that answers as hearth and as llama-bench do."""

    def make(name, speed):
        path = tmp_path / name
        log = str(tmp_path / "log")
        path.write_text(STUB.format(python=sys.executable, name=name, log=log, speed=speed))
        path.chmod(0o755)
        return str(path)

    return make


def compare(*args):
    return subprocess.run(
        [sys.executable, str(ROOT / "bench" / "compare.py"), *map(str, args)], capture_output=True, text=True, timeout=60
    )


def test_compare_takes_turns_and_medians(stub, tmp_path):
    model = tmp_path / "m.gguf"
    model.write_bytes(b"")
    hearth, llama, ik = stub("hearth", 60), stub("llama", 30), stub("ik", 120)
    peers = ["--llama-bench", llama, "--ik-llama-bench", ik]
    done = compare(model, "--hearth", hearth, *peers, "--rounds", 3, "-t", 2, "--out", tmp_path / "out", "--quiet")
    assert done.returncode == 0, done.stderr
    log = (tmp_path / "log").read_text().splitlines()
    begin = ["hearth machine"]
    assert log == begin + ["hearth", "llama", "ik"] + begin + ["llama", "ik", "hearth"] + begin + ["ik", "hearth", "llama"]
    table = (tmp_path / "out.md").read_text()
    assert table == done.stdout
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line.startswith("|")]
    head = ["model", "test", "hearth t/s", "llama.cpp t/s", "ratio", "ik_llama.cpp t/s", "ratio", "share of limit"]
    assert rows[0] == head
    assert rows[2] == ["m.gguf", "pp8", "600.0", "300.0", "2.00", "1200.0", "0.50", "30 % of int8"]
    # the probe reads 1 GB/s, but the fastest program 1.2
    assert rows[3] == ["m.gguf", "tg4", "60.0", "30.0", "2.00", "120.0", "0.50", "50 % of read"]
    assert "Stub, 2 threads" in table and "medians of 3 rounds" in table
    more = compare(model, "--hearth", hearth, *peers, "--rounds", 1, "-t", 2, "--out", tmp_path / "out", "--quiet", "--append")
    assert "medians of 4 rounds" in more.stdout and "| m.gguf | tg4 | 60.0 |" in more.stdout
    (tmp_path / "out.csv").replace(tmp_path / "four.csv")
    assert len(list(csv.DictReader(open(tmp_path / "four.csv")))) == 4 * (4 + 3 * 2)
    compare(model, "--hearth", hearth, *peers, "--rounds", 3, "-t", 2, "--out", tmp_path / "out", "--quiet")
    samples = list(csv.DictReader(open(tmp_path / "out.csv")))
    assert len(samples) == 3 * (4 + 3 * 2)
    assert {(s["program"], s["value"]) for s in samples if s["test"] == "tg4" and s["round"] == "0"} == {
        ("hearth", "60"), ("llama.cpp", "30"), ("ik_llama.cpp", "120")}  # fmt: skip


def test_compare_counts_several_users_of_hearth_together(stub, tmp_path):
    model = tmp_path / "m.gguf"
    model.write_bytes(b"")
    done = compare(model, "--hearth", stub("hearth", 60), "--llama-bench", stub("llama", 30), "--rounds", 1, "-t", 2,
                   "-b", "1,4", "--out", tmp_path / "out", "--quiet")
    assert done.returncode == 0, done.stderr
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in done.stdout.splitlines() if line.startswith("|")]
    assert rows[4] == ["m.gguf", "tg4 x 4", "120.0", "", "", "2.0 times one"]


@pytest.mark.parametrize(
    "line",
    ['{"tg": 4, "pl": 4, "speed_tg": 60.0}',
     "|     1 |      4 |    4 |     40 |    0.530 |    15.08 |    1.996 |    60.00 |    2.527 |    15.83 |"],
)
def test_compare_asks_the_batched_bench_beside_a_peer(stub, tmp_path, line):
    model, batched = tmp_path / "m.gguf", tmp_path / "llama-batched-bench"
    model.write_bytes(b"")
    batched.write_text(f"#!{sys.executable}\nimport sys\na = sys.argv\nassert a[a.index('-npl') + 1] == '4'\n"
                       f"print('loading')\nprint({line!r})\n")
    batched.chmod(0o755)
    done = compare(model, "--hearth", stub("hearth", 60), "--llama-bench", stub("llama", 30), "--rounds", 1, "-t", 2,
                   "-b", "1,4", "-n", 4, "--out", tmp_path / "out", "--quiet")
    assert done.returncode == 0, done.stderr
    assert "| m.gguf | tg4 x 4 | 120.0 | 60.0 | 2.00 | 2.0 times one |" in done.stdout


def test_compare_names_the_program_that_fails(stub, tmp_path):
    model = tmp_path / "m.gguf"
    model.write_bytes(b"")
    bad = tmp_path / "bad"
    bad.write_text("#!/bin/sh\necho cannot load >&2\nexit 3\n")
    bad.chmod(0o755)
    done = compare(model, "--hearth", stub("hearth", 1), "--llama-bench", bad, "-t", 2, "--out", tmp_path / "out", "--quiet")
    assert done.returncode == 1 and "bad" in done.stderr and "cannot load" in done.stderr
    assert not (tmp_path / "out.md").exists()


def test_compare_runs_the_program_itself(hearth, smollm2, stub, tmp_path):
    tests = ["-p", 8, "-n", 4, "--rounds", 1, "-t", 2, "--quiet"]
    done = compare(smollm2, "--hearth", hearth, "--llama-bench", stub("llama", 5), *tests, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    rows = [line.split("|") for line in done.stdout.splitlines() if line.startswith("|")]
    assert [row[2].strip() for row in rows[2:]] == ["pp8", "tg4"]
    assert all(float(row[3]) > 0 for row in rows[2:])


# ---- bench/instructions.py

CALLGRIND = """# callgrind format
version: 1
events: Ir

fl=(1) cpu_step.c
fn=(1) cpu_run_step
40 100
cfn=(2) gemv_q4_K_avx2.constprop.0
calls=3 0
41 5000
+1 20

fn=(2)
10 2000
fi=(3) other.h
* 3000
fe=(1)
fn=(3) gemm'2
7 50
"""


@pytest.fixture
def instructions():
    sys.path.insert(0, str(ROOT / "bench"))
    try:
        import instructions
    finally:
        sys.path.pop(0)
    return instructions


def test_instructions_are_counted_for_the_function_that_executes_them(instructions, tmp_path):
    (tmp_path / "out").write_text(CALLGRIND)
    costs = instructions.read_costs(tmp_path / "out")
    assert costs == {"cpu_run_step": 120, "gemv_q4_K_avx2": 5000, "gemm": 50}


def test_growth_of_a_function_or_of_the_total_is_told(instructions):
    def counts(total, gemm, more):
        return {run: {"total": total, "gemm": gemm, **more} for run in instructions.RUNS}

    old = counts(1000, 500, {"gone": 100})
    assert instructions.compare(old, counts(1050, 525, {"new": 40})) == []
    told = instructions.compare(old, counts(1000, 526, {}))
    assert len(told) == len(instructions.RUNS) and all("gemm" in t and "5.2 %" in t for t in told)
    assert all("total" in t for t in instructions.compare(old, counts(1051, 500, {"new": 51})))
