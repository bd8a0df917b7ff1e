#!/usr/bin/env python3
"""Counts the instructions of a fixed prompt and of fixed generated tokens, and refuses growth.

    bench/instructions.py [--hearth PROGRAM] [--update] [--markdown]

Wall time on shared machines differs by a fifth from minute to minute; instruction counts do not. A tiny model with a
layer of every quantized type is run under valgrind's callgrind with 8-bit activations, one thread, at the avx2 level
(valgrind knows no AVX-512). What one function executes may grow by 5 % over bench/instructions.json, and so may the
totals. Counts depend on the compiler: the file has numbers for each compiler that somebody updated it with, and
without numbers for the one at hand nothing is judged.

Needs valgrind, and the Python packages gguf and numpy.
"""
import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[1]
NUMBERS = ROOT / "bench" / "instructions.json"
MOST_GROWTH = 0.05
LEAST_SHARE = 0.002  # functions below this share of a run are counted in its total only
WIDTH, FF, HEADS, KV_HEADS, VOCABULARY = 512, 1024, 8, 4, 512
TYPES = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ2_XXS", "IQ2_XS", "IQ2_S",
         "IQ3_XXS", "IQ3_S", "IQ1_S", "IQ1_M", "IQ4_NL", "IQ4_XS", "TQ1_0", "TQ2_0", "MXFP4", "NVFP4"]
RUNS = {
    "prompt": (48, []),
    "generated": (6, ["--as-generated", "--chunk", "1"]),
    "users": (16, ["--as-generated", "--chunk", "8"]),  # as many columns as eight users have
}


def random_blocks(kind, n_row, n_col, random):
    """Any codes, scales of everyday size."""
    from gguf.constants import GGML_QUANT_SIZES

    block, n_bytes = GGML_QUANT_SIZES[kind]
    raw = random.integers(0, 256, (n_row, n_col // block * n_bytes), dtype=np.uint8)
    if kind.name in ("MXFP4", "NVFP4"):  # scales of one byte
        return raw & 0x0F | 0x70
    return (raw.view(np.uint16) & 0x03FF | 0x3000).view(np.uint8)


def write_model(path):
    import gguf
    from gguf.constants import GGMLQuantizationType

    random, d_kv = np.random.default_rng(1), WIDTH // HEADS * KV_HEADS
    kinds = [GGMLQuantizationType[name] for name in TYPES]
    w = gguf.GGUFWriter(str(path), "llama")
    w.add_context_length(256)
    w.add_embedding_length(WIDTH)
    w.add_block_count(len(kinds))
    w.add_feed_forward_length(FF)
    w.add_head_count(HEADS)
    w.add_head_count_kv(KV_HEADS)
    w.add_layer_norm_rms_eps(1e-5)
    w.add_vocab_size(VOCABULARY)
    w.add_tensor("token_embd.weight", random.standard_normal((VOCABULARY, WIDTH)).astype(np.float16))
    w.add_tensor("output_norm.weight", np.ones(WIDTH, np.float32))
    for i, kind in enumerate(kinds):
        for name in ("attn_norm", "ffn_norm"):
            w.add_tensor(f"blk.{i}.{name}.weight", np.ones(WIDTH, np.float32))
        for name, n_row, n_col in (("attn_q", WIDTH, WIDTH), ("attn_k", d_kv, WIDTH), ("attn_v", d_kv, WIDTH),
                                   ("attn_output", WIDTH, WIDTH), ("ffn_gate", FF, WIDTH), ("ffn_up", FF, WIDTH),
                                   ("ffn_down", WIDTH, FF)):
            w.add_tensor(f"blk.{i}.{name}.weight", random_blocks(kind, n_row, n_col, random), raw_dtype=kind)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def read_costs(path):
    """Instructions that each function executed itself, from callgrind's file."""
    names, costs, current, skip = {}, {}, None, False
    for line in path.read_text().splitlines():
        if line.startswith("fn="):
            number, name = re.match(r"fn=(\(\d+\))(?: (.*))?", line).groups()
            if name:
                names[number] = name
            current = re.sub(r"('\d+|\.(isra|constprop|part|cold|lto_priv)[.\d]*)+$", "", names[number])
        elif line.startswith("cfn="):
            number, name = re.match(r"cfn=(\(\d+\))(?: (.*))?", line).groups()
            if name:
                names[number] = name
        elif line.startswith("calls="):
            skip = True  # the next line is what the callee cost
        elif re.match(r"[\d+*-]", line):
            if not skip:
                costs[current] = costs.get(current, 0) + int(line.split()[1])
            skip = False
    return costs


def count(hearth, model, n_token, options, folder):
    out = folder / "callgrind.out"
    ids = ",".join(str(i * 37 % VOCABULARY) for i in range(1, n_token + 1))
    command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", "--toggle-collect=cpu_run_step", "-q",
               str(hearth), "logits", str(model), "--tokens", ids, "--out", str(folder / "logits.npy"), "-t", "1",
               "--kv", "f16", "--activations", "q8", *options]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "HEARTH_CPU": "avx2"})
    if done.returncode != 0:
        sys.exit(f"instructions: {done.stderr.strip()[-1000:]}")
    costs = read_costs(out)
    total = sum(costs.values())
    if total < 1e6:
        sys.exit("instructions: callgrind did not see cpu_run_step; is the program stripped?")
    found = {name: n for name, n in costs.items() if n >= LEAST_SHARE * total}
    return {"total": total, **dict(sorted(found.items(), key=lambda item: -item[1]))}


def compiler_of(hearth):
    """The compiler that built the program, such as "gcc 12": from the note that it leaves in the file."""
    text = pathlib.Path(hearth).read_bytes()
    found = re.search(rb"(GCC: \([^)]*\) |clang version )(\d+)\.\d+\.\d+", text)
    if not found:
        return "unknown"
    return ("gcc " if found.group(1).startswith(b"GCC") else "clang ") + found.group(2).decode()


def compare(old, new):
    """Sentences about what grew too much. A function that is new is in the total."""
    told = []
    for run in RUNS:
        for name, n in old.get(run, {}).items():
            now = new[run].get(name)
            if now is not None and now > n * (1 + MOST_GROWTH):
                told.append(f"{run}: {name} executes {now:,} instructions, {100 * (now / n - 1):.1f} % more than {n:,}")
    return told


def print_markdown(counted):
    for run, rows in counted.items():
        print(f"\n| {run}: function | instructions | share |\n| :--- | ---: | ---: |")
        for name, n in rows.items():
            print(f"| {name} | {n:,} | {100 * n / rows['total']:.1f} % |")


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--hearth", default=os.environ.get("HEARTH", str(ROOT / "build" / "release" / "hearth")))
    p.add_argument("--update", action="store_true", help="write what is counted to bench/instructions.json")
    p.add_argument("--markdown", action="store_true", help="print the counts as tables")
    args = p.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        write_model(folder / "model.gguf")
        counted = {run: count(args.hearth, folder / "model.gguf", n, more, folder) for run, (n, more) in RUNS.items()}
    for run, rows in counted.items():
        print(f"{run}: {rows['total']:,} instructions for {RUNS[run][0]} tokens")
    if args.markdown:
        print_markdown(counted)
    compiler = compiler_of(args.hearth)
    numbers = json.loads(NUMBERS.read_text()) if NUMBERS.exists() else {}
    if args.update:
        numbers[compiler] = counted
        NUMBERS.write_text(json.dumps(numbers, indent=1, sort_keys=False) + "\n")
        print(f"{NUMBERS.name}: numbers for {compiler} are new")
        return 0
    if compiler not in numbers:
        print(f"{NUMBERS.name} has no numbers for {compiler}: nothing to compare with")
        return 0
    told = compare(numbers[compiler], counted)
    print("\n".join(told) or f"nothing grew by more than {100 * MOST_GROWTH:.0f} %")
    return 1 if told else 0


if __name__ == "__main__":
    sys.exit(main())
