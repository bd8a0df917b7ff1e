#!/usr/bin/env python3
"""Writes src/quant/grid_iq1.c, grid_iq2.c and grid_iq3.c: the codebooks of the IQ types.

The codebooks are constants of the GGUF format; they are read from the `gguf` package and packed, one
16-bit word per entry: element j at bits 2j (IQ1, IQ2: eight elements of three levels) or 3j (IQ3: four
elements of eight levels).

    usage: make_quant_grids.py [DIRECTORY]     (default: src/quant next to this script)
"""
import pathlib
import sys

import numpy as np
from gguf import quants

FILES = {
    "grid_iq1.c": ("iq1_s and iq1_m", [("hth_grid_iq1", quants.IQ1_S)]),
    "grid_iq2.c": ("iq2_xxs, iq2_xs and iq2_s", [("hth_grid_iq2_xxs", quants.IQ2_XXS),
                                                 ("hth_grid_iq2_xs", quants.IQ2_XS),
                                                 ("hth_grid_iq2_s", quants.IQ2_S)]),
    "grid_iq3.c": ("iq3_xxs and iq3_s", [("hth_grid_iq3_xxs", quants.IQ3_XXS),
                                         ("hth_grid_iq3_s", quants.IQ3_S)]),
}


def words(cls):
    """The grid of a type as packed words, uint16[n_entry]."""
    cls.init_grid()
    grid = cls.grid.reshape(cls.grid_shape)
    levels = np.array(cls.grid_map, dtype=np.float32)
    index = np.searchsorted(levels, grid)
    assert (levels[index] == grid).all()
    bits = 2 if len(levels) == 3 else 3
    shift = bits * np.arange(grid.shape[1])
    return (index << shift).sum(axis=1)


def c_array(name, values):
    lines = [f"const uint16_t {name}[{len(values)}] = {{"]
    for i in range(0, len(values), 13):
        lines.append("    " + ", ".join(f"0x{v:04x}" for v in values[i:i + 13]) + ",")
    return "\n".join(lines + ["};"])


def main():
    default = pathlib.Path(__file__).resolve().parent.parent / "src" / "quant"
    out = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else default
    for file, (types, grids) in FILES.items():
        head = (f"// Codebooks of {types}. Written by tools/make_quant_grids.py.\n"
                "// The packing is described in quant/grid.h.\n"
                '#include "quant/grid.h"\n')
        arrays = [c_array(name, words(cls)) for name, cls in grids]
        (out / file).write_text("\n".join([head] + ["\n\n".join(arrays)]) + "\n")


if __name__ == "__main__":
    main()
