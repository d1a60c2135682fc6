"""Does the best split hold at larger sizes? What trainings there would find, and what they said."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pandas as pd

from scaling_search.answer.conclusions import Conclusion
from scaling_search.answer.diagnosis import Diagnosis
from scaling_search.answer.fit import FTest, Surface
from scaling_search.answer.observations import Observations, observations
from scaling_search.answer.region import LEVEL, Region, Searched
from scaling_search.core.formatting import count, difference, plus_minus
from scaling_search.core.scaling import DIMENSIONS, Shares
from scaling_search.core.sections import Section
from scaling_search.core.space_filling import as_points
from scaling_search.follow_ups.sizes import Drift, Sizes, find_drift, fit_sizes, smallest_changes
from scaling_search.planning.families import ON_RAY
from scaling_search.record.results import with_means

NUM_POINTS = 10
"""Points of the triangle for which each size has a network."""


@dataclass(frozen=True, eq=False)
class Transferred:
    """What trainings of larger sizes said.

    Attributes:
        section: In words and as tables.
        regions: Where the best split can be, by size, the search's first; empty where the sizes
            cannot be compared.
    """

    section: Section
    regions: Mapping[float, Region]


def sentences_before(conclusion: Conclusion, networks: pd.DataFrame, num_seeds: int) -> list[str]:
    """Which points cannot be reached, and the smallest change that the trainings would find.

    Args:
        conclusion: Of the search, with an answer.
        networks: A row for each, as `networks_table` gives them.
        num_seeds: Trainings of each.
    """
    assert conclusion.answer is not None
    surface = conclusion.answer.surface
    response = surface.observations.response
    seeds = pd.DataFrame({"seed": range(num_seeds)})
    rows = networks.merge(seeds, how="cross")
    rows["state"], rows[response] = "COMPLETE", 0.0
    larger = _by_size(networks, rows, response)
    try:
        power = _power(surface, larger, networks)
    except ValueError as error:
        power = f"These trainings cannot tell whether the best split holds: {error}."
    return [*_unreached(networks), power]


def stored(
    conclusion: Conclusion, networks: pd.DataFrame, trained: pd.DataFrame
) -> Transferred | None:
    """What trainings of larger sizes said; None before any and without a surface of the search.

    Args:
        conclusion: Of the search.
        networks: A row for each network of the larger sizes, as `networks_table` or the
            section's own table gives them; trainings of others are not looked at.
        trained: Their trainings, as `results.results_table` gives them.
    """
    if len(trained):
        trained = trained[trained["network"].isin(networks["network"])]
    if conclusion.answer is None or trained.empty:
        return None
    networks = networks.loc[:, :"resolution"]
    surface = conclusion.answer.surface
    response = surface.observations.response
    larger = _by_size(networks, trained, response)
    said: list[str] = []
    regions: Mapping[float, Region] = {}
    try:
        sizes = fit_sizes(surface, larger)
    except ValueError as error:
        said.append(f"Whether the best split holds at larger sizes cannot be told: {error}.")
    else:
        drift = find_drift(sizes)
        regions = drift.regions
        said += _about_drift(sizes, drift, conclusion.answer.region.best)
        said.append(_power(sizes.surfaces[0], larger, networks))
        said += _about_misfit(conclusion.diagnosis)
    table = with_means(networks, trained)
    table = table[[column for column in table if "_gain" not in str(column)]]
    section = Section(
        name="transfer",
        title="Does it hold at the next size?",
        sentences=(*said, *_unreached(networks), *_about_failures(table)),
        cells=_cells(table),
        table=table,
    )
    return Transferred(section, regions)


def _by_size(networks: pd.DataFrame, trained: pd.DataFrame, response: str) -> list[Observations]:
    """What the fit takes of each size, ascending, those without a finished training left out."""
    parts = []
    for size, mine in networks.groupby("size"):
        # A network may have had another number when it was trained.
        rows = trained.drop(columns="candidate").merge(mine[["network", "candidate"]], on="network")
        data = observations(rows, response=response, target=float(str(size)))
        if len(data.candidates):
            parts.append(data)
    return parts


def _about_drift(sizes: Sizes, drift: Drift, best: Shares) -> list[str]:
    """The verdict, the best of each size, its drift; ``best`` is that of the search alone."""
    (first, *_, last) = drift.regions
    reach = drift.regions[first].searched_area
    is_guess = drift.regions[first].is_everything or drift.regions[last].is_everything
    guess = ", which is a guess" if is_guess else ""
    is_common = Searched.of(sizes.surfaces[0].searched).holds(as_points([best]))[0]
    outside = "" if is_common else "; the best of the search alone lies outside"
    moves = ", ".join(
        f"{dimension} {moved:+.2f} ({low:+.2f} to {high:+.2f})"
        for dimension, moved, low, high in zip(
            DIMENSIONS, drift.moved, drift.low, drift.high, strict=True
        )
    )
    return [
        verdict(sizes.test, drift),
        *(_about_size(size, region) for size, region in drift.regions.items()),
        (
            f"From {first:g}x to {last:g}x the best split moves by {moves}{guess}; the intervals "
            "hold together with at least 95 %. It is looked for in what all sizes reach, "
            f"{reach:.0%} of the triangle{outside}."
        ),
    ]


def verdict(test: FTest, drift: Drift) -> str:
    """Whether the best split holds, in a sentence.

    A move is named where the surface changes with the size and the interval of a share's drift
    leaves out 0.
    """
    (first, *_, last) = drift.regions
    p = "p < 0.001" if test.p_value < 0.001 else f"p = {test.p_value:.3f}"
    if test.p_value >= LEVEL:
        return (
            f"No drift can be seen: a surface that keeps its shape from {first:g}x to {last:g}x "
            f"would differ as much by chance ({p})."
        )
    ends = zip(DIMENSIONS, drift.low, drift.high, strict=True)
    moves = [
        f"{'more' if low > 0 else 'less'} {name}" for name, low, high in ends if low > 0 or high < 0
    ]
    if moves:
        return (
            f"The best split moves with the size ({p}): at {last:g}x it has {' and '.join(moves)} "
            f"than at {first:g}x."
        )
    return (
        f"The surface changes from {first:g}x to {last:g}x ({p}), but which way the best split "
        "moves cannot be told."
    )


def _about_size(size: float, region: Region) -> str:
    best = ", ".join(
        f"{name} {share:.2f}" for name, share in zip(DIMENSIONS, region.best, strict=True)
    )
    if region.is_everything:
        return (
            f"At {size:g}x the surface may be flat: any split may be the best; {best}, is a guess."
        )
    extents = ", ".join(
        f"{name} {low:.2f} to {high:.2f}"
        for name, low, high in zip(DIMENSIONS, region.low, region.high, strict=True)
    )
    return f"At {size:g}x the best split is {best}; with 95 % confidence {extents}."


def _power(surface: Surface, larger: list[Observations], networks: pd.DataFrame) -> str:
    """What the design finds between the networks that stand for corners at the largest size."""
    response = surface.observations.response
    first, last = surface.observations.target, larger[-1].target
    changes = smallest_changes(surface, larger, _corners(networks[networks["size"] == last]))
    if not changes:
        return f"Too few networks stand for corners at {last:g}x to say what change would be found."
    shown = [changes[0], changes[-1]] if len(changes) > 1 else changes
    found = ", and of ".join(
        f"{difference(change.smallest, response)} in the difference between "
        f"{' and '.join(change.names)} ({difference(abs(change.now), response)} at {first:g}x)"
        for change in shown
    )
    return (
        f"With probability 0.8 these trainings find a change from {first:g}x to {last:g}x of "
        f"{found}."
    )


def _corners(networks: pd.DataFrame) -> dict[str, Shares]:
    """The shares, as built, of the networks of a size that stand for the corners."""
    corners = {}
    for _, row in networks[networks["point"].isin(DIMENSIONS)].iterrows():
        name = str(row["point"])
        share = "" if row["distance"] <= ON_RAY else f" {row[f'{name}_share']:.2f}"
        corners[f"{name}{share}"] = _shares(row)
    return corners


def _shares(row: "pd.Series[float]") -> Shares:
    return Shares(*(float(row[f"{dimension}_share"]) for dimension in DIMENSIONS))


def _unreached(networks: pd.DataFrame) -> Iterator[str]:
    """Corners and the found split that no network is near to; sizes with too few networks."""
    for size, mine in networks.groupby("size"):
        at = f"{float(str(size)):g}x"
        for _, row in mine[mine["distance"] > ON_RAY].iterrows():
            point = str(row["point"])
            if point in DIMENSIONS:
                nearest = f"the nearest has {row[f'{point}_share']:.2f}"
                yield f"{point} alone cannot be reached at {at}: {nearest}."
            elif point == "found":
                nearest = f"the nearest is {row['distance']:.2f} away"
                yield f"The found split cannot be reached at {at}: {nearest}."
        if len(mine) < NUM_POINTS:
            yield f"At {at} there {_are(len(mine), 'network')} for {NUM_POINTS} points."


def _are(number: int, noun: str) -> str:
    return f"{'is' if number == 1 else 'are'} {count(number, noun)}"


def _about_failures(table: pd.DataFrame) -> list[str]:
    failed, ended = int(table["num_failed"].sum()), int(table["num_seeds"].sum())
    said = []
    if failed:
        said.append(f"{failed} of {count(failed + ended, 'training')} failed and do not count.")
    without = table[table["num_seeds"] == 0]
    if len(without):
        names = ", ".join(f"{row['point']} at {row['size']:g}x" for _, row in without.iterrows())
        said.append(f"Left out, without a finished training: {names}.")
    return said


def _about_misfit(luck: Diagnosis | None) -> list[str]:
    tests = [] if luck is None else [luck.lack_of_fit, luck.triple_product]
    if any(test is not None and test.p_value < LEVEL for test in tests):
        return ["Warning: a quadratic surface misfits the search, and all of this rests on one."]
    return []


def _cells(table: pd.DataFrame) -> list[list[str]]:
    """The networks for people: a header and a line for each."""
    lines = [["size", "point", "shares d / w / r", "off", "cost", "loss", "accuracy, %", "seeds"]]
    for _, row in table.iterrows():
        lines.append(
            [
                f"{row['size']:g}x",
                str(row["point"]),
                " / ".join(f"{share:.2f}" for share in _shares(row)),
                f"{row['distance']:.2f}",
                f"{row['cost_ratio']:.3f}x",
                *(
                    plus_minus(row[f"{metric}_mean"], float("nan"), metric)
                    for metric in ("val_loss", "val_accuracy")
                ),
                str(row["num_seeds"]),
            ]
        )
    return lines
