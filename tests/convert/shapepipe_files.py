"""Files of ShapePipe's for the tests: a folder with them, small ones to begin with, and what is made of them."""

from __future__ import annotations

from pathlib import Path

from chain.program import verb

DATA = Path(__file__).parents[1] / "data" / "shapepipe"

#: The smallest file from which everything is known but what a test adds.
HEAD = """[DEFAULT]
RUN_NAME = run_sp

[EXECUTION]
MODULE = {modules}

[FILE]
INPUT_DIR = exposures
OUTPUT_DIR = output
NUMBERING_SCHEME = {scheme}
"""


def write(folder, sections="", *, modules="split_exp_runner", scheme="-0000000-0", name="config.ini"):
    """Write an INI file beside folders of exposures, tiles and outputs."""
    for made in ("exposures", "tiles", "output"):
        (folder / made).mkdir(exist_ok=True)
    path = folder / name
    path.write_text(HEAD.format(modules=modules, scheme=scheme) + sections)
    return path


def convert(folder, *words):
    """Run the verb in a folder, with the folder of the tiles, which `write` says nothing of."""
    return verb(folder, "convert", "--tile-folder", "tiles", *words)


def line_of(path, words):
    """Return `file:line` of the first line with some words."""
    lines = path.read_text().splitlines()
    return f"{path.name}:{next(k for k, line in enumerate(lines, 1) if words in line)}"
