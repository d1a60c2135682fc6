"""Images fetched ahead: the same batches in the same order, from wherever it begins."""

import threading

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from scaling_search.training.feed import AHEAD, Feed

CPU = torch.device("cpu")
PATIENCE_SECONDS = 60


def numbered(number: int) -> Tensor:
    """Images (N, 2, 3, 3) that each hold their own place."""
    places = torch.arange(number, dtype=torch.uint8)
    return places[:, None, None, None].expand(number, 2, 3, 3).contiguous()


def all_of(feed: Feed, num_batches: int, batch_size: int) -> list[list[int]]:
    batches = []
    for _ in range(num_batches):
        batch = torch.full((batch_size, 2, 3, 3), 255, dtype=torch.uint8)
        feed.next(batch)
        assert (batch == batch[:, :1, :1, :1]).all()
        batches.append(batch[:, 0, 0, 0].tolist())
    return batches


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    number=st.integers(1, 40), batch_size=st.integers(1, 12), seed=st.integers(0, 9), data=st.data()
)
def test_batches_are_those_of_the_order_from_wherever_it_begins(
    number: int, batch_size: int, seed: int, data: st.DataObject
) -> None:
    generator = torch.Generator().manual_seed(seed)
    feed = Feed(numbered(number), batch_size, CPU)
    num_batches = number // batch_size
    for _ in range(3):  # epochs, of which each may be left before its end
        order = torch.randperm(number, generator=generator)
        first = data.draw(st.integers(0, num_batches))
        taken = data.draw(st.integers(0, num_batches - first))
        feed.begin(order, first)
        expected = [batch.tolist() for batch in torch.split(order, batch_size)][
            first : first + taken
        ]
        assert all_of(feed, taken, batch_size) == expected
    feed.close()


def test_a_place_may_come_more_than_once() -> None:
    feed = Feed(numbered(3), 2, CPU)
    feed.begin(torch.tensor([2, 2, 0, 2]))
    assert all_of(feed, 2, 2) == [[2, 2], [0, 2]]
    feed.close()


def test_images_are_gathered_before_they_are_asked_for() -> None:
    feed = Feed(numbered(20), 2, CPU)
    feed.begin(torch.arange(20))
    for batch in feed._coming:  # noqa: SLF001 - that it goes ahead shows nowhere else
        batch.result(PATIENCE_SECONDS)
    assert len(feed._coming) == AHEAD  # noqa: SLF001 - as above
    assert all_of(feed, 1, 2) == [[0, 1]]
    feed.close()


def test_what_goes_wrong_in_the_thread_is_told_to_whoever_asks() -> None:
    feed = Feed(numbered(4), 2, CPU)
    feed.begin(torch.tensor([0, 1, 99, 100]))
    assert all_of(feed, 1, 2) == [[0, 1]]
    with pytest.raises((RuntimeError, IndexError), match="index out of range"):
        all_of(feed, 1, 2)
    feed.close()


def test_closing_ends_the_thread() -> None:
    before = set(threading.enumerate())
    feed = Feed(numbered(40), 2, CPU)
    assert set(threading.enumerate()) == before
    feed.begin(torch.arange(40))
    all_of(feed, 3, 2)
    assert len(set(threading.enumerate()) - before) == 1
    feed.close()
    assert set(threading.enumerate()) == before
