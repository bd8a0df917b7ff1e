"""Bad input is refused with one line that says where; nothing crashes, leaks or allocates without bound.

Every case runs through probe.c, built here with sanitizers, and, where a `hearth` binary exists, through
the program itself (HEARTH_BIN, else build/*/hearth). HEARTH_PROBE names a probe that is already built.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess

import folder_cases
import gguf_cases
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
GGUF_CASES = list(gguf_cases.all_cases())
FOLDER_CASES = list(folder_cases.all_cases())
ALL = GGUF_CASES + FOLDER_CASES

# What is wrong with a whole set or folder has no byte position; then the files are named.
WHERE = re.compile(r"\(at byte \d+\)|key '|tensor '|\.gguf|\.safetensors|config\.json|\.bin")


def sources():
    return [
        str(f)
        for layer in ("base", "os", "formats", "quant")
        for f in sorted((ROOT / "src" / layer).glob("*.c"))
    ]


@pytest.fixture(scope="session")
def probe(tmp_path_factory):
    ready = os.environ.get("HEARTH_PROBE")
    if ready:
        return ready
    compiler = os.environ.get("CC") or shutil.which("clang") or shutil.which("gcc") or "cc"
    out = str(tmp_path_factory.mktemp("probe") / "probe")
    flags = [
        "-std=c17",
        "-g",
        "-O1",
        "-w",
        "-D_GNU_SOURCE",
        "-D_DARWIN_C_SOURCE",
        "-fsanitize=address,undefined",
        "-fno-sanitize-recover=all",
        "-I",
        str(ROOT / "src"),
        "-I",
        str(ROOT / "include"),
    ]
    subprocess.run(
        [
            *compiler.split(),
            *flags,
            "-o",
            out,
            str(ROOT / "tests/malformed/probe.c"),
            *sources(),
            "-lm",
            "-lpthread",
        ],
        check=True,
    )
    return out


@pytest.fixture(scope="session")
def hearth():
    named = os.environ.get("HEARTH_BIN")
    found = [named] if named else sorted(str(f) for f in (ROOT / "build").glob("*/hearth") if f.is_file())
    if not found:
        pytest.skip("no hearth binary is built")
    return found[0]


def write(folder, files):
    for name, data in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)


def run(command):
    return subprocess.run(command, capture_output=True, timeout=30, stdin=subprocess.DEVNULL)


def assert_refused(done, folder):
    said = done.stderr.decode(errors="replace")
    assert done.returncode == 1, f"exit {done.returncode}: {said[-2000:]}"
    assert done.stdout == b""
    assert said.endswith("\n") and said.count("\n") == 1, said
    assert str(folder) in said, said
    assert WHERE.search(said.replace(str(folder), "")) or "folder" in said, said


def ids(cases):
    return [c[0] for c in cases]


@pytest.mark.parametrize("case", ALL, ids=ids(ALL))
def test_the_reader_refuses_what_is_malformed_and_opens_what_is_valid(case, probe, tmp_path):
    _, files, opened, valid = case
    write(tmp_path, files)
    done = run([probe, str(tmp_path / opened)])
    if valid:
        assert done.returncode == 0, done.stderr.decode(errors="replace")
    else:
        assert_refused(done, tmp_path)


@pytest.mark.parametrize(
    "make",
    [
        lambda: gguf_cases.tiny_llama().build(),
        lambda: folder_cases.safetensors(
            {"a": ("F32", (2, 3)), "b": ("F16", (4,)), "c": ("U8", (0,))},
            header=lambda e: {"__metadata__": {"format": "pt"}, **e},
        ),
    ],
    ids=["gguf", "safetensors"],
)
def test_every_truncation_bit_flip_and_failed_allocation_is_survived(make, probe, tmp_path):
    (tmp_path / "whole").write_bytes(make())
    done = run([probe, "--damage", str(tmp_path / "whole")])
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-2000:]


def test_the_corpus_is_as_large_as_it_should_be():
    assert sum(not c[3] for c in GGUF_CASES) >= 300
    assert sum(not c[3] for c in FOLDER_CASES) >= 100
    assert sum(c[3] for c in ALL) >= 50  # the readers also have to accept
    assert len(set(ids(ALL))) == len(ALL)


# What the program does not read, or reads only for other commands, is left to the probe.
NOT_SHOWN = (
    "tokenizer",
    "generation_config",
    "general.name of kind",
    "general.file_type of kind",
    "general.quantization_version of kind",
    "llama.vocab_size of kind",
)
SHOWN = [c for c in ALL if not c[3] and not c[0].startswith(NOT_SHOWN)]


@pytest.mark.parametrize("case", SHOWN, ids=ids(SHOWN))
def test_hearth_show_refuses_what_is_malformed(case, hearth, tmp_path):
    _, files, opened, _ = case
    write(tmp_path, files)
    assert_refused(run([hearth, "show", str(tmp_path / opened)]), tmp_path)


@pytest.mark.parametrize("name", ["the valid file", "the valid folder", "the valid sharded folder"])
def test_hearth_show_opens_the_valid_models(name, hearth, tmp_path):
    _, files, opened, _ = next(c for c in ALL if c[0] == name)
    write(tmp_path, files)
    done = run([hearth, "show", str(tmp_path / opened)])
    assert done.returncode == 0 and done.stdout, done.stderr.decode(errors="replace")


@pytest.mark.parametrize("factor", [0, -1, "8"])
@pytest.mark.parametrize("scaling", ["linear", "llama3", "yarn"])
def test_a_rope_factor_that_is_no_positive_number_is_refused(scaling, factor, hearth, tmp_path):
    rope = {"rope_type": scaling, "factor": factor, "original_max_position_embeddings": 64}
    write(tmp_path, folder_cases.folder(config__json=json.dumps({**folder_cases.CONFIG, "rope_scaling": rope}).encode()))
    done = run([hearth, "show", str(tmp_path)])
    assert_refused(done, tmp_path)
    assert b"factor" in done.stderr
