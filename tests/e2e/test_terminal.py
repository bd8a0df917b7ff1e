"""hearth run as a person sees it: through a pseudo-terminal."""
import os
import pty
import re
import select
import signal
import subprocess
import time

import pytest


class Terminal:
    """A child on a pseudo-terminal."""

    def __init__(self, *args):
        self.master, slave = pty.openpty()
        env = {**os.environ, "TERM": "xterm", "LC_ALL": "C.UTF-8"}
        self.child = subprocess.Popen(
            list(map(str, args)), stdin=slave, stdout=slave, stderr=slave, env=env, start_new_session=True,
            preexec_fn=own_terminal,
        )
        os.close(slave)
        self.seen = ""

    def wait_for(self, pattern, seconds=60):
        """Reads until the pattern appears after what was matched before; returns the text up to its end."""
        end = time.monotonic() + seconds
        while not (found := re.search(pattern, self.seen)):
            ready, _, _ = select.select([self.master], [], [], max(0, end - time.monotonic()))
            assert ready, f"{pattern!r} did not appear in {self.seen!r}"
            try:
                data = os.read(self.master, 65536)
            except OSError:
                data = b""
            assert data, f"the program ended before {pattern!r}: {self.seen!r}"
            self.seen += data.decode(errors="replace")
        text, self.seen = self.seen[: found.end()], self.seen[found.end() :]
        return text

    def type(self, text):
        os.write(self.master, text.encode())

    def end(self, seconds=30):
        """Reads what is left and returns the exit code."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            ready, _, _ = select.select([self.master], [], [], 0.1)
            try:
                if ready and not os.read(self.master, 65536):
                    break
            except OSError:
                break
            if not ready and self.child.poll() is not None:
                break
        return self.child.wait(seconds)

    def close(self):
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait()
        os.close(self.master)


def own_terminal():
    """Makes standard input the controlling terminal, so that Ctrl-C arrives as a signal."""
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@pytest.fixture
def talk(hearth, models):
    terminals = []

    def start(*args):
        terminals.append(Terminal(hearth, "run", models("default"), *args))
        return terminals[-1]

    yield start
    for terminal in terminals:
        terminal.close()


PROMPT = r">>> "


def counts(text):
    """Prompt tokens, those computed before, answer tokens: from what --verbose prints."""
    found = re.search(r"prompt +(\d+) tokens \((\d+) computed before\)[\s\S]*answer +(\d+) tokens", text)
    return [int(n) for n in found.groups()]


def test_two_turns_share_a_conversation(talk):
    t = talk("--temp", "0", "-n", "30", "--verbose")
    t.wait_for(PROMPT)
    t.type("Name a colour.\n")
    first = counts(t.wait_for(r"peak[\s\S]*\n>>> "))
    t.type("Name another.\n")
    second = counts(t.wait_for(r"peak[\s\S]*\n>>> "))
    assert second[0] > first[0] + first[2]  # question, answer, question
    assert second[1] >= first[0]  # computed once
    t.type("/clear\n")
    t.wait_for(PROMPT)
    t.type("Name a colour.\n")
    third = counts(t.wait_for(r"peak[\s\S]*\n>>> "))
    assert third[0] == first[0] and third[2] == first[2]
    t.type("/bye\n")
    assert t.end() == 0


def test_control_c_stops_the_answer_and_not_the_program(talk):
    t = talk("--seed", "3", "--verbose")
    t.wait_for(PROMPT)
    t.type("Write a very long story about the sea.\n")
    t.wait_for(r"sea\.\r?\n.*\w+ \w+ \w+")
    t.type("\x03")
    assert "interrupted" in t.wait_for(r"\n>>> ", seconds=20)
    t.type("What is the capital of France?\n")
    t.wait_for(r"Paris[\s\S]*\n>>> ")
    t.type("\x04")
    assert t.end() == 0


def test_control_c_at_the_prompt_drops_the_line(talk):
    t = talk("--temp", "0", "-n", "4")
    t.wait_for(PROMPT)
    t.type("half a li")
    t.wait_for("half a li")
    t.type("\x03")
    t.wait_for(r"Ctrl-D leaves[\s\S]*>>> ")
    t.type("/set temperature 0.25\n")
    t.wait_for(PROMPT)
    t.type("/set\n")
    t.wait_for(r"temperature 0\.25[\s\S]*>>> ")
    t.type("\x04")
    assert t.end() == 0


def test_text_of_several_lines_is_one_message(talk):
    t = talk("--temp", "0", "-n", "1", "--verbose")
    t.wait_for(PROMPT)
    t.type('"""one\n')
    t.wait_for(r"\.\.\. ")
    t.type('two"""\n')
    several = re.search(r"prompt +(\d+) tokens", t.wait_for(r"\n>>> "))
    t.type("/clear\n")
    t.wait_for(PROMPT)
    t.type("one two\n")
    one = re.search(r"prompt +(\d+) tokens", t.wait_for(r"peak[\s\S]*\n>>> "))
    assert several and one and abs(int(several[1]) - int(one[1])) <= 1


def test_commands_and_mistakes_are_answered(talk):
    t = talk()
    t.wait_for(PROMPT)
    t.type("/help\n")
    t.wait_for(r"/clear[\s\S]*/bye[\s\S]*>>> ")
    t.type("/sett\n")
    t.wait_for(r"unknown command /sett[\s\S]*>>> ")
    t.type("/set top_p 7\n")
    t.wait_for(r"top_p is 7[\s\S]*>>> ")
    t.type("/set warmth 7\n")
    t.wait_for(r"/set needs[\s\S]*>>> ")
    t.type("\n")
    t.wait_for(PROMPT)
    t.type("/exit\n")
    assert t.end() == 0


def test_a_full_context_is_said_and_clear_starts_over(talk):
    t = talk("--temp", "0", "-c", "80")
    t.wait_for(PROMPT)
    t.type("Write a very long story about the sea.\n")
    t.wait_for(r"context of 80 tokens is full[\s\S]*>>> ")
    t.type("Go on.\n")
    t.wait_for(r"the context holds 80[\s\S]*/clear[\s\S]*>>> ")
    t.type("/clear\n")
    t.wait_for(PROMPT)
    t.type("Hi\n")
    t.wait_for(r"Hi[\s\S]*\n>>> ")
    t.type("/bye\n")
    assert t.end() == 0


def test_control_c_ends_a_single_answer(hearth, models):
    t = Terminal(hearth, "run", models("default"), "Write a very long story about the sea.", "--seed", "3")
    try:
        t.wait_for(r"\w+ \w+ \w+ \w+")
        t.type("\x03")
        assert t.end() == 130
    finally:
        t.close()


def test_an_interrupt_from_outside_stops_the_answer_too(talk):
    t = talk("--seed", "3", "--verbose")
    t.wait_for(PROMPT)
    t.type("Write a very long story about the sea.\n")
    t.wait_for(r"sea\.\r?\n.*\w+ \w+ \w+")
    os.kill(t.child.pid, signal.SIGINT)
    assert "interrupted" in t.wait_for(r"\n>>> ", seconds=20)
    t.type("/bye\n")
    assert t.end() == 0


def test_control_c_stops_the_reading_of_a_long_prompt(hearth, models):
    t = Terminal(hearth, "run", models("default"), "word " * 7000, "-t", "1")
    try:
        t.wait_for(r"loading")
        t.wait_for(r"\x1b\[K")
        time.sleep(0.2)
        begin = time.monotonic()
        t.type("\x03")
        assert t.end() == 130
        assert time.monotonic() - begin < 5
    finally:
        t.close()
