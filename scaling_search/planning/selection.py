"""Selects networks of a pool that fill the triangle of shares, measured where costs are."""

import math
from collections.abc import Sequence
from dataclasses import replace

from scaling_search.core.space_filling import space_filling_subset
from scaling_search.planning.candidates import CandidatePool, Plan, is_in_band
from scaling_search.planning.scaler import Scaler
from scaling_search.runtime.progress import progress

OVERSAMPLING = 1.5
"""Networks that are measured over those that are wanted, where costs are measured."""


def select(
    scaler: Scaler,
    pool: CandidatePool,
    eligible: Sequence[int],
    max_networks: int | None,
    *,
    target: float,
    tolerance: float,
    is_equal: bool = True,
) -> Plan:
    """Plan networks of a pool that fill the triangle; where costs are measured, measure some.

    Args:
        scaler: The scaler that made the pool.
        pool: The networks.
        eligible: Indices of the networks that may be selected, in their order.
        max_networks: Largest number to select; None for all.
        target: Cost over the base network's.
        tolerance: Half the width of the band around the target, a fraction of it.
        is_equal: True if a measured cost must lie in the band.

    Raises:
        ValueError: A cap leaves none, or no measured cost is in the band.
    """
    budget, width = scaler.budget, tolerance if is_equal else math.inf
    if budget.has_caps:
        indices = progress(eligible, "checking caps", len(eligible))
        eligible = [i for i in indices if budget.admits(pool.candidate(i).architecture, scaler.phi)]
    number = len(eligible) if max_networks is None else max_networks
    if budget.is_measured:
        number = math.ceil(OVERSAMPLING * number)
        likely = [i for i in eligible if abs(pool.ratios[i] / target - 1) <= width]
        eligible = likely if len(likely) >= number else eligible
    chosen = space_filling_subset(pool.shares[eligible], number) if eligible else []
    networks = [pool.candidate(eligible[i]) for i in chosen]
    if budget.is_measured and networks:
        measuring = progress(networks, "measuring networks", len(networks))
        networks = [
            network
            for network in map(scaler.measured, measuring)
            if is_in_band(network, target, width) and budget.measure_admits(network.architecture)
        ]
        shares = [network.shares for network in networks if network.shares is not None]
        chosen = space_filling_subset(shares, max_networks or len(shares)) if shares else []
        networks = [networks[i] for i in chosen]
    if not networks:
        raise ValueError(
            f"caps and candidates.tolerance must leave a network, got none of {len(pool)} that "
            f"have about the target's {budget.cost.column}; raise the caps or widen the tolerance"
        )
    return Plan(
        target=target,
        tolerance=tolerance,
        base=scaler.base(),
        candidates=tuple(replace(one, number=n) for n, one in enumerate(networks, start=1)),
        pool=pool,
        num_points=len(pool),
        num_points_in_band=len(pool),
        column=budget.cost.column,
    )
