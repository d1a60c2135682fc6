"""How large a difference must be for trainings to find it."""

import math

from scipy import optimize, stats


def smallest_difference(
    standard_error: float,
    freedom: int,
    threshold: float | None = None,
    probability: float = 0.8,
) -> float:
    """The smallest true difference that is found, with its sign, so often.

    A difference is found when it is more than ``threshold`` standard errors from 0. Estimated
    over its own standard error it follows a noncentral t.

    Source: Cohen 1988, Section 2.4, with the noncentral t instead of its tables.

    Args:
        standard_error: Of the difference, in its unit; above 0.
        freedom: Degrees of freedom behind the standard error, at least 1.
        threshold: Standard errors that count as found; None for the two-sided 5 % quantile of t.
        probability: How often it shall be found, between 0.05 and 1, both excluded.

    Returns:
        In the unit of the standard error; infinite without degrees of freedom.

    Raises:
        ValueError: The probability is no such number.
    """
    if not 0.05 < probability < 1:
        raise ValueError(
            f"probability must lie between 0.05 and 1, got {probability!r}; write 80 % as 0.8"
        )
    if freedom < 1:
        return math.inf
    limit = float(stats.t.ppf(0.975, freedom)) if threshold is None else threshold

    def excess(shift: float) -> float:
        return float(stats.nct.sf(limit, freedom, shift)) - probability

    largest = 2 * limit + 4
    while excess(largest) < 0:
        largest *= 2
    return standard_error * float(optimize.brentq(excess, 0.0, largest, xtol=1e-6))
