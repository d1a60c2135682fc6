"""Digests of what is recorded, and checks that it was not changed since."""

import hashlib
import json
import math
from typing import Any

from optuna.trial import FrozenTrial

DIGEST = "sha256"
"""Name of the digest that stands beside a value."""

COLUMNS = {"network", "seed", "epochs", "learning_rate", "candidate", "state", "reason", "curve"}
"""Columns without which a row is no training's."""


class DamagedError(ValueError):
    """The content of a storage is not what was recorded; its text says where."""


def digest(value: object) -> str:
    """The SHA-256 of a value's JSON, which is the same once the value was written and read."""
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def checked_row(trial: FrozenTrial, number: int, objective: str) -> dict[str, Any]:
    """The row of a study's training, by its digest and by the values that Optuna has too.

    Trainings of older versions have no digest.

    Args:
        trial: As Optuna has read it.
        number: Its place in the study.
        objective: The metric that Optuna has, unless the row names another.

    Raises:
        DamagedError: It is not as it was recorded.
    """
    row = trial.user_attrs.get("row")
    if not isinstance(row, dict) or not row.keys() >= COLUMNS or trial.number != number:
        raise DamagedError(f"training {number} is incomplete")
    place = f"training {number}, of network {row['candidate']} with seed {row['seed']}"
    if trial.user_attrs.get(DIGEST, whole := digest(row)) != whole:
        raise DamagedError(place)
    objective = row.get("objective", objective)  # that of a training of the user's own
    points = enumerate(row["curve"], 1)
    values: dict[Any, Any] = {place: one[objective] for place, one in points if objective in one}
    values |= {"end": row[objective]}
    known: dict[Any, Any] = trial.intermediate_values | {"end": trial.value}
    if trial.state.name != row["state"] or values.keys() != known.keys():
        raise DamagedError(f"{place}: {row['state']} is {trial.state.name} by Optuna")
    for epoch, value in values.items():
        if not _is_same(value, known[epoch]):
            raise DamagedError(f"{place}: {objective} {value} is {known[epoch]} by Optuna")
    return row


def _is_same(one: float | None, other: float | None) -> bool:
    """True if two values are equal but for a database's rounding, or both are None or NaN."""
    if one is None or other is None:
        return one is other
    return math.isclose(one, other) or (math.isnan(one) and math.isnan(other))
