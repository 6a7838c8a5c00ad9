"""Tables in files: the formats that are read and written, by the endings of their names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from shapempi.errors import ConfigError, MissingInputError
from shapempi.io.atomic import refuse_existing, replacing
from shapempi.io.csv_table import open_csv
from shapempi.io.fits_table import create_fits, open_fits
from shapempi.io.hdf5_table import create_hdf5, open_hdf5
from shapempi.io.npy_table import create_npy, open_npy
from shapempi.io.parquet_table import create_parquet, open_parquet
from shapempi.io.table import Layout, TableSink, TableSource

__all__ = ["READERS", "WRITERS", "create_table", "format_of", "open_table"]

Reader = Callable[[Path, int | str | None], AbstractContextManager[TableSource]]
Writer = Callable[[Path, Layout], AbstractContextManager[TableSink]]

#: Formats that are written, by name.
WRITERS: Mapping[str, Writer] = {
    "fits": create_fits,
    "parquet": create_parquet,
    "hdf5": create_hdf5,
    "npy": create_npy,
}
#: Formats that are read, by name.
READERS: Mapping[str, Reader] = {
    "fits": open_fits,
    "parquet": open_parquet,
    "hdf5": open_hdf5,
    "npy": open_npy,
    "csv": open_csv,
}
#: Formats by the endings of files' names.
_ENDINGS = {
    **dict.fromkeys((".fits", ".fit", ".cat", ".ldac", ".fz"), "fits"),
    **dict.fromkeys((".parquet", ".pq", ".parq"), "parquet"),
    **dict.fromkeys((".h5", ".hdf5", ".hdf"), "hdf5"),
    ".npy": "npy",
    ".csv": "csv",
}


def format_of(path: Path, known: Mapping[str, object] = WRITERS) -> str:
    """Return the format that the name of a file asks for.

    Raises
    ------
    ConfigError
        If it asks for none that is known.
    """
    name = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
    kind = _ENDINGS.get(name.lower(), "")
    if kind not in known:
        endings = ", ".join(ending for ending, each in _ENDINGS.items() if each in known)
        raise ConfigError(f"{path}: its name says no format; let it end with one of {endings}")
    return kind


@contextmanager
def open_table(path: Path, hdu: int | str | None = None) -> Iterator[TableSource]:
    """Open a table of a file.

    Parameters
    ----------
    path : Path
        The file; its format follows from its name.
    hdu : int or str, optional
        Number or name of the table in the file.

    Yields
    ------
    TableSource
        The table, as long as the block lasts.

    Raises
    ------
    MissingInputError, ConfigError, DataError, EngineError
        If there is no such file, its format is not known, or it cannot be read.
    """
    if not path.is_file():
        raise MissingInputError(f"{path}: there is no such table")
    with READERS[format_of(path, READERS)](path, hdu) as source:
        yield source


@contextmanager
def create_table(path: Path, layout: Layout, kind: str, *, overwrite: bool) -> Iterator[TableSink]:
    """Write a table; it appears under its name when the block ends well.

    Parameters
    ----------
    path : Path
        The file.
    layout : Layout
        What is known of it.
    kind : str
        One of `WRITERS`.
    overwrite : bool
        Whether a file that is there may be replaced.

    Yields
    ------
    TableSink
        Takes the rows.

    Raises
    ------
    ConfigError, EngineError
        If the file must not be replaced or cannot be written.
    """
    refuse_existing(path, overwrite=overwrite)
    with replacing(path) as temporary, WRITERS[kind](temporary, layout) as sink:
        yield sink
