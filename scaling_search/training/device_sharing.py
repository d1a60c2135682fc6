"""Sharing a device between worker processes: their number, and a lock for one that needs it all."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

import torch

try:
    import fcntl
except ImportError:  # on Windows, where no training waits for another
    fcntl = None  # type: ignore[assignment]  # checked where it is used


@dataclass
class _Worker:
    """This process as one of ``num_workers`` of its device; ``lock`` is a file that all lock."""

    num_workers: int = 1
    lock: Path | None = None


_worker = _Worker()


def share_device(num_workers: int, lock: Path | None = None) -> None:
    """Makes this process one of several workers of a device.

    Args:
        num_workers: Workers of the device, this one included.
        lock: A file of theirs in an existing folder; None if no training waits for another.
    """
    _worker.num_workers = num_workers
    _worker.lock = lock if num_workers > 1 and fcntl is not None else None


def num_workers() -> int:
    """Workers of this process's device, this one included."""
    return _worker.num_workers


def release_memory(device: str) -> None:
    """Returns the memory that PyTorch caches to the device, for its other workers."""
    if device.startswith("cuda"):
        with torch.cuda.device(device):  # else it takes memory of the first one
            torch.cuda.empty_cache()


class DeviceLock:
    """A training's lock of its device: shared with others at first, exclusive on demand.

    The kernel releases it when a process ends in any way. A turnstile in front of it prevents that
    a training that waits for the exclusive lock is overtaken for ever.

    Attributes:
        is_exclusive: True if no other training is on the device.
        waited_seconds: Time spent waiting for other trainings.
    """

    def __init__(self) -> None:
        self.is_exclusive = _worker.lock is None
        self.waited_seconds = 0.0
        self._lock: IO[bytes] | None = None

    def __enter__(self) -> Self:
        """Waits while another training has the exclusive lock."""
        if _worker.lock is not None:
            self._acquire(_worker.lock, is_shared=True)
        return self

    def __exit__(self, *exc: object) -> None:
        """Releases the lock."""
        self._release()

    def make_exclusive(self) -> None:
        """Waits until all others have left, and keeps them away until the end."""
        assert _worker.lock is not None, "exclusive already"
        self._release()  # two that kept their shared locks would wait for each other
        self._acquire(_worker.lock, is_shared=False)
        self.is_exclusive = True

    def _acquire(self, path: Path, *, is_shared: bool) -> None:
        started = time.perf_counter()
        with _opened(path.with_suffix(".turnstile")) as turnstile:
            fcntl.flock(turnstile, fcntl.LOCK_EX)
            self._lock = _opened(path)
            fcntl.flock(self._lock, fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX)
        self.waited_seconds += time.perf_counter() - started

    def _release(self) -> None:
        if self._lock is not None:
            fcntl.flock(self._lock, fcntl.LOCK_UN)  # a process that was forked may have it open
            self._lock.close()
            self._lock = None


def _opened(path: Path) -> IO[bytes]:
    path.touch()  # else systems that remove old temporary files would remove it
    return path.open("rb")
