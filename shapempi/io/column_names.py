"""Columns of other people's tables, found by the names that they are known under."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from shapempi.errors import DataError

__all__ = ["choose_columns"]


def choose_columns(
    names: Iterable[str], known: Mapping[str, Sequence[str]], optional: Collection[str], path: Path, cure: str
) -> dict[str, str]:
    """Find columns by their names, case aside.

    Parameters
    ----------
    names : iterable of str
        The table's columns.
    known : mapping of str to sequence of str
        What each column may be called in lower case, the best first, by its role.
    optional : collection of str
        Roles that may be absent.
    path : Path
        The file, for messages.
    cure : str
        What is needed, for messages.

    Returns
    -------
    dict of str to str
        The table's own names by role.

    Raises
    ------
    DataError
        If a role is absent that may not be.
    """
    there = {name.lower(): name for name in names}
    chosen = {}
    for role, candidates in known.items():
        name = next((there[candidate] for candidate in candidates if candidate in there), None)
        if name is not None:
            chosen[role] = name
        elif role not in optional:
            among = ", ".join(there.values()) or "no columns"
            raise DataError(f"{path}: no column for {role.upper()} among {among}; {cure}")
    return chosen
