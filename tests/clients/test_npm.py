"""The clients from npm, in npm.test.mjs, which Node.js' own runner runs: here each of its tests is asked for."""
import os
import re
import subprocess

import pytest

from setting import HERE, node, npm, server  # noqa: F401

pytestmark = pytest.mark.long

NAMES = re.findall(r'^ *test\(["`](.*?)["`],', (HERE / "npm.test.mjs").read_text(), re.M)


@pytest.fixture(scope="module")
def results(server, npm, node):
    """Name -> whether it passed, and all that was said."""
    env = {**os.environ, **node, "HEARTH_URL": server.url}
    command = ["node", "--test", "--test-reporter=tap", "npm.test.mjs"]
    done = subprocess.run(command, cwd=npm, env=env, capture_output=True, text=True, timeout=900)
    found = dict((n, ok == "ok") for ok, n in re.findall(r"^ *(ok|not ok) \d+ - (.*?)$", done.stdout, re.M))
    return found, done.stdout + done.stderr


@pytest.mark.parametrize("name", NAMES)
def test_npm(results, name):
    found, said = results
    # The name of a test that is made for each provider has a gap, which all of them fill.
    pattern = re.compile(re.sub(r"\\\$\\\{.*?\\\}", ".*", re.escape(name)) + r"(\.mjs)?$")
    passed = [ok for n, ok in found.items() if pattern.match(n.replace("\\#", "#"))]
    assert passed and all(passed), said[-8000:]
