"""Classes of failures."""

import errno

import pytest

from shapempi.errors import DataError
from shapempi.mpi.retry import RULES, classify
from shapempi.mpi.unit import Failure, State


def wrapped(error, cause):
    try:
        raise error from cause
    except Exception as raised:
        return raised


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (DataError("x"), Failure.SCIENCE),
        (ZeroDivisionError(), Failure.SCIENCE),
        (FileNotFoundError(errno.ENOENT, "x"), Failure.SCIENCE),
        (OSError(errno.ENOSPC, "x"), Failure.SCIENCE),
        (OSError(errno.EIO, "x"), Failure.IO),
        (OSError(errno.ESTALE, "x"), Failure.IO),
        (wrapped(DataError("x"), OSError(errno.ETIMEDOUT, "x")), Failure.IO),
        (MemoryError(), Failure.MEMORY),
        (wrapped(OSError("cannot commit"), MemoryError()), Failure.MEMORY),
    ],
)
def test_classes(error, failure):
    assert classify(error) is failure


def test_every_class_but_stopped_has_a_rule():
    assert set(RULES) == set(Failure) - {Failure.STOPPED}
    assert RULES[Failure.SCIENCE].n_more == 0
    assert RULES[Failure.LOST].end is State.QUARANTINED
