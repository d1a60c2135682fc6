"""A linear model with random seeds and places, averaged over the variances of these."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scaling_search.answer.observations import Indices, Values


def half_cauchy(sds: Values) -> Values:
    """Probability of each standard deviation before any loss: a half-Cauchy of scale 0.5.

    Source: Gelman 2006, Section 3.2, for the scale of effects with few groups. In the recorded
    searches effects of networks have 0.4 times the standard deviation of a seed.
    """
    edges = np.concatenate([[0.0], (sds[1:] + sds[:-1]) / 2, [np.inf]])
    probability: Values = np.diff(np.arctan(edges / 0.5)) * 2 / np.pi
    return probability


PLACE_SDS = np.concatenate([[0.0], np.geomspace(0.05, 100, 32)])
"""Standard deviations of the effects of places over the residual one."""

SEED_SDS = np.geomspace(0.05, 10, 7)
"""The same of the offsets of seeds."""

FIXED_SD = 1e3
"""Standard deviation that leaves offsets as they are."""

MANY_SEEDS = 60
"""With more seeds their offsets are known well enough, and averaging would take long."""


@dataclass(frozen=True, eq=False)
class MixedFit:
    """A fitted mixed model: means over all variances and kernels, by their probability.

    Attributes:
        estimates: Coefficients of the terms at the mean of the trainings' seeds, (columns,).
        covariance: Scale of their t distribution with the given degrees of freedom, (columns,
            columns): a little less than their covariance, which counts the tails too.
        offsets: Expected offset of each seed from their mean, (seeds,).
        effects: Expected effect of each place, (places,).
        effect_sd: Median standard deviation of the effects.
        residual_variance: Variance of a training, after terms, seed and place.
    """

    estimates: Values
    covariance: Values
    offsets: Values
    effects: Values
    effect_sd: float
    residual_variance: float


def fit_mixed(
    terms: Values,
    response: Values,
    place: Indices,
    seed: Indices,
    kernels: Sequence[Values],
    *,
    freedom: int,
) -> MixedFit:
    """Fits a linear model with random effects of places and of seeds by averaging.

    Generalised least squares for each kernel, all equally probable before, and each standard
    deviation of places and of seeds. Those are weighted by their restricted likelihood, which is
    the marginal likelihood under a flat prior of the coefficients (Harville 1974). The covariance
    is the mean of theirs, and that of their estimates: a variance estimated as 0 by luck makes
    nothing look certain (model averaging: Hoeting et al. 1999, equations 1 to 3). What is estimated
    so is a mixture of t distributions; one with the same covariance stands for it.

    Args:
        terms: Of full rank, some of which add up to a constant, (trainings, columns).
        response: (trainings,).
        place: Place of each training, all from 0 on, (trainings,).
        seed: Seed of each training, all from 0 on, (trainings,).
        kernels: Correlations of the effects of places, (places, places) each.
        freedom: Degrees of freedom of the intervals: places less coefficients.
    """
    num_terms, num_seeds = terms.shape[1], int(seed.max()) + 1
    first = np.linalg.lstsq(terms, response, rcond=None)[0]
    left = response - terms @ first  # small numbers: sums of squares lose no digits
    design = np.hstack([terms, np.eye(num_seeds)[seed]])
    num_left = max(1, len(design) - num_terms)
    information, moment, square = design.T @ design, design.T @ left, float(left @ left)
    # Rounding leaves this much of a response without noise; less would be read as certainty.
    smallest = (16 * np.finfo(float).eps * float(np.abs(response).max())) ** 2
    counts = np.bincount(place)
    sums = np.zeros((len(counts), design.shape[1]))
    np.add.at(sums, place, design)
    totals = np.bincount(place, weights=left)
    ratios = PLACE_SDS**2
    seed_sds = np.array([FIXED_SD]) if num_seeds > MANY_SEEDS else SEED_SDS
    is_seed = np.arange(design.shape[1]) >= num_terms
    # The seeds used are the base network's too: that others may be luckier is no doubt here.
    constant = np.linalg.lstsq(terms, np.ones(len(terms)), rcond=None)[0]
    used = np.bincount(seed) / len(seed)
    level = np.hstack([np.eye(num_terms), np.outer(constant, used)])
    parts = []
    for kernel in kernels:
        values, vectors = np.linalg.eigh(kernel)
        root = vectors * np.sqrt(values.clip(0))
        values, vectors = np.linalg.eigh(root.T * counts @ root)
        root = root @ vectors
        rows, sides = root.T @ sums, root.T @ totals
        grown = 1 + np.outer(ratios, values.clip(0))
        pulls = ratios[:, None] / grown
        plain = information - np.einsum("ra,ai,aj->rij", pulls, rows, rows)
        ends = moment - (pulls * sides) @ rows
        for sd, probability in zip(seed_sds, half_cauchy(seed_sds), strict=True):
            wholes = plain + np.diag(is_seed / sd**2)
            inverses = np.linalg.inv(wholes)
            steps = np.einsum("rij,rj->ri", inverses, ends)
            squares = square - (pulls * sides) @ sides - (steps * ends).sum(axis=1)
            variance = np.maximum(squares / num_left, smallest)
            logs = np.log(grown).sum(axis=1) + np.linalg.slogdet(wholes)[1]
            logs += 2 * num_seeds * np.log(sd) + num_left * np.log(variance)
            scores = np.log(half_cauchy(PLACE_SDS) * probability) - logs / 2
            spreads = variance[:, None, None] * (level @ inverses @ level.T)
            effects = (pulls * (sides - steps @ rows.T)) @ root.T
            offsets = steps[:, num_terms:]
            parts.append((scores, variance, steps @ level.T, offsets, spreads, effects))
    score, variance, steps, offsets, spreads, effects = (
        np.concatenate(each) for each in zip(*parts, strict=True)
    )
    weights = np.exp(score - score.max())
    weights /= weights.sum()
    mean, expected = weights @ steps, weights @ offsets
    apart = (steps - mean) * np.sqrt(weights)[:, None]
    spread = np.einsum("r,rij->ij", weights, spreads)
    sizes = np.tile(PLACE_SDS, len(parts)) * np.sqrt(variance)
    order = sizes.argsort()
    median = int(np.searchsorted(weights[order].cumsum(), 0.5))
    # A t distribution has freedom / (freedom - 2) times the variance of its scale.
    heavy = max(freedom, 4)
    tails = max(1, num_left - 2) / num_left * heavy / (heavy - 2)
    return MixedFit(
        estimates=first + mean,
        covariance=(spread + apart.T @ apart) / tails,
        offsets=expected - used @ expected,
        effects=weights @ effects,
        effect_sd=float(sizes[order][median]),
        residual_variance=float(weights @ variance),
    )
