"""Trainings on the nodes of a Ray cluster, which may come and go."""

import contextlib
import functools
import importlib.util
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Annotated, Literal, Self

import torch
from pydantic import AfterValidator, Field

from scaling_search.cores import usable_cores
from scaling_search.executors.ray_workers import Nodes, Workers, living_nodes, ray
from scaling_search.protocols import Argument, T, part
from scaling_search.training.engine import train_trial
from scaling_search.training.trial import Trial, TrialResult

UNITS = 10_000
"""Ray counts in ten-thousandths of a CPU or GPU."""

REACH_SECONDS = 10.0
"""So long a cluster may take to answer at all."""

SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # what will be Ray's way, without its FutureWarning
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",  # no words of the cluster's between those of the command
}
"""Environment that Ray reads while it is imported."""


def _divisible(cpus: float) -> float:
    if cpus > 1 and cpus % 1:
        raise ValueError(
            f"executor.cpus_per_training must be whole above 1, got {cpus!r}; Ray divides one CPU "
            "but not several"
        )
    return cpus


@part
class Ray:
    """Runs trainings in workers of a Ray cluster, each with its share of a node.

    A worker keeps its imports, context and data. One that is lost on a living node ends its own
    training only and is replaced; the training of a lost node goes elsewhere by itself. Images
    travel: each node gets them once for each size, whatever files it has.

    Attributes:
        address: ``auto`` or ``host:port`` of a running cluster that this machine is part of; None
            for a Ray of the command's own, on this machine and within its reach alone.
        device: ``cuda``, ``cpu``, or ``auto`` for CUDA where a node has a GPU.
        cpus_per_training: CPUs that one takes: a part of one, or whole ones.
        gpus_per_training: The part of a GPU that one takes, such as 0.25 for four at a time on
            each; None for a whole one. Their memory is theirs to share. On CPUs it means nothing.
        retries: How often a training that failed is tried again; not one that diverged.
        timeout_minutes: A training that takes longer is ended, and its worker replaced; None for
            no limit.
    """

    address: Annotated[str, Field(pattern=r"^(auto|[^\s/]+:\d+)$")] | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"
    cpus_per_training: Annotated[float, Field(ge=1 / UNITS), AfterValidator(_divisible)] = 1.0
    gpus_per_training: Annotated[float, Field(ge=1 / UNITS, le=1)] | None = None
    retries: Annotated[int, Field(ge=0)] = 1
    timeout_minutes: Annotated[float, Field(gt=0)] | None = None

    @property
    def slots(self) -> int:
        """Trainings that living nodes have room for; none before `check`."""
        return sum(self._rooms())

    @property
    def device_share(self) -> float:
        """The part of a GPU that a training takes; on CPUs that of a node, in the mean."""
        rooms = [number for number in self._rooms() if number]
        return self._state.gpus or (len(rooms) / sum(rooms) if rooms else 1.0)

    def check(self) -> None:
        """Looks at the cluster, or at this machine where that will be the cluster.

        Raises:
            ValueError: Ray is not installed, or no node has room for a training.
            RuntimeError: The cluster cannot be reached.
        """
        if importlib.util.find_spec("ray") is None:
            raise ValueError(
                "executor=ray must find Ray, got an installation without it; "
                "pip install 'scaling-search[ray]'"
            )
        if self._state.workers is None:
            self._look()
        if not self.slots:
            nodes = self._nodes().values()
            there = [f"{n.get('CPU', 0):g} CPUs and {n.get('GPU', 0):g} GPUs" for n in nodes]
            raise ValueError(
                f"executor must find a node with {self.cpus_per_training:g} CPUs and "
                f"{self._state.gpus:g} GPUs for a training on device={self.device}, got "
                f"{'; '.join(there) or 'no nodes'}; ask for less or start other nodes"
            )

    def prepare(self, trials: Sequence[Trial]) -> None:
        """Has nothing to settle: how many trainings share a GPU is an option here."""

    def submit(self, trial: Trial) -> Future[TrialResult]:
        """Hands the training to the next free worker."""
        seconds = None if self.timeout_minutes is None else 60 * self.timeout_minutes
        return self._workers.submit(train_trial, trial, seconds)

    def call(self, function: Callable[[Argument, str], T], argument: Argument) -> Future[T]:
        """Hands a function to the next free worker; with a trial, its data too."""
        return self._workers.submit(function, argument, None)

    def __enter__(self) -> Self:
        """Connects, or starts Ray; workers start with their first training."""
        if not self._state.nodes:
            self._look()
        with contextlib.ExitStack() as stack:
            stack.enter_context(_connected(self.address))
            asked = {"num_cpus": self.cpus_per_training, "num_gpus": self._state.gpus}
            workers = Workers(asked, lambda: self.slots, per_gpu(self._state.gpus))
            self._state.workers = stack.enter_context(workers)
            self._state.stack = stack.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        """Ends all workers, whatever they do, and leaves the cluster or ends Ray."""
        self._state.stack.close()
        self._state.workers = None

    def _look(self) -> None:
        """Sees the nodes, and settles whether trainings run on GPUs, whatever joins later."""
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
    def _workers(self) -> Workers:
        assert self._state.workers is not None, "entered first"
        return self._state.workers

    def _nodes(self) -> Nodes:
        if self._state.workers is not None:
            self._state.nodes = self._state.workers.nodes()
        return self._state.nodes

    def _rooms(self) -> list[int]:
        nodes = self._nodes().values()
        return [room(node, self.cpus_per_training, self._state.gpus) for node in nodes]


@dataclass
class _State:
    """What is known: the nodes seen last, GPUs of a training; and what is there while entered."""

    nodes: Nodes = field(default_factory=dict)
    gpus: float = 0.0
    workers: Workers | None = None
    stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)


def room(node: Mapping[str, float], cpus: float, gpus: float) -> int:
    """How many trainings fit on a node.

    Args:
        node: What it has, ``CPU`` and ``GPU`` among it.
        cpus: Of a training.
        gpus: Of a training, at most one; 0 for trainings on CPUs.
    """
    fit = round(node.get("CPU", 0) * UNITS) // round(cpus * UNITS)
    if not gpus:
        return fit
    # A training lies on one GPU: three of them have room for three times 0.6, not for five.
    return min(fit, int(node.get("GPU", 0)) * per_gpu(gpus))


def per_gpu(gpus: float) -> int:
    """Number of trainings that fit on a GPU if each takes this part of it; 1 for a part of 0."""
    return UNITS // round(gpus * UNITS) if gpus else 1


@contextlib.contextmanager
def _connected(address: str | None) -> Iterator[None]:
    """Ray for as long as it is entered: a cluster's, or with None one of this process's own."""
    with _environment(is_own=address is None):
        options: dict[str, object] = {"address": address}
        if address is None:
            own = _own()
            options = {"address": "local", "num_cpus": own["CPU"], "num_gpus": own["GPU"]}
            options["include_dashboard"] = False
        elif address != "auto":
            _reach(address)
        handler = signal.getsignal(signal.SIGTERM)
        try:
            ray().init(**options, log_to_driver=False, logging_level=logging.CRITICAL)
        except Exception as error:
            ray().shutdown()
            raise _no_answer(address, error) from error
        finally:
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, handler)  # Ray takes it over
        try:
            yield
        finally:
            ray().shutdown()


@contextlib.contextmanager
def _environment(*, is_own: bool) -> Iterator[None]:
    """What Ray reads in the environment; afterwards all is as before, for processes to come."""
    before = {name: value for name, value in os.environ.items() if name.startswith("RAY_")}
    os.environ.update(SETTINGS)
    if is_own:
        # All of it then listens on loopback, as it does by itself where the name says; Ray reads
        # this when it is imported, so that a process that was in a cluster cannot have it any more.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    try:
        yield
    finally:
        for name in [name for name in os.environ if name.startswith("RAY_")]:
            del os.environ[name]
        os.environ.update(before)


def _reach(address: str) -> None:
    """Connects and leaves: Ray itself would try for minutes where nobody is."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), REACH_SECONDS).close()
    except OSError as error:
        raise _no_answer(address, error) from error


def _no_answer(address: str | None, error: Exception) -> RuntimeError:
    what = "a Ray of its own" if address is None else f"executor.address={address}"
    return RuntimeError(
        f"{what} must answer, got {type(error).__name__} ({error}); docs/cluster.md starts one"
    )


def _own() -> dict[str, float]:
    """What this machine has for trainings."""
    return {"CPU": usable_cores(), "GPU": torch.cuda.device_count()}
