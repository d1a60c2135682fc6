"""Trainings that share a device: beside each other, and one alone."""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from scaling_search.core.trial import Trial
from scaling_search.training import device_sharing
from scaling_search.training.device_sharing import DeviceLock, num_workers, share_device
from scaling_search.training.engine import train_trial
from tests.faults import Crowded
from tests.tiny import tiny_trial

PATIENCE_SECONDS = 60
"""For another thread; it takes milliseconds, on a machine that is busy more."""


@pytest.fixture
def lock(tmp_path: Path) -> Iterator[Path]:
    """The lock of a device of which this process is one of two workers."""
    path = tmp_path / "device.lock"
    share_device(2, path)
    yield path
    share_device(1)


@pytest.fixture
def elsewhere() -> Iterator[ThreadPoolExecutor]:
    """Threads; to the kernel they lock as other processes do."""
    with ThreadPoolExecutor() as threads:
        yield threads


def is_waited_for(lock: Path) -> bool:
    """True if a training stands in the turnstile."""
    with lock.with_suffix(".turnstile").open("ab") as turnstile:
        try:
            fcntl.flock(turnstile, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def wait_for(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < end


def alone(said: list[str], name: str) -> None:
    """Begins beside others, then is alone."""
    with DeviceLock() as turn:
        said.append(f"{name} asks")
        turn.make_exclusive()
        said.append(f"{name} alone")
    said.append(f"{name} left")


def beside(said: list[str], name: str) -> None:
    with DeviceLock():
        said.append(name)


def test_a_single_worker_is_alone_and_locks_nothing(tmp_path: Path) -> None:
    share_device(1, tmp_path / "device.lock")
    with DeviceLock() as turn:
        assert turn.is_exclusive
        assert turn.waited_seconds == 0
    assert list(tmp_path.iterdir()) == []


def test_trainings_are_beside_each_other_unless_one_asks_to_be_alone(lock: Path) -> None:
    with DeviceLock() as one, DeviceLock() as other:
        assert not one.is_exclusive
        assert not other.is_exclusive
    with DeviceLock() as turn:
        turn.make_exclusive()
        assert turn.is_exclusive
        assert num_workers() == 2
    assert not is_waited_for(lock)


def test_one_that_waits_to_be_alone_is_not_overtaken(
    lock: Path, elsewhere: ThreadPoolExecutor
) -> None:
    said: list[str] = []
    with DeviceLock():
        first = elsewhere.submit(alone, said, "first")
        # Before it asks, it stands in the turnstile only to be let in beside others.
        wait_for(lambda: "first asks" in said and is_waited_for(lock))
        later = elsewhere.submit(beside, said, "later")
        assert said == ["first asks"]
    for future in (first, later):
        future.result(PATIENCE_SECONDS)
    assert said.index("first alone") < said.index("later")


def test_two_that_want_to_be_alone_are_so_one_after_the_other(
    lock: Path, elsewhere: ThreadPoolExecutor
) -> None:
    said: list[str] = []
    with DeviceLock():
        both = [elsewhere.submit(alone, said, name) for name in ("one", "other")]
        wait_for(lambda: is_waited_for(lock))
    for future in both:
        future.result(PATIENCE_SECONDS)
    steps = ("asks", "alone", "left")
    assert sorted(said) == sorted(f"{name} {step}" for name in ("one", "other") for step in steps)


def test_where_nothing_can_be_locked_nobody_waits(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(device_sharing, "fcntl", None)  # as on Windows
    share_device(4, tmp_path / "device.lock")
    try:
        with DeviceLock() as turn:
            assert turn.is_exclusive
        assert num_workers() == 4
    finally:
        share_device(1)


def crowded(folder: Path, most: int) -> Trial:
    trial = tiny_trial()
    architecture = Crowded(most, folder=str(folder))
    return replace(trial, candidate=replace(trial.candidate, architecture=architecture))


@pytest.mark.parametrize(("most", "micro_batches"), [(20, 1), (10, 2)])
def test_what_does_not_fit_beside_others_is_trained_alone_before_in_parts(
    tmp_path: Path, lock: Path, elsewhere: ThreadPoolExecutor, most: int, micro_batches: int
) -> None:
    trial, told = crowded(tmp_path, most), tmp_path / "told"
    os.mkfifo(told)
    with DeviceLock():
        (tmp_path / "staying").touch()
        begun = time.perf_counter()
        future = elsewhere.submit(train_trial, trial, "cpu")
        told.read_bytes()  # that it does not fit
        (tmp_path / "staying").unlink()
        wait_for(lambda: is_waited_for(lock))
        waiting = time.perf_counter()
        share_device(1)
        expected = train_trial(trial, "cpu")
        waited = time.perf_counter() - waiting
    result = future.result(PATIENCE_SECONDS)
    assert result.had_to_be_alone
    assert not expected.had_to_be_alone
    assert result.micro_batches == expected.micro_batches == micro_batches
    assert result.curve == expected.curve
    # Waiting is no part of a training.
    assert 0 < result.total_seconds < time.perf_counter() - begun - waited


@pytest.mark.slow
def test_what_does_not_fit_alone_either_has_failed_and_lets_others_on(lock: Path) -> None:
    result = train_trial(crowded(lock.parent, 0), "cpu")
    assert result.reason == "OutOfMemoryError: no memory for 1 images"
    with DeviceLock() as turn:
        turn.make_exclusive()
