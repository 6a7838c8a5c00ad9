"""An interrupt is heard wherever it comes."""

import signal
import sys
import time
import weakref

import pytest

from shapempi.interrupt import heard_interrupts


class Thing:
    pass


def interrupt(_reference):
    signal.raise_signal(signal.SIGINT)


def drop():
    thing = Thing()
    reference = weakref.ref(thing, interrupt)
    del thing
    return reference


@pytest.fixture
def hears_sigint():
    """As in a terminal: what a script starts in the background is born deaf."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("hears_sigint")
def test_an_interrupt_in_a_callback_of_the_collector_is_raised_again(capsys):
    with pytest.raises(KeyboardInterrupt), heard_interrupts():
        drop()
        time.sleep(20.0)
    assert capsys.readouterr().err == ""


def test_other_exceptions_in_callbacks_are_told_as_ever(capsys):
    told = []
    before, sys.unraisablehook = sys.unraisablehook, told.append
    try:
        with heard_interrupts():
            thing = Thing()
            reference = weakref.ref(thing, lambda _: 1 / 0)
            del thing
    finally:
        sys.unraisablehook = before
    assert reference() is None and len(told) == 1 and told[0].exc_type is ZeroDivisionError


def test_everything_is_as_before_afterwards():
    before = sys.unraisablehook, signal.getsignal(signal.SIGALRM)
    with heard_interrupts():
        pass
    assert (sys.unraisablehook, signal.getsignal(signal.SIGALRM)) == before
