"""What the system asks of a rank by signals: to come to an end, or to stop.

SIGUSR1 and SIGTERM (the end of the allocation, preemption) ask a run to drain: finish what can be finished, commit, end
with exit code 10.  A second SIGTERM, or SIGINT, stops it at once; what is committed is safe in any case.
"""

from __future__ import annotations

import signal
from types import FrameType, TracebackType
from typing import Any, Self

__all__ = ["Signals"]


class Signals:
    """Listens to signals while it is entered; main thread only.

    Parameters
    ----------
    prompt : bool, optional
        Raise KeyboardInterrupt where SIGINT comes, for a rank that does units itself and looks at nothing meanwhile.

    Attributes
    ----------
    drain : str
        Name of the signal that asks to drain; "" as long as none does.
    stop : str
        Name of the signal that asks to stop at once.
    """

    def __init__(self, *, prompt: bool = False) -> None:
        self.drain = ""
        self.stop = ""
        self._prompt = prompt
        self._before: dict[signal.Signals, Any] = {}

    def check(self) -> None:
        """Raise KeyboardInterrupt if the run is to stop at once."""
        if self.stop:
            raise KeyboardInterrupt(self.stop)

    def __enter__(self) -> Self:
        for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGINT):
            self._before[number] = signal.signal(number, self._hear)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        if number == signal.SIGINT or (number == signal.SIGTERM and self.drain == name):
            self.stop = name
            if self._prompt:
                raise KeyboardInterrupt(name)
        else:
            self.drain = self.drain or name
