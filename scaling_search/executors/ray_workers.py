"""Workers on the nodes of a Ray cluster, as `executors/ray.py` has them train."""

import contextlib
import functools
import hashlib
import importlib
import logging
import math
import os
import socket
import sys
import tempfile
import textwrap
import threading
import time
import uuid
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from scaling_search.data import cache as data_cache
from scaling_search.protocols import Argument, Dataset, Split, Splits, T
from scaling_search.training.neighbours import share_device
from scaling_search.training.trial import Trial

log = logging.getLogger(__name__)

MOST_TRIES = 5
"""Nodes that may be lost under a training, one after the other, before it is given up."""

DEAD_SECONDS, SILENT_SECONDS = 10.0, 30.0
"""So long after a worker a cluster may notice that its node is gone.

Where the node's own Ray told of the worker's death it may have been its last word; where a worker
is silent, Ray gives up its node after five vain calls in 15 s.
"""

POLL_SECONDS = 1.0
"""So often the cluster is asked for its nodes."""

MOST_IN_FLIGHT = 4096
"""Threads, of which each training in flight has one, and each worker while it starts."""

SAID = 300
"""Characters of Ray's messages that are kept."""

PACKAGE = Path(__file__).resolve().parent.parent
"""Where the source of this package lies on this node."""

Nodes = Mapping[str, Mapping[str, float]]
"""What living nodes have, ``CPU`` and ``GPU`` among it, by the node's id."""


def ray() -> ModuleType:
    """Ray itself: an optional package, and a second to import."""
    return importlib.import_module("ray")


def living_nodes() -> Nodes:
    """The nodes of the cluster that this process is connected to."""
    return {node["NodeID"]: node["Resources"] for node in ray().nodes() if node["Alive"]}


@dataclass(eq=False)
class Worker:
    """An actor as the coordinator sees it; node and process are known once it has started."""

    actor: Any
    node: str = ""
    process: str = ""


class Workers:
    """Workers that come with the trainings that wait for them, and go with their nodes."""

    def __init__(
        self, asked: Mapping[str, float], slots: Callable[[], int], per_device: int = 1
    ) -> None:
        """Starts nothing.

        Args:
            asked: What a worker takes of its node, by Ray's names.
            slots: How many workers there may be now.
            per_device: How many of them share a GPU.
        """
        self.asked, self.slots = asked, slots
        self._neighbours = per_device, f"scaling-search-{uuid.uuid4().hex}"
        self._nodes: Nodes = {}
        self._looked = -math.inf
        self._threads = ThreadPoolExecutor(MOST_IN_FLIGHT, "ray-training")
        self._is_closed = threading.Event()
        self._changed = threading.Condition()  # guards what follows, up to the data
        self._workers: set[Worker] = set()
        self._idle: list[Worker] = []
        self._num_waiting = self._num_starting = 0
        self._sending = threading.Lock()
        self._sent: dict[tuple[Dataset, int], Any] = {}

    def nodes(self) -> Nodes:
        """Those that live, or did a second ago."""
        if time.monotonic() - self._looked >= POLL_SECONDS:
            before, self._nodes, self._looked = self._nodes, living_nodes(), time.monotonic()
            if before.keys() != self._nodes.keys():
                log.info("the cluster has %d nodes", len(self._nodes))
        return self._nodes

    def submit(
        self, function: Callable[[Argument, str], T], argument: Argument, seconds: float | None
    ) -> Future[T]:
        """What a worker gives, at most so many seconds after it began.

        The future raises what the function raises, `TimeoutError` where it took longer, and
        RuntimeError where the worker was lost on a living node or none could start.
        """
        return self._threads.submit(self._called, function, argument, seconds)

    def __enter__(self) -> Self:
        """Nothing starts before it is needed."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Kills the workers, which ends whatever waits for them."""
        with self._changed:
            self._is_closed.set()
            self._changed.notify_all()
        for worker in tuple(self._workers):  # none comes any more
            ray().kill(worker.actor)
        self._threads.shutdown()

    def _called(
        self, function: Callable[[Argument, str], T], argument: Argument, seconds: float | None
    ) -> T:
        errors = ray().exceptions
        data = self._sent_of(argument)
        for _ in range(MOST_TRIES):
            worker, has_begun = self._taken(), False
            try:
                ray().get(worker.actor.place.remote())  # one that died idle takes nothing along
                has_begun = True
                asked = worker.actor.call.remote(function, argument, *data)
                result: T = ray().get(asked, timeout=seconds)
            except errors.RayTaskError as error:
                self._free(worker)
                raise error.cause from error
            except errors.GetTimeoutError as error:
                self._drop(worker)
                raise TimeoutError(f"{worker.process} took more than {seconds:g} s") from error
            except errors.RayError as error:
                self._drop(worker)
                self._blame(worker if has_begun else None, error)
            else:
                is_last = getattr(result, "needs_new_process", False)
                (self._drop if is_last else self._free)(worker)
                return result
        raise RuntimeError(f"{MOST_TRIES} nodes were lost under it, one after the other")

    def _blame(self, worker: Worker | None, error: Any) -> None:
        """Returns where what is lost had not begun, or its node is lost too."""
        said = textwrap.shorten(str(error).strip().splitlines()[-1], SAID)
        if getattr(error, "actor_init_failed", False):
            raise RuntimeError(f"no worker can start: {said}") from error
        is_silent = isinstance(error, ray().exceptions.ActorUnavailableError)
        end = time.monotonic() + (SILENT_SECONDS if is_silent else DEAD_SECONDS)
        while worker is not None and worker.node in self.nodes():
            if self._is_closed.wait(POLL_SECONDS / 4):
                raise CancelledError from error
            if time.monotonic() > end:
                raise RuntimeError(f"{worker.process} died: {said}") from error
        log.warning("a worker is lost with its node and its training goes elsewhere: %s", said)

    def _taken(self) -> Worker:
        """A free worker, when there is one; starts it where there is room."""
        with self._changed:
            self._num_waiting += 1
        try:
            while True:
                slots, nodes = self.slots(), self.nodes()
                with self._changed:
                    if self._is_closed.is_set():
                        raise CancelledError
                    lost = {w for w in self._idle if w.node and w.node not in nodes}
                    self._workers -= lost
                    self._idle = [w for w in self._idle if w not in lost]
                    if self._idle:
                        return self._idle.pop()
                    if self._num_starting < self._num_waiting and len(self._workers) < slots:
                        self._start()
                    self._changed.wait(POLL_SECONDS)
        finally:
            with self._changed:
                self._num_waiting -= 1

    def _start(self) -> None:
        actor = (
            ray().remote(Actor).options(**self.asked).remote(sys.path, code(), *self._neighbours)
        )
        worker = Worker(actor)
        self._workers.add(worker)
        self._num_starting += 1
        # A thread of ours: Ray's own must never wait for the lock, under which Ray is called.
        self._threads.submit(self._started, worker)

    def _started(self, worker: Worker) -> None:
        # Whoever takes one that could not start learns why.
        with contextlib.suppress(ray().exceptions.RayError):
            worker.node, worker.process = ray().get(worker.actor.place.remote())
        with self._changed:
            self._num_starting -= 1
            self._free(worker)

    def _free(self, worker: Worker) -> None:
        with self._changed:
            self._idle.append(worker)
            self._changed.notify_all()

    def _drop(self, worker: Worker) -> None:
        with self._changed:
            self._workers.discard(worker)
            self._changed.notify_all()
        ray().kill(worker.actor)

    def _sent_of(self, argument: object) -> list[Any]:
        """The data of a trial in the object store, once for each dataset and size."""
        if not isinstance(argument, Trial):
            return []
        with self._sending:
            try:
                return [self._sent_at(argument.dataset, size) for size in sizes(argument)]
            except (RuntimeError, OSError):
                return []  # the worker looks itself, and says what is wrong

    def _sent_at(self, dataset: Dataset, size: int) -> Any:
        if (dataset, size) not in self._sent:
            splits = data_cache.mapped(dataset, size)
            in_order = (splits.train, splits.val, splits.test)
            arrays = [(split.images.numpy(), split.labels.numpy()) for split in in_order]
            self._sent[dataset, size] = ray().put(arrays)
        return self._sent[dataset, size]


class Actor:
    """What runs on a node: one training at a time."""

    def __init__(
        self, paths: Sequence[str], its_code: str, per_device: int = 1, lock: str = ""
    ) -> None:
        """Looks where the coordinator looks for modules, and compares this package with its own.

        Args:
            paths: Where the coordinator looks.
            its_code: A hash of its package.
            per_device: How many workers share a GPU.
            lock: Begins the name of the file that they lock, in the node's folder for such.

        Raises:
            RuntimeError: They differ.
        """
        sys.path.extend(path for path in paths if path not in sys.path)
        if code() != its_code:
            raise RuntimeError(
                f"{socket.gethostname()} must have the coordinator's version of scaling_search, "
                f"got another in {PACKAGE}; install the same on all nodes"
            )
        if gpus := ray().get_gpu_ids():
            share_device(per_device, Path(tempfile.gettempdir()) / f"{lock}-{gpus[0]}.lock")

    def place(self) -> tuple[str, str]:
        """The id of its node, and its process for people."""
        node: str = ray().get_runtime_context().get_node_id()
        return node, f"process {os.getpid()} on {socket.gethostname()}"

    def call(
        self,
        function: Callable[[Any, str], T],
        argument: Any,
        *data: Sequence[tuple[NDArray[np.uint8], NDArray[np.int64]]],
    ) -> T:
        """What a function gives here; ``data`` are those of its argument at each of its sizes."""
        device = "cuda:0" if ray().get_gpu_ids() else "cpu"  # Ray hides the other GPUs
        with contextlib.ExitStack() as stack:
            for size, arrays in zip(sizes(argument) if data else (), data, strict=True):
                with warnings.catch_warnings():
                    # Workers of a node see the same memory; nobody writes into it, as torch fears.
                    warnings.simplefilter("ignore", UserWarning)
                    splits = Splits(*(Split(*map(torch.from_numpy, pair)) for pair in arrays))
                stack.enter_context(data_cache.given(argument.dataset, size, splits))
            return function(argument, device)


def sizes(trial: Trial) -> list[int]:
    """Sizes of images that a training reads: its network's, and the data's own for crops."""
    read = {trial.candidate.architecture.resolution}
    own = data_cache.native_size(trial.dataset)
    return sorted(read | {own} if trial.recipe.crop else read)


@functools.cache
def code() -> str:
    """A hash of this package's source: all trainings of a search are of one version."""
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
