"""The clients: what runs them against one server with two models, and what tells the model its words.

`clients.server` serves SmolLM2 as `small`, with the template of a family that calls tools and thinks, and MiniLM as
`mini`. The test marks are `long`: the clients' packages are many and large.
"""
import pathlib
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
def server(hearth, models):
    flags = ["-m", models("default"), "-m", models("minilm"), "--alias", "small", "--alias", "mini", "--ctx", "8192"]
    template = models("llama_templates") / TEMPLATE
    with Server(hearth, *flags, "--chat-template-file", template, env={"HEARTH_TEST_SCRIPTS": "1"}) as s:
        yield s
