"""Selects networks of a pool that fill the triangle of shares, measured where costs are."""

import math
from collections.abc import Sequence
from dataclasses import replace

from scaling_search.core.candidate import Candidate
from scaling_search.core.space_filling import space_filling_subset
from scaling_search.planning.candidates import CandidatePool, is_in_band
from scaling_search.planning.scaler import Scaler
from scaling_search.runtime.progress import progress

OVERSAMPLING = 1.5
"""Where costs are measured, so many times the networks that are wanted are measured."""


def select(
    scaler: Scaler,
    pool: CandidatePool,
    eligible: Sequence[int],
    max_networks: int | None,
    *,
    target: float,
    tolerance: float,
) -> tuple[Candidate, ...]:
    """Select networks that fill the triangle; where costs are measured, measure some of them.

    Args:
        scaler: Made the pool.
        pool: The networks.
        eligible: Indices of the networks that may be selected, in their order.
        max_networks: Largest number to select; None for all.
        target: Cost over the base network's.
        tolerance: Half the width of the band of measured costs, a fraction of the target; infinite
            for any cost.

    Raises:
        ValueError: A cap leaves none, or no measured cost is in the band.
    """
    budget = scaler.budget
    if budget.has_caps:
        indices = progress(eligible, "checking caps", len(eligible))
        eligible = [i for i in indices if budget.admits(pool.candidate(i).architecture, scaler.phi)]
    number = len(eligible) if max_networks is None else max_networks
    if budget.is_measured:
        number = math.ceil(OVERSAMPLING * number)
        likely = [i for i in eligible if abs(pool.ratios[i] / target - 1) <= tolerance]
        eligible = likely if len(likely) >= number else eligible
    chosen = space_filling_subset(pool.shares[eligible], number) if eligible else []
    networks = [pool.candidate(eligible[i]) for i in chosen]
    if budget.is_measured and networks:
        measuring = progress(networks, "measuring networks", len(networks))
        networks = [
            network
            for network in map(scaler.measured, measuring)
            if is_in_band(network, target, tolerance)
            and budget.measure_admits(network.architecture)
        ]
        shares = [network.shares for network in networks if network.shares is not None]
        chosen = space_filling_subset(shares, max_networks or len(shares)) if shares else []
        networks = [networks[i] for i in chosen]
    if not networks:
        raise ValueError(
            f"caps and candidates.tolerance must leave a network, got none of {len(pool)} that "
            f"have about the target's {budget.cost.column}; raise the caps or widen the tolerance"
        )
    return tuple(replace(network, number=n) for n, network in enumerate(networks, start=1))
