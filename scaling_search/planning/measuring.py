"""Builds and measures networks, in processes where that is faster."""

import multiprocessing
import signal
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from scaling_search.core.candidate import Candidate
from scaling_search.core.network import Architecture, Checked
from scaling_search.core.protocols import Cost, SampledCost
from scaling_search.runtime.cores import usable_cores
from scaling_search.runtime.parent_death import exit_with_parent
from scaling_search.runtime.progress import progress

START_SECONDS = 3.0
"""Seconds until a process measures its first network: 1.7 of imports, 5 beside other work."""

FEWEST_EACH = 4
"""Smallest number of networks for a process to be worth its start."""


def measure(candidates: Iterable[Candidate], cost: Cost | SampledCost) -> None:
    """Build each network, and compare its measured cost with the closed form.

    Raises:
        RuntimeError: A measured cost is not its closed form, or not what a second count says.
        ValueError: A network cannot be trained.
    """
    networks = [candidate.architecture for candidate in candidates]
    for _ in progress(measured(networks, cost), "checking networks", len(networks)):
        pass


def measured(
    networks: Sequence[Architecture],
    cost: Cost | SampledCost,
    *,
    start_seconds: float = START_SECONDS,
) -> Iterator[Architecture]:
    """Yields the networks in their order, each once it is built and measured.

    The first two are measured here, and what the second took decides where the others are: a small
    plan starts no process. The first also takes what torch loads at its first count.

    Args:
        networks: Networks to measure.
        cost: Measures them.
        start_seconds: Seconds until a process measures its first network.

    Raises:
        RuntimeError: A measured cost is not its closed form, or not what a second count says.
        ValueError: A network cannot be trained.
    """
    # A processor's seconds: beside other work the clock's would promise more than there is.
    seconds = 0.0
    for network in networks[:2]:
        started = time.process_time()
        _measure(cost, network)
        seconds = time.process_time() - started
        yield network
    rest = networks[2:]
    workers = num_workers(len(rest), seconds, start_seconds)
    if workers > 1:
        try:
            for network in _by_processes(workers, rest, cost):
                yield network
                rest = rest[1:]
        except BrokenProcessPool:
            pass  # processes cannot start from here, or one was killed: the rest is measured here
    for network in rest:
        _measure(cost, network)
        yield network


def _measure(cost: Cost | SampledCost, network: Architecture) -> None:
    """Measures a cost that has a closed form; a sampled one was when it was sampled."""
    if isinstance(cost, Cost):
        cost.measure(network)
    if isinstance(network, Checked):
        network.check()


def num_workers(num_networks: int, seconds: float, start_seconds: float) -> int:
    """Number of processes to start for networks that take so long each; 1 for none but this.

    They must save twice the seconds of their start, since their shares are never quite equal.
    """
    workers = max(1, min(usable_cores(), num_networks // FEWEST_EACH))
    saved = num_networks * seconds * (1 - 1 / workers)
    return workers if saved > 2 * start_seconds else 1


def _by_processes(
    workers: int, networks: Sequence[Architecture], cost: Cost | SampledCost
) -> Iterator[Architecture]:
    # spawn: a forked torch may hold locks.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin)
    try:
        futures = [pool.submit(_measure, cost, network) for network in networks]
        for network, future in zip(networks, futures, strict=True):
            future.result()
            yield network
    finally:
        pool.shutdown(cancel_futures=True)


def _begin() -> None:
    """Leaves interrupts to the parent, and ends with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    exit_with_parent()
