"""Do the learning rate or the length of training, equal for all networks, favour some of them?"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from scaling_search.answer.fit import FTest, Surface, fit_surface, flatness
from scaling_search.answer.observations import observations
from scaling_search.answer.region import LEVEL, find_region
from scaling_search.core.candidate import Candidate
from scaling_search.core.formatting import difference
from scaling_search.core.scaling import DIMENSIONS, REFERENCES
from scaling_search.core.sections import Section
from scaling_search.core.space_filling import space_filling_subset
from scaling_search.core.trial import Trial
from scaling_search.experiment.experiment import Experiment
from scaling_search.experiment.options import Fairness
from scaling_search.follow_ups.interactions import (
    PROBABILITY,
    Cells,
    Chance,
    Trend,
    chance_rank_correlation,
    fit_trend,
    rank_correlation,
    true_spread,
)
from scaling_search.follow_ups.layouts import FACTORS, Layout, layout
from scaling_search.record.results import noise, results_table
from scaling_search.record.study import KEY

CORNERS = ("depth", "width", "resolution", "thirds")
"""References whose nearest networks are trained at three rates, beside the one that was found."""

NUM_NETWORKS = 10
"""Networks that are trained for three lengths."""

LEARNING_RATE, LENGTH = "fairness_learning_rate", "fairness_length"
"""Names of the sections."""

ENDS = ("half", "twice")
"""What the first and the last factor are called."""

FACTOR_NAMES = ("half the", "the search's own", "twice the")
"""What each factor is called in front of its setting."""


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
        networks: Of the search, the base network first.
        found: The network that the search found; None before one did, where another near to
            thirds stands in for it, for the price.
        num_seeds: Trainings of each network at each rate.
    """
    chosen: dict[int, Candidate] = {}
    _, *candidates = networks
    for name in CORNERS:
        nearest = _nearest(candidates, name)
        chosen[nearest.number] = nearest
    others = [candidate for candidate in candidates if candidate.number not in chosen]
    if found is None and others:
        found = _nearest(others, "thirds")
    if found is not None:
        chosen[found.number] = found
    asked = []
    for trial in _as_searched(experiment, chosen.values(), num_seeds):
        for factor in FACTORS:
            rate = trial.recipe.learning_rate * factor
            asked.append(replace(trial, recipe=replace(trial.recipe, learning_rate=rate)))
    return asked


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
    """The trainings of all sections that are asked for, those of the search among them."""
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


def stored_sections(
    searched: Iterable[Mapping[str, object]],
    trained: Iterable[Mapping[str, object]],
    *,
    experiment: Experiment,
    found: int | None,
) -> list[Section]:
    """A section for each choice that was looked at, by what the record holds of it.

    Args:
        searched: The search's rows.
        trained: Rows of the trainings at other rates and lengths.
        experiment: Whose recipe and objective they have.
        found: Number of the network that the search found; None where that is not known.
    """
    others = list(trained)
    if not others:
        return []
    rows = results_table([*searched, *others])
    rows = _with_factors(rows.drop_duplicates(list(KEY), ignore_index=True), experiment)
    sections = []
    at_rates = rows[rows["length"] == 1]
    if (at_rates["rate"] != 1).any():
        sections.append(_learning_rate_section(at_rates, experiment.objective, found))
    at_lengths = rows[rows["rate"] == 1]
    if (at_lengths["length"] != 1).any():
        sections.append(
            _length_section(
                at_lengths,
                experiment.objective,
                target=experiment.candidates.target,
                found=found,
            )
        )
    return sections


def _with_factors(rows: pd.DataFrame, experiment: Experiment) -> pd.DataFrame:
    """Rows with rate and length over the search's own, and with what should be small as loss."""
    recipe, sign = experiment.recipe, -1.0 if experiment.objective == "val_accuracy" else 1.0
    epochs = pd.Series(float(recipe.epochs), index=rows.index)
    if recipe.equal == "training_flops":
        stretched = recipe.epochs * experiment.candidates.target / rows["flops_ratio"]
        epochs = epochs.where(rows["candidate"] == 0, stretched)
    ended = rows["state"] == "COMPLETE"
    return rows.assign(
        # What rounding does to a stretched schedule makes no other length.
        rate=(rows["learning_rate"] / recipe.learning_rate).round(6),
        length=(rows["epochs"] / epochs).round(6),
        loss=sign * rows[experiment.objective].astype(float).where(ended),
    )


def _learning_rate_section(rows: pd.DataFrame, objective: str, found: int | None) -> Section:
    laid = layout(rows, "rate", objective, references=CORNERS, found=found)
    return Section(
        name=LEARNING_RATE,
        title="Does the learning rate favour some networks?",
        sentences=(*about_rates(laid.cells, laid.complete, objective), *laid.counted()),
        cells=laid.lines(),
        table=laid.table(),
    )


def about_rates(cells: Cells | None, names: Sequence[str], objective: str) -> list[str]:
    """What the F-test of network times rate says.

    Args:
        cells: Networks at half, once and twice the rate; None where none has all three.
        names: Of the networks.
        objective: The metric whose loss the cells hold.
    """
    if cells is None or cells.test is None or cells.detectable is None:
        takes = "that takes two networks with two seeds at each rate"
        return [f"Whether the learning rate favours some networks cannot be told: {takes}."]
    together = cells.means.mean(axis=0)
    best = FACTOR_NAMES[int(together.argmin())]
    of_all = f"All {len(names)} together are best at {best} rate."
    if cells.test.p_value >= LEVEL:
        missed = (
            f"Had one of the {len(names)} gained {difference(cells.detectable, objective)} more "
            "than the others from half to twice the rate, that would have been found with "
            f"probability {PROBABILITY:g}."
        )
        return [
            f"No sign that the learning rate favours some networks ({_p(cells.test)}).",
            missed,
            of_all,
        ]
    gains = cells.means[:, [1]] - cells.means[:, [0, 2]]
    leads = gains - gains.mean(axis=0)
    network, end = (int(i) for i in np.unravel_index(int(leads.argmax()), leads.shape))
    places = cells.means.argsort(axis=0, kind="stable").argsort(axis=0)
    said = (
        f"The learning rate favours some networks ({_p(cells.test)}): {names[network]} gains most "
        f"from {ENDS[end]} the rate, {difference(float(leads.max()), objective)} more than the "
        f"mean of the {len(names)}"
    )
    said += _about_place([int(place) + 1 for place in places[network]])
    if (places == places[:, [0]]).all():
        return [said, "The order of the networks is the same at all three rates.", of_all]
    half, own, twice = (", ".join(names[i] for i in column.argsort()) for column in places.T)
    told = f"at half the rate: {half}; at the search's own: {own}; at twice the rate: {twice}"
    return [said, f"From best to worst {told}.", of_all]


def _about_place(places: Sequence[int]) -> str:
    if len(set(places)) == 1:
        return f"; its place among them, {places[0]}, is the same at all three."
    first, own, last = places
    return (
        ". Its place among them depends on the rate: "
        f"{first} at half, {own} at the search's own, {last} at twice."
    )


def _length_section(
    rows: pd.DataFrame, objective: str, *, target: float, found: int | None
) -> Section:
    laid = layout(rows, "length", objective, references=tuple(REFERENCES), found=found)
    lines, table, said = laid.lines(), laid.table(), []
    if laid.cells is not None:
        means, unscaled = laid.cells.means, laid.cells.unscaled
        gains = (means[:, 0] - means[:, 2]) / 2
        trend = fit_trend(laid.shares, gains, 1 / (unscaled[:, 0] + unscaled[:, 2]))
        said.append(about_trend(trend, laid.complete, objective))
        by_name = dict(zip(laid.complete, gains.tolist(), strict=True))
        table["gain_per_doubling"] = table["name"].map(by_name)
        shown = [
            difference(by_name[name], objective) if name in by_name else "–" for name in laid.names
        ]
        lines = [
            [*line, cell] for line, cell in zip(lines, ["gain / doubling", *shown], strict=True)
        ]
        said += _about_order(laid, noise(rows[rows["length"] == 1], objective).residual_sd)
    else:
        said.append(about_trend(None, laid.complete, objective))
    said += _about_shift(laid.rows, objective, target)
    return Section(
        name=LENGTH,
        title="Does the length of training favour some networks?",
        sentences=(*said, *laid.counted()),
        cells=lines,
        table=table,
    )


def about_trend(trend: Trend | None, names: Sequence[str], objective: str) -> str:
    """What the F-test of shares times log length says.

    Args:
        trend: What networks gain with each doubling, over their shares; None where that cannot be
            fitted.
        names: Of the networks.
        objective: The metric.
    """
    if trend is None:
        return (
            "Whether the length of training favours some splits cannot be told: that takes seven "
            f"spread networks with all three lengths, and there are {len(names)}."
        )
    if trend.test.p_value >= LEVEL:
        return (
            f"No sign that the length of training favours some splits ({_p(trend.test)}). "
            f"{len(names)} networks find only large effects: had one dimension alone gained "
            f"{difference(trend.detectable, objective)} more with each doubling than none of it, "
            f"that would have been found with probability {PROBABILITY:g}."
        )
    most, least = int(trend.fitted.argmax()), int(trend.fitted.argmin())
    lead = difference(float(trend.fitted[most] - trend.fitted[least]), objective)
    return (
        f"The length of training favours some splits ({_p(trend.test)}): each doubling gains most "
        f"near network {names[most]}, by the fit {lead} more than near network {names[least]}."
    )


def _about_order(laid: Layout, seed_sd: float | None) -> list[str]:
    """The rank correlations of a layout's means with those at the search's own length."""
    assert laid.cells is not None
    sd = laid.cells.residual_sd if seed_sd is None else seed_sd
    if len(laid.complete) < 3 or not sd > 0:
        return []
    errors = sd * np.sqrt(laid.cells.unscaled)
    means, typical = laid.cells.means, np.sqrt((errors**2).mean(axis=0))
    spread = true_spread(means[:, 1], errors[:, 1])
    correlations = (rank_correlation(means[:, j], means[:, 1]) for j in (0, 2))
    chances = (
        chance_rank_correlation(
            spread, float(typical[j]), float(typical[1]), num_networks=len(means)
        )
        for j in (0, 2)
    )
    return [about_order(list(zip(correlations, chances, strict=True)), spread)]


def about_order(found: Sequence[tuple[float, Chance]], spread: float) -> str:
    """How far the order of the means is that at the search's own length, in words.

    Args:
        found: At half and at twice the length the rank correlation, and what seeds allow.
        spread: Standard deviation of the networks' true means.
    """
    (half, of_half), (twice, of_twice) = found
    said = (
        "Rank correlation of the means with those at the search's own length: "
        f"{half:.2f} at half, {twice:.2f} at twice the length"
    )
    if spread == 0:
        return f"{said}; the means differ no more than seeds explain, so there is no order to keep."
    said += (
        f". An order that never changes would show {of_half.expected:.2f} and "
        f"{of_twice.expected:.2f}, for seeds alone move the means, and less than "
        f"{of_half.low:.2f} and {of_twice.low:.2f} one time in twenty"
    )
    moved = [end for end, (value, chance) in zip(ENDS, found, strict=True) if value < chance.low]
    if moved:
        return f"{said}: at {' and '.join(moved)} the length the order is another."
    return f"{said}: no sign of another order."


def _about_shift(rows: pd.DataFrame, objective: str, target: float) -> list[str]:
    surfaces = []
    for end, factor in zip(ENDS, (FACTORS[0], FACTORS[-1]), strict=True):
        try:
            data = observations(rows[rows["length"] == factor], response=objective, target=target)
            surfaces.append(fit_surface(data))
        except ValueError as error:
            return [f"No surface is fitted at {end} the length: {error}."]
    return [about_shift(*surfaces)]


def about_shift(half: Surface, twice: Surface) -> str:
    """Whether the best split moves from half to twice the length, in words."""
    flat = [
        f"at {end} the length ({_p(flatness(surface))})"
        for end, surface in zip(ENDS, (half, twice), strict=True)
        if flatness(surface).p_value >= LEVEL
    ]
    if flat:
        return (
            "Whether the best split moves with the length cannot be told: the surface may be flat "
            f"{' and '.join(flat)}."
        )
    regions = [find_region(surface) for surface in (half, twice)]
    first, last = (
        ", ".join(f"{d} {s:.2f}" for d, s in zip(DIMENSIONS, region.best, strict=True))
        for region in regions
    )
    said = f"The surface is best at {first} at half the length and at {last} at twice"
    if (regions[0].mask & regions[1].mask).any():
        return f"{said}; the two 95 % regions overlap, so that the best may be the same."
    return f"{said}; the two 95 % regions have nothing in common: the best split moves."


def _p(test: FTest) -> str:
    p_value = "p < 0.001" if test.p_value < 0.001 else f"p = {test.p_value:.3f}"
    return f"F({test.numerator}, {test.denominator}) = {test.statistic:.2f}, {p_value}"
