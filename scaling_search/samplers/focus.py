"""The training that narrows the answer down the most for its time."""

from collections.abc import Sequence

import numpy as np

from scaling_search.answer.design import Design, differences_from_best
from scaling_search.answer.fit import Surface, fit_surface
from scaling_search.answer.observations import Values, of_results
from scaling_search.answer.outliers import usable
from scaling_search.answer.region import find_region
from scaling_search.core.metric import Metric
from scaling_search.core.part import part
from scaling_search.core.space_filling import as_points
from scaling_search.core.trial import Trial, TrialResult
from scaling_search.training.price import predicted_seconds


@part
class Focus:
    """Chooses the training that shrinks the region of the rule the most per predicted second.

    Seed 0 of every candidate comes first, in the order of the plan. Then always the training, of
    any network with its next seed, that most lowers the variance of f(best) - f(x) summed over the
    points x of the region. The first training with a seed tells nothing alone, and is judged
    together with the best second one and the base network's, which opens every seed. Without a
    surface it goes seed by seed. A network that has only failed comes last.
    """

    def choose(
        self,
        remaining: Sequence[Trial],
        running: Sequence[Trial],
        finished: Sequence[TrialResult],
        objective: Metric,
    ) -> Trial:
        """The next seed of the network whose training tells the most per second."""
        first = remaining[0]
        surface = None if first.seed == 0 else _surface(finished, objective)
        done = [result.trial for result in finished if result.state == "COMPLETE"]
        done = [trial for trial in (*done, *running) if trial.candidate.number > 0]
        options = _next_of_each(remaining, {trial.candidate.number for trial in done})
        if surface is None or not options:
            return first
        rates = _rates(options, done, surface, remaining, finished)
        # What rounding makes of equal rates decides nothing: the first in the canonical order.
        chosen = options[int((rates >= rates.max() * (1 - 1e-9)).argmax())]
        return next((t for t in remaining if t.order == (chosen.seed, 0)), chosen)


def _surface(finished: Sequence[TrialResult], objective: Metric) -> Surface | None:
    candidates = [result.trial.candidate for result in finished]
    # At any cost the surface is the same but for a constant, which no difference has.
    target = float(np.median([c.cost_ratio for c in candidates if c.number > 0] or [1.0]))
    try:
        return fit_surface(usable(of_results(finished, response=objective, target=target)))
    except ValueError:
        return None


def _next_of_each(remaining: Sequence[Trial], trained: set[int]) -> list[Trial]:
    """The lowest remaining seed of each of the networks, in the canonical order."""
    lowest: dict[int, Trial] = {}
    for trial in remaining:
        if trial.candidate.number in trained:
            lowest.setdefault(trial.candidate.number, trial)
    return list(lowest.values())


def _rates(
    options: Sequence[Trial],
    done: Sequence[Trial],
    surface: Surface,
    remaining: Sequence[Trial],
    finished: Sequence[TrialResult],
) -> Values:
    """The fall of the variance for each predicted second of each training."""
    networks = {trial.candidate.number: trial.candidate.shares for trial in done}
    place = {number: index for index, number in enumerate(networks)}
    design = Design(
        shares=as_points([shares for shares in networks.values() if shares is not None]),
        network=np.array([place[trial.candidate.number] for trial in done]),
        seed=np.array([trial.seed for trial in done]),
        variance_ratio=surface.variance_ratio,
    )
    alone, pairs = design.falls(
        differences_from_best(find_region(surface)),
        np.array([place[trial.candidate.number] for trial in options]),
        np.array([trial.seed for trial in options]),
    )
    predicted = predicted_seconds(finished)
    seconds = np.array([predicted(trial) for trial in options])
    opening = {t.seed: predicted(t) for t in remaining if t.candidate.number == 0}
    base = np.array([opening.get(trial.seed, 0.0) for trial in options])
    together = pairs / (seconds[:, None] + seconds + base[:, None])
    rates: Values = np.maximum(alone / seconds, together.max(axis=1))
    return rates
