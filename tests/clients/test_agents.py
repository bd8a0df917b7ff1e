"""Coding agents from npm, unmodified, on a task of two steps: they call a tool of theirs, read what it gave, and end.

The model's words are the tests' (relay.py); the tool really runs, in a folder and a home of its own. A proxy that is not
there keeps the agents from any other machine.
"""
import json
import subprocess

import pytest

from setting import HERE, node, npm  # noqa: F401
from relay import Relay
from server import Server

pytestmark = pytest.mark.long

TASK = "Make the file made.txt."
COMMAND = "echo RESULT-$((10+7)) | tee made.txt"  # what it gives is not in its text
# The tool of each agent that runs a command, and the argument that is the command.
TOOLS = {"exec_command": "cmd", "Bash": "command", "run_shell_command": "command", "bash": "command"}
NOBODY = "http://127.0.0.1:9"


def say(seen):
    """A call of the agent's tool; once its result has come, a text."""
    tool = next((t for t in seen.tools() if t in TOOLS), None)
    asked = json.dumps(seen.body)
    if tool is None or TASK not in asked or "RESULT-17" in asked:
        return "It is done."
    arguments = {TOOLS[tool]: COMMAND}
    if tool != "exec_command":
        arguments["description"] = "makes the file"
    if tool == "run_shell_command":
        arguments["is_background"] = False
    return "I make it.<tool_call>\n" + json.dumps({"name": tool, "arguments": arguments}) + "\n</tool_call>"


@pytest.fixture(scope="module")
def model(hearth, models):
    flags = ["--alias", "small", "--ctx", "8192", "--chat-template-file", HERE / "short.jinja"]
    with Server(hearth, models("default"), *flags, env={"HEARTH_TEST_SCRIPTS": "1"}) as s:
        yield s


def codex(url, home):
    (home / ".codex").mkdir()
    (home / ".codex" / "config.toml").write_text(
        'model = "small"\nmodel_provider = "hearth"\n[model_providers.hearth]\nname = "hearth"\n'
        f'base_url = "{url}/v1"\nwire_api = "responses"\nenv_key = "HEARTH_KEY"\n'
    )
    flags = ["--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox"]
    return ["codex", "exec", *flags, TASK], {"HEARTH_KEY": "none"}


def claude(url, home):
    env = {"ANTHROPIC_BASE_URL": url, "ANTHROPIC_AUTH_TOKEN": "none", "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1"}
    # Without asking for permissions it runs as root only where it is told that this is a sandbox.
    env["IS_SANDBOX"] = "1"
    return ["claude", "-p", TASK, "--model", "small", "--dangerously-skip-permissions"], env


def qwen(url, home):
    env = {"OPENAI_BASE_URL": url + "/v1", "OPENAI_API_KEY": "none", "OPENAI_MODEL": "small"}
    return ["qwen", "-p", TASK, "--yolo", "--auth-type", "openai"], env


def opencode(url, home):
    about = {"name": "small", "tool_call": True, "limit": {"context": 8192, "output": 4096}}
    options = {"baseURL": url + "/v1", "apiKey": "none"}
    provider = {"npm": "@ai-sdk/openai-compatible", "name": "hearth", "options": options, "models": {"small": about}}
    folder = home / ".config" / "opencode"
    folder.mkdir(parents=True)
    (folder / "opencode.json").write_text(json.dumps({"autoupdate": False, "provider": {"hearth": provider}}))
    return ["opencode", "run", TASK, "-m", "hearth/small"], {}


# What each asks at least: the dialect's path, and how often.
AGENTS = {codex: "/v1/responses", claude: "/v1/messages", qwen: "/v1/chat/completions", opencode: "/v1/chat/completions"}


@pytest.mark.parametrize("agent", AGENTS, ids=lambda a: a.__name__)
def test_an_agent_calls_its_tool_and_ends(model, node, tmp_path, agent):
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    with Relay(model, say) as relay:
        command, more = agent(relay.url, home)
        env = {**node, "HOME": str(home), "TERM": "dumb", "LANG": "C.UTF-8", "NO_PROXY": "127.0.0.1,localhost", **more}
        env |= {name: NOBODY for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")}
        done = subprocess.run(command, cwd=work, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=240)
        said = f"{done.stdout[-2000:]}\n{done.stderr[-2000:]}\n{relay.seen}"
    assert done.returncode == 0, said
    assert (work / "made.txt").read_text() == "RESULT-17\n", said
    assert "It is done." in done.stdout, said
    asked = [s for s in relay.seen if s.path == AGENTS[agent]]
    assert len(asked) >= 2 and "RESULT-17" in json.dumps(asked[-1].body), said
    assert all(s.status == 200 for s in relay.seen), said
