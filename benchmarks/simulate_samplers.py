"""Savings by samplers, and frequency of sure but wrong ends, with known truths.

    OMP_NUM_THREADS=1 python benchmarks/simulate_samplers.py [--draws 4] [--jobs 2]
        [--plans small,medium,b0] [--truths inside,flat] [--samplers grid,focus] [--slots 1]
        [--out benchmarks/simulate_samplers.csv]

Whole searches of up to three seeds of the base network and of all networks of the plans in
`simulation.py`, through the samplers, the fit and the rule that ends a search at
``limits.region=0.15``. Truths have a spread of 0.02. A training takes seconds in proportion to its
cost: 1 of the base network, about 2 of the others. The part of the seconds that a search may use
includes the base network's. Prints a table with a row for each bar, the worst of some groups of
cases and all cases together, and writes CSV with a row for each case and sampler. A search takes
about three seconds with focus or gp, and less than one with the others.
"""

import argparse
import heapq
import itertools
from bisect import insort
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import optuna
from rows import write_rows
from simulation import (
    COVERED,
    PLANS,
    TARGET,
    TRUTHS,
    Case,
    averaged,
    candidates,
    experiment,
    optimum,
    optimum_within,
    regret,
    regret_ratio,
    search,
)

from scaling_search.answer.design import Design
from scaling_search.answer.fit import fit_surface
from scaling_search.answer.observations import Indices, Observations, Values, of_results
from scaling_search.answer.region import GRID, Hull, best_point, find_region, in_region
from scaling_search.answer.stopping import Limits, Stopping
from scaling_search.answer.verdicts import answer
from scaling_search.core.protocols import Sampler
from scaling_search.core.space_filling import as_points
from scaling_search.core.trial import Epoch, Trial, TrialResult
from scaling_search.record.record import InterimAnalysis, Objective
from scaling_search.samplers import focus

SAMPLERS = ("grid", "qmc", "tpe", "gp", "focus")
SEEDLESS = "seedless"
"""Focus without seed offsets in its model, for a flat truth with half-shared seeds."""
NUM_SEEDS, REGION, SPREAD, NEAR = 3, 0.15, 0.02, 0.002
OBJECTIVE: Objective = "val_loss"
LIMITS = Limits(region=REGION, failed_share=1.0)


class Looks:
    """The part of a record that the rule that ends a search needs."""

    objective = OBJECTIVE

    def __init__(self) -> None:
        self._analyses: list[InterimAnalysis] = []

    @property
    def interim_analyses(self) -> list[InterimAnalysis]:
        """What was seen of the region so far."""
        return list(self._analyses)

    def add_interim_analysis(self, analysis: InterimAnalysis) -> None:
        """Keeps what was seen."""
        self._analyses.append(analysis)


@cache
def trials(plan: str) -> tuple[Trial, ...]:
    """All trainings of a plan, in the canonical order."""
    chosen = experiment(plan)
    made = (
        chosen.trial(candidate, seed) for candidate in candidates(plan) for seed in range(NUM_SEEDS)
    )
    return tuple(sorted(made, key=lambda trial: trial.order))


class Remembered:
    """A sampler whose order results do not change, asked once for each place in it."""

    def __init__(self, sampler: Sampler) -> None:
        self.sampler = sampler
        self.chosen: list[Trial | None] = []

    def choose(
        self,
        remaining: Sequence[Trial],
        running: Sequence[Trial],
        finished: Sequence[TrialResult],
        objective: Objective,
    ) -> Trial | None:
        """Its choice at this place."""
        place = len(running) + len(finished)
        if place == len(self.chosen):
            self.chosen.append(self.sampler.choose(remaining, running, finished, objective))
        return self.chosen[place]


class SeedlessDesign(Design):
    """A design in which all seeds are one."""

    def falls(self, differences: Values, network: Indices, seed: Indices) -> tuple[Values, Values]:
        """The falls, as if a seed moved no losses."""
        one = Design(self.shares, self.network, np.zeros_like(self.seed), self.variance_ratio)
        return one.falls(differences, network, np.zeros_like(seed))


class Seedless:
    """Focus without seed offsets in its model."""

    def __init__(self, sampler: Sampler) -> None:
        self.sampler = sampler

    def choose(
        self,
        remaining: Sequence[Trial],
        running: Sequence[Trial],
        finished: Sequence[TrialResult],
        objective: Objective,
    ) -> Trial | None:
        """The choice of most information per second by the model without offsets."""
        with (
            patch.object(focus, "of_results", lambda *a, **k: seedless(of_results(*a, **k))),
            patch.object(focus, "Design", SeedlessDesign),
        ):
            return self.sampler.choose(remaining, running, finished, objective)


def seedless(data: Observations) -> Observations:
    """The same trainings as if all had one seed."""
    return replace(data, seed=np.zeros_like(data.seed), base_seed=np.zeros_like(data.base_seed))


@cache
def part(plan: str, name: str) -> Any:
    """A sampler with the values of its YAML."""
    if name == SEEDLESS:
        return Seedless(part(plan, "focus"))
    sampler = experiment(plan, f"sampler={name}").sampler
    return Remembered(sampler) if name in ("grid", "qmc") else sampler


def sampler_of(plan: str, name: str, draw: int) -> Sampler:
    """A sampler; those that draw at random draw anew for each search."""
    sampler: Sampler = part(plan, name)
    return replace(sampler, seed=1000 * draw) if name in ("tpe", "gp") else sampler


def results(case: Case, losses: Observations) -> dict[tuple[int, int], TrialResult]:
    """The result of each training, by its place in the canonical order."""
    by_network = np.vstack([losses.base_loss, losses.loss.reshape(-1, NUM_SEEDS)]).tolist()
    return {
        trial.order: TrialResult(
            trial,
            "COMPLETE",
            curve=(Epoch(loss, loss, 1 - loss),),
            train_seconds=trial.candidate.cost_ratio,
            total_seconds=trial.candidate.cost_ratio,
        )
        for trial in trials(case.plan)
        for loss in [by_network[trial.candidate.number][trial.seed]]
    }


def by_order(result: TrialResult) -> tuple[int, int]:
    """Its place in the canonical order."""
    return result.trial.order


def progress(
    sampler: Sampler, outcomes: dict[tuple[int, int], TrialResult], slots: int
) -> Iterator[list[TrialResult]]:
    """Finished trainings in the canonical order, each time a training ends."""
    remaining = {order: result.trial for order, result in outcomes.items()}
    running: list[tuple[float, tuple[int, int]]] = []
    finished: list[TrialResult] = []
    now = 0.0
    while remaining or running:
        while remaining and len(running) < slots:
            in_flight = [outcomes[order].trial for order in sorted(order for _, order in running)]
            chosen = sampler.choose(list(remaining.values()), in_flight, finished, OBJECTIVE)
            assert chosen is not None
            del remaining[chosen.order]
            heapq.heappush(running, (now + outcomes[chosen.order].total_seconds, chosen.order))
        now, order = heapq.heappop(running)
        insort(finished, outcomes[order], key=by_order)
        yield finished


def simulate(work: tuple[Case, str], num_draws: int, slots: int) -> dict[str, object]:
    """Means over draws of what bars are about, of one case and sampler."""
    case, sampler = work
    draws = [simulated(case, sampler, draw, slots) for draw in range(num_draws)]
    return asdict(case) | {"sampler": sampler} | averaged(draws)


def simulated(case: Case, name: str, draw: int, slots: int) -> dict[str, float]:
    """The answers of one search while it goes on, against the truth.

    Columns are the part of all seconds that the search used; whether it was `stopped`; whether the
    region then lacked the best of what it had searched (`wrong`), the best of all networks' hull
    (`missed`), any point within 0.002 of the former (`far`); regrets; and "better" verdicts on a
    flat truth after half the seconds.
    """
    losses = search(case, draw)
    outcomes = results(case, losses)
    whole = sum(result.total_seconds for result in outcomes.values())
    stopping = Stopping(LIMITS, Looks(), TARGET)  # type: ignore[arg-type]
    got = {} if case.truth == "flat" else regrets_of_all(case, losses)
    part_of_seconds = {"grid": 1 / NUM_SEEDS, "focus": 0.5, SEEDLESS: 0.5}.get(name)
    ending: dict[str, float] = {}
    for finished in progress(sampler_of(case.plan, name, draw), outcomes, slots):
        used = sum(result.total_seconds for result in finished) / whole
        if part_of_seconds is not None and used >= part_of_seconds - 1e-9:
            got |= after_part(case, finished)
            part_of_seconds = None
        if (
            not ending
            and len(finished) < len(outcomes)
            and stopping.reached(finished, 0, Counter())
        ):
            ending = stopped(case, finished) | {"seconds": used}
        if part_of_seconds is None and (ending or name == SEEDLESS):
            break
    never = dict.fromkeys(("stopped", "far", "wrong", "missed"), 0.0)
    return got | (ending or never | {"seconds": 1.0})


def observed(finished: list[TrialResult]) -> Observations:
    """The input of the fit."""
    return of_results(finished, response=OBJECTIVE, target=TARGET)


def regrets_of_all(case: Case, losses: Observations) -> dict[str, float]:
    """The surface's choice and the network of lowest mean, from three seeds of all networks."""
    means = np.bincount(losses.network, weights=losses.loss) / losses.counts
    best = as_points([best_point(fit_surface(losses))])
    return {
        "regret_all": regret(case, best),
        "regret_lowest": regret(case, losses.shares[[means.argmin()]]),
    }


def after_part(case: Case, finished: list[TrialResult]) -> dict[str, float]:
    """The result after a part of the seconds."""
    data = observed(finished)
    if case.truth != "flat":
        return {"regret_part": regret(case, as_points([best_point(fit_surface(data))]))}
    return {"better": says_better(data), "better_without_offsets": says_better(seedless(data))}


def says_better(data: Observations) -> float:
    """True if the best split is called better than any reference."""
    return float(any(c.verdict.outcome == "better" for c in answer(fit_surface(data)).comparisons))


def stopped(case: Case, finished: list[TrialResult]) -> dict[str, float]:
    """True if a search that ends here is sure but wrong, as always with a flat truth."""
    if case.truth == "flat":
        return {"stopped": 1.0, "far": 1.0, "wrong": 1.0, "missed": 1.0}
    surface = fit_surface(observed(finished))
    searched = Hull.of(surface.searched)
    truths = {"wrong": optimum_within(case, searched), "missed": optimum(case)}
    lacks = {name: float(not in_region(surface, truth)[0]) for name, truth in truths.items()}
    region = find_region(surface)
    shares = surface.observations.shares[region.networks]
    kept = np.vstack([GRID[region.mask], shares, as_points([region.best])])
    is_far = case.loss(kept).min() - case.loss(truths["wrong"])[0] > NEAR
    return {"stopped": 1.0, "far": float(is_far)} | lacks


Rows = list[dict[str, object]]


@dataclass(frozen=True)
class Bar:
    """A requirement for the rows of one sampler.

    Attributes:
        name: What is printed.
        sampler: Whose rows.
        applies: To which of them.
        value: Of some rows together, with its standard error.
        sense: Of the limit; empty where a row only informs.
        limit: For all rows together.
        groups: What rows of one group have in common, for the worst group.
    """

    name: str
    sampler: str
    applies: Callable[[dict[str, object]], bool]
    value: Callable[[Rows], tuple[float, float]]
    sense: str
    limit: float
    groups: tuple[str, ...]


def mean(rows: Rows, column: str) -> tuple[float, float]:
    """The mean of a column over cases, and its standard error."""
    values, errors = (
        np.array([float(str(row[name])) for row in rows]) for name in (column, f"{column}_se")
    )
    return float(values.mean()), float(np.sqrt((errors**2).sum()) / len(rows))


def is_flat(row: dict[str, object]) -> bool:
    """True if the truth is flat."""
    return row["truth"] == "flat"


def is_sloping(row: dict[str, object]) -> bool:
    """True if the truth has a best split."""
    return not is_flat(row)


def is_covered(row: dict[str, object]) -> bool:
    """True if the surface can represent the truth, or nearly."""
    return row["truth"] in COVERED


def is_flat_and_shared(row: dict[str, object]) -> bool:
    """True if only seeds that all networks share could mislead."""
    return is_flat(row) and row["shared"] == 0.5


LUCK = ("shared", "network_sd")
BARS = [
    Bar(
        "surface on a third / lowest mean of all",
        "grid",
        is_sloping,
        partial(regret_ratio, over="regret_part", under="regret_lowest"),
        "<=",
        0.9,
        LUCK,
    ),
    Bar(
        "focus on half / surface on all",
        "focus",
        is_sloping,
        partial(regret_ratio, over="regret_part", under="regret_all"),
        "<=",
        1.7,
        LUCK,
    ),
    *(
        Bar(f"{name}: {words}", name, applies, partial(mean, column=column), sense, limit, groups)
        for name in SAMPLERS
        for words, applies, column, sense, limit, groups in (
            ("sure and wrong", is_sloping, "wrong", "<=", 0.05, ("truth",)),
            ("the same, quadratic and log truths", is_covered, "wrong", "<=", 0.05, ("truth",)),
            ("sure and wrong, flat truth", is_flat, "wrong", "<=", 0.05, LUCK),
            ("no point within 0.002", is_sloping, "far", "", 0.0, ("truth",)),
            ("best of all networks left out", is_sloping, "missed", "", 0.0, ("truth",)),
            ("stopped", is_sloping, "stopped", "", 0.0, ("truth",)),
            ("part of the seconds used", is_sloping, "seconds", "", 0.0, ("truth",)),
        )
    ),
    Bar(
        "focus on half, flat: a better point",
        "focus",
        is_flat_and_shared,
        partial(mean, column="better"),
        "<=",
        0.065,
        ("network_sd",),
    ),
    Bar(
        "without seed offsets in the fit",
        "focus",
        is_flat_and_shared,
        partial(mean, column="better_without_offsets"),
        "",
        0.0,
        ("network_sd",),
    ),
    Bar(
        "without seed offsets in focus and fit",
        SEEDLESS,
        is_flat_and_shared,
        partial(mean, column="better_without_offsets"),
        ">=",
        0.065,
        ("network_sd",),
    ),
]


def summary(rows: Rows) -> Iterable[tuple[str, str, str, str, str]]:
    """For each bar: its limit, the cases, the worst group and all cases."""
    for bar in BARS:
        mine = [row for row in rows if row["sampler"] == bar.sampler and bar.applies(row)]
        if not mine:
            continue
        grouped: dict[tuple[object, ...], Rows] = {}
        for row in mine:
            grouped.setdefault(tuple(row[column] for column in bar.groups), []).append(row)
        found = {group: bar.value(some) for group, some in grouped.items()}
        worst = max(found, key=lambda group: found[group][0])
        if bar.sense == ">=":
            worst = min(found, key=lambda group: found[group][0])
        yield (
            bar.name,
            f"{bar.sense} {bar.limit:g}" if bar.sense else "",
            str(len(mine)),
            f"{written(found[worst])} ({', '.join(map(str, worst))})",
            written(bar.value(mine)),
        )


def written(value: tuple[float, float]) -> str:
    """A value with its standard error."""
    return f"{value[0]:.3f} ± {value[1]:.3f}"


def cases(plans: list[str], truths: list[str], samplers: list[str]) -> list[tuple[Case, str]]:
    """Every combination of a case and a sampler."""
    return [
        (Case(plan, truth, 0.0 if truth == "flat" else SPREAD, str(NUM_SEEDS), *luck), sampler)
        for sampler, plan, truth, luck in itertools.product(
            samplers, plans, truths, itertools.product((0.5, 0.0), (0.0, 0.003, 0.006))
        )
        if sampler != SEEDLESS or (truth, luck[0]) == ("flat", 0.5)
    ]


def main() -> None:
    """Simulates, prints the table of bars and writes the cases."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    split = partial(str.split, sep=",")
    parser.add_argument("--draws", type=int, default=4, help="simulated searches of each case")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--plans", type=split, default=list(PLANS))
    parser.add_argument("--truths", type=split, default=list(TRUTHS))
    parser.add_argument("--samplers", type=split, default=[*SAMPLERS, SEEDLESS])
    parser.add_argument("--slots", type=int, default=1, help="trainings at a time")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".csv"))
    options = parser.parse_args()
    chosen = cases(options.plans, options.truths, options.samplers)
    work = partial(simulate, num_draws=options.draws, slots=options.slots)
    with ProcessPoolExecutor(options.jobs, initializer=quieten) as pool:
        rows = list(pool.map(work, chosen))
    write_rows(rows, options.out)
    print(f"{options.draws} draws a case, {options.slots} slot(s)\n")
    for line in (("bar", "limit", "cases", "worst group", "all cases"), *summary(rows)):
        print(f"{line[0]:42}{line[1]:>9}{line[2]:>7}{line[3]:>38}{line[4]:>18}")


def quieten() -> None:
    """Leaves out what Optuna says of each study."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)


if __name__ == "__main__":
    main()
