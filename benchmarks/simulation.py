"""Frequency of correct fits, regions and verdicts, by simulation with known truths.

    OMP_NUM_THREADS=1 python benchmarks/simulation.py [--draws 1000] [--jobs 2]
        [--plans small,medium,b0] [--truths inside,flat] [--spreads 0.02] [--seeds 3]
        [--out benchmarks/simulation.csv]

Networks are those of three real plans without a hole over 0.25, 30 each. Prints a table with a
row for each bar, the worst of its cases and the mean over them with their standard errors, and
writes CSV with a row for each case. Seeds' sd is 0.0065; losses are those of `TRUTHS`, stretched
to a spread between the triangle's best and worst point. ``mixed`` seeds are 1, 2, 3, 6 in turn.
"""

import argparse
import itertools
import math
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path

import numpy as np
from composed import experiment_of
from rows import write_rows

from scaling_search.answer.fit import Surface, fit_surface
from scaling_search.answer.observations import Observations, Values
from scaling_search.answer.region import GRID, Hull, best_point, find_region, in_region
from scaling_search.answer.verdicts import answer
from scaling_search.core.candidate import Candidate
from scaling_search.core.scaling import REFERENCES
from scaling_search.core.space_filling import Points, as_points, distances, triangle
from scaling_search.experiment.experiment import Experiment

PLANS = {
    "small": ["base_network=efficientnet_small"],
    "medium": ["base_network=efficientnet_medium"],
    "b0": [
        "base_network=efficientnet_b0",
        "base_network.depth_rounding=round",
        "base_network.width_divisor=4",
        "base_network.resolution_divisor=8",
        "candidates.max_resolution=null",
    ],
}
SEED_SD, SLOPE, TARGET, WAVE = 0.0065, 0.03, 2.0, 0.003


def bowl(depth: float, width: float) -> Callable[[Points], Values]:
    """Squared distance from a point, which may lie outside of the triangle."""
    place = np.array([depth, width, 1 - depth - width])
    return lambda points: ((points - place) ** 2).sum(axis=1)


def ridge(points: Points) -> Values:
    """Steep in depth, nearly level in width."""
    return (points[:, 0] - 0.3) ** 2 + 0.03 * (points[:, 1] - 0.4) ** 2


def logs(points: Points) -> Values:
    """A sum of logarithms of shares, 0.2 added to each."""
    return -np.log(points + 0.2) @ np.array([0.3, 0.35, 0.35])


def exponentials(points: Points) -> Values:
    """A sum of exponentials, each dimension's gain wearing off."""
    return np.exp(-4 * points) @ np.array([1.0, 1.2, 1.1])


TRUTHS = {
    "flat": lambda points: np.zeros(len(points)),
    "inside": bowl(0.3, 0.35),
    "near edge": bowl(0.08, 0.5),
    "edge": bowl(0.0, 0.5),
    "sloping edge": bowl(-0.25, 0.625),
    "corner": bowl(1.0, 0.0),
    "sloping corner": bowl(1.4, -0.2),
    "ridge": ridge,
    "logs": logs,
    "exponentials": exponentials,
    "waves": bowl(0.3, 0.35),
}
COVERED = tuple(name for name in TRUTHS if name not in ("flat", "exponentials", "waves"))


@dataclass(frozen=True)
class Case:
    """One setting; `seeds` is 1, 3 or mixed."""

    plan: str
    truth: str
    spread: float
    seeds: str
    shared: float
    network_sd: float

    def loss(self, points: Points) -> Values:
        """The true loss at the target's cost."""
        least, height = extent(self.truth)
        losses = 0.4 + self.spread * (TRUTHS[self.truth](points) - least) / height
        if self.truth == "waves":
            losses += WAVE * np.sin(4 * np.pi * points[:, 0]) * np.sin(4 * np.pi * points[:, 1])
        return losses


@cache
def extent(truth: str) -> tuple[float, float]:
    """The least value of a truth in the triangle, and how far the largest lies above it."""
    values = TRUTHS[truth](triangle(0.01))
    return float(values.min()), float(np.ptp(values)) or 1.0


@cache
def optimum(case: Case) -> Points:
    """The best point of what a plan's networks search, to five decimals, (1, 3)."""
    return optimum_within(case, Hull.of(networks(case.plan)[0]))


def optimum_within(case: Case, searched: Hull) -> Points:
    """The best point of what was searched, to five decimals, (1, 3)."""
    points, step = triangle(0.01), 0.01
    while True:
        points = points[searched.holds(points) & (points.min(axis=1) >= 0)]
        best: Points = points[[case.loss(points).argmin()]]
        if step < 2e-5:
            return best
        step /= 10
        moves = np.arange(-10, 11) * step
        moved = best[0, :2] + np.array(list(itertools.product(moves, moves)))
        points = np.column_stack([moved, 1 - moved.sum(axis=1)])


@cache
def experiment(plan: str, *overrides: str) -> Experiment:
    """The experiment of a plan."""
    return experiment_of("candidates.max_networks=30", *PLANS[plan], *overrides)


@cache
def candidates(plan: str) -> tuple[Candidate, ...]:
    """The base network and a plan's networks."""
    chosen = experiment(plan)
    whole = chosen.candidates.plan(chosen.budget())  # nothing is trained: data may be smaller
    return whole.base, *(c for c in whole.candidates if c.shares)


@cache
def networks(plan: str) -> tuple[Points, Values]:
    """Shares and measured cost ratios of a plan's networks."""
    kept = candidates(plan)[1:]
    return as_points([c.shares for c in kept]), np.array([c.cost_ratio for c in kept])


def search(case: Case, draw: int) -> Observations:
    """The trainings of one simulated search."""
    shares, ratio = networks(case.plan)
    # Each case draws for itself, so that errors of means over cases are right.
    stream = np.random.default_rng([draw, *repr(case).encode()])
    turns = [1, 2, 3, 6] if case.seeds == "mixed" else [int(case.seeds)]
    counts = np.resize(turns, len(shares))
    network = np.repeat(np.arange(len(shares)), counts)
    seed = np.concatenate([np.arange(count) for count in counts])
    own = SEED_SD * (1 - case.shared) ** 0.5
    offsets = stream.normal(0, 1, counts.max()) * SEED_SD * case.shared**0.5
    means = case.loss(shares) - SLOPE * np.log(ratio / TARGET)
    means = means + stream.normal(0, 1, len(shares)) * case.network_sd
    base = case.loss(shares).mean() + SLOPE * math.log(TARGET) + offsets
    return Observations(
        response="val_loss",
        target=TARGET,
        candidates=np.arange(1, len(shares) + 1),
        shares=shares,
        cost_ratio=ratio,
        network=network,
        seed=seed,
        loss=means[network] + offsets[seed] + own * stream.normal(0, 1, len(network)),
        base_seed=np.arange(len(base)),
        base_loss=base + own * stream.normal(0, 1, len(base)),
        num_failed=0,
    )


def simulate(case: Case, num_draws: int) -> dict[str, object]:
    """Means over draws of what a case's bars are about."""
    draws = [measured(case, draw) for draw in range(num_draws)]
    return asdict(case) | averaged(draws)


def averaged(draws: list[dict[str, float]]) -> dict[str, object]:
    """The mean of each column over draws, and its standard error, 0 of a single draw."""
    row: dict[str, object] = {"draws": len(draws)}
    for name in draws[0]:
        values = [draw[name] for draw in draws]
        row[name] = float(np.mean(values))
        row[f"{name}_se"] = float(np.std(values, ddof=min(1, len(values) - 1)) / len(values) ** 0.5)
    return row


def measured(case: Case, draw: int) -> dict[str, float]:
    """The answer of one search, against the truth."""
    data = search(case, draw)
    surface = fit_surface(data)
    if case.truth == "flat":
        return false_alarms(data, surface)
    truth = optimum(case)
    least = float(case.loss(truth)[0])
    best = as_points([best_point(surface)])
    found = data.shares[distances(best, data.shares)[0].argmin()][None]
    means = np.bincount(data.network, weights=data.loss) / data.counts
    lowest = data.shares[[means.argmin()]]
    places = {"regret": best, "regret_found": found, "regret_lowest": lowest}
    got = {name: regret(case, points) for name, points in places.items()}
    if case.truth in COVERED:
        got["covered"] = float(in_region(surface, truth)[0])
    if case.truth not in COVERED or (case.truth, case.network_sd) == ("inside", 0.0):
        region = find_region(surface)
        got["area"] = region.area
        points = np.vstack([GRID[region.mask], data.shares[region.networks], best])
        got["near"] = float(case.loss(points).min() - least <= 0.002)
    return got


def regret(case: Case, point: Points) -> float:
    """Difference between a point's true loss, (1, 3), and the best."""
    return float(case.loss(point)[0] - case.loss(optimum(case))[0])


def false_alarms(data: Observations, surface: Surface) -> dict[str, float]:
    """Verdicts on a flat truth, with every safeguard and without some."""
    found = answer(surface)
    # Every training a network of its own: no network effect, and as many degrees of freedom.
    alone = replace(
        data,
        candidates=np.arange(1, len(data.loss) + 1),
        shares=data.shares[data.network],
        cost_ratio=data.cost_ratio[data.network],
        network=np.arange(len(data.loss)),
    )
    return {
        "better": float(any(c.verdict.outcome == "better" for c in found.comparisons)),
        "left_out": float(not found.region.is_everything),
        "better_without_f_test": float(
            any(c.verdict.difference.low > 0 for c in found.comparisons[1:])
        ),
        "better_as_independent": float(
            any(c.verdict.outcome == "better" for c in answer(fit_surface(alone)).comparisons)
        ),
    }


@dataclass(frozen=True)
class Bar:
    """A requirement for a column in every case of some kind."""

    name: str
    column: str
    applies: Callable[[dict[str, object]], bool]
    sense: str
    limit: float


def is_even(row: dict[str, object]) -> bool:
    """True if all networks have the same number of seeds."""
    return row["seeds"] != "mixed"


BARS = [
    Bar("coverage", "covered", is_even, ">=", 0.93),
    Bar("coverage, mixed seeds", "covered", lambda r: not is_even(r), ">=", 0.93),
    Bar(
        "not wasteful: inside, network sd 0",
        "covered",
        lambda r: is_even(r) and (r["truth"], r["network_sd"]) == ("inside", 0.0),
        "<=",
        0.99,
    ),
    Bar(
        "area: inside, 0.02, 3 independent seeds",
        "area",
        lambda r: (r["truth"], r["spread"], r["seeds"], r["shared"]) == ("inside", 0.02, "3", 0.0),
        "<=",
        0.25,
    ),
    Bar(
        "a point within 0.002",
        "near",
        lambda r: is_even(r) and r["truth"] in ("exponentials", "waves"),
        ">=",
        0.95,
    ),
    Bar("flat: a better point", "better", is_even, "<=", 0.065),
    Bar("flat: a better point, mixed seeds", "better", lambda r: not is_even(r), "<=", 0.065),
    Bar("flat: a point left out", "left_out", is_even, "<=", 0.065),
    Bar("without F-test: better", "better_without_f_test", is_even, ">=", 0.065),
    Bar(
        "trainings as independent: better",
        "better_as_independent",
        lambda r: (r["seeds"], r["network_sd"]) == ("3", 0.006),
        ">=",
        0.065,
    ),
]


def summary(rows: list[dict[str, object]]) -> Iterable[tuple[str, str, str, str, str]]:
    """For each bar: its limit, the cases, the worst and the mean over all."""
    for bar in BARS:
        mine = [row for row in rows if bar.column in row and bar.applies(row)]
        if not mine:
            continue
        order = sorted(mine, key=lambda row, c=bar.column: float(str(row[c])))
        worst = order[0] if bar.sense == ">=" else order[-1]
        values = np.array([float(str(row[bar.column])) for row in mine])
        errors = np.array([float(str(row[f"{bar.column}_se"])) for row in mine])
        yield (
            bar.name,
            f"{bar.sense} {bar.limit:g}",
            str(len(mine)),
            f"{float(str(worst[bar.column])):.3f} ± {float(str(worst[f'{bar.column}_se'])):.3f}",
            f"{values.mean():.3f} ± {np.sqrt((errors**2).sum()) / len(mine):.3f}",
        )
    for seeds, limit in (("3", 1 / 3), ("1", 0.5)):
        at = [r for r in rows if "regret" in r and (r["seeds"], r["spread"]) == (seeds, 0.02)]
        quadratic = [row for row in at if row["truth"] in COVERED]
        for kind, mine in (("all truths", at), ("quadratic, logs", quadratic)):
            for network_sd in sorted({float(str(row["network_sd"])) for row in mine}):
                ratio, error = regret_ratio([r for r in mine if r["network_sd"] == network_sd])
                yield (
                    f"regret, {kind}, {seeds} seed(s), network sd {network_sd:g}",
                    f"<= {limit:.2g}",
                    str(sum(row["network_sd"] == network_sd for row in mine)),
                    "",
                    f"{ratio:.3f} ± {error:.3f}",
                )


def regret_ratio(
    rows: list[dict[str, object]], over: str = "regret", under: str = "regret_lowest"
) -> tuple[float, float]:
    """One choice's regret over another's, and its standard error.

    The error takes the two regrets of a draw as independent: too large rather than too small.
    """
    names = (over, under)
    top, bottom = (sum(float(str(row[name])) for row in rows) for name in names)
    errors = [math.sqrt(sum(float(str(row[f"{name}_se"])) ** 2 for row in rows)) for name in names]
    return top / bottom, top / bottom * math.hypot(errors[0] / top, errors[1] / bottom)


def cases(
    plans: list[str], truths: list[str], spreads: list[float], seeds: list[str]
) -> Iterable[Case]:
    """Every combination; a flat truth has one spread."""
    for plan, truth, spread, seed, shared, network_sd in itertools.product(
        plans, truths, spreads, seeds, (0.5, 0.0), (0.0, 0.003, 0.006)
    ):
        if truth != "flat" or spread == spreads[0]:
            yield Case(plan, truth, spread if truth != "flat" else 0.0, seed, shared, network_sd)


def main() -> None:
    """Simulates, prints the table of bars and writes the cases."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    split = partial(str.split, sep=",")
    parser.add_argument("--draws", type=int, default=1000, help="simulated searches of each case")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--plans", type=split, default=list(PLANS))
    parser.add_argument("--truths", type=split, default=list(TRUTHS))
    parser.add_argument("--spreads", type=split, default=["0.01", "0.02", "0.05"])
    parser.add_argument("--seeds", type=split, default=["1", "3", "mixed"])
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".csv"))
    options = parser.parse_args()
    chosen = list(
        cases(options.plans, options.truths, [float(s) for s in options.spreads], options.seeds)
    )
    with ProcessPoolExecutor(options.jobs) as pool:
        rows = list(pool.map(partial(simulate, num_draws=options.draws), chosen))
    print(f"{len(REFERENCES)} references, {options.draws} draws a case\n")
    header = ("bar", "limit", "cases", "worst case", "mean")
    for line in (header, *summary(rows)):
        print(f"{line[0]:50}{line[1]:>10}{line[2]:>7}{line[3]:>18}{line[4]:>18}")
    write_rows(rows, options.out)


if __name__ == "__main__":
    main()
