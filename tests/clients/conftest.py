"""The clients: the server that they talk to, what tells the model its words, and where they come from.

`server` serves SmolLM2 as `small`, with the template of a family that calls tools and thinks, and MiniLM as `mini`.
All tests here are `long`: the clients' packages are many and large.
"""
import os
import pathlib
import shutil
import subprocess
import sys
import urllib.parse

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "e2e"))
from server import Server  # noqa: E402

TEMPLATE = "Qwen-Qwen3-0.6B.jinja"


def script(text):
    """The header that says what the model writes (servers of tests alone read it)."""
    return {"X-Hearth-Script": urllib.parse.quote(text)}


@pytest.fixture(scope="session")
def npm():
    """The folder in which the packages of package.json are installed, by npm and below the build folder."""
    folder = HERE.parents[1] / "build" / "clients" / "npm"
    wanted, stamp = HERE / "package.json", folder / "package.json.done"
    if not shutil.which("npm"):
        pytest.skip("npm is not there: tools/setup.sh clients")
    if not stamp.exists() or stamp.read_bytes() != wanted.read_bytes():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        shutil.copy(wanted, folder)
        # The Node.js that runs the clients is among the packages: what the system has may be older.
        command = ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error"]
        done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
        shutil.copy(wanted, stamp)
    for file in HERE.glob("*.mjs"):
        shutil.copy(file, folder)
    return folder


@pytest.fixture(scope="session")
def node(npm):
    """Environment in which `node` is that of the packages."""
    return {"PATH": f"{npm}/node_modules/.bin:{os.environ['PATH']}"}


@pytest.fixture(scope="session")
def server(hearth, models):
    flags = ["-m", models("default"), "-m", models("minilm"), "--alias", "small", "--alias", "mini", "--ctx", "8192"]
    template = models("llama_templates") / TEMPLATE
    with Server(hearth, *flags, "--chat-template-file", template, env={"HEARTH_TEST_SCRIPTS": "1"}) as s:
        yield s
