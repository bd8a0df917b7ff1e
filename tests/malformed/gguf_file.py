"""GGUF as the specification has it, written and read with struct alone.

`Gguf` builds a file and remembers where each field lies, so that damage can be done field by field.
`check` is a second, independent reader: it decides whether a damaged file is still valid, so that a
test can expect exactly that of the reader under test.
"""

import math
import struct

U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
KIND_NAMES = "u8 i8 u16 i16 u32 i32 f32 bool string array u64 i64 f64".split()
FORMATS = {
    U8: "B",
    I8: "b",
    U16: "H",
    I16: "h",
    U32: "I",
    I32: "i",
    F32: "f",
    BOOL: "B",
    U64: "Q",
    I64: "q",
    F64: "d",
}
INTEGERS = {U8, I8, U16, I16, U32, I32, U64, I64}
NUMBERS = INTEGERS | {F32, F64}

# ggml's number: (elements per block, bytes per block)
TYPES = {
    0: (1, 4),
    1: (1, 2),
    2: (32, 18),
    3: (32, 20),
    6: (32, 22),
    7: (32, 24),
    8: (32, 34),
    9: (32, 36),
    10: (256, 84),
    11: (256, 110),
    12: (256, 144),
    13: (256, 176),
    14: (256, 210),
    15: (256, 292),
    16: (256, 66),
    17: (256, 74),
    18: (256, 98),
    19: (256, 50),
    20: (32, 18),
    21: (256, 110),
    22: (256, 82),
    23: (256, 136),
    24: (1, 1),
    25: (1, 2),
    26: (1, 4),
    27: (1, 8),
    28: (1, 8),
    29: (256, 56),
    30: (1, 2),
    34: (256, 54),
    35: (256, 66),
    39: (32, 17),
    40: (64, 36),
    41: (128, 18),
    42: (64, 18),
}

# Keys whose kind is fixed; a lower-case letter is a scalar, a capital an array.
KNOWN_KEYS = {
    "general.architecture": "s",
    "general.name": "s",
    "general.file_type": "i",
    "general.quantization_version": "i",
    "llama.context_length": "i",
    "llama.embedding_length": "i",
    "llama.block_count": "i",
    "llama.feed_forward_length": "i",
    "llama.attention.head_count": "i",
    "llama.attention.head_count_kv": "i",
    "llama.attention.layer_norm_rms_epsilon": "n",
    "llama.rope.dimension_count": "i",
    "llama.rope.freq_base": "n",
    "llama.vocab_size": "i",
    "tokenizer.ggml.model": "s",
    "tokenizer.ggml.pre": "s",
    "tokenizer.ggml.tokens": "S",
    "tokenizer.ggml.scores": "N",
    "tokenizer.ggml.token_type": "I",
    "tokenizer.ggml.merges": "S",
    "tokenizer.ggml.bos_token_id": "i",
    "tokenizer.ggml.eos_token_id": "i",
    "tokenizer.ggml.add_bos_token": "b",
    "tokenizer.chat_template": "s",
}


def type_bytes(type_id, shape):
    block, size = TYPES[type_id]
    return math.prod(shape) // block * size


class Array:
    def __init__(self, kind, items):
        self.kind, self.items = kind, items


class Gguf:
    """A file under construction. Shapes are innermost first, as GGUF stores them."""

    def __init__(self, version=3, align=32):
        self.version, self.align = version, align
        self.pairs = []  # (key, kind, value)
        self.tensors = []  # (name, shape, type, data)
        self.fields = {}  # name -> (offset, bytes)
        self.cuts = {}  # name -> offset of a structural boundary

    def add(self, key, kind, value):
        self.pairs.append((key, kind, value))

    def replace(self, key, kind, value):
        self.pairs = [(k, kind, value) if k == key else (k, n, v) for k, n, v in self.pairs]

    def remove(self, key):
        self.pairs = [p for p in self.pairs if p[0] != key]

    def tensor(self, name, shape, type_id, data):
        assert len(data) == type_bytes(type_id, shape), name
        self.tensors.append((name, shape, type_id, data))

    def _put(self, fmt, value, name):
        raw = struct.pack("<" + fmt, value)
        self.fields[name] = (len(self.out), len(raw))
        self.out += raw

    def _text(self, text, name):
        raw = text.encode() if isinstance(text, str) else text
        self._put("Q", len(raw), name + " length")
        self.fields[name + " bytes"] = (len(self.out), len(raw))
        self.out += raw

    def _value(self, kind, value, name):
        if kind == STRING:
            self._text(value, name + " string")
        elif kind == ARRAY:
            self._put("I", value.kind, name + " item kind")
            self._put("Q", len(value.items), name + " item count")
            for i, item in enumerate(value.items):
                self._value(value.kind, item, f"{name} item {i}")
        else:
            self._put(FORMATS[kind], value, name + " value")

    def build(self):
        self.out = bytearray()
        self.fields, self.cuts = {}, {}
        self.fields["magic"] = (0, 4)
        self.out += b"GGUF"
        self._put("I", self.version, "version")
        self._put("Q", len(self.tensors), "tensor count")
        self._put("Q", len(self.pairs), "metadata count")
        for key, kind, value in self.pairs:
            self.cuts[f"before {key}"] = len(self.out)
            self._text(key, f"{key} key")
            self._put("I", kind, f"{key} kind")
            self.cuts[f"before the value of {key}"] = len(self.out)
            self._value(kind, value, key)
        offset = 0
        for name, shape, type_id, data in self.tensors:
            self.cuts[f"before tensor {name}"] = len(self.out)
            self._text(name, f"{name} name")
            self._put("I", len(shape), f"{name} dimension count")
            for i, dim in enumerate(shape):
                self._put("Q", dim, f"{name} dimension {i}")
            self._put("I", type_id, f"{name} type")
            self._put("Q", offset, f"{name} offset")
            offset += -(-len(data) // self.align) * self.align
        self.cuts["after the tensor records"] = self.header_bytes = len(self.out)
        for name, _, _, data in self.tensors:
            self.out += bytes(-len(self.out) % self.align)
            self.cuts[f"before the data of {name}"] = len(self.out)
            self.out += data
        return bytes(self.out)


class Malformed(Exception):
    pass


class _Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def left(self):
        return len(self.data) - self.at

    def take(self, n):
        if n > self.left():
            raise Malformed("past the end")
        self.at += n
        return self.data[self.at - n : self.at]

    def number(self, fmt):
        return struct.unpack("<" + fmt, self.take(struct.calcsize("<" + fmt)))[0]

    def text(self):
        return self.take(self.number("Q"))

    def name(self, longest):
        raw = self.text()
        if not 0 < len(raw) <= longest or b"\0" in raw:
            raise Malformed("name")
        try:
            return raw.decode()
        except UnicodeDecodeError as bad:
            raise Malformed("name") from bad

    def scalar(self, kind):
        if kind == STRING:
            return self.text()
        value = self.number(FORMATS[kind])
        if kind == BOOL and value > 1:
            raise Malformed("bool")
        return value

    def value(self, kind):
        if kind >= 13:
            raise Malformed("kind")
        if kind != ARRAY:
            return kind, self.scalar(kind)
        item = self.number("I")
        if item >= 13 or item == ARRAY:
            raise Malformed("item kind")
        n = self.number("Q")
        if n * (8 if item == STRING else struct.calcsize(FORMATS[item])) > self.left():
            raise Malformed("item count")
        return item, [self.scalar(item) for _ in range(n)]


def _kind_fits(want, kind, item):
    if want.isupper():
        return kind == ARRAY and item in {"S": {STRING}, "N": NUMBERS, "I": INTEGERS}[want]
    return kind in {"s": {STRING}, "b": {BOOL}, "i": INTEGERS, "n": NUMBERS}[want]


def _check_known(pairs):
    for key, want in KNOWN_KEYS.items():
        if key not in pairs:
            continue
        kind, item, value = pairs[key]
        if not _kind_fits(want, kind, item):
            raise Malformed("kind of " + key)
        if want == "i" and value > 2**63 - 1:
            raise Malformed("range of " + key)
    kind, _, value = pairs.get("split.count", (U16, U16, 1))
    if kind not in INTEGERS or value not in (0, 1):
        raise Malformed("split")


def _read_tensor(r, align):
    name = r.name(255)
    n_dim = r.number("I")
    if not 1 <= n_dim <= 4:
        raise Malformed("dimension count")
    shape = [r.number("Q") for _ in range(n_dim)]
    type_id, offset = r.number("I"), r.number("Q")
    if min(shape) == 0 or math.prod(shape) > 2**63 - 1 or type_id not in TYPES:
        raise Malformed("shape or type")
    if shape[0] % TYPES[type_id][0] != 0 or offset % align != 0:
        raise Malformed("block or alignment")
    return name, offset, type_bytes(type_id, shape)


def check(data):
    """Raises Malformed unless `data` is a valid GGUF whose known keys have their kinds."""
    r = _Reader(data)
    if r.take(4) != b"GGUF" or r.number("I") not in (2, 3):
        raise Malformed("magic or version")
    n_tensor, n_pair = r.number("Q"), r.number("Q")
    if n_tensor * 33 > r.left() or n_pair * 14 > r.left():
        raise Malformed("counts")
    pairs = {}
    for _ in range(n_pair):
        key = r.name(65535)
        kind = r.number("I")
        if key in pairs:
            raise Malformed("duplicate key")
        pairs[key] = (kind, *r.value(kind))
    kind, _, align = pairs.get("general.alignment", (U32, U32, 32))
    if kind != U32 or not 8 <= align <= 2**24 or align & (align - 1):
        raise Malformed("alignment")
    tensors = [_read_tensor(r, align) for _ in range(n_tensor)]
    if len({t[0] for t in tensors}) != len(tensors):
        raise Malformed("duplicate tensor")
    begin = -(-r.at // align) * align
    end = 0
    for _, offset, size in sorted(tensors, key=lambda t: t[1]):
        if offset < end or begin + offset + size > len(data):
            raise Malformed("place")
        end = offset + size
    _check_known(pairs)
