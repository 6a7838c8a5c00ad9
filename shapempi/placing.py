"""Where the exposures of a survey lie on the sky, found out by all ranks together before the work begins.

A survey has some ten thousand exposures of 40 headers each: an hour for rank 0 alone, seconds for a thousand ranks.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from shapempi.mpi.comm import Comm
from shapempi.survey.inputs import SurveyInputs
from shapempi.survey.placed_exposure import PlacedExposure

__all__ = ["place_exposures"]

#: Exposures that a rank reads between two reports to rank 0.
_ROUND = 8


def place_exposures(
    comm: Comm,
    inputs: SurveyInputs | None,
    *,
    say: Callable[[str], None] = print,
    interval: float = 60.0,
) -> dict[int, PlacedExposure]:
    """Place the CCDs of all exposures on the sky, each exposure by one rank.  Collective: before the farm starts only.

    What `inputs.store` knows of a file that is as it was is not read again.  A file that cannot be used is an answer
    as every other; any other error leaves the communicator's `with` and so ends all ranks.

    Parameters
    ----------
    comm : Comm
        The ranks.
    inputs : SurveyInputs or None
        On rank 0 the survey; None if there is none, and nothing is done.  Ignored on other ranks.
    say : callable, optional
        Takes a line about how far it is, on rank 0.
    interval : float, optional
        Time between two such lines [s].

    Returns
    -------
    dict of int to PlacedExposure
        By exposure, sorted; empty on the other ranks.
    """
    known: dict[int, PlacedExposure] = {}
    task = None
    if comm.rank == 0 and inputs is not None:
        known = inputs.known()
        looks = {exposure: placed.looks for exposure, placed in known.items()}
        task = SurveyInputs(inputs.params), inputs.exposures, looks
    task = comm.share(task)
    if task is None:
        return {}
    survey, exposures, looks = task
    found: dict[int, PlacedExposure] = {}
    next_line = time.monotonic() + interval
    step = _ROUND * comm.size
    for first in range(0, len(exposures), step):
        mine = exposures[first + comm.rank : first + step : comm.size]
        for answers in comm.collect([(each, survey.place(each, looks.get(each))) for each in mine]):
            found.update((each, known[each] if placed is None else placed) for each, placed in answers)
        if comm.rank == 0 and time.monotonic() >= next_line:
            next_line = time.monotonic() + interval
            say(f"planning: {len(found)}/{len(exposures)} exposures")
    return dict(sorted(found.items()))
