"""The recipe of a search beside other learning rates and no augmentation; numbers only."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from scaling_search.answer.fit import LEVEL
from scaling_search.answer.observations import Values
from scaling_search.answer.verdicts import Estimate
from scaling_search.core.candidate import Candidate
from scaling_search.core.metric import Metric
from scaling_search.core.recipe import Recipe
from scaling_search.core.trial import Trial
from scaling_search.experiment.experiment import Experiment
from scaling_search.follow_ups.factorial_design import FACTORS, network_names
from scaling_search.follow_ups.fairness import CORNERS, corner_networks
from scaling_search.follow_ups.interactions import CellMeans, fit_cells
from scaling_search.record.results import Noise

MOST_FARTHER = 2
"""Further rates that are asked while the best one is at an end."""

FEWEST = 3
"""Minimum number of networks for which a setting can be called better."""

LOW_CORRELATION = 0.5
"""A rank correlation below this counts as another order where the noise is not known."""

Rows = Iterable[Mapping[str, object]]


@dataclass(frozen=True)
class Setting:
    """A learning rate with the recipe's augmentation, or without any."""

    learning_rate: float
    is_augmented: bool = True

    def recipe(self, recipe: Recipe) -> Recipe:
        """A recipe with this setting."""
        changed = recipe if self.is_augmented else recipe.without_augmentation()
        return replace(changed, learning_rate=self.learning_rate)


def asked_networks(networks: Iterable[Candidate]) -> list[Candidate]:
    """The base network and those nearest to the corners and to thirds."""
    base, *candidates = networks
    return [base, *corner_networks(candidates)]


def setting_trials(
    experiment: Experiment, networks: Iterable[Candidate], settings: Iterable[Setting]
) -> list[Trial]:
    """Trainings of the asked networks at some settings, with seed 0.

    Args:
        experiment: Its recipe is changed.
        networks: Networks of the search, the base network first.
        settings: The settings.
    """
    trials = [experiment.trial(one, 0) for one in asked_networks(networks)]
    return [replace(t, recipe=s.recipe(t.recipe)) for s in settings for t in trials]


def first_settings(recipe: Recipe) -> list[Setting]:
    """Half, once and twice the recipe's rate."""
    return [Setting(recipe.rate * factor) for factor in FACTORS]


def further_trials(
    experiment: Experiment, networks: Iterable[Candidate], best_rate: float
) -> dict[str, list[Trial]]:
    """Trainings of the check that are not the search's own, by the study that holds them.

    Args:
        experiment: Its recipe is changed.
        networks: Networks of the search, the base network first.
        best_rate: The rate at which augmentation is left out, or any before it is known.
    """
    recipe, asked = experiment.recipe, list(networks)
    rates = [one for one in first_settings(recipe) if one.learning_rate != recipe.rate]
    plain = [Setting(best_rate, is_augmented=False)] if recipe.is_augmented else []
    return {
        "recipe": setting_trials(experiment, asked, rates),
        "recipe-plain": setting_trials(experiment, asked, plain),
    }


@dataclass(frozen=True)
class Improvement:
    """A setting that is better than the recipe.

    Attributes:
        setting: The setting.
        gain: Mean gain over the recipe and its t interval over networks, in units of the metric.
        num_networks: Networks with a finished training at both.
        is_for_all: True if it is better for each of them.
    """

    setting: Setting
    gain: Estimate
    num_networks: int
    is_for_all: bool


@dataclass(frozen=True, eq=False)
class RecipeCheck:
    """Trainings of a few networks at several settings, one seed each.

    Attributes:
        objective: The metric.
        settings: The settings: rates, ascending, then without augmentation.
        recipe: The search's own.
        networks: A row for each network, the base network first.
        losses: Loss of each network at each setting, (networks, settings); NaN where a training
            failed or has not ended.
        is_missing: True for trainings that have not ended, (networks, settings).
        noise: Variance of a training and its degrees of freedom from the search; None if unknown.
    """

    objective: Metric
    settings: tuple[Setting, ...]
    recipe: Recipe
    networks: pd.DataFrame
    losses: Values
    is_missing: NDArray[np.bool_]
    noise: tuple[float, int] | None

    @property
    def own(self) -> Setting:
        """The search's setting."""
        return Setting(self.recipe.rate)

    @property
    def has_rates(self) -> bool:
        """True if all rates that were begun are done."""
        at_rates = self.is_missing[:, : self.num_rates]
        return self.own in self.settings and self.num_rates >= len(FACTORS) and not at_rates.any()

    @property
    def num_rates(self) -> int:
        """Number of rates with the recipe's augmentation."""
        return sum(one.is_augmented for one in self.settings)

    @property
    def is_done(self) -> bool:
        """True if nothing remains to be trained."""
        has_plain = self.num_rates < len(self.settings)
        is_whole = has_plain or not self.recipe.is_augmented
        return self.has_rates and is_whole and not self.is_missing.any()

    @property
    def names(self) -> list[str]:
        """Names of the networks: ``base``, then nearest references and number."""
        return ["base", *network_names(self.networks.iloc[1:], CORNERS)]

    @property
    def rate_to_take(self) -> float:
        """The recipe's own rate, or one that is `better`, if need be step by step.

        The lowest of several noisy means is no better by itself. Where a training failed at the
        own rate, that of the best mean.
        """
        if self.own not in self.settings:  # nothing is trained yet
            return self.own.learning_rate
        at_rates = self.losses[:, : self.num_rates]
        own = at_rates[np.isfinite(at_rates).any(axis=1), self.settings.index(self.own)]
        if not np.isfinite(own).all():
            return self.best_rate
        better = self._best_of(one for one in self.settings if one.is_augmented)
        if better is None:
            return self.own.learning_rate
        taken = replace(self.recipe, learning_rate=better.setting.learning_rate)
        return replace(self, recipe=taken).rate_to_take

    @property
    def best_rate(self) -> float:
        """The rate of the best mean over networks; one at which a training failed comes last."""
        used = self.losses[np.isfinite(self.losses).any(axis=1)]
        means = np.nan_to_num(used, nan=np.inf).mean(axis=0) if len(used) else [np.inf]
        rates = zip(means, self.settings, strict=False)
        best = min((mean, one.learning_rate) for mean, one in rates if one.is_augmented)
        return best[1] if np.isfinite(best[0]) else self.own.learning_rate

    @property
    def better(self) -> Improvement | None:
        """The best of the settings that are better for all networks or, by a t-test, on average."""
        return self._best_of(self.settings)

    def _best_of(self, settings: Iterable[Setting]) -> Improvement | None:
        found = filter(None, map(self._improvement, settings))
        return max(found, key=lambda one: one.gain.mean, default=None)

    def _improvement(self, setting: Setting) -> Improvement | None:
        at_own, at_other = (self.losses[:, self.settings.index(one)] for one in (self.own, setting))
        ended = np.isfinite(at_own)
        gains = (at_own - at_other)[ended]
        if setting == self.own or len(gains) < FEWEST or not np.isfinite(gains).all():
            return None
        mean, error = float(gains.mean()), float(stats.sem(gains))
        half = float(stats.t.isf(LEVEL / 2, len(gains) - 1)) * error
        is_for_all = bool((gains > 0).all())
        if mean - half <= 0 and not is_for_all:
            return None
        return Improvement(
            setting, Estimate(mean, mean - half, mean + half), len(gains), is_for_all
        )

    @cached_property
    def order(self) -> "Order | None":
        """The order of the scaled networks over settings; None without two complete ones."""
        scaled = self.losses[1:]
        ended = np.flatnonzero(np.isfinite(scaled).any(axis=0))
        settings = [self.settings[place] for place in ended]
        complete = np.flatnonzero(np.isfinite(scaled[:, ended]).all(axis=1))
        if len(complete) < 2 or len(settings) < 2 or self.own not in settings:
            return None
        losses = scaled[np.ix_(complete, ended)]
        own = losses[:, settings.index(self.own)]
        names = [self.names[1 + place] for place in complete]
        network, setting = (axis.ravel() for axis in np.indices(losses.shape))
        return Order(
            names=names,
            settings=settings,
            firsts=[names[int(column.argmin())] for column in losses.T],
            correlations=[_correlation(own, column) for column in losses.T],
            own=settings.index(self.own),
            cells=fit_cells(
                network, setting, np.zeros_like(network), losses.ravel(), noise=self.noise
            ),
        )

    def table(self) -> pd.DataFrame:
        """A row for each setting of each network."""
        lines = []
        for place, setting in enumerate(self.settings):
            is_augmented = setting.is_augmented and self.recipe.is_augmented
            for i, name in enumerate(self.names):
                line = self.networks.iloc[i][["candidate", "network"]].to_dict() | {"name": name}
                line |= {"learning_rate": setting.learning_rate, "augmented": is_augmented}
                value = self.objective.sign * self.losses[i, place]
                lines.append(line | {"is_own": setting == self.own, self.objective.name: value})
        return pd.DataFrame(lines)


@dataclass(frozen=True, eq=False)
class Order:
    """The order of scaled networks at several settings.

    Attributes:
        names: Names of the networks.
        settings: The settings.
        firsts: Name of the best network at each setting.
        correlations: Rank correlation of each setting's losses with the recipe's own.
        own: Place of the recipe's own setting.
        cells: Cells of networks and settings; its test needs the noise of the search.
    """

    names: list[str]
    settings: Sequence[Setting]
    firsts: list[str]
    correlations: list[float]
    own: int
    cells: CellMeans

    @property
    def changes(self) -> bool:
        """True if the F-test finds an interaction or, without noise for it, the order differs."""
        if self.cells.test is not None:
            return self.cells.test.is_significant
        return len(set(self.firsts)) > 1 or min(self.correlations) < LOW_CORRELATION


def _correlation(own: Values, other: Values) -> float:
    """Spearman's rank correlation; 1 for equal values, which have no other order."""
    if not np.ptp(own) or not np.ptp(other):
        return 1.0
    return float(stats.spearmanr(own, other).statistic)


def recipe_check(
    at_rates: Rows,
    without_augmentation: Rows,
    *,
    experiment: Experiment,
    networks: Iterable[Candidate],
    noise: Noise,
) -> RecipeCheck:
    """The check of a search's recipe, as far as it has come.

    Args:
        at_rates: The search's rows and those at other rates.
        without_augmentation: Rows of trainings without augmentation.
        experiment: Its recipe and objective.
        networks: Networks of the search, the base network first.
        noise: That of the search.
    """
    asked, objective = asked_networks(networks), experiment.metric
    found: dict[tuple[str, Setting], float] = {}
    for rows, is_augmented in ((at_rates, True), (without_augmentation, False)):
        for row in rows:
            if row["seed"] == 0 and row["state"] in {"COMPLETE", "FAIL"}:
                setting = Setting(float(str(row["learning_rate"])), is_augmented)
                score = row[objective.name] if row["state"] == "COMPLETE" else np.nan
                found[str(row["network"]), setting] = objective.sign * float(str(score))
    numbers = {one.network for one in asked}
    begun = {setting for network, setting in found if network in numbers}
    settings = sorted(begun, key=lambda one: (not one.is_augmented, one.learning_rate))
    cells = [[found.get((one.network, setting)) for setting in settings] for one in asked]
    is_missing = [[cell is None for cell in line] for line in cells]
    known = noise.residual_sd is not None and noise.degrees_of_freedom > 0
    return RecipeCheck(
        objective=objective,
        settings=tuple(settings),
        recipe=experiment.recipe,
        networks=pd.DataFrame([one.row() for one in asked]),
        losses=np.array(cells, dtype=np.float64).reshape(len(asked), len(settings)),
        is_missing=np.array(is_missing, dtype=np.bool_).reshape(len(asked), len(settings)),
        noise=(noise.residual_sd**2, noise.degrees_of_freedom) if known else None,  # type: ignore[operator]  # known
    )
