"""What signals ask of a rank."""

import os
import signal

import pytest

from shapempi.mpi.signals import Signals


def test_drain_then_stop():
    with Signals() as signals:
        os.kill(os.getpid(), signal.SIGUSR1)
        assert (signals.drain, signals.stop) == ("SIGUSR1", "")
        signals.check()
        os.kill(os.getpid(), signal.SIGUSR1)  # USR1 never stops: Slurm may send it twice
        signals.check()
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt, match="SIGINT"):
            signals.check()


def test_a_second_sigterm_stops():
    with Signals() as signals:
        os.kill(os.getpid(), signal.SIGTERM)
        signals.check()
        assert signals.drain == "SIGTERM"
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt, match="SIGTERM"):
            signals.check()


def test_a_rank_that_works_itself_is_interrupted_where_it_is():
    with Signals(prompt=True), pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError


def test_handlers_are_put_back():
    before = [signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGINT)]
    with Signals():
        assert signal.getsignal(signal.SIGTERM) is not before[1]
    assert [signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGINT)] == before
