"""Time of finding every network's cost, compared with fvcore.

    python benchmarks/prescreen.py [--runs 5] [--sample 200] [--out benchmarks/prescreen.csv]

Times, in this process and without its imports, the plans of the paper's grid on B0 (262,701
points) and of every buildable network of B7 at twice its cost. Then takes distinct networks of the
grid, evenly over its order, and counts each by its layers, by vectors, by fvcore and as a plan
does it: by the trace of what is built, in processes where that should be sooner. --sample 0 takes
all 1,588, about a quarter of an hour. Prints a table and writes CSV; ends with an error where two
counts differ.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from fvcore.nn import FlopCountAnalysis
from rows import machine, today, write_rows

from scaling_search.base_networks import efficientnet
from scaling_search.candidates.buildable import Buildable
from scaling_search.candidates.paper_grid import PaperGrid
from scaling_search.core.candidate import Candidate
from scaling_search.core.network import Architecture
from scaling_search.costs.flops import Flops
from scaling_search.planning.budget import Budget
from scaling_search.planning.candidates import Plan
from scaling_search.planning.measuring import measured

GRID = PaperGrid(step=0.01)
BUILDABLE = Buildable(max_resolution=None)


@dataclass(frozen=True)
class Timed:
    """A measured task, its number of networks, and its seconds in each run."""

    what: str
    networks: int
    seconds: list[float]


def grid_of_b0() -> Plan:
    """The paper's grid with its finest step."""
    return GRID.plan(Budget(efficientnet("b0"), Flops()))


def buildable_of_b7() -> Plan:
    """Every network of B7 by the official rounding."""
    return BUILDABLE.plan(Budget(efficientnet("b7"), Flops()))


def buildable_of_b7_to_the_nearest() -> Plan:
    """Every network of B7 whose depth is rounded to the nearest."""
    return BUILDABLE.plan(Budget(efficientnet("b7", depth_rounding="round"), Flops()))


def planned(what: str, plan: Callable[[], Plan], runs: int) -> Timed:
    """The seconds of making a plan."""
    seconds = []
    for _ in range(runs):
        started = time.perf_counter()
        networks = len(plan().pool)
        seconds.append(time.perf_counter() - started)
    return Timed(what, networks, seconds)


def counted(
    what: str, count: Callable[[list[Candidate]], list[int]], candidates: list[Candidate]
) -> Timed:
    """The seconds of counting candidates.

    Raises:
        RuntimeError: A count is not the plan's.
    """
    started = time.perf_counter()
    flops = count(candidates)
    seconds = time.perf_counter() - started
    for candidate, number in zip(candidates, flops, strict=True):
        if number != candidate.flops:
            raise RuntimeError(
                f"all counts of {candidate.network} must agree, got {number} by {what} instead of "
                f"{candidate.flops}"
            )
    return Timed(what, len(candidates), [seconds])


def sampled(plan: Plan, number: int) -> list[Candidate]:
    """Distinct networks of a plan, evenly over its order; all if ``number`` is 0."""
    size = min(number or len(plan.pool), len(plan.pool))
    return [plan.pool.candidate(i) for i in np.linspace(0, len(plan.pool) - 1, size).astype(int)]


def by_layers(candidates: list[Candidate]) -> list[int]:
    """The sum of each network's layers."""
    return [Flops().estimate(candidate.architecture) for candidate in candidates]


def by_vectors(candidates: list[Candidate]) -> list[int]:
    """The vectors' ratios times the base network's cost; the whole grid is scaler again."""
    plan = grid_of_b0()
    ratios = {c.network: r for c, r in zip(plan.pool, plan.pool.ratios.tolist(), strict=True)}
    return [round(ratios[candidate.network] * plan.base.flops) for candidate in candidates]


def by_fvcore(candidates: list[Candidate]) -> list[int]:
    """Fvcore's counts in each built network, one after the other."""
    return [_fvcore_flops(candidate.architecture) for candidate in candidates]


def _fvcore_flops(architecture: Architecture) -> int:
    size = architecture.resolution
    images = torch.zeros(1, architecture.in_channels, size, size)
    with torch.inference_mode():
        counts = FlopCountAnalysis(architecture.build().eval(), images).by_operator()
    return int(counts["conv"] + counts["linear"])


def as_planned(candidates: list[Candidate]) -> list[int]:
    """A plan's counts in the built networks; a count that differs is an error there."""
    networks = [candidate.architecture for candidate in candidates]
    return [Flops().estimate(network) for network in measured(networks, Flops())]


def main() -> None:
    """Times plans and counts, prints and writes them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5, help="runs of each plan")
    parser.add_argument("--sample", type=int, default=200, help="networks to count; 0 for all")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".csv"))
    options = parser.parse_args()
    sample = sampled(grid_of_b0(), options.sample)
    timed = [
        planned("plan of 262,701 points of B0", grid_of_b0, options.runs),
        planned("plan of B7, depth ceil", buildable_of_b7, options.runs),
        planned("plan of B7, depth round", buildable_of_b7_to_the_nearest, options.runs),
        counted("flops by layers", by_layers, sample),
        counted("flops by vectors (the whole grid)", by_vectors, sample),
        counted("flops by fvcore, one by one", by_fvcore, sample),
        counted("flops of what is built, as a plan does it", as_planned, sample),
    ]
    where = {"machine": f"{machine()}, numpy {np.__version__}", "date": today()}
    print(", ".join(where.values()) + "\n")
    print(f"{'what':36}{'networks':>10}{'runs':>6}{'median s':>10}{'worst s':>10}")
    rows = []
    for one in timed:
        median, worst = round(statistics.median(one.seconds), 3), round(max(one.seconds), 3)
        runs = len(one.seconds)
        print(f"{one.what:36}{one.networks:10,}{runs:6}{median:10.3f}{worst:10.3f}")
        row = {"what": one.what, "networks": one.networks, "runs": runs}
        rows.append({**row, "median_seconds": median, "worst_seconds": worst, **where})
    write_rows(rows, options.out)
    print(f"\nAll counts of {len(sample)} networks of the grid agree.")


if __name__ == "__main__":
    main()
