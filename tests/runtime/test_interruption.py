"""What signals do to a process that is about to end, and to one that will not."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from scaling_search.runtime.interruption import (
    DUPLICATE_SECONDS,
    EXIT_CODE,
    SIGNALS,
    Interruption,
    check,
    interruptible,
    sleep,
)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_raised_where_work_is_interruptible(number: signal.Signals) -> None:
    with Interruption():
        signal.raise_signal(number)
        with pytest.raises(KeyboardInterrupt):
            check()
        with pytest.raises(KeyboardInterrupt), interruptible():
            pass


def test_where_work_is_interruptible_a_signal_is_raised_at_once() -> None:
    with Interruption(), pytest.raises(KeyboardInterrupt), interruptible():
        signal.raise_signal(signal.SIGTERM)


def test_nothing_is_raised_without_a_signal_or_after_the_end() -> None:
    with Interruption(), interruptible():
        check()
        sleep(0.01)
    check()


def test_a_signal_ends_a_wait() -> None:
    with Interruption():
        later = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM))
        later.start()
        with pytest.raises(KeyboardInterrupt):
            sleep(600)
        later.join()


def test_handlers_are_given_back() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with Interruption():
        assert [signal.getsignal(number) for number in SIGNALS] != before
    assert [signal.getsignal(number) for number in SIGNALS] == before


PAIRS = [(one, other, 0.0) for one in SIGNALS for other in SIGNALS if one != other]


@pytest.mark.parametrize(
    ("first", "second", "seconds"),
    [
        *PAIRS,
        (signal.SIGINT, signal.SIGINT, 0.0),
        (signal.SIGTERM, signal.SIGTERM, DUPLICATE_SECONDS + 0.1),
    ],
)
def test_a_second_signal_ends_the_process_whatever_it_does(
    first: signal.Signals, second: signal.Signals, seconds: float
) -> None:
    ended = signalled(first, second, seconds)
    assert ended.stdout == "goes on\n"
    assert ended.returncode == EXIT_CODE
    assert ended.stderr.strip() == "left at once; the same command goes on from what is recorded"


def test_sigterm_said_twice_in_a_moment_is_one() -> None:
    ended = signalled(signal.SIGTERM, signal.SIGTERM, 0.0)
    assert ended.stdout == "goes on\n" * 2


def signalled(
    first: signal.Signals, second: signal.Signals, seconds: float
) -> "subprocess.CompletedProcess[str]":
    """A process that says after each of two signals that it goes on."""
    script = (
        "import signal, time\n"
        "from scaling_search.runtime.interruption import Interruption\n"
        "with Interruption():\n"
        f"    signal.raise_signal({int(first)})\n"
        "    print('goes on', flush=True)\n"
        f"    time.sleep({seconds})\n"
        f"    signal.raise_signal({int(second)})\n"
        "    print('goes on', flush=True)\n"
    )
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60
    )
