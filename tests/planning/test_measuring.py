"""Networks measured here and in processes: the same order and errors, none started in vain."""

import multiprocessing
import os
from dataclasses import dataclass

import pytest

from scaling_search.base_networks import small_efficientnet
from scaling_search.core.network import Architecture
from scaling_search.costs.flops import Flops
from scaling_search.planning.measuring import START_SECONDS, measured, num_workers
from tests.proxies import Lying

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
NETWORKS = [small_efficientnet(resolution=20 + 2 * i) for i in range(9)]
needs_cores = pytest.mark.skipif(CORES < 2, reason="processes need a second core")


@dataclass(frozen=True)
class Deadly:
    """A cost that ends every process but the first."""

    column: str = "flops"

    def estimate(self, architecture: Architecture) -> int:
        return Flops().estimate(architecture)

    def measure(self, architecture: Architecture) -> int:
        if multiprocessing.parent_process() is not None:
            os._exit(1)
        return self.estimate(architecture)


def test_measured_networks_come_in_their_order() -> None:
    assert list(measured(NETWORKS, Flops())) == NETWORKS
    assert list(measured([], Flops())) == []


def test_a_network_comes_once_it_is_measured() -> None:
    network = small_efficientnet()
    coming = measured([network, Lying(network), network], Flops())
    assert next(coming) == network
    with pytest.raises(RuntimeError, match="must equal the closed form"):
        next(coming)


def test_few_or_fast_networks_start_no_process() -> None:
    assert num_workers(0, 100.0, START_SECONDS) == 1
    assert num_workers(7, 100.0, START_SECONDS) == 1  # two processes would have three each
    assert num_workers(32, 0.08, START_SECONDS) == 1  # the small network's


@needs_cores
def test_networks_that_take_minutes_start_processes() -> None:
    assert num_workers(32, 3.2, START_SECONDS) == min(CORES, 8)  # B7's
    assert num_workers(9, 30.0, START_SECONDS) == 2


@needs_cores
@pytest.mark.slow
def test_processes_measure_in_the_same_order() -> None:
    assert list(measured(NETWORKS, Flops(), start_seconds=0.0)) == NETWORKS


@needs_cores
@pytest.mark.slow
def test_an_error_in_a_process_comes_through_as_it_is() -> None:
    networks: list[Architecture] = [*NETWORKS, Lying(small_efficientnet())]
    rule = r"^the measured flops must equal the closed form, got 1178016 .*layers\(\) is wrong$"
    with pytest.raises(RuntimeError, match=rule) as caught:
        list(measured(networks, Flops(), start_seconds=0.0))
    assert type(caught.value.__cause__).__name__ == "_RemoteTraceback"  # it was a process
    assert "\n" not in str(caught.value)


@needs_cores
@pytest.mark.slow
def test_what_lost_processes_leave_is_measured_here() -> None:
    assert list(measured(NETWORKS, Deadly(), start_seconds=0.0)) == NETWORKS
