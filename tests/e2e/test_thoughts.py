"""hearth run with models that think and call tools: what is told apart, and what a model cannot be asked for. The default model
does neither, so templates that open its thoughts stand in for it."""
import json

import pytest

from test_terminal import Terminal

TURNS = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}<|im_start|>assistant\n"
THINKS = TURNS + "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% else %}<think>\n{% endif %}"
FORCED = TURNS + "<think>\n"
TOOLS = [{"type": "function", "function": {"name": "get_time", "parameters": {"type": "object", "properties": {}}}}]


@pytest.fixture
def ask(run_hearth, models, tmp_path):
    def run(template, *args, check=True, json_out=True):
        path = tmp_path / "template.jinja"
        path.write_text(template)
        more = ["--json"] if json_out else []
        done = run_hearth("run", models("default"), "Say hello.", "--chat-template", path, "-n", "12", "--temp", "0", *more, *args,
                          check=check)
        return json.loads(done.stdout) if json_out and check else done

    return run


def test_a_thought_that_the_prompt_opened_is_no_text(ask):
    got = ask(THINKS)
    assert got["text"] == "" and len(got["reasoning"]) > 10 and got["tool_calls"] == []
    assert ask(THINKS, json_out=False).stdout == b"\n"  # no terminal: content alone


def test_thinking_is_turned_on_and_off(ask):
    assert ask(THINKS, "--think", "on")["text"] == ""
    off = ask(THINKS, "--think", "off")
    assert off["reasoning"] is None and off["text"]
    # A template that knows no switch: its own end of a thought stands behind the prompt.
    off = ask(FORCED, "--think", "off")
    assert off["reasoning"] is None and off["text"]


def test_a_budget_ends_a_thought(ask):
    got = ask(THINKS, "--think-budget", "5")
    assert got["reasoning"] and got["text"] and len(got["reasoning"].split()) <= 5
    done = ask(TURNS, "--think-budget", "5", check=False)
    assert done.returncode == 1 and b"knows no thoughts" in done.stderr


@pytest.mark.parametrize("template, word, why", [
    (TURNS, "on", "knows no thoughts"), (THINKS, "high", "knows no effort"), (THINKS, "much", "not 'much'")])
def test_what_a_model_cannot_be_asked_for_is_an_error(ask, template, word, why):
    done = ask(template, "--think", word, check=False)
    assert done.returncode == 1 and why in done.stderr.decode()


def test_tools_reach_the_template_or_are_refused(ask, tmp_path):
    file = tmp_path / "tools.json"
    file.write_text(json.dumps(TOOLS))
    given = ask("{% if tools %}{{ tools | tojson }}{% endif %}" + TURNS, "--tools", file)
    assert given["tokens"]["prompt"] > ask(TURNS)["tokens"]["prompt"] + 20
    done = ask(TURNS, "--tools", file, check=False)
    assert done.returncode == 1 and b"knows no tools" in done.stderr
    file.write_text('[{"type": "function"}]')
    done = ask("{{ tools | tojson }}" + TURNS, "--tools", file, check=False)
    assert done.returncode == 1 and b"tool 0 has no name" in done.stderr


def test_a_terminal_shows_a_thought_as_one_grey_line(hearth, models, tmp_path):
    path = tmp_path / "template.jinja"
    path.write_text(THINKS)
    t = Terminal(hearth, "run", models("default"), "--chat-template", path, "-n", "8", "--temp", "0")
    try:
        t.wait_for(">>> ")
        t.type("Say hello.\n")
        t.wait_for("\x1b\\[90m")
        t.wait_for(r"thought for \d+\.\d s, \d+ words")
        t.wait_for(">>> ")
        t.type("/thoughts\n")
        shown = t.wait_for(">>> ")
        assert len(shown.strip()) > 20, "the thought is shown when it is asked for"
        t.type("/bye\n")
        assert t.end() == 0
    finally:
        t.close()


def test_ctrl_c_ends_the_thought_and_then_the_answer(hearth, models, tmp_path):
    path = tmp_path / "template.jinja"
    path.write_text(THINKS)
    t = Terminal(hearth, "run", models("default"), "--chat-template", path, "--temp", "0")
    try:
        t.wait_for(">>> ")
        t.type("Count from one to nine thousand.\n")
        t.wait_for("\x1b\\[90m.*\x1b\\[90m")
        t.type("\x03")
        t.wait_for(r"thought for \d+\.\d s, \d+ words")
        t.wait_for(r"\w+")  # the answer begins
        t.type("\x03")
        t.wait_for(">>> ")
        t.type("/bye\n")
        assert t.end() == 0
    finally:
        t.close()
