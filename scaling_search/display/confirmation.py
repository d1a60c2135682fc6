"""The section on the found network with fresh seeds on the test split."""

from collections.abc import Iterator, Sequence

import pandas as pd

from scaling_search.answer.verdicts import Outcome
from scaling_search.core.metric import Metric
from scaling_search.core.scaling import DIMENSIONS, REFERENCES, Shares
from scaling_search.display.formatting import (
    count,
    difference,
    level,
    with_error,
    with_interval,
)
from scaling_search.display.report_section import ReportSection
from scaling_search.display.verdicts import PHRASES
from scaling_search.follow_ups.confirmation import Confirmation, PairedComparison
from scaling_search.record.results import scores_on_test


def confirmation_section(tested: Confirmation, objective: Metric) -> ReportSection:
    """Returns the section on an evaluation of the test split.

    Args:
        tested: The trainings.
        objective: The metric that decides.
    """
    comparisons = tested.comparisons(objective)
    said = list(_sentences(tested, comparisons, objective))
    if tested.number > 1:
        look = f"(evaluation {tested.number} on the test split)."
        said = [f"{one.removesuffix('.')} {look}" for one in said]
    return ReportSection(
        name="confirm",
        title="The network, tested",
        sentences=tuple(said),
        lines=_lines(comparisons, tested.look.arms["found"]),
        table=pd.DataFrame([_row(one, tested) for one in comparisons]),
    )


def _sentences(
    tested: Confirmation, comparisons: Sequence[PairedComparison], objective: Metric
) -> Iterator[str]:
    look, found = tested.look, _name(tested, "found")
    for other in tested.others:
        mine = [one for one in comparisons if one.verdict.against == other]
        yield _about(tested, other, mine[0] if mine else None)
    for other in tested.others:
        mine = [one for one in comparisons if one.verdict.against == other]
        better, worse = (
            " and ".join(
                f"{one.split} {_measure(one)}" for one in mine if one.verdict.outcome == word
            )
            for word in (Outcome.BETTER, Outcome.WORSE)
        )
        if better and worse:
            against = _name(tested, other)
            yield (f"Warning: {found} is better than {against} in {better}, but worse in {worse}.")
    yield from _about_optimism(tested, objective)
    yield (
        f"{found.capitalize()}, chosen before these trainings ({look.why}), was trained again with "
        f"{count(len(look.seeds), 'fresh seed')}, {look.seeds[0]} to {look.seeds[-1]}, which the "
        "search did not use."
    )
    if look.arms["paper"] == look.arms["found"]:
        nearest = _name(tested, "paper").partition(", ")[2]
        yield f"{found.capitalize()} is also {nearest}, so these two are not compared."
    yield from _about_intervals(tested, comparisons, objective)
    if tested.num_failed:
        yield (
            f"{tested.num_failed} of {len(tested.rows)} trainings failed. A comparison leaves out "
            "a seed with which either network failed."
        )


def _about_intervals(
    tested: Confirmation, comparisons: Sequence[PairedComparison], objective: Metric
) -> Iterator[str]:
    """The meaning of an interval, and a note where the test split was left out."""
    if comparisons:
        noise = ", and on the test split that of the images"
        if not any(scores_on_test(row) is not None for row in tested.rows.values()):
            noise = " alone: the training gives no value for each image"
        yield (
            f"A difference above 0 means that {_name(tested, 'found')} is better. Each 95 % "
            f"interval holds by itself. It includes the noise of seeds{noise}."
        )
    if not tested.has_test(objective):
        yield (
            f"The training returned no {objective.on_test}, so all this is of the validation "
            "split, and the test split was left out."
        )


def _name(tested: Confirmation, arm: str) -> str:
    """An arm in a sentence."""
    number = tested.look.arms[arm]
    if arm != "paper":
        return "the base network" if arm == "base" else f"network {number}"
    row = next((row for (n, _), row in tested.rows.items() if n == number), None)
    away = ""
    if row is not None:
        shares = Shares(*(float(str(row[f"{dimension}_share"])) for dimension in DIMENSIONS))
        away = f" (shares differ by {shares.distance(REFERENCES['paper']):.2f})"
    return f"network {number}, the nearest to the paper's split{away}"


def _about(tested: Confirmation, other: str, one: PairedComparison | None) -> str:
    """The verdict on the test split by the objective, or why there is none."""
    found, against = _name(tested, "found"), _name(tested, other)
    if one is None:
        pairs, wanted = len(tested.pairs(other)), len(tested.look.seeds)
        return (
            f"{found.capitalize()} cannot be compared with {against}: an interval needs two seeds "
            f"finished by both networks, and {pairs} of {wanted} are."
        )
    images = scores_on_test(tested.pairs(other)[0][0])
    where = f"the {one.split} split" if images is None else f"{len(images.losses):,} test images"
    outcome = one.verdict.outcome
    verb = "shows" if outcome == Outcome.CANNOT_TELL else "is"
    said = f"On {where}, {found} {verb} {PHRASES[outcome].format(against)}"
    said = f"{said}: {with_interval(one.verdict.difference, one.measure)} in {_measure(one)}"
    if outcome == Outcome.AS_GOOD:
        assert tested.look.delta is not None
        matters = difference(tested.look.delta, one.measure)
        said = f"{said}, within ± {matters}, the difference that matters"
    return f"{said}."


def _about_optimism(tested: Confirmation, objective: Metric) -> Iterator[str]:
    one = tested.optimism(objective)
    if one is None:
        return
    better = "better" if one.size >= 0 else "worse"
    by = with_error(abs(one.size), one.error, objective)
    within = "within noise"
    if abs(one.size) > one.half:
        within = f"the search was {'optimistic' if one.size > 0 else 'pessimistic'}"
    yield (
        f"In the search, {_name(tested, 'found')} had a validation "
        f"{objective.noun} of {level(one.searched, objective)}. That is {by} "
        f"(standard error between seeds) {better} than with fresh seeds: {within}."
    )


def _measure(one: PairedComparison) -> str:
    return one.measure.noun


def _lines(comparisons: Sequence[PairedComparison], number: int) -> list[list[str]]:
    if not comparisons:
        return []
    found = f"network {number}"
    header = ["against", "by", "seeds", found, "other", f"{found} is better by", "verdict"]
    lines = [
        [
            one.verdict.against,
            f"{one.split} {_measure(one)}",
            str(one.pairs),
            level(one.found, one.measure, in_table=True),
            level(one.other, one.measure, in_table=True),
            with_interval(one.verdict.difference, one.measure, in_table=True),
            str(one.verdict.outcome),
        ]
        for one in comparisons
    ]
    return [header, *lines]


def _row(one: PairedComparison, tested: Confirmation) -> dict[str, object]:
    look, gain = tested.look, one.verdict.difference
    optimism = tested.optimism(one.measure) if one.split == "validation" else None
    return {
        "look": tested.number,
        "found": look.arms["found"],
        "against": one.verdict.against,
        "candidate": look.arms[one.verdict.against],
        "split": one.split,
        "measure": _measure(one),
        "pairs": one.pairs,
        "found_mean": one.found,
        "other_mean": one.other,
        "better_by": gain.mean,
        "low": gain.low,
        "high": gain.high,
        "verdict": one.verdict.outcome,
        "delta": look.delta if one.measure.name == look.objective else None,
        "searched_mean": optimism and optimism.searched,
        "optimism": optimism and optimism.size,
        "optimism_error": optimism and optimism.error,
    }
