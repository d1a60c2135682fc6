"""The choices in which several runs differ, and what that means for comparing them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from scaling_search.experiment.texts import options_of
from scaling_search.record.schema import CROP_KEY, NO_CHOICES

Groups = Mapping[str, Sequence[str]]
"""Names of runs by the value that they share."""

KEYS = {
    "dataset": "data",
    "base_network": "base network",
    "cost": "cost",
    "candidates.target": "target",
    "objective": "metric",
    "recipe": "recipe",
}
"""Choices that are always named, equal or not, in words."""

MOST_DIFFERENCES = 8
"""Other choices that a sentence names."""


def choice_sentences(compared: pd.DataFrame, choices: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The choices that are equal in all runs, those that differ, and what cannot be compared.

    Args:
        compared: As `compare` gives it.
        choices: The choices of each run that decide outcomes, as `choices` gives them.
    """
    names = compared["run"].tolist()
    differing = _differing(names, choices)
    groups = {_group(key) for key in differing}
    equal = [word for key, word in KEYS.items() if key not in groups]
    if equal:
        yield f"Equal in all runs: {', '.join(equal)}."
    if "dataset" in groups:
        known = compared["data"] + " " + compared["fingerprint"].str[:8]
        labels = dict(zip(names, known, strict=True))
        yield (
            f"The data differ: {_said(_grouped(labels))}. Losses of different data sets cannot be "
            "compared; the tables show splits, and gains over each run's own base network."
        )
    if "base_network" in groups:
        known = compared["base_network"] + " " + compared["base"]
        groups_of = _grouped(dict(zip(names, known, strict=True)))
        # Networks of the same layers can differ in other options.
        said = _said(groups_of) if len(groups_of) > 1 else _listed_of("base_network", differing)
        yield (
            f"The base networks differ: {said}. Multipliers and shares are of each run's own base "
            "network."
        )
    for key, sentence in _CONSEQUENCES.items():
        if key in groups:
            yield sentence.format(_listed_of(key, differing))
    rest = {k: v for k, v in differing.items() if _group(k) not in KEYS}
    if rest:
        yield f"Other choices differ: {_listed(rest)}."


_CONSEQUENCES = {
    "cost": "Different costs are held equal: {}. Shares are of the logarithm of that cost, so the "
    "runs' splits are different quantities and are not compared.",
    "candidates.target": "The targets differ: {}. The best split can change with size, and gains "
    "are for different amounts of compute.",
    "objective": "The metrics differ: {}. Gains by loss (nats) and by accuracy (points) have "
    "different units.",
    "recipe": "The recipes differ: {}. Each gain compares networks that had the same recipe.",
}


def _differing(names: Sequence[str], choices: Sequence[Mapping[str, Any]]) -> dict[str, Groups]:
    """The runs by value of each choice that is not the same in all, by its full key."""
    ignored = {"name", *NO_CHOICES}
    if len({options["recipe"]["crop"] for options in choices}) > 1:
        ignored.add(CROP_KEY)  # what no crop is a fraction of is no difference
    flat = [
        {k: v for k, v in options_of(one) if not isinstance(v, Mapping) and k not in ignored}
        for one in choices
    ]
    keys = list(dict.fromkeys(key for one in flat for key in one))
    groups = {
        key: _grouped({n: _value(one.get(key)) for n, one in zip(names, flat, strict=True)})
        for key in keys
    }
    return {key: group for key, group in groups.items() if len(group) > 1}


def _grouped(values: Mapping[str, str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for name, value in values.items():
        groups.setdefault(value, []).append(name)
    return groups


def _group(key: str) -> str:
    """The key of `KEYS` that a full key belongs to, else itself."""
    return next((one for one in KEYS if key == one or key.startswith(f"{one}.")), key)


def _value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, str) and value.startswith("scaling_search."):
        return value.rpartition(".")[2]  # the class of a part
    return "none" if value is None else str(value)


def _said(groups: Groups) -> str:
    """Each value with its runs, as in 2 (a); 4 (b), or 2 (a), else 4 where most have one."""
    *others, (value, most) = sorted(groups.items(), key=lambda group: len(group[1]))
    said = "; ".join(f"{one} ({', '.join(names)})" for one, names in others)
    if len(most) > max(len(names) for _, names in others):
        return f"{said}, else {value}"
    return f"{said}; {value} ({', '.join(most)})"


def _listed_of(group: str, differing: Mapping[str, Groups]) -> str:
    return _listed({key: one for key, one in differing.items() if _group(key) == group})


def _listed(differing: Mapping[str, Groups]) -> str:
    """Each choice with its values and runs, the first few in full."""
    said = [f"{key} {_said(group)}" for key, group in differing.items()]
    more = len(said) - MOST_DIFFERENCES
    return "; ".join([*said[:MOST_DIFFERENCES], *([f"{more} more"] if more > 0 else [])])
