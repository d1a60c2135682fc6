"""Data sets that go wrong in the process that loads them; importable by spawned workers."""

import os
import signal
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from scaling_search.protocols import Splits
from tests.tiny import tiny_dataset


@dataclass(frozen=True)
class Faulty:
    """The tiny images, with a fault when they are loaded.

    Attributes:
        fault: ``raise`` tells the process in its message; ``kill`` ends it; ``hang`` writes the
            process to the pipe and never returns; ``bad test split`` has labels
            that nothing can be compared with.
        pipe: A named pipe, which stays open for writing as long as the process lives.
    """

    fault: Literal["raise", "kill", "hang", "bad test split"]
    pipe: str = ""
    num_classes: int = 10
    in_channels: int = 1
    resolution: int = 28

    def check(self) -> None:
        tiny_dataset().check()

    def fingerprint(self) -> str:
        return f"{self.fault} {tiny_dataset().fingerprint()}"

    def load(self, resolution: int, device: str) -> Splits:
        if self.fault == "raise":
            raise RuntimeError(f"loaded by process {os.getpid()}\nand a second line")
        if self.fault == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.fault == "hang":
            with Path(self.pipe).open("w", encoding="utf-8") as pipe:
                print(os.getpid(), file=pipe, flush=True)
                threading.Event().wait()
        splits = tiny_dataset().load(resolution, device)
        return replace(splits, test=replace(splits.test, labels=splits.test.labels + 99))
