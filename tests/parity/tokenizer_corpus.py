"""Text to compare tokenizers on: made, the same every time, and hard where tokenizers differ.

Only characters that Unicode 3.2 had and whose category has not changed since are used, so that libraries with
tables of different ages agree.
"""
import pathlib
import random
import sysconfig
import unicodedata

# First and last code point; the name is only for people.
SCRIPTS = {
    "latin": (0x41, 0x24F), "ipa": (0x250, 0x2AF), "greek": (0x370, 0x3FF), "cyrillic": (0x400, 0x4FF),
    "armenian": (0x531, 0x589), "hebrew": (0x590, 0x5F4), "arabic": (0x60C, 0x6FE), "syriac": (0x700, 0x74A),
    "thaana": (0x780, 0x7B1), "devanagari": (0x901, 0x970), "bengali": (0x981, 0x9FA), "gurmukhi": (0xA02, 0xA74),
    "gujarati": (0xA81, 0xAEF), "oriya": (0xB01, 0xB70), "tamil": (0xB82, 0xBF2), "telugu": (0xC01, 0xC6F),
    "kannada": (0xC82, 0xCEF), "malayalam": (0xD02, 0xD6F), "sinhala": (0xD82, 0xDF4), "thai": (0xE01, 0xE5B),
    "lao": (0xE81, 0xEDD), "tibetan": (0xF00, 0xFCF), "myanmar": (0x1000, 0x1059), "georgian": (0x10A0, 0x10FB),
    "hangul": (0xAC00, 0xD7A3), "ethiopic": (0x1200, 0x137C), "cherokee": (0x13A0, 0x13F4), "khmer": (0x1780, 0x17E9),
    "mongolian": (0x1800, 0x18A9), "hiragana": (0x3041, 0x309F), "katakana": (0x30A1, 0x30FE), "han": (0x4E00, 0x9FA5),
    "canadian": (0x1401, 0x1676), "yi": (0xA000, 0xA48C), "runic": (0x16A0, 0x16F0), "greek extended": (0x1F00, 0x1FFE),
    "latin extended": (0x1E00, 0x1EF9), "symbols": (0x2010, 0x26FF), "letterlike": (0x2100, 0x2183),
    "fullwidth": (0xFF01, 0xFFEE), "gothic": (0x10330, 0x1034A), "math": (0x1D400, 0x1D7FF), "jamo": (0x1100, 0x11F9),
    "compatibility": (0xF900, 0xFA2D), "presentation": (0xFB00, 0xFDFB),
}
ODD = [
    "'s", "'S", "'re", "'LL", "'d", "'t x", "I'm", "we'Ve", "don't", "\u2019s", " ", "  ", "   ", "\t", "\n", "\n\n",
    "\r\n", " \n ", "\n  ", "\t\t", "\u00a0", "\u3000", "\u2003", "\u2028", "\u0085", "0", "12", "123", "1234567", "3.14",
    "1,000", "2024-01-02", "\u0663\u0664", "\u00b2", "\u00bd", "\u2167", "...", "!!!", "?!", "--", "==", "/*", "*/", "://",
    "<", ">", "<|", "|>", "[INST", "</", "/>", "{", "}", "();", "a_b", "camelCase", "HTTPServer", "XMLHttpRequest", "ABCdef",
    "\u00e9", "e\u0301", "n\u0303a", "o\u0302\u0323", "\u1e69", "\u0327\u0323a", "\u0301", "\u4e2d\u6587", "\u2581", "\u2581x", "##a",
    "\U0001f600", "\U0001f1e9\U0001f1ea", "\u2764\ufe0f", "\U0001f468\u200d\U0001f469", "\u200b", "\u200d", "\ufeff", "\ufffd",
    "\x01", "\x1f", "\x7f", "\ufb01", "\u01c5", "\u0130", "\u00df", "\u1e9e", "\u03c2", "\u212b", "\u2126", "\uff21", "\uac00", "\u1100\u1161",
]


def letters(first, last):
    old = unicodedata.ucd_3_2_0
    found = [c for c in map(chr, range(first, last + 1)) if old.category(c) not in ("Cn", "Cs")]
    return [c for c in found if old.category(c) == unicodedata.category(c)] or found


def script_text(rng, alphabet, n):
    out, size = [], 0
    while size < n:
        word = "".join(rng.choices(alphabet, k=rng.choice((1, 2, 3, 4, 5, 6, 7, 9, 14))))
        if rng.random() < 0.1:
            word = rng.choice(ODD) + word
        word += rng.choice((" ", " ", " ", " ", " ", "", ", ", ". ", "\n", "  ", "1 "))
        out.append(word)
        size += len(word.encode())
    return "".join(out)


def odd_text(rng, n):
    out, size = [], 0
    while size < n:
        piece = rng.choice(ODD) * rng.choice((1, 1, 1, 2, 3, 17))
        out.append(piece)
        size += len(piece.encode())
    return "".join(out)


def source_code(n):
    """Python's own library: real code and English."""
    out, size = [], 0
    for path in sorted(pathlib.Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
        text = path.read_text(encoding="utf-8", errors="ignore")
        out.append(text)
        size += len(text)
        if size > n:
            break
    return "".join(out)[:n]


def make(megabytes):
    """About so many megabytes of text without NUL."""
    rng = random.Random(20240607)
    n = int(megabytes * 1e6)
    parts = [source_code(n * 3 // 10), odd_text(rng, n // 10)]
    for first, last in SCRIPTS.values():
        parts.append(script_text(rng, letters(first, last), n * 6 // 10 // len(SCRIPTS)))
    return "".join(parts).replace("\0", "")


def records(text, n=4000):
    """The text in pieces of about n characters, cut at any place."""
    return [text[i : i + n] for i in range(0, len(text), n)]
