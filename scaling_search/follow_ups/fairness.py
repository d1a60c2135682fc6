"""Effect of the learning rate and the length of training on the comparison of networks."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from scaling_search.answer.fit import Surface, fit_surface
from scaling_search.answer.observations import Values, observations
from scaling_search.answer.region import Hull
from scaling_search.answer.verdicts import Answer
from scaling_search.core.candidate import Candidate
from scaling_search.core.scaling import REFERENCES
from scaling_search.core.space_filling import space_filling_subset
from scaling_search.core.trial import Trial
from scaling_search.experiment.experiment import Experiment
from scaling_search.experiment.options import Fairness
from scaling_search.follow_ups.factorial_design import FACTORS, FactorialDesign, factorial_design
from scaling_search.follow_ups.interactions import (
    RankCorrelation,
    Trend,
    fit_trend,
    rank_correlation,
    true_spread,
)
from scaling_search.record.results import KEY, noise, results_table

CORNERS = ("depth", "width", "resolution", "thirds")
"""References whose nearest networks are trained at three rates, beside the found network."""

NUM_NETWORKS = 10
"""Networks that are trained for three lengths."""

ENDS = ("half", "twice")
"""Names of the first and the last factor."""


def learning_rate_trials(
    experiment: Experiment,
    networks: Iterable[Candidate],
    found: Candidate | None,
    *,
    num_seeds: int = 2,
) -> list[Trial]:
    """Trainings of the corners', the thirds' and the found network at three rates.

    Args:
        experiment: Its recipe is changed.
        networks: Networks of the search, the base network first.
        found: The network that the search found; None before, where another network near thirds
            stands in for it, for the price.
        num_seeds: Trainings of each network at each rate.
    """
    _, *candidates = networks
    chosen = {one.number: one for one in corner_networks(candidates)}
    others = [candidate for candidate in candidates if candidate.number not in chosen]
    if found is None and others:
        found = _nearest(others, "thirds")
    if found is not None:
        chosen[found.number] = found
    return [
        replace(trial, recipe=replace(trial.recipe, learning_rate=trial.recipe.rate * factor))
        for trial in _as_searched(experiment, chosen.values(), num_seeds)
        for factor in FACTORS
    ]


def corner_networks(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The scaled networks nearest to the corners and to thirds, each once."""
    nearest = [_nearest(candidates, name) for name in CORNERS] if candidates else []
    return list({one.number: one for one in nearest}.values())


def length_trials(
    experiment: Experiment, networks: Iterable[Candidate], *, num_seeds: int = 2
) -> list[Trial]:
    """Trainings of ten spread networks and the base network for three lengths.

    Each has a full schedule of its own.
    """
    base, *candidates = networks
    spread = space_filling_subset([c.shares for c in candidates if c.shares], NUM_NETWORKS)
    chosen = [base, *(candidates[i] for i in spread)]
    return [
        replace(trial, recipe=trial.recipe.stretched(factor))
        for trial in _as_searched(experiment, chosen, num_seeds)
        for factor in FACTORS
    ]


def trials(
    experiment: Experiment, networks: Iterable[Candidate], found: Candidate | None, asked: Fairness
) -> list[Trial]:
    """All trainings that the options ask for, those of the search among them."""
    networks, wanted = list(networks), []
    if asked.learning_rate:
        wanted += learning_rate_trials(experiment, networks, found, num_seeds=asked.num_seeds)
    if asked.length:
        wanted += length_trials(experiment, networks, num_seeds=asked.num_seeds)
    return list({trial.key: trial for trial in wanted}.values())


def _nearest(candidates: Iterable[Candidate], reference: str) -> Candidate:
    def away(candidate: Candidate) -> float:
        assert candidate.shares is not None  # only the base network has none
        return candidate.shares.distance(REFERENCES[reference])

    return min(candidates, key=away)


def _as_searched(
    experiment: Experiment, networks: Iterable[Candidate], num_seeds: int
) -> list[Trial]:
    return [experiment.trial(one, seed) for one in networks for seed in range(num_seeds)]


@dataclass(frozen=True, eq=False)
class LengthCheck:
    """Trainings for half, once and twice the search's length.

    Attributes:
        design: The trainings.
        gains: Decrease of the loss with each doubling, (complete networks,); None without cells.
        trend: The gains over the shares; None where that cannot be fitted.
        spread: Standard deviation of the networks' true means at the search's own length.
        correlations: At half and at twice the length, with the means at the search's own; None for
            fewer than three networks or unknown noise.
        surfaces: At half and at twice the length; empty where one cannot be fitted.
        missing: Why none is fitted.
    """

    design: FactorialDesign
    gains: Values | None = None
    trend: Trend | None = None
    spread: float = 0.0
    correlations: tuple[RankCorrelation, RankCorrelation] | None = None
    surfaces: tuple[Surface, ...] = ()
    missing: str = ""


@dataclass(frozen=True, eq=False)
class FairnessChecks:
    """Trainings at other learning rates and lengths.

    Attributes:
        learning_rate: None if no other rate was trained.
        length: None if no other length was trained.
        span: Range of the search's surface; None without one.
    """

    learning_rate: FactorialDesign | None = None
    length: LengthCheck | None = None
    span: float | None = None


def span_of(answer: Answer | None) -> float | None:
    """Range of the fitted loss, best to worst, over all that was searched; None without a fit."""
    if answer is None:
        return None
    return float(np.ptp(answer.surface.loss(Hull.of(answer.surface.searched).rivals)))


def fairness_checks(
    searched: Iterable[Mapping[str, object]],
    trained: Iterable[Mapping[str, object]],
    *,
    experiment: Experiment,
    answer: Answer | None,
) -> FairnessChecks:
    """Returns the checks that the records hold.

    Args:
        searched: The search's rows, those of its check at other rates too.
        trained: Rows of the trainings at other rates and lengths.
        experiment: Its recipe and objective.
        answer: The search's; None without one.
    """
    found = None if answer is None else answer.network
    rows = results_table([*searched, *trained])
    rows = _with_factors(rows.drop_duplicates(list(KEY), ignore_index=True), experiment)
    rows = rows[rows["rate"].isin(FACTORS) & rows["length"].isin(FACTORS)]  # a check asks farther
    objective, learning_rate, length = experiment.metric, None, None
    at_rates = rows[rows["length"] == 1]
    if (at_rates["rate"] != 1).any():
        learning_rate = factorial_design(
            at_rates, "rate", objective, references=CORNERS, found=found
        )
    at_lengths = rows[rows["rate"] == 1]
    if (at_lengths["length"] != 1).any():
        design = factorial_design(
            at_lengths, "length", objective, references=tuple(REFERENCES), found=found
        )
        seed_sd = noise(at_lengths[at_lengths["length"] == 1], objective).residual_sd
        length = _length_check(design, seed_sd, target=experiment.candidates.target)
    return FairnessChecks(learning_rate, length, span_of(answer))


def _with_factors(rows: pd.DataFrame, experiment: Experiment) -> pd.DataFrame:
    """Rows with rate and length over the search's own, and the loss."""
    recipe = experiment.recipe
    epochs = pd.Series(float(recipe.epochs), index=rows.index)
    if recipe.equal == "training_flops":
        stretched = recipe.epochs * experiment.candidates.target / rows["flops_ratio"]
        epochs = epochs.where(rows["candidate"] == 0, stretched)
    scores = rows[experiment.metric.name].astype(float)
    return rows.assign(
        # What rounding does to a stretched schedule makes no other length.
        rate=(rows["learning_rate"] / recipe.rate).round(6),
        length=(rows["epochs"] / epochs).round(6),
        loss=experiment.metric.sign * scores.where(rows["state"] == "COMPLETE"),
    )


def _length_check(design: FactorialDesign, seed_sd: float | None, *, target: float) -> LengthCheck:
    check = LengthCheck(design)
    if design.cells is not None:
        means, unscaled = design.cells.means, design.cells.unscaled
        gains = (means[:, 0] - means[:, 2]) / 2
        trend = fit_trend(design.shares, gains, 1 / (unscaled[:, 0] + unscaled[:, 2]))
        check = replace(check, gains=gains, trend=trend)
        sd = design.cells.residual_sd if seed_sd is None else seed_sd
        if len(means) >= 3 and sd > 0:
            errors = sd * np.sqrt(unscaled)
            half, own, twice = np.sqrt((errors**2).mean(axis=0)).tolist()
            spread = true_spread(means[:, 1], errors[:, 1])
            correlations = (
                rank_correlation(means[:, 0], means[:, 1], half, own, spread),
                rank_correlation(means[:, 2], means[:, 1], twice, own, spread),
            )
            check = replace(check, spread=spread, correlations=correlations)
    surfaces = []
    for end, factor in zip(ENDS, (FACTORS[0], FACTORS[-1]), strict=True):
        rows = design.rows[design.rows["length"] == factor]
        try:
            surfaces.append(
                fit_surface(observations(rows, response=design.objective, target=target))
            )
        except ValueError as error:
            return replace(check, missing=f"at {end} the length: {error}")
    return replace(check, surfaces=tuple(surfaces))
