"""Catalogues as `shapempi gather` writes them, of any rows, for tests."""

import h5py
import numpy as np

from shapempi.catalog import (
    COLUMNS,
    EPOCH_COLUMNS,
    PSF_STATUS_COLUMNS,
    SHEAR_TYPES,
    STAR_COLUMNS,
    dtype_of,
)
from shapempi.io.catalog import TableWriter, create_catalogue


def random_rows(columns, n_row, *seed):
    """Return a table whose every value is random and depends on the seed alone; a fifth of the floats are NaN."""
    rng = np.random.default_rng(seed)
    table = np.zeros(n_row, dtype_of(columns))
    for name in table.dtype.names:
        kind = table.dtype[name].kind
        values = rng.normal(0, 1, n_row) if kind == "f" else rng.integers(0, 100, n_row)
        if kind == "f":
            values[rng.random(n_row) < 0.2] = np.nan
        table[name] = [f"t{k:04d}"[:7].encode() for k in values.astype(int)] if kind == "S" else values
    return table


def tile_rows(tile, ra, dec, *seed):
    """Return rows of a tile at positions [deg]; all else is random."""
    rows = random_rows(COLUMNS, len(ra), tile.x, tile.y, *seed)
    rows["tile"] = str(tile).encode()
    rows["TILE_X"], rows["TILE_Y"] = tile.x, tile.y
    rows["NUMBER"] = np.arange(1, len(ra) + 1)
    rows["ra"] = rows["XWIN_WORLD"] = ra
    rows["dec"] = rows["YWIN_WORLD"] = dec
    rows["FLAG_TILING"] = 1
    return rows


def write_native(path, rows, *, epochs=None, status=None, stars=None, missing=(), columns=COLUMNS, **attributes):
    """Write a catalogue."""
    tables = {
        "catalogue": (columns, rows),
        "epochs": (EPOCH_COLUMNS, random_rows(EPOCH_COLUMNS, 0) if epochs is None else epochs),
        "stars": (STAR_COLUMNS, random_rows(STAR_COLUMNS, 0) if stars is None else stars),
        "psf_status": (PSF_STATUS_COLUMNS, random_rows(PSF_STATUS_COLUMNS, 0) if status is None else status),
    }
    said = {"n_row": len(rows), "made_from": path.name, "detection_engine": "sep 1.4", **attributes}
    with create_catalogue(path, said, overwrite=True) as file:
        if missing:
            file["missing"] = np.array(missing, dtype="S")
        for name, (declared, values) in tables.items():
            writer = TableWriter(file, name, declared, len(values))
            writer.append(values)
            writer.finish()
    return path


def good_shapes(rows, g1, g2, response, step=0.01):
    """Give rows shapes that respond linearly to the shear of every type: g_K = g + R s_K."""
    direction = {"noshear": (0, 0), "1p": (1, 0), "1m": (-1, 0), "2p": (0, 1), "2m": (0, -1)}
    rows["shape_flags"] = 0
    for kind in SHEAR_TYPES:
        shift = step * np.asarray(response) @ np.array(direction[kind], float)
        rows[f"g1_{kind}"], rows[f"g2_{kind}"] = g1 + shift[0], g2 + shift[1]
        rows[f"g1_err_{kind}"] = rows[f"g2_err_{kind}"] = 0.1
        rows[f"flags_{kind}"] = 0
        rows[f"T_{kind}"], rows[f"s2n_{kind}"] = 0.4, 30.0
    return rows


def attributes_of(path, name):
    """Return unit and meaning of every column of a table in an HDF5 file."""
    with h5py.File(path, "r", locking=False) as file:
        return {key: (item.attrs["unit"], item.attrs["meaning"]) for key, item in file[name].items()}
