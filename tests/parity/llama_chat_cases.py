"""The cases of llama.cpp's own test of its answer parsers, read from its source: which text a model wrote and what
has to come of it. The source builds them by chains of calls, tst.test("...").tools({...}).expect_content("...").run();
what is needed of C++ to follow these is here: strings, calls, braces, assignments, loops over lists of names."""
import json
import re

TOKEN = re.compile(r'''
    (?P<raw>R"(?P<d>[^(\s]*)\((?P<rawtext>.*?)\)(?P=d)")
  | (?P<string>"(?:[^"\\\n]|\\.)*")
  | (?P<char>'(?:[^'\\\n]|\\.)+')
  | (?P<comment>//[^\n]*|/\*.*?\*/)
  | (?P<word>[A-Za-z_][A-Za-z0-9_:]*)
  | (?P<number>[0-9]+)
  | (?P<space>\s+)
  | (?P<sign>->|.)
''', re.X | re.S)

ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\", "'": "'", "0": "\0"}


def tokens_of(source):
    out = []
    for m in TOKEN.finditer(source):
        kind = m.lastgroup
        if m.group("raw") is not None:
            out.append(("string", m.group("rawtext")))
        elif m.group("string") is not None:
            out.append(("string", re.sub(r"\\(.)", lambda e: ESCAPES.get(e[1], e[1]), m.group("string")[1:-1])))
        elif m.group("word") is not None:
            out.append(("word", m.group("word")))
        elif m.group("number") is not None:
            out.append(("number", int(m.group("number"))))
        elif kind == "sign":
            out.append(("sign", m.group("sign")))
    return out


def message(content="", reasoning="", name="", arguments="", id=""):
    calls = [(name, arguments, id)] if name or id else []
    return {"role": "assistant", "content": content, "reasoning": reasoning, "calls": calls}


FUNCTIONS = {
    "simple_assist_msg": message,
    "message_with_tool_calls": lambda name, arguments: message(name=name, arguments=arguments),
    "message_with_tool_calls_and_reasoning": lambda name, arguments, reasoning: message("", reasoning, name, arguments),
    "message_with_reasoning_content_and_multiple_tool_calls":
        lambda reasoning, content, calls: {**message(content, reasoning), "calls": [tuple(c) for c in calls]},
    "message_with_content_and_tool_call": lambda content, name, arguments: message(content, "", name, arguments),
    "message_with_reasoning_and_tool_call": lambda reasoning, name, arguments: message("", reasoning, name, arguments),
    "peg_tester": lambda path, *_: path,
}


class Unknown(Exception):
    """Something that no case is built of."""


class Reader:
    def __init__(self, tokens, names):
        self.t, self.i, self.names = tokens, 0, names

    def peek(self, k=0):
        return self.t[self.i + k] if self.i + k < len(self.t) else ("end", None)

    def take(self, value):
        if self.peek()[1] != value or self.peek()[0] == "string":
            raise Unknown(value)
        self.i += 1

    def items(self, close):
        out = []
        while self.peek() != ("sign", close):
            if self.peek() == ("sign", ".") and self.peek(2) == ("sign", "="):
                self.i += 3  # .name = ...
            out.append(self.expression())
            if self.peek() == ("sign", ","):
                self.i += 1
        self.i += 1
        return out

    def term(self):
        kind, value = self.peek()
        self.i += 1
        if kind == "string":
            while self.peek()[0] == "string":
                value += self.peek()[1]
                self.i += 1
            return value
        if kind == "number":
            return value
        if (kind, value) == ("sign", "{"):
            return self.items("}")
        if kind != "word":
            raise Unknown(value)
        if self.peek() == ("sign", "("):
            if value not in FUNCTIONS:
                raise Unknown(value)
            self.i += 1
            return FUNCTIONS[value](*self.items(")"))
        if value in ("true", "false"):
            return value == "true"
        if value.startswith("COMMON_"):
            return value
        if value not in self.names:
            raise Unknown(value)
        return self.names[value]

    def expression(self):
        value = self.term()
        while self.peek() == ("sign", "+"):
            self.i += 1
            value = value + self.term()
        return value


def skip_block(tokens, i):
    """Behind the bracket that closes the one at i."""
    depth = 0
    while True:
        kind, value = tokens[i]
        depth += kind == "sign" and value in "{("
        depth -= kind == "sign" and value in "})"
        i += 1
        if depth == 0:
            return i


def tool_of(fields):
    name, description, parameters = fields
    return {"type": "function", "function": {"name": name, "description": description, "parameters": json.loads(parameters)}}


class Cases:
    def __init__(self, source):
        self.names, self.cases, self.bodies = {"detailed_debug": False}, [], {}
        self.run(tokens_of(source))

    def assign(self, tokens, i):
        """const common_chat_msg NAME = ...; NAME.field = ...; common_chat_tool NAME{...}; gives what is behind."""
        r = Reader(tokens, self.names)
        k = i
        while tokens[k][0] == "word" or tokens[k] in (("sign", "*"), ("sign", "&")):
            k += 1
        words = [t[1] for t in tokens[i:k] if t[0] == "word"]
        if not words:
            return None
        name = words[-1]
        try:
            if tokens[k] == ("sign", "=") and len(words) > 1:
                r.i = k + 1
                value = r.expression()
            elif tokens[k] == ("sign", "{") and "common_chat_tool" in words:
                r.i = k
                value = tool_of(r.term())
            elif tokens[k] == ("sign", "{") and "common_chat_msg" in words:
                r.i = k
                fields = r.term()
                value = {**message(fields[1]), "role": fields[0]}
            elif tokens[k] == ("sign", ".") and tokens[k + 2] == ("sign", "=") and name in self.names:
                r.i = k + 3
                value = {**self.names[name], tokens[k + 1][1]: r.expression()}
            elif tokens[k] == ("sign", ";") and words[:-1] == ["common_chat_msg"]:
                r.i, value = k, message()
            else:
                return None
            r.take(";")
        except (Unknown, TypeError, ValueError):
            return None
        self.names[name] = value
        return r.i

    def chain(self, tokens, i):
        """tst.test("...").a(...).b(...).run(); gives what is behind."""
        r = Reader(tokens, self.names)
        case = {"template": self.names[tokens[i][1]]}
        r.i = i + 1
        while r.peek() == ("sign", "."):
            name = r.peek(1)[1]
            r.i += 2
            r.take("(")
            if name == "tools":  # tools of its own stand in the list
                arguments = [self.tool_list(r)]
                r.take(")")
            else:
                arguments = r.items(")")
            if name == "run":
                break
            case[name] = arguments[0] if arguments else True
        self.cases.append(case)
        return r.i

    def tool_list(self, r):
        return [t if isinstance(t, dict) else tool_of(t) for t in r.term()]

    def run(self, tokens):
        i = 0
        while i < len(tokens):
            kind, value = tokens[i]
            following = [t[1] for t in tokens[i + 1 : i + 4]]
            if value == "test_lfm2_parser" and kind == "word" and tokens[i - 1][1] == "void":
                begin = skip_block(tokens, i + 1)
                end = skip_block(tokens, begin)
                self.bodies[value] = tokens[begin + 1 : end - 1]
                i = end
            elif value in self.bodies and kind == "word":
                self.names["template_path"] = self.names[tokens[i + 2][1]]
                self.run(self.bodies[value])
                i += 1
            elif (kind, value) == ("word", "for") and following[:1] == ["("]:
                i = self.loop(tokens, i)
            elif kind == "word" and following[:3] == [".", "test", "("] and value in self.names:
                i = self.chain(tokens, i)
            else:
                behind = self.assign(tokens, i) if kind == "word" and (i == 0 or tokens[i - 1][1] not in (".", ":")) else None
                i = behind or i + 1

    def loop(self, tokens, i):
        """for (const auto & path : { "a", "b" }) { ... }"""
        header = skip_block(tokens, i + 1)
        inner = tokens[i + 2 : header - 1]
        if tokens[header] != ("sign", "{") or ("sign", ":") not in inner or ("sign", "{") not in inner:
            return i + 1
        at = inner.index(("sign", ":"))
        end = skip_block(tokens, header)
        r = Reader(inner[at + 1 :], self.names)
        for item in r.term():
            self.names[inner[at - 1][1]] = item
            self.run(tokens[header + 1 : end - 1])
        return end


def read(path):
    """Every case as a dict: template, test (the text), and what the builder's other calls say, by their names."""
    source = path.read_text()
    cases = Cases(source).cases
    assert len(cases) >= len(re.findall(r"\.run\(\)", source)), "cases were missed"
    return cases
