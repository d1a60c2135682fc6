"""What holds for every executor, and what worker processes add: they stay, and get lost."""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import active_children
from pathlib import Path
from pickle import PicklingError
from typing import Any

import pytest

from scaling_search.core.protocols import Executor
from scaling_search.core.trial import Trial
from scaling_search.executors.inline import Inline
from scaling_search.executors.processes import (
    TRIED,
    Processes,
    middle,
    most_productive,
    numbers_to_try,
    rates,
    trainings_an_hour,
)
from scaling_search.executors.ray import Ray
from scaling_search.runtime.cores import usable_cores
from scaling_search.training.engine import train_trial
from scaling_search.training.timing import Timing
from tests.composed import CONF, part
from tests.faults import Faulty, Hungry
from tests.tiny import tiny_trial

PATIENCE_SECONDS = 120
"""For a process to start or to end; they take a few seconds, on a machine that is busy more."""

needs_processes = pytest.mark.slow


def processes(device: str = "cpu", **changes: Any) -> Processes:
    """One worker, unless told otherwise."""
    return Processes(device=device, **{"workers_per_device": 1, "retries": 0} | changes)


def on_ray() -> Ray:
    """One worker with all cores of this machine."""
    return Ray(device="cpu", cpus_per_training=float(usable_cores()), retries=0)


def faulty(fault: str, pipe: Path | str = "") -> Trial:
    return replace(tiny_trial(), dataset=Faulty(fault, str(pipe)))  # type: ignore[arg-type]  # a literal


def divided(number: int, device: str) -> tuple[float, str]:
    return 1 / number, device


def unsendable(number: int, _device: str) -> None:
    class LocalError(Exception):
        """An error of a class that no other process finds."""

    raise LocalError(number)


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(Inline(device="cpu", retries=0), id="inline"),
        pytest.param(processes(), id="processes", marks=needs_processes),
        pytest.param(on_ray(), id="ray", marks=needs_processes),
    ],
)
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    """An executor of one slot, entered; its worker stays warm from test to test."""
    before = active_children(), environment()
    with request.param as entered:
        yield entered
    assert (active_children(), environment()) == before


def environment() -> dict[str, str]:
    """What a Ray that is started later would read."""
    return {name: value for name, value in os.environ.items() if name.startswith("RAY_")}


def test_a_result_is_the_one_of_train_trial(executor: Executor) -> None:
    trial = tiny_trial(1, seed=2)
    expected = train_trial(trial, "cpu")
    result = executor.submit(trial).result(PATIENCE_SECONDS)
    assert result.trial == trial
    assert result.curve == expected.curve  # the same bits, spawned or not
    assert (result.state, result.device) == ("COMPLETE", "cpu")


def test_a_running_training_tells_its_epochs(executor: Executor, tmp_path: Path) -> None:
    trial = replace(tiny_trial(1), told=tmp_path / "epochs")
    executor.submit(trial).result(PATIENCE_SECONDS)
    assert 0 < float((tmp_path / "epochs").read_text()) <= trial.recipe.epochs


def test_a_training_that_raises_is_a_result(executor: Executor) -> None:
    result = executor.submit(faulty("raise")).result(PATIENCE_SECONDS)
    assert result.state == "FAIL"
    assert result.reason.startswith("RuntimeError: loaded by process ")
    assert "in load" in result.traceback


@needs_processes
def test_a_worker_whose_device_fails_is_replaced_before_the_next_training() -> None:
    with processes() as executor:
        asked = [executor.submit(trial) for trial in (faulty("break"), faulty("raise"))]
        asked += [executor.submit(tiny_trial(seed=seed)) for seed in range(2)]
        broken, other, *fine = (future.result(PATIENCE_SECONDS) for future in asked)
    assert (broken.state, broken.needs_new_process) == ("FAIL", True)
    failure, process = broken.reason.rsplit(" ", 1)
    assert failure.startswith("RuntimeError: CUDA error: an illegal memory access")
    assert "in load" in broken.traceback
    assert other.reason.startswith("RuntimeError: loaded by process ")
    assert other.reason.rsplit(" ", 1)[1] != process
    assert [result.state for result in fine] == ["COMPLETE", "COMPLETE"]


def test_inline_refuses_further_trainings_once_its_device_has_failed() -> None:
    with Inline(device="cpu", retries=1) as executor:
        broken = executor.submit(faulty("break")).result()
        assert broken.state == "FAIL"
        for submit in (executor.submit, partial(executor.call, train_trial)):
            with pytest.raises(RuntimeError, match=r"^cpu must be usable, got .* the same command"):
                submit(tiny_trial())


def test_a_function_is_called_with_its_argument_and_the_device(executor: Executor) -> None:
    assert executor.call(divided, 7).result(PATIENCE_SECONDS) == (1 / 7, "cpu")


def test_what_a_function_raises_is_the_futures(executor: Executor) -> None:
    failed = executor.call(divided, 0)
    assert isinstance(failed.exception(PATIENCE_SECONDS), ZeroDivisionError)
    assert executor.call(divided, 2).result(PATIENCE_SECONDS) == (0.5, "cpu")


def test_on_a_cpu_nothing_is_measured_beforehand(executor: Executor) -> None:
    executor.prepare([tiny_trial()])
    assert executor.slots == 1


def test_the_process_of_a_slot_stays(executor: Executor) -> None:
    reasons = {executor.submit(faulty("raise")).result(PATIENCE_SECONDS).reason for _ in range(2)}
    assert len(reasons) == 1
    own = f"RuntimeError: loaded by process {os.getpid()}"
    assert (reasons == {own}) == isinstance(executor, Inline)


def test_a_device_that_is_there_passes(executor: Executor) -> None:
    executor.check()


def test_the_slots_are_those_that_were_asked_for(executor: Executor) -> None:
    assert executor.slots == 1


@pytest.mark.parametrize("name", sorted(path.stem for path in (CONF / "executor").glob("*.yaml")))
def test_every_yaml_builds_an_executor_and_starts_nothing(name: str) -> None:
    before = active_children()
    assert isinstance(part("executor", name), Executor)
    assert active_children() == before


@pytest.mark.parametrize(
    "executor",
    [
        Inline(device="cuda:99", retries=0),
        processes(device="cuda:99", workers_per_device="auto"),
    ],
    ids=["inline", "processes"],
)
def test_a_missing_device_is_named_when_it_is_asked_for_and_not_before(executor: Executor) -> None:
    # A report of what a GPU trained must be possible elsewhere.
    assert isinstance(executor, Executor)
    with pytest.raises(ValueError, match="must be on this machine, got 'cuda:99'"):
        executor.check()


def test_workers_are_as_many_as_asked_for_and_start_with_their_first_training() -> None:
    before = active_children()
    with processes(workers_per_device=3) as executor:
        assert executor.slots == 3
    with processes(workers_per_device="auto") as executor:
        assert executor.slots == usable_cores()
        assert active_children() == before


@pytest.mark.parametrize(
    ("rates", "number"),
    [
        ([], 1),
        ([(1, 100.0)], 1),
        ([(1, 100.0), (2, 104.0), (4, 400.0)], 1),
        ([(1, 100.0), (2, 180.0), (4, 186.0), (8, 400.0)], 2),
        ([(1, 100.0), (2, 105.0), (4, 111.0), (8, 117.0)], 8),
        ([(1, 100.0), (2, 200.0), (4, 150.0)], 2),
    ],
)
def test_workers_are_added_for_as_long_as_they_are_worth_it(
    rates: list[tuple[int, float]], number: int
) -> None:
    assert most_productive(rates) == number


def test_no_more_is_measured_than_the_choice_takes() -> None:
    rates = iter([(1, 100.0), (2, 101.0), (4, 200.0)])
    assert most_productive(rates) == 1
    assert next(rates) == (4, 200.0)


def test_every_worker_that_is_tried_has_a_core() -> None:
    assert numbers_to_try(16, 1) == [1, 2, 4, 8]
    assert numbers_to_try(16, 4) == [1, 2, 4]
    assert numbers_to_try(4, 8) == [1]


def timing(trial: Trial, *, start: float, step: float, evaluation: float) -> Timing:
    return Timing(trial, start, step, evaluation, 5, 20 / step, "cpu")


def test_trainings_an_hour_are_whole_ones() -> None:
    # By hand: two epochs of five steps, an evaluation after each.
    one = timing(tiny_trial(1), start=10.0, step=1.0, evaluation=5.0)
    assert trainings_an_hour([one]) == pytest.approx(3600 / (10 + 10 + 2 * 5))
    assert trainings_an_hour([one, one]) == pytest.approx(2 * 3600 / 30)
    slower = timing(tiny_trial(1), start=10.0, step=1.0, evaluation=20.0)
    assert trainings_an_hour([one, slower]) == pytest.approx(3600 / 30 + 3600 / 60)


def test_a_larger_network_counts_for_as_much_more() -> None:
    small, large = (
        timing(tiny_trial(number), start=0.0, step=1.0, evaluation=1.0) for number in (0, 1)
    )
    more = large.trial.candidate.flops / small.trial.candidate.flops
    assert more > 1.5
    assert trainings_an_hour([small, large]) == pytest.approx(
        (1 + more) * trainings_an_hour([small])
    )


def test_workers_are_timed_with_different_networks_in_the_middle() -> None:
    trials = [tiny_trial(number, seed=seed) for seed in range(2) for number in range(4)]
    in_order = sorted({t.candidate.activations: t for t in trials[:4]}.items())
    assert [t.candidate.activations for t in middle(trials, 1)] == [in_order[2][0]]
    for number in (2, 3):
        chosen = [t.candidate.activations for t in middle(trials, number)]
        assert chosen == [in_order[place][0] for place in (2, 1, 3)[:number]]
    assert len({t.candidate.network for t in middle(trials, 8)}) == 4
    assert len(middle(trials, 8)) == 8


@needs_processes
def test_rates_of_workers_are_measured_and_told_in_trainings_an_hour(
    caplog: pytest.LogCaptureFixture,
) -> None:
    before = active_children()
    caplog.set_level("INFO")
    measured = rates([tiny_trial(number) for number in range(4)], "cpu", [1, 2])
    number, rate = next(measured)
    assert number == 1
    assert rate > 0
    assert caplog.messages == [f"1 workers on cpu: {rate:.0f} trainings an hour together"]
    assert [number for number, _ in measured] == [2]
    assert active_children() == before


@needs_processes
def test_a_number_of_workers_that_fails_ends_the_measurement(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    assert list(rates([faulty("raise")], "cpu", [1])) == []
    assert caplog.messages[0].startswith("1 workers on cpu: loaded by process ")


@pytest.mark.gpu
def test_on_a_gpu_the_number_is_measured_once_and_no_process_stays() -> None:
    before = active_children()
    with processes(device="cuda:0", workers_per_device="auto") as executor:
        executor.prepare([tiny_trial(number) for number in range(4)])
        assert executor.slots in TRIED
        assert active_children() == before
        results = [executor.submit(tiny_trial(seed=seed)) for seed in range(executor.slots)]
        assert {result.result(PATIENCE_SECONDS).state for result in results} == {"COMPLETE"}
        assert executor.device_share == 1 / executor.slots
    assert active_children() == before


@pytest.mark.gpu
def test_a_network_that_cannot_be_recorded_fails_alone_and_says_what_helps() -> None:
    trial = tiny_trial()
    waiting = replace(
        trial, candidate=replace(trial.candidate, architecture=Hungry(20, waits=True))
    )
    unrecorded = replace(waiting, recipe=replace(waiting.recipe, cuda_graph=False))
    with processes(device="cuda:0") as executor:
        failed, fine, stepwise = (
            executor.submit(one).result(PATIENCE_SECONDS) for one in (waiting, trial, unrecorded)
        )
    assert failed.reason.startswith("CaptureError: the network must be recordable")
    assert failed.reason.endswith("recipe.cuda_graph=false takes each step as it is written")
    assert [fine.state, stepwise.state] == ["COMPLETE", "COMPLETE"], stepwise.traceback


@dataclass(frozen=True)
class Pipe:
    """A named pipe to a process that hangs; says when that is there and when it is gone."""

    path: Path
    end: int

    def read(self) -> bytes:
        """What the process writes next; nothing once it has ended."""
        is_readable, _, _ = select.select([self.end], [], [], PATIENCE_SECONDS)
        assert is_readable, "neither a word nor an end in time"
        return os.read(self.end, 100)


@pytest.fixture
def pipe(tmp_path: Path) -> Iterator[Pipe]:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    # Opening does not wait for the other end, which may never come.
    end = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    yield Pipe(path, end)
    os.close(end)


@needs_processes
def test_a_killed_worker_ends_its_own_training_only(pipe: Pipe) -> None:
    with processes(workers_per_device=2) as executor:
        other = executor.submit(faulty("hang", pipe.path))
        killed = executor.submit(faulty("kill"))
        later = executor.submit(tiny_trial())
        assert int(pipe.read()) > 0
        assert killed.exception(PATIENCE_SECONDS) is not None
        assert later.result(PATIENCE_SECONDS).state == "COMPLETE"
        assert not other.done()


@needs_processes
def test_a_broken_device_ends_no_training_of_another_worker(pipe: Pipe) -> None:
    with processes(workers_per_device=2) as executor:
        other = executor.submit(faulty("hang", pipe.path))
        broken = executor.submit(faulty("break"))
        later = executor.submit(tiny_trial())
        assert int(pipe.read()) > 0
        assert broken.result(PATIENCE_SECONDS).needs_new_process
        assert later.result(PATIENCE_SECONDS).state == "COMPLETE"
        assert not other.done()


@needs_processes
def test_leaving_ends_trainings_in_flight(pipe: Pipe) -> None:
    before = active_children()
    with processes() as executor:
        hanging = executor.submit(faulty("hang", pipe.path))
        waiting = executor.submit(tiny_trial())
        pid = int(pipe.read())
    assert active_children() == before
    assert pipe.read() == b""
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert wait([hanging, waiting], PATIENCE_SECONDS).not_done == set()


@pytest.mark.alone
@needs_processes
def test_a_training_that_takes_too_long_ends_alone(pipe: Pipe) -> None:
    with processes(workers_per_device=2, timeout_minutes=0.2) as executor:
        hanging = executor.submit(faulty("hang", pipe.path))
        fine = executor.submit(tiny_trial())
        assert fine.result(PATIENCE_SECONDS).state == "COMPLETE"
        with pytest.raises(TimeoutError):
            hanging.result(PATIENCE_SECONDS)
        assert pipe.read() != b""  # it had begun
        assert pipe.read() == b""  # and its process is gone
        assert executor.submit(tiny_trial()).result(PATIENCE_SECONDS).state == "COMPLETE"


def stop_this_process() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


class StopsItsReader:
    """An object that stops the process that reads it."""

    def __reduce__(self) -> tuple[Callable[[], None], tuple[()]]:
        return stop_this_process, ()


@pytest.mark.alone
@needs_processes
def test_a_worker_that_is_stopped_as_it_takes_its_training_ends_alone() -> None:
    stopping = replace(tiny_trial(), dataset=StopsItsReader())  # type: ignore[arg-type]  # no data
    with processes(workers_per_device=2, timeout_minutes=0.2) as executor:
        stopped, fine = executor.submit(stopping), executor.submit(tiny_trial())
        assert fine.result(PATIENCE_SECONDS).state == "COMPLETE"
        with pytest.raises(TimeoutError):
            stopped.result(PATIENCE_SECONDS)
        both = [executor.submit(tiny_trial(seed=seed)) for seed in range(2)]
        assert {future.result(PATIENCE_SECONDS).state for future in both} == {"COMPLETE"}


@needs_processes
def test_an_error_that_cannot_be_sent_is_told_by_its_text() -> None:
    with processes() as executor:
        failed = executor.call(unsendable, 7).exception(PATIENCE_SECONDS)
        assert repr(failed) == "RuntimeError('LocalError: 7')"
        assert executor.call(divided, 2).result(PATIENCE_SECONDS) == (0.5, "cpu")


@needs_processes
def test_an_argument_that_cannot_be_sent_is_the_futures_error() -> None:
    with processes() as executor:
        failed = executor.call(divided, lambda: 1)  # type: ignore[arg-type]  # on purpose
        assert isinstance(failed.exception(PATIENCE_SECONDS), (AttributeError, PicklingError))


@needs_processes
def test_a_stopped_worker_leaves_with_a_killed_coordinator(tmp_path: Path, pipe: Pipe) -> None:
    coordinator = coordinating(tmp_path, pipe)
    os.kill(int(pipe.read()), signal.SIGSTOP)
    coordinator.kill()
    coordinator.wait(PATIENCE_SECONDS)
    assert pipe.read() == b""


@needs_processes
def test_workers_leave_with_a_killed_coordinator(tmp_path: Path, pipe: Pipe) -> None:
    coordinator = coordinating(tmp_path, pipe)
    assert int(pipe.read()) != coordinator.pid
    coordinator.kill()
    coordinator.wait(PATIENCE_SECONDS)
    assert pipe.read() == b""


def coordinating(folder: Path, pipe: Pipe) -> "subprocess.Popen[bytes]":
    """A process whose only worker hangs and has told the pipe who it is."""
    script = (
        "import sys\n"
        "from tests.executors.test_contract import faulty, processes\n"
        "if __name__ == '__main__':\n"
        "    with processes() as executor:\n"
        "        executor.submit(faulty('hang', sys.argv[1])).result()\n"
    )
    (folder / "coordinator.py").write_text(script, encoding="utf-8")
    return subprocess.Popen(
        [sys.executable, str(folder / "coordinator.py"), str(pipe.path)],
        env=os.environ | {"PYTHONPATH": str(CONF.parent)},
    )
