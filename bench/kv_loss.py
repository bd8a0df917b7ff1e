#!/usr/bin/env python3
"""What storing keys and values in fewer bits costs: KL divergence of the next token's probabilities from those with f16.

    bench/kv_loss.py MODEL TEXT [--hearth PROGRAM] [--tokens N] [--types K:V ...]

Rows are computed as generated ones with f32 activations, so that nothing else differs.
"""
import argparse
import pathlib
import subprocess
import tempfile

import numpy as np

TYPES = ["q8_0:q8_0", "q5_0:q5_0", "q4_0:q4_0", "q8_0:q4_0", "q4_0:q8_0", "q8_0:q5_0"]


def log_softmax(x):
    x = x - x.max(axis=1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=1, keepdims=True))


def logits(args, ids, folder, kind):
    keys, values = kind.split(":")
    out = folder / "logits.npy"
    subprocess.run([args.hearth, "logits", args.model, "--tokens", ids, "-o", out, "--ctk", keys, "--ctv", values,
                    "--as-generated"], check=True)
    return log_softmax(np.load(out, mmap_mode="r").astype(np.float64))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model")
    parser.add_argument("text")
    parser.add_argument("--hearth", default="build/hearth")
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--types", nargs="+", default=TYPES)
    args = parser.parse_args()
    text = pathlib.Path(args.text).read_bytes()
    said = subprocess.run([args.hearth, "tokenize", args.model, "--ids"], input=text, capture_output=True, check=True)
    ids = ",".join(said.stdout.decode().replace("[", " ").replace("]", " ").replace(",", " ").split()[:args.tokens])
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        want = logits(args, ids, folder, "f16:f16")
        print("keys  values  mean KL   99 %      same first token")
        for kind in args.types:
            got = logits(args, ids, folder, kind)
            loss = (np.exp(want) * (want - got)).sum(axis=1)
            same = (want.argmax(axis=1) == got.argmax(axis=1)).mean()
            keys, values = kind.split(":")
            print(f"{keys:5} {values:6}  {loss.mean():.6f}  {np.quantile(loss, 0.99):.5f}   {100 * same:.1f} %")


if __name__ == "__main__":
    main()
