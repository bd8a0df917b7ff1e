"""Every chat template that lies in the packages of other engines and trainers, as transformers renders it: files of
templates, and strings inside of JSON, YAML and Python files that are templates."""
import ast
import hashlib
import json
import zipfile

import pytest

import template_cases
import template_reference as reference
from test_templates import check, engine  # noqa: F401 - the fixture

pytestmark = pytest.mark.long


def looks_like_one(text):
    return len(text) > 60 and "{%" in text and "message" in text


def strings_of(value):
    stack = [value]
    while stack:
        v = stack.pop()
        if isinstance(v, str):
            yield v
        stack += v if isinstance(v, list) else v.values() if isinstance(v, dict) else []


def templates_of(name, text):
    """The templates in one file."""
    end = name.rsplit(".", 1)[-1]
    if end in ("jinja", "jinja2", "j2"):
        return [text]
    if end not in ("json", "py") or not looks_like_one(text):
        return []
    try:
        found = strings_of(json.loads(text)) if end == "json" else (
            n.value for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Constant) and isinstance(n.value, str) and "def " not in n.value)
        return [t for t in found if looks_like_one(t)]
    except (ValueError, SyntaxError):
        return []


@pytest.fixture(scope="module")
def templates(models):
    """{name: template}, each text once, without those of llama.cpp."""
    known = {hashlib.sha256(p.read_bytes()).digest() for p in models("llama_templates").glob("*.jinja")}
    found = {}
    for archive in sorted(models("template_packages").iterdir()):
        with zipfile.ZipFile(archive) as z:
            for entry in z.infolist():
                if entry.filename.endswith((".jinja", ".jinja2", ".j2", ".json", ".py")) and entry.file_size < 30e6:
                    for i, text in enumerate(templates_of(entry.filename, z.read(entry).decode(errors="replace"))):
                        digest = hashlib.sha256(text.encode()).digest()
                        if digest not in known:
                            known.add(digest)
                            found[f"{entry.filename} {i}"] = text
    return found


def test_templates_of_other_packages_render_as_transformers_renders_them(templates, engine):  # noqa: F811
    assert len(templates) > 200
    n_text = 0
    for name, template in templates.items():
        for case, messages, tools, kwargs in template_cases.cases():
            wanted = reference.render_chat(template, messages, tools, **kwargs)
            check(wanted, engine(template, reference.variables_of(messages, tools, **kwargs)), f"{name}, {case}")
            n_text += isinstance(wanted, str)
    assert n_text > 100 * len(templates)
    print(f"{len(templates)} templates, {n_text} texts")
