"""Trainings on the nodes of a Ray cluster, which may come and go."""

import contextlib
import functools
import importlib.util
import logging
import os
import re
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Annotated, Literal, Self

import torch
from pydantic import AfterValidator, Field

from scaling_search.core.part import part
from scaling_search.core.protocols import Argument, Value
from scaling_search.core.trial import Trial, TrialResult
from scaling_search.executors.ray_workers import Dispatcher, Nodes, living_nodes, ray
from scaling_search.runtime.cores import usable_cores
from scaling_search.training.engine import train_trial

UNITS = 10_000
"""Number of units in which Ray counts one CPU or GPU."""

REACH_SECONDS = 10.0
"""Time that a cluster may take to accept a connection."""

SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # Ray's future default, without its FutureWarning
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",  # keeps the cluster's log out of the command's output
}
"""Environment variables that Ray reads while it is imported."""


def _divisible(cpus: float) -> float:
    if cpus > 1 and cpus % 1:
        raise ValueError(
            f"executor.cpus_per_training must be whole above 1, got {cpus!r}; Ray divides one CPU "
            "but not several"
        )
    return cpus


def _reachable(address: str) -> str:
    if not re.fullmatch(r"auto|[^\s/]+:\d+", address):
        raise ValueError(
            f"executor.address must be auto or host:port, got {address!r}; ray status shows it, "
            "null starts a Ray on this machine"
        )
    return address


@part
class Ray:
    """Runs trainings in workers of a Ray cluster, each with its share of a node.

    A worker keeps its imports, CUDA context and data. If it is lost on a living node, its training
    fails and a new worker replaces it; trainings of a lost node are trained on others. Each node
    receives the images once for each size and needs no files.

    Attributes:
        address: ``auto`` or ``host:port`` of a running cluster that this machine is part of; None
            starts a Ray that only this machine can reach and that ends with the command.
        device: ``cuda``, ``cpu``, or ``auto`` for CUDA if a node has a GPU.
        cpus_per_training: CPUs of a training: a part of one, or whole ones.
        gpus_per_training: Part of a GPU that a training takes, such as 0.25 for four at a time on
            each; None for a whole one. Ray does not divide the memory. Ignored on CPUs.
        retries: Number of times that a failed training is tried again, unless it diverged.
        timeout_minutes: A training that takes longer is ended and its worker replaced; None for no
            limit.
    """

    address: Annotated[str, AfterValidator(_reachable)] | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"
    cpus_per_training: Annotated[float, Field(ge=1 / UNITS), AfterValidator(_divisible)] = 1.0
    gpus_per_training: Annotated[float, Field(ge=1 / UNITS, le=1)] | None = None
    retries: Annotated[int, Field(ge=0)] = 1
    timeout_minutes: Annotated[float, Field(gt=0)] | None = None

    @property
    def slots(self) -> int:
        """Number of trainings that the living nodes have room for; 0 before `check`.

        Raises:
            RuntimeError: No node with room has the versions of this one.
        """
        if self._state.dispatcher is not None:
            self._state.dispatcher.check()
        return sum(self._rooms())

    @property
    def device_share(self) -> float:
        """Part of a GPU that a training takes; on CPUs the mean part of a node."""
        rooms = [number for number in self._rooms() if number]
        return self._state.gpus or (len(rooms) / sum(rooms) if rooms else 1.0)

    def check(self) -> None:
        """Looks at the cluster's nodes, or at this machine if it will be the only node.

        Raises:
            ValueError: Ray is not installed, or no node has room for a training.
            RuntimeError: The cluster cannot be reached.
        """
        if importlib.util.find_spec("ray") is None:
            raise ValueError(
                "executor=ray must find Ray, got an installation without it; "
                "pip install 'scaling-search[ray]'"
            )
        if self._state.dispatcher is None:
            self._look()
        if not self.slots:
            nodes = self._state.nodes.values()
            there = [f"{n.get('CPU', 0):g} CPUs and {n.get('GPU', 0):g} GPUs" for n in nodes]
            raise ValueError(
                f"executor must find a node with {self.cpus_per_training:g} CPUs and "
                f"{self._state.gpus:g} GPUs for a training on device={self.device}, got "
                f"{'; '.join(there) or 'no nodes'}; ask for less or start other nodes"
            )

    def prepare(self, trials: Sequence[Trial]) -> None:
        """Does nothing: the number of trainings that share a GPU is an option here."""

    def submit(self, trial: Trial) -> Future[TrialResult]:
        """Hands the training to the next free worker."""
        seconds = None if self.timeout_minutes is None else 60 * self.timeout_minutes
        return self._dispatcher.submit(train_trial, trial, seconds)

    def call(self, function: Callable[[Argument, str], Value], argument: Argument) -> Future[Value]:
        """Hands a function to the next free worker, and the data of its argument if a trial."""
        return self._dispatcher.submit(function, argument, None)

    def __enter__(self) -> Self:
        """Connects to the cluster, or starts Ray; workers start with the first trainings."""
        if not self._state.nodes:
            self._look()
        with contextlib.ExitStack() as stack:
            stack.enter_context(_connected(self.address))
            share = {"num_cpus": self.cpus_per_training, "num_gpus": self._state.gpus}
            dispatcher = Dispatcher(share, lambda: sum(self._rooms()), per_gpu(self._state.gpus))
            self._state.dispatcher = stack.enter_context(dispatcher)
            self._state.stack = stack.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        """Kills all workers, then leaves the cluster or ends Ray."""
        self._state.stack.close()
        self._state.dispatcher = None

    def _look(self) -> None:
        """Reads the nodes and decides, for nodes that join later too, if trainings use GPUs."""
        if self.address is None:
            self._state.nodes = {"own": _own()}
        else:
            with _connected(self.address):
                self._state.nodes = living_nodes()
        has_gpus = any(node.get("GPU") for node in self._state.nodes.values())
        on_gpus = has_gpus if self.device == "auto" else self.device == "cuda"
        self._state.gpus = (self.gpus_per_training or 1.0) if on_gpus else 0.0

    @functools.cached_property
    def _state(self) -> "_State":
        return _State()

    @property
    def _dispatcher(self) -> Dispatcher:
        assert self._state.dispatcher is not None, "entered first"
        return self._state.dispatcher

    def _rooms(self) -> list[int]:
        if self._state.dispatcher is not None:
            self._state.nodes = self._state.dispatcher.nodes()
        nodes = self._state.nodes.values()
        return [room(node, self.cpus_per_training, self._state.gpus) for node in nodes]


@dataclass
class _State:
    """State of an executor; ``gpus`` is GPUs of a training, ``stack`` ends what was entered."""

    nodes: Nodes = field(default_factory=dict)
    gpus: float = 0.0
    dispatcher: Dispatcher | None = None
    stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)


def room(node: Mapping[str, float], cpus: float, gpus: float) -> int:
    """Number of trainings with these CPUs and GPUs that fit on a node."""
    fit = round(node.get("CPU", 0) * UNITS) // round(cpus * UNITS)
    if not gpus:
        return fit
    # A training uses one GPU: three GPUs have room for three trainings of 0.6, not for five.
    return min(fit, int(node.get("GPU", 0)) * per_gpu(gpus))


def per_gpu(gpus: float) -> int:
    """Number of trainings that share a GPU if each takes this part of it; 1 on CPUs."""
    return UNITS // round(gpus * UNITS) if gpus else 1


@contextlib.contextmanager
def _connected(address: str | None) -> Iterator[None]:
    """Connect this process to a cluster while entered; None starts a Ray on this machine."""
    with _environment(is_own=address is None), contextlib.ExitStack() as stack:
        options: dict[str, object] = {"address": address}
        if address is None:
            own = _own()
            options = {"address": "local", "num_cpus": own["CPU"], "num_gpus": own["GPU"]}
            options["include_dashboard"] = False
        handler = signal.getsignal(signal.SIGTERM)
        try:
            if address not in (None, "auto"):  # Ray itself tries for minutes where nothing answers
                host, _, port = address.rpartition(":")
                socket.create_connection((host.strip("[]"), int(port)), REACH_SECONDS).close()
            stack.callback(ray().shutdown)
            # Ray's workers look for modules where it is started, before all other places.
            with contextlib.chdir(os.sep):
                ray().init(**options, log_to_driver=False, logging_level=logging.CRITICAL)
        except Exception as error:
            name = "a Ray on this machine" if address is None else f"executor.address={address}"
            raise RuntimeError(
                f"{name} must answer, got {type(error).__name__} ({error}); "
                "docs/cluster.md starts one"
            ) from error
        finally:
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, handler)  # Ray takes it over
        yield


@contextlib.contextmanager
def _environment(*, is_own: bool) -> Iterator[None]:
    """Set Ray's environment variables while entered, and restore them for later processes."""
    before = {name: value for name, value in os.environ.items() if name.startswith("RAY_")}
    os.environ.update(SETTINGS)
    if is_own:
        # Then all of Ray listens on loopback only, the default on those systems. Ray reads this
        # when it is imported, so a process that was in a cluster before cannot change it any more.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    try:
        yield
    finally:
        for name in [name for name in os.environ if name.startswith("RAY_")]:
            del os.environ[name]
        os.environ.update(before)


def _own() -> dict[str, float]:
    """CPUs and GPUs of this machine that trainings may use."""
    return {"CPU": usable_cores(), "GPU": torch.cuda.device_count()}
