"""Captured work: run, captured, replayed, each with random numbers of its own.

Without a device torch's own graphs and generators cannot be had. Stand-ins for them take part in
the tests here; those marked ``gpu`` in test_steps.py and test_evaluation.py use the real ones.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from scaling_search.training import cuda_graphs
from scaling_search.training.cuda_graphs import (
    NUM_WARM_UP,
    CapturedWork,
    CaptureError,
    capturable_stream,
)

CUDA = torch.device("cuda:0")


@dataclass
class State:
    """A seed and how many numbers were drawn."""

    seed: int
    offset: int = 0


@dataclass
class Generator:
    """A stand-in for a generator of CUDA: a name for a state that others may have too."""

    state: State

    def clone_state(self) -> Generator:
        return Generator(State(self.state.seed, self.state.offset))

    def graphsafe_get_state(self) -> Generator:
        return Generator(self.state)

    def graphsafe_set_state(self, other: Generator) -> None:
        self.state = other.state


@dataclass(eq=False)
class Stream:
    """A stream that remembers whom it waited for."""

    waited_for: list[Stream] = field(default_factory=list)

    def wait_stream(self, other: Stream) -> None:
        self.waited_for.append(other)


class Machine:
    """A device that logs what it is given."""

    def __init__(self) -> None:
        self.generator = Generator(State(7))
        self.default_stream = Stream()
        self.stream = self.default_stream
        self.is_capturing = False
        self.log: list[str] = []
        self.end_error: Exception | None = None
        """Raised by the end of a recording, where there is one."""

    @contextlib.contextmanager
    def graph(self, graph: Any, *, stream: Stream, capture_error_mode: str) -> Iterator[None]:
        assert stream is not self.default_stream, "the default stream cannot be recorded"
        assert capture_error_mode == "thread_local"
        graph.offset = self.generator.state
        self.is_capturing = True
        try:
            yield
        finally:
            self.is_capturing = False
            if self.end_error is not None:
                raise self.end_error

    @contextlib.contextmanager
    def on(self, stream: Stream) -> Iterator[None]:
        before, self.stream = self.stream, stream
        yield
        self.stream = before

    def work(self) -> None:
        self.log.append("capture" if self.is_capturing else "work")
        if not self.is_capturing:
            self.generator.state.offset += 1


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    one = Machine()
    # Streams are kept as long as the process lives: none may be a stand-in.
    monkeypatch.setattr(cuda_graphs, "_stream", functools.cache(lambda _: Stream()))

    def graph() -> SimpleNamespace:
        return SimpleNamespace(replay=lambda: one.log.append("replay"))

    stand_ins: dict[str, Any] = {
        "default_generators": (one.generator,),
        "CUDAGraph": graph,
        "graph": one.graph,
        "stream": one.on,
        "device": lambda _: contextlib.nullcontext(),
        "current_stream": lambda _: one.stream,
        "default_stream": lambda _: one.default_stream,
    }
    for name, stand_in in stand_ins.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    return one


def test_work_is_done_then_recorded_once_and_replayed(machine: Machine) -> None:
    recorded = CapturedWork(CUDA)
    for _ in range(NUM_WARM_UP + 3):
        recorded.run(machine.work)
    # Recording does nothing: the first replay is what it was recorded for.
    assert machine.log == ["work"] * NUM_WARM_UP + ["capture"] + ["replay"] * 3
    assert recorded.num_captures == 1


def test_work_is_only_done_where_that_is_wanted(machine: Machine) -> None:
    recorded = CapturedWork(CUDA, is_wanted=False)
    for _ in range(NUM_WARM_UP + 3):
        recorded.run(machine.work)
    assert machine.log == ["work"] * (NUM_WARM_UP + 3)
    assert recorded.num_captures == 0


def test_each_draws_from_a_state_of_its_own(machine: Machine) -> None:
    seen = []

    def work() -> None:
        seen.append(machine.generator.state)
        machine.work()

    device_state = machine.generator.state
    first, second = CapturedWork(CUDA), CapturedWork(CUDA)
    for _ in range(NUM_WARM_UP + 1):
        first.run(work)
        second.run(work)
    mine, theirs = seen[::2], seen[1::2]
    assert len({id(state) for state in mine}) == len({id(state) for state in theirs}) == 1
    assert mine[0] is not theirs[0]
    assert (mine[0].offset, theirs[0].offset) == (NUM_WARM_UP, NUM_WARM_UP)
    # The device's own is there again and was never drawn from.
    assert machine.generator.state is device_state
    assert device_state.offset == 0


@pytest.mark.parametrize("fails_at", [1, NUM_WARM_UP + 1])
def test_the_random_state_is_put_back_where_work_fails(machine: Machine, fails_at: int) -> None:
    before = machine.generator.state
    recorded = CapturedWork(CUDA)
    for _ in range(fails_at - 1):
        recorded.run(machine.work)

    def work() -> None:
        raise RuntimeError("CUDA error: operation not permitted when stream is capturing")

    with pytest.raises(RuntimeError):
        recorded.run(work)
    assert machine.generator.state is before


def test_work_that_cannot_be_recorded_is_refused_with_a_remedy(machine: Machine) -> None:
    recorded = CapturedWork(CUDA, warm_up=0, remedy="; do without")

    def work() -> None:
        raise RuntimeError("the host was waited for\nand a second line")

    machine.end_error = RuntimeError("the recording is invalid")
    with pytest.raises(CaptureError, match=r"CUDA graph, got: the host was waited for; do with"):
        recorded.run(work)
    machine.end_error = RuntimeError("the recording is invalid")
    with pytest.raises(CaptureError, match=r"CUDA graph, got: the recording is invalid; do wit"):
        recorded.run(machine.work)
    assert recorded.num_captures == 0


def test_memory_that_is_short_while_recording_is_nothing_but_that(machine: Machine) -> None:
    def work() -> None:
        raise torch.OutOfMemoryError("no memory")

    with pytest.raises(torch.OutOfMemoryError):
        CapturedWork(CUDA, warm_up=0).run(work)
    machine.end_error = RuntimeError("the recording is invalid")
    with pytest.raises(CaptureError) as caught:
        CapturedWork(CUDA, warm_up=0).run(work)
    cause = caught.value.__cause__
    assert cause is not None
    assert isinstance(cause.__context__, torch.OutOfMemoryError)


def test_a_device_has_one_stream_aside(machine: Machine) -> None:
    with capturable_stream(CUDA):
        first = machine.stream
        with capturable_stream(CUDA):
            assert machine.stream is first
    assert machine.stream is machine.default_stream
    with capturable_stream(CUDA):
        assert machine.stream is first
    assert first is not machine.default_stream
    # Each waits for the other where one takes over.
    assert first.waited_for == [machine.default_stream] * 2
    assert machine.default_stream.waited_for == [first] * 2


def test_another_stream_that_is_current_stays(machine: Machine) -> None:
    own = Stream()
    with machine.on(own), capturable_stream(CUDA):
        assert machine.stream is own
    assert own.waited_for == []


def test_on_a_cpu_work_is_done() -> None:
    done = []
    recorded = CapturedWork(torch.device("cpu"), warm_up=0)
    for number in range(3):
        recorded.run(lambda number=number: done.append(number))  # type: ignore[misc]  # a default
    assert done == [0, 1, 2]
    assert recorded.num_captures == 0
    assert recorded.random_state() is None
