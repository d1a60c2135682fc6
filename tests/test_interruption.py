"""What signals do to a process that is about to end, and to one that will not."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from scaling_search.interruption import EXIT_CODE, SAME_SECONDS, SIGNALS, Interruption


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_raised_where_it_is_heeded(number: signal.Signals) -> None:
    with Interruption() as interruption:
        signal.raise_signal(number)
        heeded = interruption.heeded()
        with pytest.raises(KeyboardInterrupt):
            heeded.__enter__()


def test_a_signal_ends_a_wait() -> None:
    with Interruption() as interruption:
        later = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM))
        later.start()
        with pytest.raises(KeyboardInterrupt):
            interruption.sleep(600)
        later.join()


def test_handlers_are_given_back() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with Interruption():
        assert [signal.getsignal(number) for number in SIGNALS] != before
    assert [signal.getsignal(number) for number in SIGNALS] == before


@pytest.mark.parametrize(
    ("first", "second"), [(one, other) for one in SIGNALS for other in SIGNALS]
)
def test_a_second_signal_ends_the_process_whatever_it_does(
    first: signal.Signals, second: signal.Signals
) -> None:
    script = (
        "import signal, time\n"
        "from scaling_search.interruption import Interruption\n"
        "with Interruption():\n"
        "    try:\n"
        f"        signal.raise_signal({int(first)})\n"
        "        print('goes on', flush=True)\n"
        f"        signal.raise_signal({int(second)})  # the same, said twice\n"
        "        print('goes on', flush=True)\n"
        f"        time.sleep({SAME_SECONDS + 0.1})\n"
        f"        signal.raise_signal({int(second)})\n"
        "    finally:\n"
        "        print('never', flush=True)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60
    )
    assert ended.stdout == "goes on\n" * 2
    assert ended.returncode == EXIT_CODE
    assert ended.stderr.strip() == "left at once; the same command goes on from what is recorded"
