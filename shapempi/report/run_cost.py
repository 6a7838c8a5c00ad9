"""What a run cost, and how well that was predicted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from shapempi.report.run_record import DONE, RunRecord
from shapempi.report.survey_view import SurveyView

__all__ = ["Prediction", "RunCost", "predictions"]


@dataclass(frozen=True)
class Prediction:
    """Predicted and used time of the units of one kind that are done.

    Attributes
    ----------
    kind : str
        Which.
    predicted, used : ndarray [n]
        Time [s], both greater than 0.
    """

    kind: str
    predicted: np.ndarray
    used: np.ndarray

    @property
    def median(self) -> float:
        """Median of used / predicted."""
        return float(np.median(self.used / self.predicted))

    @property
    def scatter(self) -> float:
        """The factor within which 68 % of the ratios lie around their median; NaN of a single one."""
        if len(self.used) < 2:
            return np.nan
        logs = np.log(self.used / self.predicted)
        return float(np.exp(np.percentile(np.abs(logs - np.median(logs)), 68.27)))


def predictions(record: RunRecord, survey: SurveyView) -> list[Prediction]:
    """Return predicted and used time by kind.

    The prediction is that of the moment when the unit was given out; older journals do not have it, and of CCDs and
    tiles the plan's takes its place.

    Parameters
    ----------
    record : RunRecord
        What the units took.
    survey : SurveyView
        The plan's predictions.
    """
    pairs: dict[str, list[tuple[float, float]]] = {}
    for attempt in record.worked():
        cost = attempt.cost or survey.costs.get(attempt.uid, 0.0)
        if attempt.state == DONE and cost > 0 and attempt.elapsed > 0:
            pairs.setdefault(attempt.kind, []).append((cost, attempt.elapsed))
    return [Prediction(kind, *np.array(pairs[kind]).T) for kind in record.kinds() if kind in pairs]


@dataclass(frozen=True)
class RunCost:
    """Core-hours of all jobs of a run, and what they bought.

    Attributes
    ----------
    cpu : float
        Processor time of all attempts [core-hours].
    occupied : float
        Wall-clock time of all attempts [core-hours].
    wasted : float
        The part of `occupied` in attempts that failed.
    billed : float
        Wall-clock time of the jobs times their ranks [core-hours].
    n_tile, area, n_object : int, float, int
        Tiles that are done without a block that failed, their area [deg2], and all objects.
    """

    cpu: float
    occupied: float
    wasted: float
    billed: float
    n_tile: int
    area: float
    n_object: int

    @classmethod
    def of(cls, record: RunRecord, survey: SurveyView) -> Self:
        """Add up a run."""
        worked = record.worked()
        lacking = {
            f"tile:{unit.uid.split(':')[1]}"
            for unit in record.units.values()
            if unit.kind == "block" and unit.state != DONE and ":" in unit.uid
        }
        tiles = [u.uid for u in record.units.values() if u.kind == "tile" and u.state == DONE and u.uid not in lacking]
        return cls(
            cpu=sum(attempt.cpu for attempt in worked) / 3600.0,
            occupied=sum(attempt.elapsed for attempt in worked) / 3600.0,
            wasted=sum(attempt.elapsed for attempt in worked if attempt.state != DONE) / 3600.0,
            billed=sum(job.billed for job in record.jobs),
            n_tile=len(tiles),
            area=sum(survey.areas.get(uid, 0.0) for uid in tiles),
            n_object=record.n_row,
        )
