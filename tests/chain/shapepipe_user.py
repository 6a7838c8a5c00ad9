"""A user of ShapePipe: the simulated survey under its names, and its configurations with limits that fit tiny CCDs."""

from __future__ import annotations

import shutil
from pathlib import Path

from astropy.table import Table

DATA = Path(__file__).parents[1] / "data" / "shapepipe"

#: What tiny CCDs need: their borders are narrow, their stars few and faint.
CHANGES = {
    "exposure.mask": (("BORDER_WIDTH = 50", "BORDER_WIDTH = 10"), ("SPIKE_MAG_LIM = 18.", "SPIKE_MAG_LIM = 15.5")),
    "exposures.ini": (("STAR_THRESH = 20", "STAR_THRESH = 8"),),
    "tiles.ini": (("STAR_THRESH = 22", "STAR_THRESH = 8"),),
}


def configurations(folder: Path) -> Path:
    """Copy the configurations, with the changes; return their folder."""
    target = folder / "config"
    shutil.copytree(DATA, target)
    for name, changes in CHANGES.items():
        text = (target / name).read_text()
        for old, new in changes:
            assert old in text, (name, old)
            text = text.replace(old, new)
        (target / name).write_text(text)
    return target


def link_survey(survey: Path, folder: Path) -> None:
    """Link a survey's files under the pipeline's names, and write its bright stars as the client's text."""
    exposures, tiles, stars = (folder / name for name in ("input_exp", "input_tiles", "star_cat"))
    for made in (exposures, tiles, stars, folder / "output"):
        made.mkdir(parents=True)
    for path in (survey / "exposures").glob("*p*.fits.fz"):
        number, _, role = path.name.removesuffix(".fits.fz").partition("p")
        (exposures / f"{role.strip('.') or 'image'}-{number}.fitsfz").symlink_to(path)
    for path in (survey / "tiles").glob("CFIS.*.fits*"):
        _, x, y, _, *rest = path.name.split(".")
        kind, end = ("weight", ".fitsfz") if "weight" in rest else ("image", ".fits")
        (tiles / f"CFIS_{kind}-{x}-{y}{end}").symlink_to(path)
        (stars / f"star_cat-{x}-{y}.cat").write_text(client_text(Table.read(survey / "star_catalogue.fits")))


def client_text(table: Table) -> str:
    """Write stars as the GSC client does: a header in the fourth line, six lines behind the last star."""
    columns = {name.lower(): name for name in table.colnames}
    rows = [
        f"N{k:06d} {row[columns['ra']]:.7f} {row[columns['dec']]:+.7f} {row[columns['mag']]:.2f} --- --- --- 0"
        for k, row in enumerate(table)
    ]
    head = ["#", "#", "#", "#Id RA(J2000) Dec(J2000) Fmag Jmag Vmag Nmag Clas"]
    return "\n".join([*head, *rows, *["#"] * 6]) + "\n"
