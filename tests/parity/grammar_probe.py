"""The grammars of Hearth, driven through probe_grammar."""
import os
import pathlib
import subprocess

SPACES = {"free": 0, "spaced": 1, "compact": 2}


class Refused(Exception):
    """A grammar that was not compiled: `code` is the name of the error."""

    def __init__(self, code, message):
        super().__init__(f"{code}: {message}")
        self.code, self.message = code, message


class Probe:
    def __init__(self):
        path = pathlib.Path(os.environ["HEARTH_PROBES"]) / "probe_grammar"
        self.process = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, line, data=b""):
        self.process.stdin.write(line.encode() + b"\n" + data)
        self.process.stdin.flush()
        return self.answer()

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the probe ended: {self.process.wait()}")
        return line.decode().rstrip("\n")

    def vocab(self, path):
        """Loads a tokenizer; the nanoseconds that its tries took."""
        ok, *rest = self.ask(f"V {path}").split()
        assert ok == "ok", rest
        return int(rest[0]), int(rest[1])

    def compile(self, kind, text, space="free", lenient=False):
        """Compiles; the nanoseconds, and what was widened."""
        data = text.encode(errors="surrogatepass") if isinstance(text, str) else text
        answer = self.ask(f"G {kind} {SPACES[space]} {int(lenient)} {len(data)}", data)
        what, rest = answer.split(" ", 1)
        if what == "error":
            raise Refused(*rest.split(" ", 1))
        ns, n = rest.split()
        return int(ns), [self.answer() for _ in range(int(n))]

    def test(self, text):
        """1: in the grammar, 0: a beginning of something in it, -i - 1: byte i is refused."""
        data = text.encode() if isinstance(text, str) else text
        return int(self.ask(f"T {len(data)}", data))

    def accepts(self, text):
        return self.test(text) == 1

    def masks(self, text):
        """Goes through a text's tokens: number of tokens, of those allowed, whether it may end; times of the masks."""
        data = text.encode()
        answer = self.ask(f"M {len(data)}", data)
        assert not answer.startswith("error"), answer
        n, allowed, accepting = map(int, answer.split())
        return n, allowed, bool(accepting), [int(v) for v in self.answer().split()]

    def sample(self, seed, most=2000):
        """(ended, number of tokens, bytes, times of the masks)"""
        answer = self.ask(f"S {seed} {most}")
        assert not answer.startswith("error"), answer
        how, n, size = answer.split()
        data = self.process.stdout.read(int(size) + 1)[:-1]
        return how == "ended", int(n), data, [int(v) for v in self.answer().split()]

    def runs(self, text):
        """Takes what is forced on the way through a text: its tokens, those forced, and where others would be in it."""
        data = text.encode()
        answer = self.ask(f"R {len(data)}", data)
        assert not answer.startswith("error"), answer
        return tuple(map(int, answer.split()))

    def forced(self):
        answer = self.ask("F")
        assert not answer.startswith("error"), answer
        n, size = map(int, answer.split())
        return n, self.process.stdout.read(size + 1)[:-1]

    def close(self):
        self.process.stdin.close()
        self.process.wait()
