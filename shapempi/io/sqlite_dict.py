"""Dictionaries in SQLite files, in the layout of the package sqlitedict: the stores of stamps and of headers.

One table `unnamed` with a text `key` and a pickled `value`.  They are written here and never read: a pickle that comes
from a file can do anything.
"""

from __future__ import annotations

import pickle
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from shapempi.errors import ConfigError
from shapempi.io.atomic import refuse_existing, replacing

__all__ = ["SqliteDictWriter", "create_sqlite_dict"]

#: Later protocols name modules of NumPy 2 that NumPy 1.26 does not have.
_PROTOCOL = 4


class SqliteDictWriter:
    """Writes entries of a store.

    Parameters
    ----------
    connection : sqlite3.Connection
        The open file.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        connection.execute('CREATE TABLE "unnamed" (key TEXT PRIMARY KEY, value BLOB)')

    def put(self, place: int, key: str, value: Any) -> None:
        """Write an entry.

        Parameters
        ----------
        place : int
            Where a reader meets it that goes through the store, from 1; each once, in any order.
        key : str
            Its key.
        value : object
            Texts, numbers, dictionaries and arrays of numbers.
        """
        row = (place, key, sqlite3.Binary(pickle.dumps(value, protocol=_PROTOCOL)))
        self._connection.execute('INSERT INTO "unnamed" (rowid, key, value) VALUES (?, ?, ?)', row)


@contextmanager
def create_sqlite_dict(path: Path, *, overwrite: bool) -> Iterator[SqliteDictWriter]:
    """Open a new store for writing; it appears under its name when the block ends well.

    Parameters
    ----------
    path : Path
        The file; its folder must be there.
    overwrite : bool
        Whether a file that is there may be replaced.

    Yields
    ------
    SqliteDictWriter
        Takes the entries.

    Raises
    ------
    ConfigError
        If the file is there and must not be replaced, or cannot be written.
    """
    refuse_existing(path, overwrite=overwrite)
    try:
        with replacing(path) as temporary:
            temporary.unlink(missing_ok=True)  # of a process that was killed and had our number
            with closing(sqlite3.connect(temporary, isolation_level=None)) as connection:
                # Whole or not there at all is what the renaming sees to.
                connection.execute("PRAGMA journal_mode = OFF")
                connection.execute("PRAGMA synchronous = OFF")
                connection.execute("BEGIN")
                yield SqliteDictWriter(connection)
                connection.execute("COMMIT")
    except (OSError, sqlite3.Error) as error:
        raise ConfigError(f"{path}: cannot be written: {error}") from error
