#!/usr/bin/env python3
"""Compares Hearth's structured output with llguidance on this machine: the same schemas, answers and vocabulary.

    HEARTH_PROBES=build/release bench/grammars.py VOCAB.tiktoken [--suite jsonschema-4.26.0.tar.gz] [--rounds 20]

Needs llguidance, tiktoken, and what the tests need. Prints a table of the time to compile, and of masks on
the way through answers, in thread CPU time: each round begins anew, with nothing kept from the one before, and the two take
turns. With --suite also what each makes of the JSON-Schema-Test-Suite inside jsonschema's source package: schemas that are
compiled, invalid instances that are accepted, valid ones that are refused. Both get instances with their members in the order
of the schema, as both write them.
"""
import argparse
import collections
import json
import pathlib
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests" / "parity"))

import grammar_probe
import llguidance
import llguidance.tiktoken
import numpy
import tiktoken
from tiktoken.load import load_tiktoken_bpe

QWEN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")

ADDRESS = {"type": "object", "properties": {
    "street": {"type": "string", "minLength": 1, "maxLength": 40}, "zip": {"type": "string", "pattern": "^[0-9]{5}(-[0-9]{4})?$"},
    "city": {"type": "string", "maxLength": 30}}, "required": ["street", "zip", "city"], "additionalProperties": False}
CASES = {
    "entry": ({"type": "object", "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 60}, "born": {"type": "string", "format": "date"},
        "mail": {"type": "string", "format": "email"}, "address": ADDRESS,
        "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 5},
        "kind": {"enum": ["private", "business", "other"]}, "score": {"type": "number", "minimum": 0, "maximum": 100}},
        "required": ["name", "born", "mail", "address", "kind"], "additionalProperties": False},
        {"name": "Ada Lovelace", "born": "1815-12-10", "mail": "ada.lovelace@example.org",
         "address": {"street": "St James's Square 12", "zip": "10115-0815", "city": "London"},
         "tags": ["mathematics", "poetry"], "kind": "private", "score": 99.5}),
    "free JSON": ({}, {"menu": {"id": "file", "items": [{"value": "New", "on": True}, {"value": "Open", "sizes": [1, 2.5, -3e4]}],
                                "note": "Any text may stand here, of any length and in any language: größer, 大きい."},
                       "more": [[], {}, None]}),
    "limited": ({"type": "array", "items": {"type": "string", "minLength": 3, "maxLength": 30}, "minItems": 2, "maxItems": 4},
                ["a string of thirty characters", "another one", "größer, 大きい", "the last of them all"]),
}


def thread_ns():
    return time.clock_gettime_ns(time.CLOCK_THREAD_CPUTIME_ID)


class Peer:
    """llguidance with the vocabulary of a tiktoken file."""

    def __init__(self, path):
        ranks = load_tiktoken_bpe(str(path))
        self.encoding = tiktoken.Encoding("bench", pat_str=QWEN, mergeable_ranks=ranks, special_tokens={"<|endoftext|>": len(ranks)})
        self.tokenizer = llguidance.tiktoken.lltokenizer_from_encoding(self.encoding)
        self.mask = numpy.zeros((self.tokenizer.vocab_size + 31) // 32, dtype=numpy.int32)

    def compile(self, schema):
        begin = thread_ns()
        grammar = llguidance.LLMatcher.grammar_from_json_schema(json.dumps(schema))
        matcher = llguidance.LLMatcher(self.tokenizer, grammar)
        if matcher.is_error():
            raise ValueError(matcher.get_error())
        return thread_ns() - begin, matcher

    def masks(self, matcher, text):
        times = []
        for token in self.tokenizer.tokenize_str(text):
            begin = thread_ns()
            matcher.unsafe_compute_mask_ptr(self.mask.ctypes.data, self.mask.nbytes)
            times.append(thread_ns() - begin)
            assert self.mask[token // 32] >> (token % 32) & 1, (text, token)
            assert matcher.consume_token(token), matcher.get_error()
        assert matcher.is_accepting()
        return times

    def accepts(self, matcher, text):
        matcher.reset()
        tokens = self.tokenizer.tokenize_str(text)
        return matcher.validate_tokens(tokens) == len(tokens) and matcher.consume_tokens(tokens) and matcher.is_accepting()


def figures(compiled, times):
    times = sorted(times)
    return (statistics.median(compiled) / 1e6, statistics.mean(times) / 1e3, times[len(times) * 999 // 1000] / 1e3, times[-1] / 1e3)


def speed(probe, peer, rounds):
    print("| answer | program | compile, ms | mean, us | p99.9, us | largest, us |\n| --- | --- | --- | --- | --- | --- |")
    for name, (schema, value) in CASES.items():
        text = json.dumps(value, ensure_ascii=False)
        got = {"Hearth": ([], []), "llguidance": ([], [])}
        for _ in range(rounds):
            got["Hearth"][0].append(probe.compile("schema", json.dumps(schema))[0])
            n, n_allowed, is_accepting, times = probe.masks(text)
            assert n == n_allowed and is_accepting, (name, n, n_allowed)
            got["Hearth"][1].extend(times)
            ns, matcher = peer.compile(schema)
            got["llguidance"][0].append(ns)
            got["llguidance"][1].extend(peer.masks(matcher, text))
        for program, (compiled, times) in got.items():
            print(f"| {name}, {n} tokens | {program} | " + " | ".join(f"{v:.1f}" for v in figures(compiled, times)) + " |", flush=True)


def coverage(probe, peer, path):
    import test_grammars

    counts = {"Hearth": collections.Counter(), "llguidance": collections.Counter()}
    for draft, _, case in test_grammars.read_suite(path):
        schema = case["schema"]
        if isinstance(schema, dict):
            schema = {"$schema": test_grammars.DIALECTS[draft], **schema}
        accepts = {}
        try:
            probe.compile("schema", json.dumps(schema))
            accepts["Hearth"] = probe.accepts
        except grammar_probe.Refused as e:
            counts["Hearth"]["nothing satisfies it" if e.code == "range" else "refused"] += 1
        try:
            _, matcher = peer.compile(schema)
            accepts["llguidance"] = lambda text: peer.accepts(matcher, text)
        except ValueError as e:
            counts["llguidance"]["nothing satisfies it" if "nsatisfiable" in str(e) else "refused"] += 1
        texts = [(json.dumps(test_grammars.reordered(t["data"], schema, schema), ensure_ascii=False), t["valid"]) for t in case["tests"]]
        for program, accept in accepts.items():
            counts[program]["compiled"] += 1
            for text, is_valid in texts:
                is_accepted = accept(text)
                counts[program]["instances"] += 1
                counts[program]["invalid accepted"] += is_accepted and not is_valid
                counts[program]["valid refused"] += is_valid and not is_accepted
    columns = ["compiled", "refused", "nothing satisfies it", "instances", "invalid accepted", "valid refused"]
    print("\n| program | " + " | ".join(columns) + " |\n|" + " --- |" * (len(columns) + 1))
    for program, count in counts.items():
        print(f"| {program} | " + " | ".join(str(count[c]) for c in columns) + " |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("vocab", type=pathlib.Path, help="ranks of Qwen's vocabulary, as tiktoken has them")
    parser.add_argument("--suite", type=pathlib.Path, help="jsonschema's source package")
    parser.add_argument("--rounds", type=int, default=20)
    args = parser.parse_args()
    probe, peer = grammar_probe.Probe(), Peer(args.vocab)
    probe.vocab(args.vocab)
    speed(probe, peer, args.rounds)
    if args.suite:
        coverage(probe, peer, args.suite)
    probe.close()


if __name__ == "__main__":
    main()
