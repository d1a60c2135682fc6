"""The averaged mixed model: against dense matrices, and as a t distribution of its estimates."""

from itertools import product

import numpy as np
import pytest
from scipy.integrate import quad
from statsmodels.regression.linear_model import GLS

from scaling_search.answer.fit import LENGTH
from scaling_search.answer.mixed_model import (
    MANY_SEEDS,
    PLACE_SDS,
    SEED_SDS,
    MixedFit,
    fit_mixed,
    half_cauchy,
)
from scaling_search.answer.observations import Indices, Values
from scaling_search.core.space_filling import distances, scheffe
from tests.surfaces import Luck, around, spread_points, trainings

NUMBER = 12
SHARES = spread_points(NUMBER)
KERNELS = (np.eye(NUMBER), np.exp(-distances(SHARES, SHARES) / LENGTH))
FREEDOM = NUMBER - 6


def losses(luck: Luck, *, seed: int = 0) -> tuple[Values, Values, Indices, Indices]:
    """Terms, losses, place and seed of networks with one to three trainings."""
    counts = np.array([1, 2, 3, 2] * 3)
    data = trainings(SHARES, around(0.3, 0.4), luck, num_seeds=counts, seed=seed)
    return scheffe(data.shares)[data.network], data.loss, data.network, data.seed


def dense(terms: Values, response: Values, place: Indices, seed: Indices) -> MixedFit:
    """The same mean with the covariance of all trainings written out, one fit of statsmodels each.

    Effects are best linear predictions, and their errors those of Henderson 1975.
    """
    in_place, in_seed = np.eye(NUMBER)[place], np.eye(seed.max() + 1)[seed]
    num_left, used = len(response) - terms.shape[1], in_seed.mean(axis=0)
    level = np.outer([1, 1, 1, 0, 0, 0], used)  # the three linear terms add up to one
    prior = np.outer(half_cauchy(PLACE_SDS), half_cauchy(SEED_SDS))
    scores, scales, params, covariances, offsets, effects, sizes = ([] for _ in range(7))
    for kernel, (i, sd), (j, seed_sd) in product(
        KERNELS, enumerate(PLACE_SDS), enumerate(SEED_SDS)
    ):
        around_place, around_seed = sd**2 * kernel @ in_place.T, seed_sd**2 * in_seed.T
        sigma = np.eye(len(response)) + in_place @ around_place + in_seed @ around_seed
        fit = GLS(response, terms, sigma=sigma).fit()
        inverse, own = np.linalg.inv(sigma), fit.normalized_cov_params
        left = inverse - inverse @ terms @ own @ terms.T @ inverse
        common = -own @ terms.T @ inverse @ around_seed.T
        of_seeds = seed_sd**2 * np.eye(len(used)) - around_seed @ left @ around_seed.T
        spread = own + common @ level.T + level @ common.T + level @ of_seeds @ level.T
        logs = np.linalg.slogdet(sigma)[1] - np.linalg.slogdet(own)[1]
        scores.append(np.log(prior[i, j]) - (logs + num_left * np.log(fit.scale)) / 2)
        offsets.append(around_seed @ inverse @ fit.resid)
        params.append(fit.params + level @ offsets[-1])
        covariances.append(fit.scale * spread)
        effects.append(around_place @ inverse @ fit.resid)
        scales.append(fit.scale)
        sizes.append(sd * np.sqrt(fit.scale))
    weights = np.exp(np.array(scores) - max(scores))
    weights /= weights.sum()
    mean, expected = weights @ np.array(params), weights @ np.array(offsets)
    apart = np.array(params) - mean
    covariance = np.einsum("r,rij->ij", weights, covariances)
    covariance += np.einsum("r,ri,rj->ij", weights, apart, apart)
    order = np.argsort(sizes)
    return MixedFit(
        estimates=mean,
        covariance=covariance / ((num_left - 2) / num_left * FREEDOM / (FREEDOM - 2)),
        offsets=expected - used @ expected,
        effects=weights @ np.array(effects),
        effect_sd=float(np.array(sizes)[order][(weights[order].cumsum() < 0.5).sum()]),
        residual_variance=float(weights @ np.array(scales)),
    )


@pytest.mark.parametrize(
    "luck",
    [Luck(0.006), Luck(0.006, network_sd=0.012), Luck(0.006, shared=0.9, network_sd=0.003)],
    ids=["no effects", "large effects", "common seeds"],
)
def test_it_is_the_mean_over_all_kernels_and_standard_deviations(luck: Luck) -> None:
    data = losses(luck)
    ours, theirs = fit_mixed(*data, KERNELS, freedom=FREEDOM), dense(*data)
    assert ours.estimates == pytest.approx(theirs.estimates, rel=1e-7)
    assert ours.covariance == pytest.approx(theirs.covariance, rel=1e-5, abs=1e-12)
    assert ours.offsets == pytest.approx(theirs.offsets, rel=1e-5, abs=1e-10)
    assert ours.effects == pytest.approx(theirs.effects, rel=1e-5, abs=1e-10)
    assert ours.effect_sd == pytest.approx(theirs.effect_sd, rel=1e-6)
    assert ours.residual_variance == pytest.approx(theirs.residual_variance, rel=1e-7)


def test_the_prior_is_a_half_cauchy_of_scale_one_half() -> None:
    def density(sd: float) -> float:
        return 2 / (np.pi * 0.5 * (1 + (sd / 0.5) ** 2))

    for sds in (PLACE_SDS, SEED_SDS):
        found, middles = half_cauchy(sds), (sds[1:] + sds[:-1]) / 2
        assert found.sum() == pytest.approx(1)
        for i in (1, len(sds) // 2):
            assert found[i] == pytest.approx(quad(density, middles[i - 1], middles[i])[0])


def test_effects_are_shrunken_and_the_less_the_more_trainings_a_place_has() -> None:
    shares, counts = spread_points(20), np.array([1, 8] * 10)
    network = np.repeat(np.arange(20), counts)
    seed = np.concatenate([np.arange(count) for count in counts])
    stream, terms = np.random.default_rng(0), scheffe(shares)[network]
    response = stream.normal(0, 0.012, 20)[network] + stream.normal(0, 0.012, len(network))
    found = fit_mixed(terms, response, network, seed, (np.eye(20),), freedom=14)
    means = np.bincount(network, weights=response - terms @ found.estimates) / counts
    kept = np.abs(found.effects) / np.abs(means)
    assert (kept < 1.05).all()  # the offsets of seeds move a mean a little
    assert np.median(kept[::2]) < 0.7 < np.median(kept[1::2])


def test_a_constant_and_a_scale_pass_through() -> None:
    terms, response, place, seed = losses(Luck(0.006, network_sd=0.006))
    one = fit_mixed(terms, response, place, seed, KERNELS, freedom=FREEDOM)
    other = fit_mixed(terms, 3 * response + 1, place, seed, KERNELS, freedom=FREEDOM)
    # The three linear terms add up to one.
    assert other.estimates - 3 * one.estimates == pytest.approx([1, 1, 1, 0, 0, 0], abs=1e-9)
    assert other.covariance == pytest.approx(9 * one.covariance, rel=1e-6)
    assert other.effects == pytest.approx(3 * one.effects, rel=1e-6, abs=1e-12)


def test_many_seeds_are_taken_as_they_are() -> None:
    number = MANY_SEEDS + 1
    data = trainings(SHARES, around(0.3, 0.4), Luck(0.006, shared=0.5), num_seeds=number)
    terms = scheffe(data.shares)[data.network]
    found = fit_mixed(terms, data.loss, data.network, data.seed, KERNELS[:1], freedom=FREEDOM)
    plain = GLS(data.loss, np.hstack([terms, np.eye(number)[data.seed][:, 1:]])).fit().params[6:]
    offsets = np.concatenate([[0.0], plain])
    assert found.offsets == pytest.approx(offsets - offsets.mean(), abs=1e-5)
