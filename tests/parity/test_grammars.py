"""Grammars against what others say: the test suite of JSON Schema, the jsonschema package, llama.cpp's grammar files."""
import collections
import json
import pathlib
import random
import tarfile

import grammar_probe
import jsonschema
import pytest

DIALECTS = {
    "draft4": "http://json-schema.org/draft-04/schema#",
    "draft6": "http://json-schema.org/draft-06/schema#",
    "draft7": "http://json-schema.org/draft-07/schema#",
    "draft2020-12": "https://json-schema.org/draft/2020-12/schema",
}


@pytest.fixture(scope="module")
def probe():
    p = grammar_probe.Probe()
    yield p
    p.close()


def read_suite(path):
    """[(draft, file, case)] of the JSON-Schema-Test-Suite that comes with the source of jsonschema."""
    cases = []
    with tarfile.open(path) as tar:
        for member in tar:
            parts = pathlib.PurePosixPath(member.name).parts
            if len(parts) == 5 and parts[1:3] == ("json", "tests") and parts[3] in DIALECTS and parts[4].endswith(".json"):
                cases += [(parts[3], parts[4], case) for case in json.load(tar.extractfile(member))]
    assert len(cases) > 900
    return cases


@pytest.fixture(scope="module")
def suite(models):
    return read_suite(models("jsonschema"))


def refs_root(schema, root):
    """The schema behind a local reference, as far as it is needed to order members."""
    for _ in range(8):
        ref = schema.get("$ref") if isinstance(schema, dict) else None
        if not isinstance(ref, str) or not ref.startswith("#"):
            break
        schema = root
        for part in filter(None, ref[1:].split("/")):
            schema = schema.get(part.replace("~1", "/").replace("~0", "~"), {}) if isinstance(schema, dict) else {}
    return schema


def names_of(schema, root, depth=0):
    """Property names in the order in which a conjunction names them: properties, then what it refers to, then required."""
    schema = refs_root(schema, root)
    if not isinstance(schema, dict) or depth > 4:
        return [], []
    names, required = list(schema.get("properties") or {}), list(schema.get("required") or [] if isinstance(schema.get("required"), list) else [])
    inner = list(schema.get("allOf") or []) + [v for v in (schema.get("dependentSchemas") or {}).values()]
    for key in ("dependencies", "dependentRequired"):
        for name, v in (schema.get(key) or {}).items():
            required += [name, *v] if isinstance(v, list) else [name]
            inner += [v] if isinstance(v, dict) else []
    for one in inner:
        more, also = names_of(one, root, depth + 1)
        names += more
        required += also
    return names, required


def reordered(value, schema, root):
    """The value with its members in the order of the schema, and whole numbers without a fraction."""
    schema = refs_root(schema, root)
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e16:
        return int(value)
    if isinstance(value, list):
        items = schema.get("items", {}) if isinstance(schema, dict) else {}
        return [reordered(v, items if isinstance(items, dict) else {}, root) for v in value]
    if isinstance(value, dict):
        names, required = names_of(schema, root)
        order = {name: i for i, name in reversed(list(enumerate(names + required)))}
        keys = sorted(value, key=lambda k: order.get(k, len(order)))
        props = schema.get("properties", {}) if isinstance(schema, dict) else {}
        return {k: reordered(value[k], props.get(k, {}), root) for k in keys}
    return value


# Valid, and refused all the same: formats are enforced though the suite's default calls them annotations; a listed object
# has one order; a vocabulary can switch keywords off, which is not looked at.
EXCEPTIONS = {"format.json", "vocabulary.json"}
ORDERED = "same object with different property order is valid"


def test_the_suite_of_json_schema(probe, suite):
    """No invalid instance is accepted; valid ones are, but for the exceptions above."""
    counts = collections.Counter()
    wrong = []
    for draft, file, case in suite:
        schema = case["schema"]
        if isinstance(schema, dict):
            schema = {"$schema": DIALECTS[draft], **schema}
        try:
            probe.compile("schema", json.dumps(schema))
        except grammar_probe.Refused as e:
            counts[e.code] += 1
            if e.code == "range" and not any(t["valid"] for t in case["tests"]):
                continue  # nothing satisfies it, and that is said
            if e.code != "unsupported":
                wrong.append((draft, file, case["description"], str(e)))
            continue
        counts["compiled"] += 1
        for test in case["tests"]:
            got = probe.accepts(json.dumps(reordered(test["data"], schema, schema), ensure_ascii=False))
            if got and not test["valid"]:
                wrong.append((draft, file, case["description"], test["description"], "accepted"))
            if not got and test["valid"] and file not in EXCEPTIONS and test["description"] != ORDERED:
                wrong.append((draft, file, case["description"], test["description"], "refused"))
            counts["instances"] += 1
    assert not wrong, f"{len(wrong)}: {wrong[:10]}"
    assert counts["compiled"] >= 750 and counts["instances"] >= 2700, counts


def test_refusals_name_the_keyword(probe, suite):
    for draft, file, case in suite:
        try:
            probe.compile("schema", json.dumps(case["schema"]))
        except grammar_probe.Refused as e:
            assert e.message.startswith("schema, at /") or e.code == "range", (draft, file, case["description"], e.message)


# ---- schemas made at random, answers sampled from random logits


class Maker:
    """Schemas of the kind that clients send, with what makes answers end."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def number(self):
        r = self.random
        s = {"type": r.choice(["integer", "number"])}
        if r.random() < 0.5:
            s[r.choice(["minimum", "exclusiveMinimum"])] = r.choice([-1000, -5, 0, 1, 17])
        if r.random() < 0.5:
            s[r.choice(["maximum", "exclusiveMaximum"])] = r.choice([18, 99, 1000, 123456])
        if s["type"] == "integer" and r.random() < 0.3:
            s["multipleOf"] = r.choice([2, 5, 7, 10])
        return s

    def string(self):
        r = self.random
        s = {"type": "string"}
        kind = r.random()
        if kind < 0.2:
            s["pattern"] = r.choice(["^[a-z]{2,8}$", "^\\d{3}-\\d{4}$", "^(foo|bar)+$", "^#[0-9a-f]{6}$", "x", "^[^,]*,[^,]*$"])
        elif kind < 0.4:
            s["format"] = r.choice(["date", "time", "date-time", "uuid", "ipv4", "ipv6", "email", "hostname", "duration"])
        elif kind < 0.7:
            s["minLength"] = r.randrange(4)
            s["maxLength"] = r.randrange(4, 30)
        return s

    def schema(self, depth):
        r = self.random
        kind = r.random()
        if depth == 0 or kind < 0.35:
            return r.choice([self.number, self.string, self.string, lambda: {"type": "boolean"}, lambda: {"type": "null"},
                             lambda: {"enum": r.sample(["red", "green", 3, None, True, "é", [1, "x"], {"k": 1}], 3)}])()
        if kind < 0.7:
            return self.object(depth)
        if kind < 0.85:
            s = {"type": "array", "items": self.schema(depth - 1), "maxItems": r.randrange(1, 5)}
            if r.random() < 0.3:
                s["minItems"] = 1
            if r.random() < 0.2:
                s["prefixItems"] = [self.schema(depth - 1)]
            if r.random() < 0.2:
                s = {"type": "array", "items": {"enum": ["a", "b", "c", "d"]}, "uniqueItems": True, "minItems": 2}
            return s
        if kind < 0.95:
            return {r.choice(["anyOf", "anyOf", "allOf"]): [self.schema(depth - 1)] + ([{"description": "x"}] if r.random() < 0.5 else [])}
        return {"type": ["string", "null"], "maxLength": 20}

    def object(self, depth):
        r = self.random
        names = r.sample(["name", "id", "tags", "größe", "a b", "x/y", "value", "next"], r.randrange(1, 5))
        s = {"type": "object", "properties": {n: self.schema(depth - 1) for n in names}}
        s["required"] = [n for n in names if r.random() < 0.6]
        kind = r.random()
        if kind < 0.75:
            s["additionalProperties"] = False
        elif kind < 0.85:
            s["additionalProperties"] = {"type": "integer"}
            s["maxProperties"] = len(names) + 2
        elif kind < 0.95:
            s["patternProperties"] = {"^p_[a-z]{1,4}$": {"type": "boolean"}}
            s["additionalProperties"] = False
            s["maxProperties"] = len(names) + 2
        if len(names) > 1 and r.random() < 0.1:
            s["dependentRequired"] = {names[0]: [names[1]]}
        return s


def check_samples(probe, vocab, n):
    probe.vocab(vocab)
    ended = 0
    for seed in range(n):
        schema = Maker(seed).schema(3)
        try:
            probe.compile("schema", json.dumps(schema), space=("free", "spaced", "compact")[seed % 3])
        except grammar_probe.Refused as e:
            assert e.code == "range", e  # a few of these schemas hold for nothing
            continue
        done, n_token, text, _ = probe.sample(seed, 2000)
        if not done:
            continue
        ended += 1
        value = json.loads(text)
        jsonschema.Draft202012Validator(schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER).validate(value)
    return ended


def test_sampled_answers_validate(probe, models):
    """What ended by itself satisfies its schema; nearly everything ends."""
    vocab = models("dashscope") / "dashscope/resources/qwen.tiktoken"
    assert check_samples(probe, vocab, 60) >= 57


@pytest.mark.long
def test_a_thousand_sampled_answers_validate(probe, models):
    vocab = models("dashscope") / "dashscope/resources/qwen.tiktoken"
    assert check_samples(probe, vocab, 1000) >= 920  # strings without a bound end by chance alone


# ---- what must come

ADDRESS = {
    "type": "object",
    "properties": {"street_and_number": {"type": "string", "maxLength": 30}, "postal_code": {"type": "string", "pattern": "^[0-9]{5}$"},
                   "country_code": {"enum": ["DE", "FR", "AT"]}, "größe": {"const": "  ganz groß"}},
    "required": ["street_and_number", "postal_code", "country_code", "größe"], "additionalProperties": False,
}
ORDER = {
    "type": "object",
    "properties": {"customer_identifier": {"type": "integer", "minimum": 0}, "shipping_address": ADDRESS,
                   "lines": {"type": "array", "minItems": 2, "items": {
                       "type": "object", "properties": {"product_name": {"type": "string"}, "is_gift_wrapped": {"type": "boolean"}},
                       "required": ["product_name", "is_gift_wrapped"], "additionalProperties": False}},
                   "payment_status": {"enum": ["awaiting_payment", "payment_received", "payment_refunded"]}},
    "required": ["customer_identifier", "shipping_address", "lines", "payment_status"], "additionalProperties": False,
}
ANSWER = {
    "customer_identifier": 4711,
    "shipping_address": {"street_and_number": "Hauptstr. 5 b", "postal_code": "10115", "country_code": "DE", "größe": "  ganz groß"},
    "lines": [{"product_name": 'Book "é"', "is_gift_wrapped": True}, {"product_name": " 12", "is_gift_wrapped": False}],
    "payment_status": "payment_received",
}
LAYOUTS = {"free": {"indent": 2}, "spaced": {}, "compact": {"separators": (",", ":")}}


@pytest.mark.parametrize("name", ["llama-spm", "llama-bpe", "qwen2", "gemma-4", "gpt-2", "command-r", "falcon", "deepseek-llm"])
def test_forced_tokens_are_those_of_the_tokenizer(probe, models, name):
    """Taken on the way through an answer they are the tokens of the whole: nothing behind them has changed the cut."""
    probe.vocab(models("llama_vocab") / f"ggml-vocab-{name}.gguf")
    for space, layout in LAYOUTS.items():
        probe.compile("schema", json.dumps(ORDER), space=space)
        n, n_forced, n_wrong = probe.runs(json.dumps(ANSWER, ensure_ascii=False, **layout))
        assert n_wrong == 0 and n_forced > n * (0.15 if space == "free" else 0.35), (space, n, n_forced, n_wrong)


# ---- llama.cpp's grammars

GBNF = {
    "arithmetic": (["x=1\n", "a+b=(3*2)\n"], ["x=\n", "1+1"]),
    "c": (["int main(){return 0;}"], ["int main({"]),
    "chess": (["1. e4 e5\n2. Nf3 Nc6\n"], ["1. e9 e5\n"]),
    "english": (["Hello world."], ["\u00e9t\u00e9"]),
    "japanese": (["\u3053\u3093\u306b\u3061\u306f"], ["hello"]),
    "json": (['{"a": [1, -2.5e3, "x\\u00e9", null]}'], ['{"a": [1,}', "[1]"]),
    "json_arr": (['[\n1,\n"x"]'], ['{"a": 1}']),
    "list": (["- milk\n- eggs\n"], ["milk\n", "- milk"]),
}


@pytest.mark.parametrize("name", sorted(GBNF))
def test_the_grammars_of_llama_cpp(probe, models, name):
    text = (models("llama_grammars") / f"{name}.gbnf").read_text()
    yes, no = GBNF[name]
    probe.compile("gbnf", text)
    for one in yes:
        assert probe.accepts(one), one
    for one in no:
        assert not probe.accepts(one), one
    probe.compile("text", text)


def test_all_grammars_of_llama_cpp_are_in_the_table(models):
    assert {p.stem for p in models("llama_grammars").glob("*.gbnf")} == set(GBNF)
