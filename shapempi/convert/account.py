"""The report of a conversion: what was taken, what has no counterpart and why, what is left to do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from shapempi.convert.conversion import Conversion
from shapempi.convert.note import Fate

__all__ = ["account", "verdict"]

#: The order of the report: what needs the user last, where it is seen.
_ORDER = (Fate.TAKEN, Fate.CHANGED, Fate.COMMAND, Fate.WITHOUT, Fate.UNKNOWN, Fate.CONTRADICTION, Fate.FAILED)


def account(conversion: Conversion, sources: Sequence[Path], output: Path) -> list[str]:
    """Return the lines of the report.

    Parameters
    ----------
    conversion : Conversion
        The result.
    sources : sequence of Path
        The files that were converted.
    output : Path
        The configuration that was written.
    """
    lines = [f"{', '.join(map(str, sources))} -> {output}"]
    for fate in _ORDER:
        notes = [note for note in conversion.notes if note.fate is fate]
        if notes:
            lines += ["", f"{fate.value} ({len(notes)})"]
            lines += [f"  {' '.join(str(note).split())}" for note in notes]
    return [*lines, "", *verdict(conversion, output)]


def verdict(conversion: Conversion, output: Path) -> list[str]:
    """Return how many keys went where, and what to do next."""
    counts = {fate: sum(note.fate is fate for note in conversion.notes) for fate in _ORDER}
    text = ", ".join(
        f"{counts[fate]} {word}"
        for fate, word in (
            (Fate.TAKEN, "taken"),
            (Fate.CHANGED, "changed"),
            (Fate.COMMAND, "for another command"),
            (Fate.WITHOUT, "without a counterpart"),
            (Fate.UNKNOWN, "unknown"),
            (Fate.CONTRADICTION, "contradictions"),
            (Fate.FAILED, "not converted"),
        )
    )
    lines = [f"{output}: {len(conversion.values)} keys; {text}"]
    if conversion.problems:
        return [*lines, "not everything was converted: see above, and the head of the file"]
    return [*lines, f"next: shapempi plan {output}; mpirun -n N shapempi run {output}; shapempi gather RUN"]
