"""Savings by samplers, and frequency of sure but wrong ends, with known truths.

    OMP_NUM_THREADS=1 python benchmarks/simulate_samplers.py [--draws 10] [--jobs 2]
        [--samplers grid,focus] [--out benchmarks/simulate_samplers.csv]

Whole searches of three seeds of the base network and of all networks of `simulation.py`'s default
plan, one training at a time, through the samplers, the fit and the rule of ``limits.region=0.15``.
A training takes seconds in proportion to its cost. Prints a table with a row for each sampler and
writes CSV with a row for each sampler and case, as it is done: the same command goes on where it
stopped. A search takes about three seconds with focus or gp, and less than one with the others.
"""

import argparse
import math
from bisect import insort
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
from composed import experiment_of
from rows import machine, today, write_rows
from simulation import FINE, PLAN, REGION, TARGET, Case, holds_near, search

from scaling_search.answer.fit import Surface, fit_surface
from scaling_search.answer.observations import Observations, of_results
from scaling_search.answer.outliers import usable
from scaling_search.answer.region import Hull, best_point, find_region
from scaling_search.answer.stopping import is_due
from scaling_search.answer.verdicts import answer
from scaling_search.core.metric import VAL_LOSS
from scaling_search.core.protocols import Sampler
from scaling_search.core.space_filling import as_points
from scaling_search.core.trial import Epoch, Trial, TrialResult

SAMPLERS = ("grid", "qmc", "tpe", "gp", "focus")
NUM_SEEDS = 3
CASES = [
    Case("default", truth, luck)
    for truth in ("flat", "bowl inside", "bowl corner", "powers edge")
    for luck in ("plain", "shared seeds")
]


@cache
def trials() -> tuple[Trial, ...]:
    """All trainings of the plan, in the canonical order."""
    chosen = experiment_of(*PLAN)
    plan = chosen.candidates.plan(chosen.budget())
    made = (chosen.trial(candidate, seed) for candidate in plan for seed in range(NUM_SEEDS))
    return tuple(sorted(made, key=lambda trial: trial.order))


def sampler_of(name: str, draw: int) -> Sampler:
    """A sampler; those that draw at random draw anew for each search."""
    sampler = experiment_of(*PLAN, f"sampler={name}").sampler
    return replace(sampler, seed=1000 * draw) if name in ("tpe", "gp") else sampler  # type: ignore[type-var]


def outcomes(data: Observations) -> dict[tuple[int, int], TrialResult]:
    """The result of each training, by its place in the canonical order."""
    losses = np.vstack([data.base_loss, data.loss.reshape(-1, NUM_SEEDS)]).tolist()
    return {
        trial.order: TrialResult(
            trial,
            "COMPLETE",
            curve=(Epoch(loss, loss, 1 - loss),),
            train_seconds=trial.candidate.cost_ratio,
            total_seconds=trial.candidate.cost_ratio,
        )
        for trial in trials()
        for loss in [losses[trial.candidate.number][trial.seed]]
    }


def progress(
    sampler: Sampler, results: dict[tuple[int, int], TrialResult]
) -> Iterator[list[TrialResult]]:
    """Finished trainings in the canonical order, each time a training ends."""
    remaining = {order: result.trial for order, result in results.items()}
    finished: list[TrialResult] = []
    while remaining:
        chosen = sampler.choose(list(remaining.values()), [], finished, VAL_LOSS)
        assert chosen is not None
        del remaining[chosen.order]
        insort(finished, results[chosen.order], key=lambda result: result.trial.order)
        yield finished


def fitted(finished: Sequence[TrialResult]) -> Surface:
    """The surface of some trainings."""
    return fit_surface(usable(of_results(finished, response=VAL_LOSS, target=TARGET)))


def measured(case: Case, name: str, draw: int) -> dict[str, float]:
    """The answers of one search while it goes on, against the truth."""
    results = outcomes(search(case, draw, num_seeds=NUM_SEEDS)[0])
    whole = sum(result.total_seconds for result in results.values())
    least = case.loss(FINE).min()

    def regret(surface: Surface) -> float:
        return float(case.loss(as_points([best_point(surface)]))[0] - least)

    got: dict[str, float] = {"ended": 0.0, "ended_wrong": 0.0, "seconds": 1.0}
    last, is_half = 0, False
    for finished in progress(sampler_of(name, draw), results):
        used = sum(result.total_seconds for result in finished) / whole
        if not is_half and used >= 0.5:
            is_half, surface = True, fitted(finished)
            got["regret_half"] = regret(surface)
            verdicts = [one.verdict for one in answer(surface).comparisons if one.verdict]
            got["better_half"] = float(any(one.outcome == "better" for one in verdicts))
        if not got["ended"] and len(finished) < len(results) and is_due(finished, last):
            surface = fitted(finished)
            last, region = len(surface.observations.loss), find_region(surface)
            if region.area <= REGION * region.searched_area:
                reached = case.loss(FINE[Hull.of(surface.searched).holds(FINE)]).min()
                is_wrong = case.truth == "flat" or not holds_near(case, region, surface, reached)
                got |= {"ended": 1.0, "ended_wrong": float(is_wrong), "seconds": used}
    return got | {"regret_all": regret(fitted(list(results.values())))}


def simulated(case: Case, name: str, num_draws: int) -> dict[str, object]:
    """Means over draws, with standard errors."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    draws = pd.DataFrame([measured(case, name, draw) for draw in range(num_draws)])
    row: dict[str, object] = {"sampler": name} | vars(case) | {"draws": num_draws}
    for column, values in draws.items():
        row[str(column)] = float(values.mean())
        row[f"{column}_se"] = float(values.std() / num_draws**0.5)
    return row


def summary(table: pd.DataFrame) -> Iterator[tuple[str, ...]]:
    """A row for each sampler."""
    for name, mine in table.groupby("sampler", sort=False):
        sloping, flat = mine[mine["truth"] != "flat"], mine[mine["truth"] == "flat"]
        cells = [
            (sloping, "regret_half", 1e4),
            (sloping, "regret_all", 1e4),
            (sloping, "ended", 1.0),
            (sloping, "ended_wrong", 1.0),
            (sloping, "seconds", 1.0),
            (flat, "ended", 1.0),
            (flat, "better_half", 1.0),
        ]
        yield (
            str(name),
            *(
                f"{scale * rows[column].mean():.3g} ± {scale * error(rows, column):.2g}"
                for rows, column, scale in cells
            ),
        )


def error(rows: pd.DataFrame, column: str) -> float:
    """Standard error of the mean over cases."""
    return math.hypot(*rows[f"{column}_se"]) / max(1, len(rows))


def main() -> None:
    """Simulates, writes the cases and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=10, help="simulated searches of each case")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--samplers", type=lambda text: text.split(","), default=list(SAMPLERS))
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".csv"))
    options = parser.parse_args()
    done: list[dict[str, object]] = []
    if options.out.is_file():
        table = pd.read_csv(options.out)
        table = table[table["draws"] >= options.draws]
        done = [{str(k): v for k, v in row.items()} for row in table.to_dict("records")]
    known = {(row["sampler"], row["truth"], row["luck"]) for row in done}
    work = [
        (case, name)
        for name in options.samplers
        for case in CASES
        if (name, case.truth, case.luck) not in known
    ]
    with ProcessPoolExecutor(options.jobs) as pool:
        waiting = [pool.submit(simulated, case, name, options.draws) for case, name in work]
        for ready in as_completed(waiting):
            done.append(ready.result() | {"machine": machine(), "date": today()})
            write_rows(done, options.out)
            print(f"{len(done)}/{len(options.samplers) * len(CASES)}", flush=True)
    header = ("sampler", "regret, half", "regret, all", "ended", "wrong", "seconds")
    for line in ((*header, "flat: ended", "flat: better, half"), *summary(pd.DataFrame(done))):
        print(f"{line[0]:8}" + "".join(f"{cell:>20}" for cell in line[1:]))


if __name__ == "__main__":
    main()
