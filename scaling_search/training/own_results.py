"""The result of a training that is not this package's, from the metrics that it gives."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields

from scaling_search.core.trial import OwnScores, Trial, TrialResult

TABLE_COLUMNS = {
    *("network", "seed", "epoch", "epochs", "learning_rate", "expected", "order", "left_out"),
    *("in_region", "num_seeds", "num_failed", "finished", "version", "commit", "metrics"),
    *("objective", "test_losses", "test_hits", "size", "point", "phi", "family", "distance"),
}
"""Columns of tables that a metric cannot have, besides those of networks and of trainings."""


def own_result(
    trial: Trial,
    metrics: object,
    curve: Sequence[Mapping[str, float]] = (),
    *,
    source: str = "training.function",
) -> TrialResult:
    """The result of a training by the metrics that its own code gave; a failure is a result too.

    Args:
        trial: The training.
        metrics: Values by name, the objective among them; a value is a number or has ``item()``.
        curve: Points that were reported, each with its ``epoch``.
        source: What gave them, as messages name it.
    """
    try:
        scores = checked_metrics(trial, metrics, source)
        _check_objective(trial.objective.name, scores, source)
    except (ValueError, FloatingPointError) as error:
        reason = f"{type(error).__name__}: {error}"
        return TrialResult(trial, "FAIL", reason=reason, own=OwnScores({}, tuple(curve)))
    return TrialResult(trial, "COMPLETE", own=OwnScores(scores, tuple(curve)))


def checked_metrics(trial: Trial, metrics: object, source: str) -> dict[str, float]:
    """Metrics as plain numbers.

    Raises:
        ValueError: They are no mapping of names to numbers.
        FloatingPointError: A number is not finite.
    """
    if not isinstance(metrics, Mapping):
        raise ValueError(  # noqa: TRY004  # it becomes a row, as every failure
            f"{source} must return a dict of metrics, got {type(metrics).__name__}; return for "
            f"instance {{{trial.objective.name!r}: 0.5}}"
        )
    names = [checked_name(name, trial, source) for name in metrics]
    return {name: _number(name, metrics[name], source) for name in names}


def usable_metrics(trial: Trial, values: Mapping[str, object]) -> dict[str, object]:
    """The objective and all other entries that can be metrics, out of what a program printed."""
    return {name: values[name] for name in values if _is_usable(trial, name, values[name])}


def _is_usable(trial: Trial, name: object, value: object) -> bool:
    if name == trial.objective.name:
        return True  # whatever it is, which is then said
    try:
        checked_name(name, trial, "")
        _number(name, value, "")
    except (ValueError, FloatingPointError):
        return False
    return True


def _check_objective(objective: str, scores: Mapping[str, float], source: str) -> None:
    if objective not in scores:
        raise ValueError(
            f"{source} must return {objective!r}, the objective, got "
            f"{', '.join(map(repr, scores)) or 'nothing'}; add it or change objective"
        )


def checked_name(name: object, trial: Trial, source: str) -> str:
    """The name of a metric.

    Raises:
        ValueError: It is no name, or that of another column of the tables.
    """
    columns = {*trial.candidate.row(), *(field.name for field in fields(TrialResult))}
    if not isinstance(name, str) or not name.isidentifier() or name in columns | TABLE_COLUMNS:
        raise ValueError(
            f"{source} must name a metric by letters, digits and _ and by no column of the tables, "
            f"got {name!r}; give it another name"
        )
    return name


def _number(name: object, value: object, source: str) -> float:
    item = getattr(value, "item", None)
    if callable(item):
        try:
            value = item()  # of a tensor or array with one element
        except (RuntimeError, ValueError):
            value = f"{type(value).__name__} of several elements"
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(  # noqa: TRY004  # as above
            f"{source} must give a number for {name!r}, got {str(value)[:80]!r}; return a float"
        )
    if not math.isfinite(value):
        raise FloatingPointError(
            f"{source} must give a finite number for {name!r}, got {value}; the training diverged"
        )
    return float(value)
