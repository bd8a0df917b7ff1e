"""Malformed GGUFs, derived field by field from one small valid llama. A case is (name, files, opened, valid):
the files of its folder, the one to open, and whether it must open or must be refused."""

import random
import struct

import gguf_file
from gguf_file import (
    ARRAY,
    BOOL,
    F32,
    F64,
    FORMATS,
    I8,
    I16,
    I32,
    I64,
    KIND_NAMES,
    KNOWN_KEYS,
    STRING,
    U8,
    U16,
    U32,
    U64,
    Array,
    Gguf,
)

N_VOCAB, N_EMBD, N_FF = 64, 32, 64


def floats(rng, n):
    return struct.pack(f"<{n}f", *(rng.uniform(-0.2, 0.2) for _ in range(n)))


def q8_0(rng, n):
    return b"".join(
        struct.pack("<e32b", 0.002, *(rng.randrange(-127, 128) for _ in range(32))) for _ in range(n // 32)
    )


def vocabulary():
    return (
        ["<unk>", "<s>", "</s>"]
        + [f"<0x{i:02X}>" for i in range(10, 42)]
        + ["▁"]
        + [chr(97 + i) for i in range(26)]
        + ["▁a", "he"]
    )


def tiny_llama(with_kinds=True):
    """A llama of one block that a runtime can really open and run; every metadata kind appears."""
    rng = random.Random(1)
    tokens = vocabulary()
    assert len(tokens) == N_VOCAB
    g = Gguf()
    g.add("general.architecture", STRING, "llama")
    g.add("general.name", STRING, "tiny")
    g.add("general.alignment", U32, 32)
    g.add("general.file_type", U32, 7)
    g.add("general.quantization_version", U32, 2)
    for key, value in [
        ("context_length", 128),
        ("embedding_length", N_EMBD),
        ("block_count", 1),
        ("feed_forward_length", N_FF),
        ("attention.head_count", 4),
        ("attention.head_count_kv", 2),
        ("rope.dimension_count", 8),
        ("vocab_size", N_VOCAB),
    ]:
        g.add("llama." + key, U32, value)
    g.add("llama.attention.layer_norm_rms_epsilon", F32, 1e-5)
    g.add("llama.rope.freq_base", F32, 10000.0)
    g.add("tokenizer.ggml.model", STRING, "llama")
    g.add("tokenizer.ggml.pre", STRING, "default")
    g.add("tokenizer.ggml.tokens", ARRAY, Array(STRING, tokens))
    g.add("tokenizer.ggml.scores", ARRAY, Array(F32, [-float(i) for i in range(N_VOCAB)]))
    g.add("tokenizer.ggml.token_type", ARRAY, Array(I32, [2, 3, 3] + [6] * 32 + [1] * 29))
    g.add("tokenizer.ggml.bos_token_id", U32, 1)
    g.add("tokenizer.ggml.eos_token_id", U32, 2)
    g.add("tokenizer.ggml.add_bos_token", BOOL, 1)
    g.add("tokenizer.chat_template", STRING, "{% for m in messages %}{{ m.content }}{% endfor %}")
    if with_kinds:
        for kind, value in [
            (U8, 200),
            (I8, -3),
            (U16, 65000),
            (I16, -300),
            (I32, -70000),
            (U64, 2**63 - 1),
            (I64, -(2**63)),
            (F64, 0.1),
        ]:
            g.add("test." + KIND_NAMES[kind], kind, value)
        for kind, items in [
            (U8, [1, 2]),
            (BOOL, [0, 1, 1]),
            (U64, [2**64 - 1]),
            (F64, []),
            (STRING, [b"\xff\xfe", "", "é"]),
        ]:
            g.add("test.array." + KIND_NAMES[kind], ARRAY, Array(kind, items))
    add_tensors(g, rng)
    return g


def add_tensors(g, rng):
    n_kv = N_EMBD // 2
    ones = struct.pack(f"<{N_EMBD}f", *[1.0] * N_EMBD)
    g.tensor("token_embd.weight", [N_EMBD, N_VOCAB], 8, q8_0(rng, N_EMBD * N_VOCAB))
    g.tensor("output_norm.weight", [N_EMBD], 0, ones)
    g.tensor("output.weight", [N_EMBD, N_VOCAB], 0, floats(rng, N_EMBD * N_VOCAB))
    g.tensor("blk.0.attn_norm.weight", [N_EMBD], 0, ones)
    for name, shape in [
        ("attn_q", [N_EMBD, N_EMBD]),
        ("attn_k", [N_EMBD, n_kv]),
        ("attn_v", [N_EMBD, n_kv]),
        ("attn_output", [N_EMBD, N_EMBD]),
        ("ffn_gate", [N_EMBD, N_FF]),
        ("ffn_up", [N_EMBD, N_FF]),
        ("ffn_down", [N_FF, N_EMBD]),
    ]:
        g.tensor(f"blk.0.{name}.weight", shape, 8, q8_0(rng, shape[0] * shape[1]))
    g.tensor("blk.0.ffn_norm.weight", [N_EMBD], 0, ones)


def is_valid(data):
    try:
        gguf_file.check(data)
        return True
    except gguf_file.Malformed:
        return False


def case(name, data, known=None):
    return name, {"model.gguf": data}, "model.gguf", is_valid(data) if known is None else known


def patched(data, at, raw):
    return data[:at] + raw + data[at + len(raw) :]


def boundary_values(n_bytes, left):
    top = 2 ** (8 * n_bytes)
    values = {
        0: "0",
        1: "1",
        4: "4",
        5: "5",
        top - 1: "max",
        top - 2: "max-1",
        2**31: "2^31",
        2**31 - 1: "2^31-1",
        2**32: "2^32",
        2**62: "2^62",
        2**63: "2^63",
        left: "remaining",
        left + 1: "remaining+1",
    }
    return {v: text for v, text in values.items() if v < top}


def field_cases(g, data):
    """Every counting field of the file at every boundary value."""
    wanted = ("version", "count", "length", "kind", "dimension", "type", "offset")
    seen_items = set()
    for field, (at, n) in g.fields.items():
        if not any(word in field for word in wanted) or field.endswith(("value", "bytes")):
            continue
        if " item " in field and " item kind" not in field and " item count" not in field:
            owner = field.split(" item ")[0]  # one string of an array stands for all
            if owner in seen_items:
                continue
            seen_items.add(owner)
        for value, text in boundary_values(n, len(data) - at - n).items():
            raw = value.to_bytes(n, "little")
            if raw != data[at : at + n]:
                yield case(f"{field} = {text}", patched(data, at, raw))


def bool_cases(g, data):
    for field in ("tokenizer.ggml.add_bos_token value", "test.array.bool item 1 value"):
        for value in (2, 255):
            yield case(f"{field} = {value}", patched(data, g.fields[field][0], bytes([value])))


def name_cases(g, data):
    """Bytes that a key or a tensor name may not hold."""
    for field in ("general.name key bytes", "blk.0.attn_q.weight name bytes"):
        at = g.fields[field][0]
        for raw, text in [
            (b"\xff", "invalid UTF-8"),
            (b"\xc0\x80", "an overlong zero"),
            (b"\xed\xa0\x80", "a surrogate"),
            (b"\0", "a zero byte"),
            (b"\xf4\x90\x80\x80", "a character above U+10FFFF"),
            (b"\x80", "a stray tail"),
        ]:
            yield case(f"{field} with {text}", patched(data, at, raw))
        end = at + g.fields[field][1]
        yield case(f"{field} cut inside a character", patched(data, end - 1, b"\xc3"))


def cut_cases(g, data):
    for name, at in g.cuts.items():
        for delta in (-1, 0, 1):
            yield case(f"truncated {delta:+} {name}", data[: at + delta], False)
    for at in (0, 1, 3, 4, 7, 8, 15, 16, 23, 24, len(data) - 1):
        yield case(f"truncated to {at} bytes", data[:at], False)


def swapped(data):
    return b"GGUF" + struct.pack(">IQQ", 3, 1, 1) + data[24:]


def header_cases(g, data):
    for magic in (
        b"GGUE",
        b"gguf",
        b"FUGG",
        b"GGML",
        b"lmgg",
        b"tjgg",
        b"PK\3\4",
        b"\x7fELF",
        b"\0\0\0\0",
        b"\x89PNG",
    ):
        yield case(f"magic {magic!r}", patched(data, 0, magic), False)
    for version in (1, 2, 3, 4, 2**24, 2**25, 3 * 2**24):
        yield case(f"version {version}", patched(data, 4, struct.pack("<I", version)))
    yield case("big-endian header", swapped(data), False)
    yield case("an empty file", b"", False)
    yield case(
        "text instead of GGUF", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", False
    )
    yield case("zeros", bytes(4096), False)
    yield case("a valid header again and again", data[:24] * 50, False)
    yield case("bytes after the end", data + b"tail" * 100, True)


def alignment_cases():
    for align in (0, 1, 2, 3, 4, 7, 31, 33, 48, 2**24 + 1, 2**25, 2**31, 2**31 + 1, 2**32 - 1):
        g = tiny_llama()
        g.replace("general.alignment", U32, align)
        yield case(f"general.alignment {align}", g.build())
    for align in (8, 16, 64, 4096):
        g = tiny_llama()
        g.align = align
        g.replace("general.alignment", U32, align)
        yield case(f"general.alignment {align} kept by the data", g.build(), True)


def dummy(kind):
    return {STRING: "7", BOOL: 1, ARRAY: Array(U32, [7])}.get(kind, 7)


def confusion_cases():
    """Every known key with every kind."""
    for key in [*KNOWN_KEYS, "general.alignment", "split.count", "split.no"]:
        for kind in range(13):
            g = tiny_llama(with_kinds=False)
            if any(p[0] == key for p in g.pairs):
                g.replace(key, kind, dummy(kind))
            else:
                g.add(key, kind, dummy(kind))
            data = g.build()
            if not is_valid(data):
                yield case(f"{key} of kind {KIND_NAMES[kind]}", data, False)
    for key in ("tokenizer.ggml.tokens", "tokenizer.ggml.scores", "tokenizer.ggml.token_type"):
        for kind in [*FORMATS, STRING]:
            g = tiny_llama(with_kinds=False)
            g.replace(key, ARRAY, Array(kind, [dummy(kind)] * N_VOCAB))
            data = g.build()
            if not is_valid(data):
                yield case(f"{key} of kind array of {KIND_NAMES[kind]}", data, False)
    for key in ("llama.context_length", "tokenizer.ggml.bos_token_id"):
        g = tiny_llama(with_kinds=False)
        g.replace(key, U64, 2**63)
        yield case(f"{key} beyond int64", g.build(), False)


def duplicate_cases():
    for key in (
        "general.architecture",
        "llama.block_count",
        "general.alignment",
        "tokenizer.ggml.tokens",
        "test.u8",
    ):
        g = tiny_llama()
        g.pairs.append(next(p for p in g.pairs if p[0] == key))
        yield case(f"{key} twice", g.build(), False)
    for i in (0, 3, 11):
        g = tiny_llama()
        g.tensors.append(g.tensors[i])
        yield case(f"tensor {g.tensors[i][0]} twice", g.build(), False)


def place_cases(g, data):
    """Tensors that overlap, reach beyond the end, or lie elsewhere than aligned."""
    offset = {
        name: struct.unpack_from("<Q", data, g.fields[f"{name} offset"][0])[0] for name, *_ in g.tensors
    }
    names = list(offset)

    def moved(name, to):
        return patched(data, g.fields[f"{name} offset"][0], struct.pack("<Q", to))

    for a, b in zip(names, names[1:]):
        yield case(f"{b} lies on {a}", moved(b, offset[a]), False)
    for name in names:
        for delta in (1, 8, 16):
            yield case(f"{name} moved by {delta}", moved(name, offset[name] + delta), False)
    for far in (len(data) + (-len(data) % 32), 2**32, 2**40, 2**63, 2**64 - 32):
        yield case(f"{names[1]} at {far}", moved(names[1], far), False)
    yield case(
        "two tensors exchanged",
        patched(
            moved("blk.0.attn_k.weight", offset["blk.0.attn_v.weight"]),
            g.fields["blk.0.attn_v.weight offset"][0],
            struct.pack("<Q", offset["blk.0.attn_k.weight"]),
        ),
        True,
    )


def shape_cases(g, data):
    """Dimensions whose product overflows or contradicts the data; types that do not fit."""
    at = g.fields["blk.0.attn_q.weight dimension 0"][0]
    for dims in [
        (2**32, 2**32),
        (2**33, 2**31),
        (2**62, 2),
        (2**63 - 1, 2**63 - 1),
        (2**61, 4),
        (32, 2**58),
        (32, 33),
        (33, 32),
        (0, 32),
        (32, 0),
        (2**64 - 1, 1),
        (2**64 - 32, 2**64 - 32),
    ]:
        yield case(f"attn_q of {dims[0]} x {dims[1]}", patched(data, at, struct.pack("<QQ", *dims)), False)
    at = g.fields["output_norm.weight type"][0]
    for type_id in [
        4,
        5,
        31,
        32,
        33,
        36,
        37,
        38,
        43,
        44,
        999,
        1000,
        1001,
        1007,
        1008,
        2**31,
        2**32 - 1,
        *range(10, 24),
        28,
        27,
    ]:
        yield case(f"output_norm of type {type_id}", patched(data, at, struct.pack("<I", type_id)))


def nested_cases():
    body = struct.pack("<Q", 1) + b"k" + struct.pack("<IIQ", ARRAY, ARRAY, 1)
    one = b"GGUF" + struct.pack("<IQQ", 3, 0, 1)
    for depth in (1, 2, 1000, 100000):
        yield case(f"an array nested {depth} deep", one + body + struct.pack("<IQ", ARRAY, 1) * depth, False)
    key = b"k" * 65536
    yield case(
        "a key of 65536 bytes", one + struct.pack("<Q", len(key)) + key + struct.pack("<IB", U8, 0), False
    )
    yield case(
        "a key of 65535 bytes", one + struct.pack("<Q", 65535) + key[1:] + struct.pack("<IB", U8, 0), True
    )
    yield case("an empty key", one + struct.pack("<QIB", 0, U8, 0) + bytes(8), False)
    g = Gguf()
    g.tensor("n" * 256, [1], 24, b"\0")
    yield case("a tensor name of 256 bytes", g.build(), False)
    g = Gguf()
    g.tensor("", [1], 24, b"\0")
    yield case("a tensor without a name", g.build() + bytes(64), False)
    g = Gguf()
    g.tensor("t", [], 24, b"\0")
    yield case("a tensor of no dimension", g.build() + bytes(64), False)
    g = Gguf()
    g.tensor("t", [1], 24, b"\0")
    data = g.build() + bytes(64)
    for offset in (1, 8, 16):
        moved = patched(data, g.fields["t offset"][0], struct.pack("<Q", offset))
        yield case(f"a tensor at {offset} with room behind it", moved, False)
    yield case(
        "a tensor at 32 with room behind it",
        patched(data, g.fields["t offset"][0], struct.pack("<Q", 32)),
        True,
    )
    g = Gguf()
    g.tensor("t", [1, 1, 1, 1, 1], 24, b"\0")
    yield case("a tensor of five dimensions", g.build(), False)
    g = Gguf()
    yield case("a file with nothing in it", g.build() + bytes(8), True)


# ---- split sets


def split_set(n, keys=True, no=None, count=None, total=None):
    """The tiny llama in n parts: {file name: bytes}."""
    whole = tiny_llama(with_kinds=False)
    files = {}
    per = -(-len(whole.tensors) // n)
    for i in range(n):
        g = Gguf()
        if i == 0:
            g.pairs = list(whole.pairs)
        if keys:
            g.add("split.no", U16, i if no is None else no(i))
            g.add("split.count", U16, n if count is None else count(i))
            g.add("split.tensors.count", I32, len(whole.tensors) if total is None else total)
        g.tensors = whole.tensors[i * per : (i + 1) * per]
        files[f"m-{i + 1:05}-of-{n:05}.gguf"] = g.build()
    return files


def split_case(name, files, opened="m-00001-of-00003.gguf", valid=False):
    return "split set: " + name, files, opened, valid


def without(files, *names):
    return {k: v for k, v in files.items() if k not in names}


def split_cases():
    files = split_set(3)
    names = list(files)
    for name in names:
        yield split_case(f"whole, opened by {name}", files, name, True)
    for gone in names:
        for opened in names:
            if gone != opened:
                yield split_case(f"without {gone}, opened by {opened}", without(files, gone), opened)
    yield split_case("one part alone", without(files, *names[1:]))
    yield split_case("a part twice", {**files, names[2]: files[names[1]]})
    yield split_case("two parts exchanged", {**files, names[1]: files[names[2]], names[2]: files[names[1]]})
    yield split_case("a part of another set", {**files, names[1]: split_set(4)["m-00002-of-00004.gguf"]})
    yield split_case("a whole model as a part", {**files, names[1]: tiny_llama().build()})
    yield split_case("an empty part", {**files, names[2]: b""})
    yield split_case("a truncated part", {**files, names[2]: files[names[2]][:-1]})
    yield split_case("a part that is text", {**files, names[1]: b"not found"})
    yield split_case("a name that is no part's", {"m.gguf": files[names[0]]}, "m.gguf")
    yield split_case(
        "a name with another count", {"m-00001-of-00004.gguf": files[names[0]]}, "m-00001-of-00004.gguf"
    )
    yield split_case(
        "part 0 by name", {"m-00000-of-00003.gguf": files[names[0]], **files}, "m-00000-of-00003.gguf"
    )
    yield split_case(
        "part 4 of 3 by name", {"m-00004-of-00003.gguf": files[names[0]], **files}, "m-00004-of-00003.gguf"
    )
    for total in (0, 1, 11, 13, -1, 2**31 - 1):
        yield split_case(f"split.tensors.count {total}", split_set(3, total=total))
    for count in (2, 4, 4096, 65535):
        yield split_case(f"split.count {count}", split_set(3, count=lambda i, c=count: c))
        yield split_case(
            f"split.count {count} in the last part", split_set(3, count=lambda i, c=count: c if i == 2 else 3)
        )
    for no in (0, 1, 3, 65535):
        yield split_case(f"split.no {no} everywhere", split_set(3, no=lambda i, c=no: c))
    yield split_case("a part without keys", {**files, names[1]: split_set(3, keys=False)[names[1]]})
    yield split_case(
        "merged again, count 0",
        {"m.gguf": split_set(1, count=lambda i: 0)["m-00001-of-00001.gguf"]},
        "m.gguf",
        True,
    )
    g = Gguf()
    g.add("split.count", I32, -1)
    yield split_case("split.count -1", {"m.gguf": g.build()}, "m.gguf")
    for kind in (STRING, F32, BOOL, ARRAY):
        g = Gguf()
        g.add("split.count", kind, dummy(kind))
        yield split_case(f"split.count of kind {KIND_NAMES[kind]}", {"m.gguf": g.build()}, "m.gguf")


def fuzz_cases(data, header_bytes, n=300):
    """Random damage, each with the verdict of the independent reader."""
    rng = random.Random(7)
    for i in range(n):
        bad = bytearray(data)
        for _ in range(rng.choice((1, 1, 2, 8))):
            bad[rng.randrange(header_bytes)] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        yield case(f"random damage {i}", bytes(bad))


def all_cases():
    g = tiny_llama()
    data = g.build()
    yield case("the valid file", data, True)
    for make in (field_cases, bool_cases, name_cases, cut_cases, header_cases, place_cases, shape_cases):
        yield from make(g, data)
    for make in (alignment_cases, confusion_cases, duplicate_cases, nested_cases, split_cases):
        yield from make()
    yield from fuzz_cases(data, g.header_bytes)
