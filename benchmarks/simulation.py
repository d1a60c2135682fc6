"""Frequency of correct fits, regions and verdicts, by simulation with known truths.

    OMP_NUM_THREADS=1 python benchmarks/simulation.py [--draws 400] [--jobs 2]
        [--only duplicates,cliff] [--out benchmarks/simulation.csv]

Trainings are drawn for two plans: ``default``, the networks that `efficientnet_small` plans, a
quarter of them with two seeds, and ``crowded``, 32 networks in 17 places with three seeds
(crowded_plan.csv). Losses are those of `TRUTHS`, stretched to a spread of 0.026 between the
triangle's best and worst point; `LUCK` says what is added. Each case goes through the public fit,
region and verdicts. The CSV file has a row for each case, written as it is done: the same command
goes on where it stopped, and draws anew what had fewer draws. The table has a row for each claim,
its cases together and the worst.
"""

import argparse
import itertools
import math
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import pandas as pd
from composed import experiment_of
from rows import machine, today, write_rows

from scaling_search.answer.fit import Surface, fit_surface
from scaling_search.answer.observations import Indices, Observations, Values
from scaling_search.answer.outliers import usable, without
from scaling_search.answer.region import Hull, Region, find_region, in_region
from scaling_search.answer.verdicts import Answer, answer
from scaling_search.core.metric import VAL_LOSS
from scaling_search.core.scaling import REFERENCES
from scaling_search.core.space_filling import (
    Points,
    as_points,
    distances,
    places,
    triangle,
)

SEED_SD, NETWORK_SD, SLOPE, TARGET, SPREAD, NEAR = 0.0077, 0.0033, 0.03, 2.0, 0.026, 0.002
CHANCE = math.log(10)
REGION = 0.15
"""`limits.region` of the searches that end early."""

PLAN = ("base_network=efficientnet_small", "candidates.max_networks=null")
"""Overrides of the default plan."""

FINE = triangle(0.01)


def bowl(depth: float, width: float) -> Callable[[Points], Values]:
    """Squared distance from a point, which may lie outside of the triangle."""
    place = np.array([depth, width, 1 - depth - width])
    return lambda points: ((points - place) ** 2).sum(axis=1)


def powers(*weights: float) -> Callable[[Points], Values]:
    """A sum of power laws, each dimension's gain wearing off."""
    return lambda points: (np.array(weights) * (points + 0.1) ** -0.5).sum(axis=1)


def cone(points: Points) -> Values:
    """Distance from a point inside."""
    return distances(points, np.array([[0.3, 0.4, 0.3]]))[:, 0]


def saddle(points: Points) -> Values:
    """A valley between depth and resolution that falls to both ends, more to resolution."""
    return (points[:, 1] - 0.3) ** 2 - 0.5 * (points[:, 0] - points[:, 2] + 0.1) ** 2


def cliff(dimension: int, sign: float = 1.0) -> Callable[[Points], Values]:
    """A plateau up to a share of 0.7 of one dimension, and a steep rise, or fall, beyond."""
    return lambda points: sign / (1 + np.exp(-(points[:, dimension] - 0.7) / 0.03))


TRUTHS: dict[str, Callable[[Points], Values]] = {
    "flat": lambda points: np.zeros(len(points)),
    "bowl inside": bowl(0.3, 0.35),
    "bowl edge": bowl(0.0, 0.5),
    "bowl corner": bowl(1.0, 0.0),
    "powers inside": powers(0.3, 0.35, 0.35),
    "powers edge": powers(0.0, 0.5, 0.5),
    "powers corner": powers(0.0, 0.0, 1.0),
    "cone": cone,
    "saddle": saddle,
} | {
    f"{kind} {name}": cliff(i, sign)
    for kind, sign in (("cliff", 1.0), ("drop", -1.0))
    for i, name in enumerate(("depth", "width", "resolution"))
}
SMOOTH = ("bowl inside", "bowl edge", "bowl corner", *(t for t in TRUTHS if t[:6] == "powers"))
ENDING = ("bowl inside", "bowl edge", "bowl corner", "cone")
"""Truths of the searches that may end early."""

STEEP = tuple(truth for truth in TRUTHS if truth.startswith(("cliff", "drop")))


@dataclass(frozen=True)
class Luck:
    """Additions to a truth: standard deviations, and some accidents.

    Attributes:
        network_sd: Of the effects of networks.
        kind: ``own`` of each network, ``place`` for one of each place, ``smooth`` over the triangle
            with a correlation of exp(-distance / 0.3).
        shared: Part of the seed's variance that all networks have in common.
        tails: True for seeds of a t distribution with three degrees of freedom.
        uneven: True for a seed's noise that is 0.6 to 1.8 times as large from one end of depth to
            the other.
        outlier: Added to one training, or ``CHANCE`` in its place.
        missing: True for a plan without the networks within 0.3 of the depth corner.
    """

    network_sd: float = NETWORK_SD
    kind: str = "own"
    shared: float = 0.0
    tails: bool = False
    uneven: bool = False
    outlier: float = 0.0
    missing: bool = False


LUCK = {
    "plain": Luck(),
    "none": Luck(0.0),
    "duplicates": Luck(kind="place"),
    "duplicates, large": Luck(0.006, "place"),
    "smooth": Luck(kind="smooth"),
    "smooth, large": Luck(0.006, "smooth"),
    "shared seeds": Luck(shared=0.5),
    "tails": Luck(tails=True),
    "uneven": Luck(uneven=True),
    "outlier": Luck(outlier=0.06),
    "at chance": Luck(outlier=CHANCE),
    "missing corner": Luck(missing=True),
}


@dataclass(frozen=True)
class Case:
    """One setting."""

    plan: str
    truth: str
    luck: str

    def loss(self, points: Points) -> Values:
        """The true loss at the target's cost."""
        least, height = extent(self.truth)
        return 0.4 + SPREAD * (TRUTHS[self.truth](points) - least) / height


@cache
def extent(truth: str) -> tuple[float, float]:
    """The least value of a truth in the triangle, and how far the largest lies above it."""
    values = TRUTHS[truth](FINE)
    return float(values.min()), float(np.ptp(values)) or 1.0


@cache
def networks(plan: str) -> tuple[Points, Values, Indices]:
    """Shares, measured cost ratios and numbers of seeds of a plan's networks."""
    if plan == "crowded":
        table = pd.read_csv(Path(__file__).with_name("crowded_plan.csv")).to_numpy()
        return table[:, :3], table[:, 3], np.full(len(table), 3)
    chosen = experiment_of(*PLAN)
    whole = chosen.candidates.plan(chosen.budget())  # nothing is trained: data may be smaller
    shares, ratios = as_points(whole.shares), [c.cost_ratio for c in whole.candidates if c.shares]
    counts = np.where(np.arange(len(shares)) < math.ceil(len(shares) / 4), 2, 1)
    return shares, np.array(ratios), counts


def effects(shares: Points, luck: Luck, stream: np.random.Generator) -> Values:
    """What networks lie away from the truth, (networks,)."""
    if luck.kind == "place":
        place = places(shares)
        drawn: Values = stream.standard_normal(place.max() + 1)[place]
    elif luck.kind == "smooth":
        near = np.exp(-distances(shares, shares) / 0.3) + 1e-9 * np.eye(len(shares))
        drawn = np.linalg.cholesky(near) @ stream.standard_normal(len(shares))
    else:
        drawn = stream.standard_normal(len(shares))
    return luck.network_sd * drawn


def search(case: Case, draw: int, *, num_seeds: int = 0) -> tuple[Observations, Values]:
    """The trainings of one simulated search, and the true losses of its networks.

    Args:
        case: The setting.
        draw: Number of the search.
        num_seeds: Seeds of every network; 0 for those of the plan.
    """
    luck = LUCK[case.luck]
    shares, ratio, counts = networks(case.plan)
    counts = np.full_like(counts, num_seeds) if num_seeds else counts
    if luck.missing:
        kept = shares[:, 0] < 0.7
        shares, ratio, counts = shares[kept], ratio[kept], counts[kept]
    # Each case draws for itself, so that errors of means over cases are right.
    stream = np.random.default_rng([draw, zlib.crc32(repr(case).encode())])
    network = np.repeat(np.arange(len(shares)), counts)
    seed = np.concatenate([np.arange(count) for count in counts])
    true = case.loss(shares) + effects(shares, luck, stream)
    size = len(network) + counts.max()
    noise = stream.standard_t(3, size) / 3**0.5 if luck.tails else stream.standard_normal(size)
    noise *= SEED_SD * (1 - luck.shared) ** 0.5
    offsets = SEED_SD * luck.shared**0.5 * stream.standard_normal(counts.max())
    if luck.uneven:
        noise[: len(network)] *= 0.6 + 1.2 * shares[network, 0]
    loss = true[network] - SLOPE * np.log(ratio / TARGET)[network] + noise[: len(network)]
    loss += offsets[seed]
    if luck.outlier:
        hit = int(stream.integers(len(network)))
        loss[hit] = CHANCE if luck.outlier == CHANCE else loss[hit] + luck.outlier
    base = case.loss(FINE).mean() + SLOPE * math.log(TARGET)
    data = Observations(
        response=VAL_LOSS,
        target=TARGET,
        candidates=np.arange(1, len(shares) + 1),
        shares=shares,
        cost_ratio=ratio,
        network=network,
        seed=seed,
        loss=loss,
        base_seed=np.arange(counts.max()),
        base_loss=base + noise[len(network) :] + offsets,
        num_failed=0,
    )
    return data, true


def fitted(data: Observations) -> Surface:
    """The surface without outlying trainings, as a report has it."""
    return fit_surface(usable(data))


def measured(case: Case, draw: int) -> dict[str, float]:
    """The answer of one search, against the truth."""
    data, true = search(case, draw)
    surface = fitted(data)
    found = answer(surface)
    got = told(case, found)
    if case.truth == "flat":
        return got | {"left_out": float(not found.region.is_everything)}
    kept = FINE[Hull.of(surface.searched).holds(FINE)]
    losses = case.loss(kept)
    got["near"] = float(holds_near(case, found.region, surface, losses.min()))
    if case.truth in SMOOTH:
        got["covered"] = float(in_region(surface, kept[[losses.argmin()]])[0])
        got["area"] = found.region.area
    means = np.bincount(data.network, weights=data.loss) / data.counts
    lowest = int(means.argmin()) + 1
    chosen = {"network": found.network, "nearest": found.nearest, "lowest": lowest}
    # A plan that misses networks numbers those it has.
    got |= {f"regret_{k}": float(true[n - 1] - true.min()) for k, n in chosen.items()}
    if case.truth in ENDING and case.luck in ("plain", "none"):
        got |= ended(case, data)
    return got


def holds_near(case: Case, region: Region, surface: Surface, least: float) -> bool:
    """True if a point of the region is within `NEAR` of the least loss that was searched."""
    known = np.vstack([as_points([region.best]), surface.observations.shares[region.networks]])
    if case.loss(known).min() <= least + NEAR:
        return True
    points = FINE[case.loss(FINE) <= least + NEAR]
    points = points[:: 1 + len(points) // 40]  # enough of a plateau
    return bool(in_region(surface, points).any())


def told(case: Case, found: Answer) -> dict[str, float]:
    """How right the verdicts are."""
    rule = as_points([found.rule])
    true = case.loss(rule)[0]
    better, right = False, True
    for one in found.comparisons:
        if one.verdict is not None:
            lead = float(case.loss(as_points([one.shares]))[0] - true)
            better |= one.verdict.outcome == "better" and lead <= 1e-9
            right &= one.verdict.difference.low <= lead <= one.verdict.difference.high
    got = {"false_better": float(better), "all_right": float(right)}
    return got | {"told": float(not found.region.is_everything)}


def ended(case: Case, data: Observations) -> dict[str, float]:
    """Whether `limits.region` ends a search seed by seed, and then without the best point."""
    order = np.lexsort((data.network, data.seed))
    last = 0
    for number in range(20, len(order) + 1):
        if number < 1.25 * last:
            continue
        last = number
        is_left = np.ones(len(order), dtype=bool)
        is_left[order[:number]] = False
        kept = without(data, is_left, np.zeros(len(data.base_loss), dtype=bool))
        surface = fitted(kept)
        region = find_region(surface)
        if region.area <= REGION * region.searched_area:
            least = case.loss(FINE[Hull.of(surface.searched).holds(FINE)]).min()
            held = holds_near(case, region, surface, least)
            return {"ended": 1.0, "ended_wrong": float(not held)}
    return {"ended": 0.0, "ended_wrong": 0.0}


def simulated(case: Case, num_draws: int) -> dict[str, object]:
    """Means over draws, with standard errors."""
    draws = pd.DataFrame([measured(case, draw) for draw in range(num_draws)])
    row: dict[str, object] = vars(case) | {"draws": num_draws}
    for name, values in draws.items():
        row[str(name)] = float(values.mean())
        row[f"{name}_se"] = float(values.std() / num_draws**0.5)
    return row


@dataclass(frozen=True)
class Claim:
    """A requirement for a column in some cases.

    Attributes:
        text: In words.
        column: The column.
        sense: ``<=`` or ``>=``.
        aim: The limit.
        truths: Its truths; all but the flat one if empty.
        lucks: Its kinds of luck; all if empty.
        plans: Its plans.
    """

    text: str
    column: str
    sense: str
    aim: float
    truths: tuple[str, ...] = ()
    lucks: tuple[str, ...] = ()
    plans: tuple[str, ...] = ("default", "crowded")

    def holds_for(self, case: Case) -> bool:
        """True for one of its cases."""
        truths = self.truths or tuple(truth for truth in TRUTHS if truth != "flat")
        lucks = self.lucks or tuple(LUCK)
        return case.truth in truths and case.luck in lucks and case.plan in self.plans


USUAL = ("plain", "none", "shared seeds", "tails", "uneven", "outlier")
DUPLICATES, SMOOTH_LUCK = ("duplicates", "duplicates, large"), ("smooth", "smooth, large")
FLAT, INSIDE = ("flat",), ("bowl inside",)
CLAIMS = [
    Claim("flat, duplicates: false better", "false_better", "<=", 0.07, FLAT, DUPLICATES),
    Claim("flat, smooth effects: false better", "false_better", "<=", 0.2, FLAT, SMOOTH_LUCK),
    Claim("flat, other luck: false better", "false_better", "<=", 0.065, FLAT, USUAL),
    Claim("flat, other luck: a point left out", "left_out", "<=", 0.065, FLAT, USUAL),
    Claim("coverage", "covered", ">=", 0.94, SMOOTH, (*USUAL, "at chance", "missing corner")),
    Claim("coverage, duplicates", "covered", ">=", 0.94, SMOOTH, DUPLICATES),
    Claim("coverage, smooth effects", "covered", ">=", 0.9, SMOOTH, SMOOTH_LUCK),
    Claim("cone, saddle: a point within 0.002", "near", ">=", 0.95, ("cone", "saddle")),
    Claim("cliffs: a point within 0.002", "near", ">=", 0.95, STEEP),
    Claim("cliffs: false better", "false_better", "<=", 0.065, STEEP),
    Claim("all intervals right together", "all_right", ">=", 0.95, SMOOTH, (*USUAL, *DUPLICATES)),
    Claim("the same, cone and saddle", "all_right", ">=", math.inf, ("cone", "saddle")),
    Claim("the same, cliffs", "all_right", ">=", math.inf, STEEP),
    Claim("regret of the network, 1e-4", "regret_network", "<=", 22e-4, INSIDE, ("plain",)),
    Claim("nearest to the rule", "regret_nearest", "<=", math.inf, INSIDE, ("plain",)),
    Claim("of the lowest mean", "regret_lowest", "<=", math.inf, INSIDE, ("plain",)),
    Claim("a clear truth is told", "told", ">=", 0.9, INSIDE, ("plain", "none", "outlier")),
    Claim("the same, one training at chance", "told", ">=", 0.9, INSIDE, ("at chance",)),
    Claim("area of the region", "area", "<=", 0.25, INSIDE, ("none",)),
    Claim("the same, networks have effects", "area", "<=", math.inf, INSIDE, ("plain",)),
]

FOR_ALL_LUCK = ("flat", "bowl inside", "bowl corner", "powers edge")
"""Truths that are drawn with every kind of luck."""


def cases() -> Iterator[Case]:
    """Every case that a claim is about."""
    for plan, luck, truth in itertools.product(("crowded", "default"), LUCK, TRUTHS):
        case = Case(plan, truth, luck)
        is_drawn = luck in ("plain", "none") or truth in FOR_ALL_LUCK
        if is_drawn and any(claim.holds_for(case) for claim in CLAIMS):
            yield case


def number(row: dict[str, object], column: str) -> float:
    """A value of a row."""
    return float(str(row[column]))


def summary(rows: list[dict[str, object]]) -> Iterable[tuple[str, ...]]:
    """For each claim: its aim, cases, mean over all and the worst."""
    for claim in CLAIMS:
        mine = [
            row
            for row in rows
            if claim.holds_for(Case(*(str(row[k]) for k in ("plan", "truth", "luck"))))
            and str(row.get(claim.column, "")) not in ("", "nan")
        ]
        if not mine:
            continue
        mine.sort(key=partial(number, column=claim.column))
        worst = mine[0] if claim.sense == ">=" else mine[-1]
        mean = np.mean([number(row, claim.column) for row in mine])
        error = math.hypot(*(number(row, f"{claim.column}_se") for row in mine)) / len(mine)
        scale = 1e4 if "regret" in claim.column else 1.0
        end, end_error = number(worst, claim.column), number(worst, f"{claim.column}_se")
        yield (
            claim.text,
            f"{claim.sense} {scale * claim.aim:g}" if claim.aim < math.inf else "",
            str(len(mine)),
            f"{scale * mean:.3f} ± {scale * error:.3f}",
            f"{scale * end:.3f} ± {scale * end_error:.3f}",
            f"{worst['plan']}, {worst['truth']}, {worst['luck']}",
        )
    searched = [row for row in rows if str(row.get("ended", "")) not in ("", "nan")]
    total = sum(number(row, "ended") * number(row, "draws") for row in searched)
    wrong = sum(number(row, "ended_wrong") * number(row, "draws") for row in searched)
    if total:
        part = wrong / total
        yield (
            f"limits.region={REGION}: ended without the best point",
            "<= 0.05",
            str(len(searched)),
            f"{part:.3f} ± {(part * (1 - part) / total) ** 0.5:.3f}",
            f"{total:.0f} ended",
            "",
        )


def main() -> None:
    """Simulates, writes the cases and prints the table of claims."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=400, help="of each case; twice for flat ones")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--only", default="", help="cases whose plan, truth, luck hold this text")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".csv"))
    options = parser.parse_args()
    done: list[dict[str, object]] = []
    if options.out.is_file():
        table = pd.read_csv(options.out, dtype=str).fillna("")
        done = [{str(k): v for k, v in row.items()} for row in table.to_dict("records")]
    done = [row for row in done if number(row, "draws") >= options.draws]
    known = {(row["plan"], row["truth"], row["luck"]) for row in done}
    texts = options.only.split(",")
    wanted = [case for case in cases() if any(text in repr(case) for text in texts)]
    left = [case for case in wanted if (case.plan, case.truth, case.luck) not in known]
    with ProcessPoolExecutor(options.jobs) as pool:
        waiting = [
            pool.submit(simulated, case, options.draws * (1 + (case.truth == "flat")))
            for case in left
        ]
        for ready in as_completed(waiting):
            done.append(ready.result() | {"machine": machine(), "date": today()})
            write_rows(done, options.out)
            names = ", ".join(str(done[-1][key]) for key in ("plan", "truth", "luck"))
            print(f"{len(done)}/{len(wanted)} {names}", flush=True)
    print(f"\n{len(REFERENCES)} references\n")
    header = ("claim", "aim", "cases", "mean", "worst case", "which")
    for line in (header, *summary(done)):
        print(f"{line[0]:48}{line[1]:>9}{line[2]:>6}{line[3]:>18}{line[4]:>18}  {line[5]}")


if __name__ == "__main__":
    main()
