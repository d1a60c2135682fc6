"""Workers on the nodes of a Ray cluster, for `executors/ray.py`."""

import asyncio
import contextlib
import functools
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
from concurrent.futures import Future
from pathlib import Path
from types import ModuleType
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from scaling_search.core.dataset import Dataset, Split, Splits
from scaling_search.core.protocols import Argument, Value
from scaling_search.core.trial import Trial
from scaling_search.data import cache as data_cache
from scaling_search.executors.versions import version, versions
from scaling_search.training.device_sharing import share_device

log = logging.getLogger(__name__)

MOST_LOST = 5
"""Number of nodes that a training may lose, one after the other, before it fails."""

DEAD_SECONDS, SILENT_SECONDS = 10.0, 30.0
"""Time that Ray may take to report a node as lost after one of its workers was lost.

The first holds if the node reported the worker's death, which may have been its last message. The
second holds if the worker does not answer: Ray gives up a node after five failed calls in 15 s.
"""

LOOK_SECONDS = 1.0
"""Interval between two requests for the cluster's nodes."""

WAIT_SECONDS = 60.0
"""Time that a worker may wait for room before the log says that others use it."""

SAID = 300
"""Maximum number of characters kept of a message of Ray."""

NODE_LABEL = "ray.io/node-id"
"""Label that Ray gives each node."""

Images = tuple[NDArray[np.uint8], NDArray[np.int64]]
"""Images and labels of a split, as they travel."""

Nodes = Mapping[str, Mapping[str, float]]
"""Resources of the living nodes, ``CPU`` and ``GPU`` among them, by node id."""


def ray() -> ModuleType:
    """Ray itself: an optional package that takes a second to import."""
    return importlib.import_module("ray")


def living_nodes() -> Nodes:
    """The nodes of the cluster that this process is connected to."""
    return {node["NodeID"]: node["Resources"] for node in ray().nodes() if node["Alive"]}


class Dispatcher:
    """Hands calls to workers, which are Ray actors and start when calls need them.

    Actors and not Ray's tasks, since a task's process stays warm only by chance: Ray may give it
    another GPU the next time, or end it after a second without work. One thread waits for all
    calls in an event loop, and nothing else uses `_idle` and `_workers`.
    """

    def __init__(
        self, resources: Mapping[str, float], slots: Callable[[], int], per_device: int
    ) -> None:
        """Starts nothing; workers have these resources, and ``per_device`` of them share a GPU."""
        self._resources, self._slots = resources, slots
        self._neighbours = per_device, f"scaling-search-{uuid.uuid4().hex}"
        self._nodes: Nodes = {}
        self._refused: dict[str, str] = {}
        self._versions = versions()
        self._looked = -math.inf
        self._calls: set[Future[Any]] = set()
        self._sending = threading.Lock()
        self._sent = functools.cache(_sent)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True, name="dispatch-calls")
        self._idle: asyncio.LifoQueue[Any] = asyncio.LifoQueue()
        self._workers: dict[Any, asyncio.Task[None]] = {}
        self._warned_once = functools.cache(log.warning)

    def nodes(self) -> Nodes:
        """The living nodes that may train, at most a second old."""
        if time.monotonic() - self._looked >= LOOK_SECONDS:
            before, self._nodes, self._looked = self._nodes, living_nodes(), time.monotonic()
            if before.keys() != self._nodes.keys():
                log.info("the cluster has %d nodes", len(self._nodes))
        return {node: has for node, has in self._nodes.items() if node not in self._refused}

    def check(self) -> None:
        """Checks that not all nodes with room for a training were refused.

        Raises:
            RuntimeError: They were.
        """
        if not self._refused or self._slots():
            return
        for node, why in self._refused.items():
            if node in self._nodes:
                raise RuntimeError(why)

    def submit(
        self, function: Callable[[Argument, str], Value], argument: Argument, seconds: float | None
    ) -> Future[Value]:
        """Calls a function in the next free worker, for at most so many seconds.

        The future raises what the function raises, `TimeoutError` if it takes longer, and
        RuntimeError if the worker is lost on a living node or cannot start.
        """
        call = self._called(function, argument, seconds)
        future = asyncio.run_coroutine_threadsafe(call, self._loop)
        self._calls.add(future)
        future.add_done_callback(self._calls.discard)
        return future

    def __enter__(self) -> Self:
        """Starts the thread; workers start with the first calls."""
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        """Kills the workers and cancels all calls."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop):  # which cancels all calls at its end
            self._loop.run_forever()
            for worker in self._workers:
                ray().kill(worker)

    async def _called(
        self, function: Callable[[Argument, str], Value], argument: Argument, seconds: float | None
    ) -> Value:
        errors = ray().exceptions
        data = await asyncio.to_thread(self._data, argument)
        num_lost = 0
        while num_lost < MOST_LOST:
            worker, node, process, is_kept = await self._taken(), "", "", False
            try:
                async with asyncio.timeout(seconds):
                    # Fails if it died while idle.
                    node, process, differing = await worker.place.remote(self._versions)
                    if differing:
                        self._refuse(node, process, differing)
                        continue
                    result: Value = await worker.call.remote(function, argument, *data)
            except errors.RayTaskError as error:
                is_kept = True
                raise error.cause from error
            except TimeoutError as error:
                who = process or "a worker"
                raise TimeoutError(f"{who} took more than {seconds:g} s") from error
            except errors.RayError as error:
                lost = error
            else:
                is_kept = not getattr(result, "needs_new_process", False)
                return result
            finally:
                if is_kept:
                    self._idle.put_nowait(worker)
                else:
                    del self._workers[worker]
                    ray().kill(worker)
            await self._blame(node, process, lost)
            num_lost += bool(node)
        raise RuntimeError(f"{MOST_LOST} nodes were lost under it, one after the other")

    def _refuse(self, node: str, process: str, differing: Sequence[str]) -> None:
        """Starts no more workers on a node whose results would be others than elsewhere."""
        if node not in self._refused:
            self._refused[node] = (
                f"{process} must have the coordinator's versions, got {', '.join(differing)}; "
                "install the same on all nodes; restart a notebook after its own modules change"
            )
            log.warning("a node trains nothing: %s", self._refused[node])

    async def _blame(self, node: str, process: str, error: Any) -> None:
        """Returns if the call had not begun (no node) or the node is lost too, else raises."""
        said = textwrap.shorten(str(error).strip().splitlines()[-1], SAID)
        if getattr(error, "actor_init_failed", False):
            raise RuntimeError(f"no worker can start: {said}") from error
        is_silent = isinstance(error, ray().exceptions.ActorUnavailableError)
        end = time.monotonic() + (SILENT_SECONDS if is_silent else DEAD_SECONDS)
        while node in self.nodes():
            if time.monotonic() > end:
                raise RuntimeError(f"{process} died: {said}") from error
            await asyncio.sleep(LOOK_SECONDS / 4)
        log.warning("a worker or its node is lost and its training goes elsewhere: %s", said)

    async def _taken(self) -> Any:
        """The next free worker; more are started while calls outnumber them and there is room."""
        while True:
            self.check()
            if len(self._workers) < min(len(self._calls), self._slots()):
                actor = ray().remote(Worker).options(**self._resources, **self._elsewhere())
                # The current folder, "", is another there.
                paths = [str(Path(path).absolute()) for path in sys.path]
                worker = actor.remote(paths, *self._neighbours)
                self._workers[worker] = asyncio.create_task(self._started(worker))
            with contextlib.suppress(TimeoutError):
                return await asyncio.wait_for(self._idle.get(), LOOK_SECONDS)

    def _elsewhere(self) -> dict[str, Mapping[str, str]]:
        """Options of Ray that keep a worker from nodes that were refused."""
        refused = ", ".join(self._refused)
        return {"label_selector": {NODE_LABEL: f"!in({refused})"}} if refused else {}

    async def _started(self, worker: Any) -> None:
        told = "a worker has not started for %.0f s: others may use its room, see ray status"
        warning = self._loop.call_later(WAIT_SECONDS, self._warned_once, told, WAIT_SECONDS)
        # A call that takes a worker that could not start learns why.
        with contextlib.suppress(ray().exceptions.RayError):
            await worker.place.remote({})
        warning.cancel()
        self._idle.put_nowait(worker)

    def _data(self, argument: object) -> list[Any]:
        """A trial's data in the object store, once for each dataset and size."""
        if not isinstance(argument, Trial):
            return []
        with self._sending:
            self._versions = versions(argument)
            try:
                return [
                    self._sent(argument.dataset, size, argument.fingerprint)
                    for size in sizes(argument)
                ]
            except (RuntimeError, OSError):
                return []  # the worker reads them itself, and reports what is wrong


def _sent(dataset: Dataset, size: int, fingerprint: str) -> Any:
    """Reference to a dataset at a size, put into the object store."""
    splits = data_cache.mapped(dataset, size, fingerprint=fingerprint)
    in_order = (splits.train, splits.val, splits.test)
    return ray().put([(split.images.numpy(), split.labels.numpy()) for split in in_order])


class Worker:
    """An actor on a node, which runs one call at a time."""

    def __init__(self, paths: Sequence[str], per_device: int = 1, lock: str = "") -> None:
        """Adds the coordinator's import paths.

        Args:
            paths: The coordinator's ``sys.path``.
            per_device: Number of workers that share a GPU.
            lock: Start of the name of the file that they lock, in the node's temporary folder.
        """
        sys.path.extend(path for path in paths if path not in sys.path)
        if gpus := ray().get_gpu_ids():
            share_device(per_device, Path(tempfile.gettempdir()) / f"{lock}-{gpus[0]}.lock")

    def place(self, its: Mapping[str, str]) -> tuple[str, str, list[str]]:
        """The id of its node, its process and host in words, and versions that are not ``its``."""
        node: str = ray().get_runtime_context().get_node_id()
        mine = {name: version(name) for name in its}
        differing = [
            f"{name} {mine[name]}, not {its[name]}" for name in its if mine[name] != its[name]
        ]
        return node, f"process {os.getpid()} on {socket.gethostname()}", differing

    def call(
        self, function: Callable[[Any, str], Value], argument: Any, *data: Sequence[Images]
    ) -> Value:
        """Return the result of a function; ``data`` are its trial's, at each of its `sizes`."""
        device = "cuda:0" if ray().get_gpu_ids() else "cpu"  # Ray hides the other GPUs
        with contextlib.ExitStack() as stack:
            for size, arrays in zip(sizes(argument) if data else (), data, strict=True):
                with warnings.catch_warnings():
                    # Workers of a node share this memory, and none writes to it, as torch fears.
                    warnings.simplefilter("ignore", UserWarning)
                    splits = Splits(*(Split(*map(torch.from_numpy, pair)) for pair in arrays))
                stack.enter_context(data_cache.given(argument.dataset, size, splits))
            return function(argument, device)


def sizes(trial: Trial) -> list[int]:
    """Image sizes that a training reads: its network's, and with crops the dataset's own too."""
    if trial.dataset is None:  # a training of the user's own brings its data
        return []
    read = {trial.candidate.architecture.resolution}
    own = data_cache.native_size(trial.dataset)
    return sorted(read | {own} if trial.recipe.is_cropped else read)
