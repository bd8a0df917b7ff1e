#!/usr/bin/env python3
"""Checks what the compiler does not: the house rules of ARCHITECTURE.md and CONTRIBUTING.md.

    tools/lint.py [--fast]     --fast leaves out the builds with warnings as errors

One line per finding: file:line: what is wrong. Exit code 1 when there is one.
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
SRC = ROOT / "src"

# Each layer and the layers whose headers it may include besides its own.
LAYERS = {
    "base": set(),
    "os": {"base"},
    "quant": {"base", "os"},
    "formats": {"base", "os", "quant"},
    "kernels": {"base", "os", "quant"},
    "text": {"base", "os", "formats"},
    "grammar": {"base", "os", "formats", "text"},
    "chat": {"base", "os", "formats", "text", "grammar"},
    "model": {"base", "os", "quant", "formats", "kernels", "text", "grammar", "chat"},
    "engine": {"base", "os", "quant", "formats", "kernels", "text", "grammar", "chat", "model"},
    "server": {"base", "os", "quant", "formats", "kernels", "text", "grammar", "chat", "model", "engine"},
    "cli": {"base", "os", "quant", "formats", "kernels", "text", "grammar", "chat", "model", "engine", "server"},
}
# formats knows the table of types, and no more of quant.
ONLY_HEADER = {("formats", "quant"): {"quant/type.h"}}

ALLOCATORS = "malloc calloc realloc free strdup strndup aligned_alloc posix_memalign memalign reallocarray"
UNSAFE = "sprintf vsprintf strcpy strcat strncpy strncat strtok atoi atol atoll atof gets tmpnam mktemp alloca system"
ENDING = "abort exit _exit _Exit quick_exit printf puts putchar perror assert_fail"
MAX_LINES = 1500
MAX_COLUMNS = 140  # the style is 110; this only stops what no window shows

SYSTEMS = "__linux__ __APPLE__ __MACH__ _WIN32 __FreeBSD__ __unix__ __GLIBC__".split()
PLATFORM = re.compile(
    r"^\s*#\s*(?:if|elif|ifdef|ifndef)\b.*\b(__linux__|__APPLE__|__MACH__|_WIN32|__FreeBSD__|__unix__|__GLIBC__"
    r"|__x86_64__|__i386__|__aarch64__|__arm__|__AVX\w*|__SSE\w*|__ARM_\w+|__FMA__|__F16C__)"
)
WARNINGS = (
    "-std=c17 -Wall -Wextra -Wshadow -Wvla -Wformat=2 -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith "
    "-Wcast-qual -Werror"
).split()


def strip_code(text):
    """The text with comments and literals blanked, line by line; quotes of #include stay."""
    token = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)

    def blank(m):
        start = text.rfind("\n", 0, m.start()) + 1
        if text[start : m.start()].lstrip().startswith("#") and m.group().startswith('"'):
            return m.group()
        return re.sub(r"[^\n]", " ", m.group())

    return token.sub(blank, text)


def call_pattern(names):
    return re.compile(r"(?<![\w.>])(?:%s)\s*\(" % "|".join(names.split()))


class Lint:
    def __init__(self):
        self.findings = []

    def report(self, path, line, what):
        self.findings.append(f"{path.relative_to(ROOT)}:{line}: {what}")

    def check_include(self, path, layer, number, line):
        m = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
        if not m:
            return
        target = m.group(1)
        if not ((SRC / target).exists() or target.startswith("web/")):
            if (path.parent / target).exists():
                self.report(path, number, f'include "{target}" must be written from src/')
            return
        other = target.split("/")[0]
        if other == layer:
            return
        if other not in LAYERS[layer]:
            self.report(path, number, f"layer {layer} may not include {target}: {other} is not below it")
        elif target not in ONLY_HEADER.get((layer, other), {target}):
            self.report(path, number, f"layer {layer} may include only a part of {other}, not {target}")

    def check_file(self, path):
        layer = path.relative_to(SRC).parts[0]
        name = str(path.relative_to(SRC))
        text = path.read_text()
        lines = text.splitlines()
        code = strip_code(text).splitlines()
        if len(lines) > MAX_LINES:
            self.report(path, len(lines), f"more than {MAX_LINES} lines")
        if not lines or not lines[0].startswith("//"):
            self.report(path, 1, "a file begins with a few lines that say what it is")
        is_arch = name.startswith(("kernels/x86/", "kernels/arm/"))
        is_library = layer != "cli"
        for number, (raw, line) in enumerate(zip(lines, code), 1):
            if layer in LAYERS:
                self.check_include(path, layer, number, line)
            if layer != "os" and (m := PLATFORM.match(line)) and (not is_arch or m.group(1) in SYSTEMS):
                self.report(path, number, f"{m.group(1)} is asked for outside src/os")
            if name != "base/mem.c" and (m := call_pattern(ALLOCATORS).search(line)):
                self.report(path, number, f"{m.group().rstrip('( ')}: memory comes from base/mem.h")
            if m := call_pattern(UNSAFE).search(line):
                self.report(path, number, f"{m.group().rstrip('( ')} is not used: it knows no bounds or no errors")
            if is_library and name != "base/mem.c" and (m := call_pattern(ENDING).search(line)):
                self.report(path, number, f"{m.group().rstrip('( ')}: the library neither prints nor ends the program")
            if is_library and re.search(r"\bf(?:printf|puts|putc|write)\s*\(\s*(?:stdout|stderr)|\bstd(?:out|err)\b", line):
                self.report(path, number, "the library does not print")
            if raw != raw.rstrip() or "\t" in raw:
                self.report(path, number, "tab, or space at the end of the line")
            if len(raw) > MAX_COLUMNS:
                self.report(path, number, f"{len(raw)} columns")
            if re.search(r"\b(?:TODO|FIXME|XXX|HACK)\b", raw):
                self.report(path, number, "unfinished business: do it or describe it in an issue")

    def check_header_alone(self, path, compiler):
        name = str(path.relative_to(SRC))
        done = subprocess.run(
            [compiler, *WARNINGS, "-D_GNU_SOURCE", "-D_DARWIN_C_SOURCE", "-fsyntax-only", "-I", str(SRC), "-I", str(ROOT / "include"), "-x", "c", "-"],
            input=f'#include "{name}"\n#include "{name}"\ntypedef int not_empty;\n',
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            self.report(path, 1, f"does not compile alone with {compiler}:\n{done.stderr.strip()}")

    def check_build(self, compiler):
        build = ROOT / "build" / "lint" / compiler
        configure = ["cmake", "-S", str(ROOT), "-B", str(build), "-G", "Ninja", "-DHEARTH_WERROR=ON"]
        configure += [f"-DCMAKE_C_COMPILER={compiler}", "-DCMAKE_BUILD_TYPE=Release"]
        for command in (configure, ["cmake", "--build", str(build), "-j", str(os.cpu_count()), "--", "-k", "0"]):
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode != 0:
                lines = [l for l in (done.stdout + done.stderr).splitlines() if re.search(r"error|warning", l)]
                self.findings.append(f"build with {compiler} and warnings as errors:\n" + "\n".join(lines[:40]))
                return


def main():
    lint = Lint()
    sources = sorted(p for p in SRC.rglob("*") if p.suffix in (".c", ".h"))
    for path in sources:
        lint.check_file(path)
    compilers = [c for c in ("gcc", "clang") if shutil.which(c)]
    for compiler in compilers:
        for path in sources:
            if path.suffix == ".h":
                lint.check_header_alone(path, compiler)
        if "--fast" not in sys.argv:
            lint.check_build(compiler)
    for finding in lint.findings:
        print(finding)
    print(f"lint: {len(sources)} files, {' and '.join(compilers) or 'no compiler'}: {len(lint.findings)} findings")
    sys.exit(1 if lint.findings else 0)


if __name__ == "__main__":
    main()
