"""A gathered run without a run: rows of a catalogue as the file that `gather` writes."""

from shapempi.catalog import COLUMNS
from shapempi.io.catalog import TableWriter, create_catalogue


def write_run(folder, rows, *, columns=COLUMNS, name="catalogue.h5"):
    """Write rows as the catalogue of a run folder; returns the folder."""
    folder.mkdir(exist_ok=True)
    with create_catalogue(folder / name, {"n_row": len(rows), "made_from": name}, overwrite=True) as file:
        writer = TableWriter(file, "catalogue", columns, len(rows))
        writer.append(rows)
        writer.finish()
    return folder
