"""Selects networks of a pool that fill the triangle of shares, measured where costs are."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

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

    The first network of a place is the one that fills the triangle best: always the nearest to the
    target's cost would leave fewer places and larger holes (51 instead of 53, and 0.182 instead of
    0.167, of the default network). The second one is the nearest in cost.

    Args:
        scaler: The scaler that made the pool.
        pool: The networks.
        eligible: Indices of the networks that may be selected, in their order.
        max_networks: Largest number to select; None for one of each place.
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
    off = np.abs(pool.ratios[eligible] / target - 1)
    eligible = [eligible[i] for i in np.argsort(off, kind="stable")]
    chosen = space_filling_subset(pool.shares[eligible], max_networks)
    if budget.is_measured:
        number = math.ceil(OVERSAMPLING * len(chosen))
        num_likely = int((off <= width).sum())
        eligible = eligible[:num_likely] if num_likely >= number else eligible
        chosen = space_filling_subset(pool.shares[eligible], number)
    networks = [pool.candidate(eligible[i]) for i in chosen]
    if budget.is_measured:
        measuring = progress(networks, "measuring networks", len(networks))
        networks = [
            network
            for network in map(scaler.measured, measuring)
            if is_in_band(network, target, width) and budget.measure_admits(network.architecture)
        ]
        networks.sort(key=lambda network: abs(network.cost_ratio / target - 1))
        shares = [network.shares for network in networks if network.shares is not None]
        networks = [networks[i] for i in space_filling_subset(shares, max_networks)]
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
