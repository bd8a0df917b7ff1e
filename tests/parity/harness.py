"""Runs the hearth program on models and reads what it answers."""
import json
import os
import pathlib
import subprocess
import tempfile

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


def find_hearth():
    """HEARTH, or the release build; None when it is not there."""
    program = pathlib.Path(os.environ.get("HEARTH", ROOT / "build" / "release" / "hearth"))
    return program if os.access(program, os.X_OK) else None


class Refused(Exception):
    """Hearth answered with an error (exit code 1 and a sentence)."""


def run(*args, timeout=120):
    """Runs hearth; returns its standard output. Raises Refused for exit code 1, fails on anything else."""
    program = find_hearth()
    if program is None:
        pytest.skip("the hearth program is not built")
    done = subprocess.run([str(program), *map(str, args)], capture_output=True, text=True, timeout=timeout)
    if done.returncode == 1:
        assert done.stderr.strip(), "exit code 1 without a sentence on standard error"
        raise Refused(done.stderr.strip())
    assert done.returncode == 0, f"exit code {done.returncode}: {done.stderr[-2000:]}"
    return done.stdout


def logits(model, tokens, *options):
    """[n_tokens, n_vocab] float32."""
    ids = ",".join(str(int(t)) for t in tokens)
    with tempfile.TemporaryDirectory() as folder:
        if len(ids) > 100_000:
            (pathlib.Path(folder) / "ids").write_text(ids)
            ids = "@" + str(pathlib.Path(folder) / "ids")
        out = pathlib.Path(folder) / "logits.npy"
        run("logits", model, "--tokens", ids, "--out", out, *options)
        return np.load(out)


def embedding(model, tokens, *options):
    """The embedding of one token sequence, float64."""
    return embeddings(model, "--tokens", ",".join(str(int(t)) for t in tokens), *options)[0]


def embeddings(model, *what):
    """One float64 vector for each text (or the one token list)."""
    answer = json.loads(run("embed", model, *what, "--json"))
    return [np.asarray(e["embedding"], np.float64) for e in answer["embeddings"]]
