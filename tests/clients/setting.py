"""The clients: the server that they talk to, what tells the model its words, and where they come from.

`server` serves SmolLM2 as `small`, with the template of a family that calls tools and thinks, and MiniLM as `mini`.
All tests here are `long`: the clients' packages are many and large. The fixtures are imported by name: another
conftest.py would hide tests/conftest.py from the folders that import it.
"""
import json
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


def install(folder, packages, env=None):
    """npm's packages into `folder`; without any, those of its package.json."""
    command = ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error", *packages]
    done = subprocess.run(command, cwd=folder, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="session")
def npm():
    """The folder in which the packages of package.json are installed, by npm and below the build folder."""
    folder = HERE.parents[1] / "build" / "clients" / "npm"
    wanted, stamp = HERE / "package.json", folder / "package.json.done"
    if not shutil.which("npm"):
        pytest.skip("npm is not there: tools/setup.sh clients")
    if not stamp.exists() or stamp.read_bytes() != wanted.read_bytes():
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "node").mkdir(parents=True)
        # Node.js is a package too: what the system has may be older than the clients want.
        (folder / "node" / "package.json").write_text("{}")
        install(folder / "node", ["node@" + json.loads(wanted.read_text())["devEngines"]["runtime"]["version"]])
        pack = json.loads(wanted.read_text())
        del pack["devEngines"]
        (folder / "package.json").write_text(json.dumps(pack))
        install(folder, [], {**os.environ, **node_in(folder)})
        shutil.copy(wanted, stamp)
    for file in HERE.glob("*.mjs"):
        shutil.copy(file, folder)
    return folder


def node_in(folder):
    return {"PATH": f"{folder}/node/node_modules/.bin:{folder}/node_modules/.bin:{os.environ['PATH']}"}


@pytest.fixture(scope="session")
def node(npm):
    """Environment in which `node` is that of the packages."""
    return node_in(npm)


@pytest.fixture(scope="session")
def server(hearth, models):
    flags = ["-m", models("default"), "-m", models("minilm"), "--alias", "small", "--alias", "mini", "--ctx", "8192"]
    template = models("llama_templates") / TEMPLATE
    with Server(hearth, *flags, "--chat-template-file", template, env={"HEARTH_TEST_SCRIPTS": "1"}) as s:
        yield s
