"""Whatever is in a selection file, there is a program or a ConfigError."""

from __future__ import annotations

import numpy as np
import pytest

from shapempi.errors import ConfigError
from shapempi.measure.detection_table import DETECTION_DTYPE
from shapempi.measure.setools.program import parse
from shapempi.measure.stars import StarParams, constants_of, standard_program

CONSTANTS = constants_of(StarParams(), {"pixel_scale": 0.187, "ccd_nx": 2048.0, "ccd_ny": 4612.0})


def make_table(n=60):
    rng = np.random.default_rng(2)
    table = np.zeros(n, DETECTION_DTYPE)
    table["MAG_AUTO"], table["FWHM_IMAGE"] = rng.uniform(17, 23, n), rng.normal(3.9, 0.2, n)
    table["XWIN_IMAGE"], table["YWIN_IMAGE"] = rng.uniform(1, 2048, n), rng.uniform(1, 4612, n)
    table["MAG_AUTO"][::9] = np.nan
    return table


TABLE = make_table()


def try_out(text):
    """Parse, and use it if that works; anything but a ConfigError comes through."""
    try:
        selection = parse(text, "fuzz.setools").select(TABLE, CONSTANTS, np.random.default_rng(0))
        selection.figures()
        selection.catalogues()
        for name in selection.masks:
            selection.reason(name)
    except ConfigError as error:
        assert str(error).startswith("fuzz.setools:")
        assert str(error).isprintable()
        return 0
    return 1


@pytest.mark.parametrize("seed", range(8))
def test_garbage(seed):
    rng = np.random.default_rng(seed)
    for _ in range(60):
        garbage = rng.integers(0, 256, rng.integers(1, 400), dtype=np.uint8).tobytes().decode("latin-1")
        try_out(garbage)
        try_out(f"[MASK:a]\n{garbage}")


def test_words_in_any_order():
    rng = np.random.default_rng(5)
    words = [
        *"+ - * / < > <= >= == != ( ) ( ) , { } {preselect} and or not".split(),
        *"MAG_AUTO FWHM_IMAGE FLAGS pixel_scale 1 2.5 1e3 0 mean( mode( pow( percentile( homogen( len( when(".split(),
    ]
    good = 0
    for _ in range(3000):
        line = " ".join(rng.choice(words, rng.integers(1, 9)))
        good += try_out(f"[MASK:preselect]\nMAG_AUTO > 20\n[MASK:a]\n{line}\n")
    assert good > 10  # some of them make sense


@pytest.mark.parametrize("seed", range(6))
def test_mutations_of_the_standard_file(seed):
    rng = np.random.default_rng(seed)
    text = standard_program().text
    lines = text.split("\n")
    good = 0
    for _ in range(50):
        characters = list(text)
        for place in rng.integers(0, len(characters), rng.integers(1, 4)):
            characters[place] = rng.choice(["", chr(rng.integers(0, 0x2FF)), characters[rng.integers(len(characters))]])
        good += try_out("".join(characters))
        mixed = list(lines)
        for _ in range(rng.integers(1, 4)):
            mixed.insert(rng.integers(len(mixed)), lines[rng.integers(len(lines))])
            del mixed[rng.integers(len(mixed))]
        good += try_out("\n".join(mixed))
    assert 0 < good < 100
