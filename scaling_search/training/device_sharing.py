"""Other workers of this process's device, which take a part of its memory."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

import torch

try:
    import fcntl
except ImportError:  # on Windows, where nobody waits for anybody
    fcntl = None  # type: ignore[assignment]  # looked for where it is used


@dataclass
class _Place:
    """Place of this process among the workers of its device.

    Attributes:
        num_workers: Workers of its device, this one included.
        lock: A file that all of them lock; None where none waits for another.
    """

    num_workers: int = 1
    lock: Path | None = None


_here = _Place()


def share_device(num_workers: int, lock: Path | None = None) -> None:
    """Tells this process that it is one of several workers of a device.

    Args:
        num_workers: Of the device, this one included.
        lock: A file that is theirs alone, in a folder that is there; None where no training waits
            for another.
    """
    _here.num_workers = num_workers
    _here.lock = lock if num_workers > 1 and fcntl is not None else None


def num_workers() -> int:
    """Workers of this process's device, this one included."""
    return _here.num_workers


def give_back_memory(device: str) -> None:
    """Give memory that PyTorch keeps for later back to a device, for its other workers."""
    if device.startswith("cuda"):
        with torch.cuda.device(device):  # else it takes memory of the first one
            torch.cuda.empty_cache()


class Turn:
    """One training's time on its device: beside others first, alone if it asks for that.

    A training beside others shares a lock, one that is alone has it for itself. The kernel frees
    it when a process ends, however that goes. Each passes a turnstile before it waits for the
    lock, so that one that waits to be alone is not overtaken for ever.

    Attributes:
        is_alone: True if no other training is on the device.
        waited_seconds: For others, so far.
    """

    def __init__(self) -> None:
        self.is_alone = _here.lock is None
        self.waited_seconds = 0.0
        self._lock: IO[bytes] | None = None

    def __enter__(self) -> Self:
        """Waits for one that is alone."""
        if _here.lock is not None:
            self._take(_here.lock, is_shared=True)
        return self

    def __exit__(self, *exc: object) -> None:
        """Lets others on."""
        self._leave()

    def be_alone(self) -> None:
        """Waits until all others have left, and keeps them away until the end."""
        assert _here.lock is not None, "alone already"
        self._leave()  # two that kept their places would wait for each other
        self._take(_here.lock, is_shared=False)
        self.is_alone = True

    def _take(self, path: Path, *, is_shared: bool) -> None:
        started = time.perf_counter()
        with _touched(path.with_suffix(".turnstile")) as turnstile:
            fcntl.flock(turnstile, fcntl.LOCK_EX)
            self._lock = _touched(path)
            fcntl.flock(self._lock, fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX)
        self.waited_seconds += time.perf_counter() - started

    def _leave(self) -> None:
        if self._lock is not None:
            fcntl.flock(self._lock, fcntl.LOCK_UN)  # a process that was forked may have it open
            self._lock.close()
            self._lock = None


def _touched(path: Path) -> IO[bytes]:
    path.touch()  # else it is taken away where temporary files of some days are
    return path.open("rb")
