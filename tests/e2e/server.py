"""A server for tests: started on a free port, stopped with SIGTERM, and the ways to talk to it, and to leave it."""
import http.client
import json
import os
import re
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time

TIMEOUT = 120


class Server:
    """`with Server(hearth, MODEL, "--flag") as s:` - s.port, s.post(...), s.raw(bytes)."""

    def __init__(self, hearth, *args, env=None, ready=True, **popen):
        words = [hearth, "serve", *map(str, args), "--port", "0"]
        self._home = tempfile.TemporaryDirectory()  # nothing of the user's own is read or written
        own = {k: v for k, v in os.environ.items() if not k.startswith(("OLLAMA_", "LLAMA_"))}
        own |= {"XDG_STATE_HOME": self._home.name, "XDG_CONFIG_HOME": self._home.name}
        self.process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env={**own, **(env or {})}, **popen)
        self.lines = []
        self.port = None
        self._has_port = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if not self._has_port.wait(TIMEOUT) or self.port is None:
            self.process.kill()
            raise RuntimeError("the server did not start:\n" + "".join(self.lines))
        self.url = f"http://127.0.0.1:{self.port}"
        if ready:
            self.wait_until_ready()

    def _read(self):
        for line in self.process.stderr:
            self.lines.append(line)
            found = re.search(r"listening on https?://.*:(\d+)", line)
            if found:
                self.port = int(found.group(1))
                self._has_port.set()
        self._has_port.set()

    def wait_until_ready(self):
        until = time.monotonic() + TIMEOUT
        while self.get("/health").status != 200:
            assert time.monotonic() < until, "the model was not loaded in time"
            time.sleep(0.02)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self, timeout=60):
        """SIGTERM; returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        self._reader.join(10)
        self._home.cleanup()
        return code

    def request(self, method, path, body=None, headers=None):
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT)
        if body is not None and not isinstance(body, (bytes, str)):
            body = json.dumps(body)
        c.request(method, path, body, headers or {})
        reply = c.getresponse()
        reply.body = reply.read()
        c.close()
        return reply

    def get(self, path, **more):
        return self.request("GET", path, **more)

    def post(self, path, body, **more):
        return self.request("POST", path, body, **more)

    def json(self, path, body=None, status=200, **more):
        reply = self.get(path, **more) if body is None else self.post(path, body, **more)
        assert reply.status == status, reply.body
        return json.loads(reply.body)

    def events(self, path, body, headers=None):
        """The frames of an event stream: parsed data, and the last "[DONE]" as it is."""
        reply = self.post(path, body, headers=headers)
        assert reply.status == 200, reply.body
        frames = [f for f in reply.body.decode().split("\n\n") if f and not f.startswith(":")]
        data = [f.removeprefix("data: ") for f in frames]
        return [d if d == "[DONE]" else json.loads(d) for d in data]

    def connect(self):
        s = socket.create_connection(("127.0.0.1", self.port), timeout=TIMEOUT)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return s

    def raw(self, *pieces, read_until_close=True, pause=0.0):
        """Sends bytes, returns what comes until the other end closes."""
        with self.connect() as s:
            for p in pieces:
                try:
                    s.sendall(p)
                except OSError:
                    break
                time.sleep(pause)
            got = b""
            while read_until_close:
                try:
                    piece = s.recv(65536)
                except (OSError, socket.timeout):
                    break
                if not piece:
                    break
                got += piece
            return got


def stats(server):
    """What of the engine is at work now, from /metrics: running and waiting requests."""
    text = server.get("/metrics").body.decode()
    found = dict(re.findall(r"^llamacpp:(requests_processing|requests_deferred)(?:\{[^}]*\})? (\d+)", text, re.M))
    return int(found.get("requests_processing", 0)), int(found.get("requests_deferred", 0))


def at_work(server):
    """How many requests the engine has, at work or waiting."""
    return sum(stats(server))


def until_idle(server, left=0, limit_s=30):
    """Waits until no more than `left` requests are at work."""
    until = time.monotonic() + limit_s
    while at_work(server) > left:
        assert time.monotonic() < until, f"{at_work(server)} still at work after {limit_s} s"
        time.sleep(0.01)
    assert at_work(server) == left


def post(path, body, *headers, version="1.1"):
    """A request as bytes."""
    lines = [f"POST {path} HTTP/{version}", "Host: localhost", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


LONG = {"messages": [{"role": "user", "content": "Count to one thousand, one number in each line."}], "max_tokens": 2000, "ignore_eos": True}


def start_chat(server, wait_for=1, **more):
    """The socket of a long chat, when so many requests are at work."""
    s = server.connect()
    s.sendall(post("/v1/chat/completions", json.dumps(LONG | more).encode()))
    until = time.monotonic() + 30
    while at_work(server) < wait_for:
        assert time.monotonic() < until
        time.sleep(0.01)
    return s


def leave(s, how):
    """Closes a socket, or resets its connection."""
    if how == "reset":
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()
