"""Several searches beside each other: tables, and sentences on what agrees and what differs."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from scaling_search.answer.agreement import Agreement
from scaling_search.answer.verdicts import Answer
from scaling_search.core.metric import metric_in
from scaling_search.core.scaling import DIMENSIONS
from scaling_search.display.differences import choice_sentences
from scaling_search.display.formatting import (
    COEFFICIENTS,
    named_ranges,
    named_shares,
    p_value,
    plus_minus,
    shares_of,
)


def compared_lines(compared: pd.DataFrame) -> list[list[list[str]]]:
    """Three tables of the runs: what each has trained, its rule, and its network.

    Args:
        compared: As `compare` gives it.
    """
    trained = [["run", "data", "base network", "target", "places", "trained", "seeds", "hours"]]
    rules = [["run", "rule d / w / r", "region", "p", "gain ± 95 %"]]
    networks = [["run", "network", "blocks", "channels", "px", *COEFFICIENTS, "cost"]]
    for _, row in compared.iterrows():
        run = str(row["run"])
        most = "" if row["fewest_seeds"] == row["most_seeds"] else f"-{row['most_seeds']}"
        line = [run, str(row["data"])]
        line += [f"{row['base_network']} {row['base_blocks']}, {row['base_px']} px"]
        line += [f"{row['target']:g}x", f"{row['places']}", f"{row['trainings']}"]
        trained.append([*line, f"{row['fewest_seeds']}{most}", f"{row['device_hours']:.2f}"])
        if row["missing"]:
            rules.append([run, "no answer", *["–"] * 3])
            networks.append([run, "no answer", *["–"] * 7])
            continue
        shares = shares_of(row.rename({f"rule_{d}_share": f"{d}_share" for d in DIMENSIONS}))
        area = "all" if row["is_everything"] else _part(row["region_area"])
        p_value = "<0.001" if row["p_value"] < 0.001 else f"{row['p_value']:.3f}"
        metric = metric_in(row["metric"])
        gain = plus_minus(row["gain"], row["gain"] - row["gain_low"], metric)
        rules.append([run, shares, area, p_value, f"{gain} {metric.difference_unit or metric}"])
        line = [run, f"{row['network']:.0f}", f"{row['layers']}", f"{row['channels']}"]
        line += [f"{row['resolution']:.0f}", *(cell(row) for cell in COEFFICIENTS.values())]
        networks.append([*line, f"{row['cost_ratio']:.2f}x"])
    return [trained, rules, networks]


def _part(area: float) -> str:
    """A part of the triangle; a region can fall between the points that area is counted by."""
    return f"{area:.0%}" if area >= 0.005 else "<1%"


def compared_sentences(
    compared: pd.DataFrame,
    choices: Sequence[Mapping[str, Any]],
    answers: Mapping[str, Answer],
    found: Agreement | None,
    shared: Mapping[tuple[str, str], int],
) -> list[str]:
    """What the runs have in common, what differs, and what that says of their best splits.

    Args:
        compared: As `compare` gives it.
        choices: The choices of each run that decide outcomes, as `choices` gives them.
        answers: The answers there are, by the name of the run.
        found: Their agreement, in their order; None where there are none.
        shared: Trainings that two runs have in common, by their names.
    """
    return [
        *choice_sentences(compared, choices),
        *_about_shared(shared),
        *_about_answers(compared, answers),
        *(_about_agreement(answers, found) if _is_one_cost(choices) else []),
    ]


def _is_one_cost(choices: Sequence[Mapping[str, Any]]) -> bool:
    """True if all runs hold the same cost equal, so that their shares are the same quantity."""
    return all(one["cost"] == choices[0]["cost"] for one in choices)


def _about_shared(shared: Mapping[tuple[str, str], int]) -> Iterator[str]:
    if shared:
        names = dict.fromkeys(name for pair in shared for name in pair)
        yield (
            f"Warning: up to {max(shared.values())} trainings are in more than one of "
            f"{', '.join(names)}; these are not independent evidence."
        )


def _about_answers(compared: pd.DataFrame, answers: Mapping[str, Answer]) -> Iterator[str]:
    """The runs that show that the split matters, those that do not, and those without an answer."""
    shows = [name for name, one in answers.items() if not one.region.is_everything]
    if shows:
        said = "; ".join(
            f"{name} ({p_value(answers[name].flat)}; rule {named_shares(answers[name].rule)})"
            for name in shows
        )
        yield f"The split matters in {said}."
    others = [f"{n} ({p_value(one.flat)})" for n, one in answers.items() if n not in shows]
    if others:
        yield (
            f"The results of {', '.join(others)} cannot show that the split matters: any split "
            "searched there may be the best, and the rule shown is a guess."
        )
    if misfits := compared.loc[compared["misfits"], "run"].tolist():
        yield (
            f"Warning: a quadratic surface misfits in {', '.join(misfits)}; rule and region are "
            "doubtful there."
        )
    for _, row in compared[compared["missing"] != ""].iterrows():
        yield f"There is no answer yet for {row['run']}: {row['missing']}."


def _about_agreement(answers: Mapping[str, Answer], found: Agreement | None) -> Iterator[str]:
    """Which rules lie in which regions, which regions overlap, and a split that suits all."""
    names = list(answers)
    shows = [i for i, one in enumerate(answers.values()) if not one.region.is_everything]
    if found is None or len(shows) < 2:
        only = f"only {names[shows[0]]} shows" if shows else "no run shows"
        yield f"Whether the runs agree on the best split cannot be told: {only} that it matters."
        return
    if found.is_inside[np.ix_(shows, shows)].all():
        yield "The 95 % region of each run holds the rules of all others."
    else:
        yield from (_about_region(i, shows, names, found) for i in shows)
    apart = [
        f"{names[i]} and {names[j]}" for i, j in combinations(shows, 2) if not found.overlaps[i, j]
    ]
    if apart:
        yield f"Regions without a split in common: {'; '.join(apart)}."
    else:
        yield (
            "All these regions overlap. That does not show that the best splits are equal, only "
            "that the results do not tell them apart."
        )
    yield _about_common(len(names), found)


def _about_region(i: int, shows: Sequence[int], names: Sequence[str], found: Agreement) -> str:
    """The rules that the region of one run holds and excludes, and those it did not search."""
    others = [j for j in shows if j != i]
    inside = [names[j] for j in others if found.is_inside[j, i]]
    unseen = [names[j] for j in others if not found.is_searched[j, i]]
    outside = [names[j] for j in others if names[j] not in (*inside, *unseen)]
    said = {"holds": inside, "excludes": outside, "was not searched at": unseen}
    parts = [f"{verb} the rule of {', '.join(ones)}" for verb, ones in said.items() if ones]
    return f"The 95 % region of {names[i]} {'; it '.join(parts)}."


def _about_common(number: int, found: Agreement) -> str:
    regions = f"regions at {1 - found.level:.1%} each"
    if not found.searched_area:
        return "No split was searched by all runs, so there is none to recommend for all."
    if not len(found.common):
        return (
            f"No split that all {number} runs searched can be the best in all of them (5 % level; "
            f"{regions} have nothing in common): the best split is not the same in all."
        )
    ranges = named_ranges(found.common.min(axis=0), found.common.max(axis=0))
    return (
        f"Assuming that one split is the best in all {number} runs, it has with 95 % confidence "
        f"shares of {ranges}: {found.common_area:.0%} of the triangle, where all searched "
        f"{found.searched_area:.0%} ({regions}, so that they hold together)."
    )
