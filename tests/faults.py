"""Data sets and networks that go wrong where they are used; importable by spawned workers."""

import contextlib
import math
import os
import signal
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Self

import torch
from torch import Tensor, nn

from scaling_search.core.dataset import Splits
from scaling_search.core.network import Layer
from scaling_search.core.scaling import Multipliers
from scaling_search.training.cuda_graphs import CaptureError
from tests.tiny import tiny_dataset


@dataclass(frozen=True)
class Faulty:
    """The tiny images, with a fault when they are loaded.

    Attributes:
        fault: ``raise`` tells the process in its message, ``break`` too, as an error of the device
            that stays with the process; ``kill`` ends it; ``hang`` writes the process to the pipe
            and never returns; ``bad test split`` has labels that nothing can be compared with.
        pipe: A named pipe, which stays open for writing as long as the process lives.
    """

    fault: Literal["raise", "break", "kill", "hang", "bad test split"]
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
        if self.fault == "break":
            raise RuntimeError(
                f"CUDA error: an illegal memory access was encountered in process {os.getpid()}"
            )
        if self.fault == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.fault == "hang":
            with Path(self.pipe).open("w", encoding="utf-8") as pipe:
                print(os.getpid(), file=pipe, flush=True)
                threading.Event().wait()
        splits = tiny_dataset().load(resolution, device)
        return replace(splits, test=replace(splits.test, labels=splits.test.labels + 99))


@dataclass(frozen=True)
class Hungry:
    """A network without batch norm for grey images, on a device of little memory.

    Attributes:
        most: Images that fit while training; more of them raise `torch.OutOfMemoryError`.
        most_evaluated: Images that fit while evaluating.
        is_masked: Whether the error is one that followed from it, as it is when a CUDA graph is
            recorded.
        says: Of the error, where it is one of CUDA's own and not torch's.
        waits: Whether the host reads a value in each forward pass, which no CUDA graph can hold.
    """

    most: int
    most_evaluated: int = 500
    is_masked: bool = False
    says: str = ""
    waits: bool = False
    name: str = "hungry"
    resolution: int = 8
    in_channels: int = 1
    num_classes: int = 10
    num_layers: tuple[int, ...] = (1,)
    channels: tuple[int, ...] = (4, 4)

    def scaled(self, multipliers: Multipliers) -> Self:
        assert multipliers is not None
        return self

    def layers(self) -> tuple[Layer, ...]:
        return ()

    def steps(self, dimension: str, low: float, high: float) -> list[float]:
        assert dimension
        return [low, high]

    def build(self) -> "HungryNetwork":
        return HungryNetwork(self)


class HungryNetwork(nn.Module):
    """Two convolutions and a classifier."""

    def __init__(self, architecture: Hungry) -> None:
        super().__init__()
        self.architecture = architecture
        self.layers = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(4, 8, 3, stride=2),
            nn.SiLU(),
            nn.Flatten(),
            nn.Linear(72, 10),
        )

    def forward(self, images: Tensor) -> Tensor:
        most = self.architecture.most if self.training else self.architecture.most_evaluated
        if len(images) > most:
            self.run_out(len(images))
        logits: Tensor = self.layers(images)
        if self.architecture.waits:
            assert math.isfinite(logits.sum().item())
        return logits

    def run_out(self, number: int) -> None:
        with Recording() if self.architecture.is_masked else contextlib.nullcontext():
            if self.architecture.says:
                raise RuntimeError(self.architecture.says)
            raise torch.OutOfMemoryError(f"no memory for {number} images\nand a second line")


class Recording:
    """Ends as the recording of a CUDA graph does that an error interrupts."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exc: object) -> None:
        raise CaptureError("recording was interrupted")


@dataclass(frozen=True)
class Staying(Hungry):
    """A network that stays in its very first step until it may go on.

    Meanwhile there is a file of its name in a folder, and it has told a pipe there, ``told``, its
    process. It goes on once something is written into the pipe ``go-NAME``.

    Attributes:
        folder: The folder.
        runs_out: Whether memory is short in the end of that step.
    """

    most: int = 500
    name: str = "staying"
    folder: str = ""
    runs_out: bool = False

    def build(self) -> "HungryNetwork":
        return StayingNetwork(self)


class StayingNetwork(HungryNetwork):
    """As a `Staying` says."""

    def forward(self, images: Tensor) -> Tensor:
        architecture = self.architecture
        assert isinstance(architecture, Staying)
        here = Path(architecture.folder) / architecture.name
        if self.training and not here.with_suffix(".stayed").exists():
            here.with_suffix(".stayed").touch()
            here.touch()
            tell(architecture.folder)
            here.with_name(f"go-{here.name}").read_bytes()
            here.unlink(missing_ok=True)
            if architecture.runs_out:
                self.run_out(len(images))
        return super().forward(images)


@dataclass(frozen=True)
class Crowded(Hungry):
    """A network that does not fit while a `Staying` stays, and tells its pipe so."""

    folder: str = ""

    def build(self) -> "HungryNetwork":
        return CrowdedNetwork(self)


class CrowdedNetwork(HungryNetwork):
    """As a `Crowded` says."""

    def forward(self, images: Tensor) -> Tensor:
        architecture = self.architecture
        assert isinstance(architecture, Crowded)
        if self.training and (Path(architecture.folder) / "staying").exists():
            tell(architecture.folder)
            self.run_out(len(images))
        return super().forward(images)


def tell(folder: str) -> None:
    """Writes this process into a pipe, in eight characters."""
    with (Path(folder) / "told").open("w", encoding="utf-8") as pipe:
        pipe.write(f"{os.getpid():8}")
