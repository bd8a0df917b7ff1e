"""Drives tests/parity/probe_chat.c: conversations through a model's template and tokenizer."""
import json
import os
import pathlib
import subprocess

import pytest


class Chat:
    """One model. ask() answers {"name", "text", "ids"} or {"error"}."""

    def __init__(self, model):
        probe = pathlib.Path(os.environ["HEARTH_PROBES"]) / "probe_chat"
        if not probe.exists():
            pytest.skip("probe_chat is not built")
        self.probe = subprocess.Popen([probe, model], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, messages, tools=None, **more):
        question = {"messages": messages, "tools": tools, **more}
        self.probe.stdin.write(json.dumps(question).encode() + b"\n")
        self.probe.stdin.flush()
        return json.loads(self.probe.stdout.readline())

    def close(self):
        self.probe.stdin.close()
        assert self.probe.wait() == 0


def model_folder(folder, files):
    """A folder that passes as a model, with nothing but the files of a tokenizer: {name: path, text or bytes}."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text('{"model_type": "llama"}')
    (folder / "model.safetensors").write_bytes(b"\2" + bytes(7) + b"{}")
    for name, source in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        if isinstance(source, pathlib.Path):
            (folder / name).symlink_to(source)
        else:
            (folder / name).write_bytes(source if isinstance(source, bytes) else source.encode())
    return folder
