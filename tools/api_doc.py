#!/usr/bin/env python3
"""Writes the tables of docs/api.md from what the server itself says (build/release/probe_fields).

    tools/api_doc.py [PROBE]           rewrites the part of docs/api.md below its marker
    tools/api_doc.py --print [PROBE]   prints that part
"""
import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
DOC = ROOT / "docs" / "api.md"
MARKER = "<!-- below: tools/api_doc.py -->\n"
NAMES = {"openai": "OpenAI", "anthropic": "Anthropic", "ollama": "Ollama", "llama": "llama-server"}


def cell(text):
    return (text or "").replace("|", "\\|")


def kind_of(field):
    if field["kind"] == "word":
        return " or ".join(field["words"].split("|"))
    words = field["words"] if field["kind"] == "custom" and field["words"] else field["kind"]
    text = " or ".join(words.split("|"))
    if "lo" in field and abs(field["hi"]) < 1e9:
        text += f", {field['lo']:g} to {field['hi']:g}"
    return text


def row(field):
    honoured = {"ignored": "no effect", "refused": "refused"}.get(field["kind"], "yes")
    kind = "any" if field["kind"] in ("ignored", "refused") else kind_of(field)
    name = f"`{field['name']}`" + (" (required)" if field["required"] else "")
    return f"| {name} | {cell(kind)} | {honoured} | {cell(field['help'])} |"


def access(route):
    return "none" if route["public"] else "admin" if route["admin"] else "use"


def tables(told):
    lines = ["## Endpoints", "", "| path | methods | words of | key |", "| --- | --- | --- | --- |"]
    seen = set()
    for r in told["routes"]:
        line = f"| `{r['pattern']}` | {', '.join(r['methods'])} | {NAMES.get(r['dialect'], r['dialect'] or '')} | {access(r)} |"
        if line not in seen:
            lines.append(line)
        seen.add(line)
    for e in told["endpoints"]:
        lines += ["", f"## {e['name']}", "", "| field | value | honoured | |", "| --- | --- | --- | --- |"]
        lines += [row(f) for f in e["fields"]]
    return "\n".join(lines) + "\n"


def generate(probe):
    return tables(json.loads(subprocess.run([probe], capture_output=True, check=True).stdout))


def main(args):
    prints = args[:1] == ["--print"]
    rest = args[1:] if prints else args
    text = generate(rest[0] if rest else ROOT / "build" / "release" / "probe_fields")
    if prints:
        print(text, end="")
        return
    head = DOC.read_text().split(MARKER)[0]
    DOC.write_text(head + MARKER + "\n" + text)


if __name__ == "__main__":
    main(sys.argv[1:])
