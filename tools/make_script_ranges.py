#!/usr/bin/env python3
"""Writes src/text/script_ranges.c: which code points belong to which script, for \\p{Han} and its like.

utf8proc has general categories but no scripts. The ranges are those of the Unicode Character Database
(Scripts.txt), read through the `regex` package.

    usage: make_script_ranges.py [DIRECTORY]     (default: src/text next to this script)
"""
import pathlib
import sys

import regex

SCRIPTS = """Common Inherited Latin Greek Cyrillic Armenian Hebrew Arabic Syriac Thaana Nko Devanagari Bengali Gurmukhi
Gujarati Oriya Tamil Telugu Kannada Malayalam Sinhala Thai Lao Tibetan Myanmar Georgian Hangul Ethiopic Cherokee
Canadian_Aboriginal Khmer Mongolian Hiragana Katakana Bopomofo Han Yi Gothic Tifinagh Javanese Balinese""".split()


def ranges(script):
    """The script's code points as (first, last) pairs."""
    found = []
    member = regex.compile(rf"\p{{Script={script}}}")
    for cp in range(0x110000):
        if 0xD800 <= cp < 0xE000 or not member.match(chr(cp)):
            continue
        if found and found[-1][1] == cp - 1:
            found[-1][1] = cp
        else:
            found.append([cp, cp])
    return found


def main():
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent.parent / "src/text")
    out = ["// Written by tools/make_script_ranges.py from the Unicode Character Database's Scripts.txt: first and",
           "// last code point of each range, and where each script's ranges begin.",
           '#include "text/script_ranges.h"', "", "const uint32_t hth_script_range_table[][2] = {"]
    names, n = [], 0
    for script in SCRIPTS:
        found = ranges(script)
        names.append((script, n, len(found)))
        n += len(found)
        out.append(f"    // {script}")
        cells = [f"{{0x{a:x}, 0x{b:x}}}" for a, b in found]
        line = "   "
        for cell in cells:
            if len(line) + len(cell) + 2 > 110:
                out.append(line)
                line = "   "
            line += f" {cell},"
        out.append(line)
    out += ["};", "", f"const hth_script hth_scripts[{len(names)}] = {{"]
    out += [f'    {{"{name.lower().replace("_", "")}", {first}, {count}}},' for name, first, count in names]
    out += ["};", f"const size_t hth_n_script = {len(names)};", ""]
    (folder / "script_ranges.c").write_text("\n".join(out))


if __name__ == "__main__":
    main()
