"""A search's winner trained anew and tested, in words and as tables."""

from collections.abc import Sequence

import pandas as pd

from scaling_search.core.formatting import count, difference, level
from scaling_search.core.scaling import DIMENSIONS, REFERENCES, Shares
from scaling_search.core.sections import Section
from scaling_search.follow_ups.tested import Contrast, Tested
from scaling_search.record.study import Objective, Record, scores_on_test


def stored_section(record: Record, objective: Objective) -> Section | None:
    """What the last look at the test split said; None before there was one.

    Args:
        record: Of the new trainings, not of the search.
        objective: The measure that decides.
    """
    looks = [(number, look) for number, look in enumerate(record.final_tests, 1) if look.when]
    if not looks:
        return None
    number, look = looks[-1]
    wanted = {(arm, seed) for arm in look.arms.values() for seed in look.seeds}
    by_key = {(int(str(row["candidate"])), int(str(row["seed"]))): row for row in record.rows()}
    tested = Tested(look, {key: row for key, row in by_key.items() if key in wanted})
    contrasts = tested.contrasts(objective)
    said = [
        *(_about(tested, other, contrasts) for other in tested.others),
        *_contradictions(tested, contrasts),
        *_about_optimism(tested, objective),
        *_about_trainings(tested, contrasts),
    ]
    if number > 1:
        said = [f"{one.removesuffix('.')} (look {number} at the test split)." for one in said]
    return Section(
        name="confirm",
        title="The winner, tested",
        sentences=tuple(said),
        cells=_cells(contrasts),
        table=pd.DataFrame([_row(one, tested, number) for one in contrasts]),
    )


def _name(tested: Tested, arm: str) -> str:
    """An arm for people."""
    number = tested.look.arms[arm]
    if arm == "base":
        return "the base network"
    if arm == "found":
        return f"network {number}"
    row = next((row for (n, _), row in tested.rows.items() if n == number), None)
    if row is None:
        return f"network {number}, the nearest to the paper's split"
    shares = Shares(*(float(str(row[f"{dimension}_share"])) for dimension in DIMENSIONS))
    away = shares.distance(REFERENCES["paper"])
    return f"network {number}, the nearest to the paper's split ({away:.2f} away)"


def _about(tested: Tested, other: str, contrasts: Sequence[Contrast]) -> str:
    """The verdict on the test split by the objective, or why there is none."""
    found, against = _name(tested, "found"), _name(tested, other)
    one = next((one for one in contrasts if one.other == other), None)
    if one is None:
        pairs, wanted = len(tested.pairs(other)), len(tested.look.seeds)
        return (
            f"{found.capitalize()} cannot be compared with {against}: {pairs} of {wanted} seeds "
            "ended in both, and an interval needs two."
        )
    images = scores_on_test(tested.pairs(other)[0][0])
    assert images is not None
    on = f"On {len(images.losses):,} test images {found}"
    by, measure = _size(one), _measure(one.measure)
    if one.verdict in {"better", "worse"}:
        return f"{on} is {one.verdict} than {against}: by {by} in {measure}."
    word = "better" if one.better_by.mean >= 0 else "worse"
    if one.verdict == "as good":
        assert tested.look.delta is not None
        within = difference(tested.look.delta, one.measure)
        return f"{on} is as good as {against}: {word} by {by} in {measure}, within ± {within}."
    return f"{on} cannot be told from {against}: {word} by {by} in {measure}."


def _size(one: Contrast) -> str:
    """How much better or worse, above 0 in the direction of the mean."""
    estimate = one.better_by
    ends = (estimate.mean, estimate.low, estimate.high)
    if estimate.mean < 0:
        ends = (-estimate.mean, -estimate.high, -estimate.low)
    mean, low, high = (difference(end, one.measure) for end in ends)
    return f"{mean} ({low.removesuffix(' points')} to {high.removesuffix(' points')})"


def _contradictions(tested: Tested, contrasts: Sequence[Contrast]) -> list[str]:
    """Where one measure or split says better and another worse."""
    said = []
    for other in tested.others:
        sides: dict[str, list[str]] = {"better": [], "worse": []}
        for one in contrasts:
            if one.other == other and one.verdict in sides:
                sides[one.verdict].append(f"{one.split} {_measure(one.measure)}")
        if sides["better"] and sides["worse"]:
            found, against = _name(tested, "found"), _name(tested, other)
            said.append(
                f"Warning: {found} is better than {against} by {' and '.join(sides['better'])}, "
                f"worse by {' and '.join(sides['worse'])}."
            )
    return said


def _about_optimism(tested: Tested, objective: Objective) -> list[str]:
    one = tested.optimism(objective)
    if one is None:
        return []
    found = _name(tested, "found")
    word = "better" if one.size >= 0 else "worse"
    by = f"{difference(abs(one.size), objective)} ± {difference(one.error, objective)}"
    said = (
        f"its mean there, {level(one.searched, objective)} in validation {_measure(objective)}, "
        f"is {word} by {by} (standard error) than with fresh seeds"
    )
    if one.size > one.half:
        return [f"The search was optimistic about {found}: {said}."]
    if one.size < -one.half:
        return [f"The search was pessimistic about {found}: {said}."]
    return [f"How optimistic the search was about {found} is lost in luck: {said}."]


def _about_trainings(tested: Tested, contrasts: Sequence[Contrast]) -> list[str]:
    look, found = tested.look, _name(tested, "found")
    anew = f"{count(len(look.seeds), 'seed')} that the search never used"
    said = [
        (
            f"{found.capitalize()} ({look.why}) was trained anew with {anew}, {look.seeds[0]} to "
            f"{look.seeds[-1]}."
        )
    ]
    if look.arms["paper"] == look.arms["found"]:
        said.append(
            f"{found.capitalize()} is also {_name(tested, 'paper').partition(', ')[2]}; nothing "
            "is there to compare."
        )
    if contrasts:
        said.append(
            "Each interval holds with 95 %; on the test split it counts the luck of the seeds and "
            "of the test images, on the validation split that of the seeds alone."
        )
    if tested.num_failed:
        said.append(
            f"{tested.num_failed} of {len(tested.rows)} trainings failed; a seed is left out where "
            "either network's did."
        )
    return said


def _measure(measure: Objective) -> str:
    return measure.removeprefix("val_")


def _cells(contrasts: Sequence[Contrast]) -> list[list[str]]:
    if not contrasts:
        return []
    header = ["against", "by", "seeds", "found", "other", "found is better by", "found is"]
    return [header, *(_line(one) for one in contrasts)]


def _line(one: Contrast) -> list[str]:
    estimate = one.better_by
    mean, low, high = (
        difference(value, one.measure).removesuffix(" points")
        for value in (estimate.mean, estimate.low, estimate.high)
    )
    return [
        one.other,
        f"{one.split} {_measure(one.measure)}",
        str(one.pairs),
        level(one.found, one.measure),
        level(one.against, one.measure),
        f"{mean} ({low} to {high})",
        one.verdict,
    ]


def _row(one: Contrast, tested: Tested, number: int) -> dict[str, object]:
    look = tested.look
    lost = tested.optimism(one.measure) if one.split == "validation" else None
    return {
        "look": number,
        "found": look.arms["found"],
        "against": one.other,
        "candidate": look.arms[one.other],
        "split": one.split,
        "measure": _measure(one.measure),
        "pairs": one.pairs,
        "found_mean": one.found,
        "other_mean": one.against,
        "better_by": one.better_by.mean,
        "low": one.better_by.low,
        "high": one.better_by.high,
        "verdict": one.verdict,
        "delta": look.delta if one.measure == look.objective else None,
        "searched_mean": None if lost is None else lost.searched,
        "optimism": None if lost is None else lost.size,
        "optimism_error": None if lost is None else lost.error,
    }
