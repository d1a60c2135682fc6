"""Evaluation: the same scores however many images at a time, and wherever they lie."""

import gc
import weakref

import pytest
import torch
from torch import nn

from scaling_search.training.batches import Loaded, load
from scaling_search.training.evaluation import Evaluation
from tests.tiny import tiny_dataset, tiny_network, tiny_recipe

gpu = pytest.mark.gpu


def network(device: str = "cpu") -> nn.Module:
    torch.manual_seed(1)
    return tiny_network().build().to(device)


def data_on(device: str = "cpu") -> Loaded:
    return load(tiny_dataset(), 8, device)


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """No device holds any images, so that all are fetched."""
    monkeypatch.setattr(Loaded, "holds", lambda *_: False)


@pytest.mark.parametrize("at_once", [1, 7, 25, 50, 500])
def test_scores_are_those_of_all_images_at_a_time(
    at_once: int, request: pytest.FixtureRequest
) -> None:
    data, built = data_on(), network()
    expected = Evaluation(built, data, tiny_recipe()).scores(data.splits.val)
    some = Evaluation(built, data, tiny_recipe(), at_once=at_once).scores(data.splits.val)
    # Sums of 50 floats in another order, of which each has seven digits.
    assert some[0] == pytest.approx(expected[0], rel=1e-6)
    assert some[1] == expected[1]
    request.getfixturevalue("elsewhere")
    fetched = Evaluation(built, data, tiny_recipe(), at_once=at_once)
    # Twice: what one split left in the buffer is no part of the next.
    for split, known in ((data.splits.val, some), (data.splits.val, some)):
        assert fetched.scores(split)[0] == pytest.approx(known[0], rel=1e-6)
        assert fetched.scores(split)[1] == known[1]


@pytest.mark.usefixtures("elsewhere")
def test_each_fetched_image_has_its_own_loss() -> None:
    data, built = data_on(), network()
    test = data.splits.test
    scores = Evaluation(built, data, tiny_recipe(), at_once=30).test_scores(test)
    with torch.inference_mode():
        logits = built.eval()(data.normalised(test.images))
    losses = nn.functional.cross_entropy(logits, test.labels, reduction="none").double()
    assert len(scores.losses) == len(test.labels)
    assert scores.losses == pytest.approx(losses.numpy(), rel=2e-3)  # ten bits each
    assert (scores.hits == (logits.argmax(1) == test.labels).numpy()).all()


def test_evaluating_keeps_no_network() -> None:
    data, built = data_on(), network()
    evaluation = Evaluation(built, data, tiny_recipe())
    evaluation.scores(data.splits.val)
    gone = weakref.ref(built)
    gc.disable()
    try:
        del evaluation, built
        assert gone() is None
    finally:
        gc.enable()


@gpu
def test_a_recorded_batch_scores_as_it_does_step_by_step() -> None:
    data, built = data_on("cuda:0"), network("cuda:0")
    val, test = data.splits.val, data.splits.test
    plain = Evaluation(
        built, data, tiny_recipe(cuda_graph=False, mixed_precision=False), at_once=20
    )
    recorded = Evaluation(built, data, tiny_recipe(mixed_precision=False), at_once=20)
    assert recorded.scores(val) == pytest.approx(plain.scores(val), rel=1e-4)
    assert recorded.num_captures == 1
    assert plain.num_captures == 0
    # Weights change in place, as steps change them.
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.mul_(1.1)
    assert recorded.scores(val) == pytest.approx(plain.scores(val), rel=1e-4)
    expected = plain.test_scores(test)
    assert recorded.test_scores(test).loss == pytest.approx(expected.loss, rel=1e-4)
    assert recorded.test_scores(test).accuracy == expected.accuracy
    assert recorded.num_captures == 1


@gpu
def test_fetched_images_score_as_those_on_the_device() -> None:
    built = network("cuda:0")
    held, host = data_on("cuda:0"), data_on("cpu")
    splits = host.splits
    recipe = tiny_recipe(mixed_precision=False)
    expected = Evaluation(built, held, recipe, at_once=20).scores(held.splits.val)
    apart = type(splits)(
        *(
            type(split)(split.images, split.labels.to("cuda:0"))
            for split in (splits.train, splits.val, splits.test)
        )
    )
    fetched = Evaluation(built, Loaded(apart, held.mean, held.std), recipe, at_once=20)
    for _ in range(3):
        assert fetched.scores(apart.val) == expected
