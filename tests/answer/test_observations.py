"""What the fit takes of a results table."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from scaling_search.answer.observations import observations
from scaling_search.core.metric import VAL_ACCURACY, VAL_LOSS, Metric
from tests.surfaces import Luck, around, results_of, spread_points, trainings


def table(response: Metric = VAL_LOSS) -> pd.DataFrame:
    luck = Luck(seed_sd=0.01)
    data = trainings(spread_points(8), around(0.3, 0.4), luck, num_seeds=2, response=response)
    return results_of(data)


@pytest.mark.parametrize(("response", "sign"), [(VAL_LOSS, 1.0), (VAL_ACCURACY, -1.0)])
def test_losses_are_small_and_accuracies_negative(response: Metric, sign: float) -> None:
    results = table(response)
    data = observations(results, response=response, target=2.0)
    assert data.sign == sign
    expected = results.loc[results["candidate"] != 0, response.name].to_numpy()
    assert data.loss.tolist() == (sign * expected).tolist()
    assert data.base_loss.tolist() == (sign * results[response.name][:2].to_numpy()).tolist()


def test_every_training_keeps_its_network_and_seed() -> None:
    results = table().sample(frac=1, random_state=0)
    data = observations(results, response=VAL_LOSS, target=2.0)
    scaled = results[results["candidate"] != 0]
    assert data.candidates[data.network].tolist() == scaled["candidate"].tolist()
    assert data.seed.tolist() == scaled["seed"].tolist()
    assert data.shares[data.network, 1].tolist() == scaled["width_share"].tolist()
    assert data.cost_ratio[data.network].tolist() == scaled["cost_ratio"].tolist()
    assert data.counts.tolist() == [2] * 8


def test_failed_trainings_are_left_out_and_counted() -> None:
    results = table()
    results.loc[[0, 2, 3, 4], "state"] = "FAIL"
    results.loc[[0, 2, 3, 4], "val_loss"] = np.nan
    data = observations(results, response=VAL_LOSS, target=2.0)
    assert data.num_failed == 4
    assert len(data.base_loss) == 1
    assert data.candidates.tolist() == [2, 3, 4, 5, 6, 7, 8]
    assert data.counts.tolist() == [1, 2, 2, 2, 2, 2, 2]


def test_networks_within_0_02_are_one_place() -> None:
    data = trainings(spread_points(8), around(0.3, 0.4), Luck(), num_seeds=1)
    twins = data.shares[[2, 5]] @ (0.98 * np.eye(3) + 0.02 / 3)
    apart = data.shares[[2]] @ (0.9 * np.eye(3) + 0.1 / 3)
    more = replace(data, shares=np.vstack([data.shares, twins, apart]))
    assert more.place.tolist() == [*range(8), 2, 5, 8]
    assert (data.num_places, more.num_places) == (8, 9)


def test_an_empty_record_has_no_observations() -> None:
    data = observations(pd.DataFrame(), response=VAL_LOSS, target=2.0)
    assert len(data.candidates) == len(data.loss) == len(data.base_loss) == data.num_failed == 0
    assert data.shares.shape == (0, 3)
    assert data.num_places == 0
