"""Two folders whose storage is one record: one command writes it at a time."""

from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from scaling_search.commands.confirm import confirm
from scaling_search.commands.run import Run
from scaling_search.commands.search import search
from scaling_search.core.trial import Trial, TrialResult
from scaling_search.experiment.options import Confirm
from scaling_search.runtime.lock import NAME, RunLock
from tests.in_process import Executing, printed
from tests.tiny import tiny_run


@pytest.fixture(params=["sqlite:///{}/study.db", "{}/study.log"])
def two(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Run, Run]:
    """The same experiment in two folders, which share a storage outside of both."""
    storage = request.param.format(tmp_path)
    one, other = (tiny_run(tmp_path / name, storage=storage) for name in "ab")
    return one, other


@dataclass
class Beside(Executing):
    """Another folder begins the same search during the second training.

    Attributes:
        other: That search.
        is_seen: False if the lock of this one cannot be seen from there, as from another host.
        refusals: Lines that refused it.
    """

    other: Run | None = None
    here: Path = Path()
    is_seen: bool = True
    refusals: list[str] = field(default_factory=list)

    def submit(self, trial: Trial) -> Future[TrialResult]:
        future = super().submit(trial)
        if len(self.submitted) == 2 and self.other is not None:
            if not self.is_seen:
                (self.here / NAME).rename(self.here / "aside")
            try:
                printed(search, self.other)
            except RuntimeError as error:
                self.refusals.append(str(error))
            if not self.is_seen:
                (self.here / "aside").rename(self.here / NAME)
        return future


def orders(run: Run) -> list[tuple[object, object]]:
    """The trainings in the record as they were written, without a look at what they say twice."""
    trials = run.record.study.get_trials()
    return [(t.user_attrs["row"]["seed"], t.user_attrs["row"]["candidate"]) for t in trials]


def test_a_second_folder_is_refused_while_the_first_trains(two: tuple[Run, Run]) -> None:
    one, other = two
    beside = Beside(other=other, here=one.folder)
    printed(search, replace(one, executor=beside))
    (refused,) = beside.refusals
    assert "storage must be written by one command at a time, got the record of 'tiny'" in refused
    assert f"in {str(one.folder)!r}; wait for it or end it" in refused
    assert len(refused.splitlines()) == 1
    assert not isinstance(other.executor, Executing) or other.executor.submitted == []
    assert len(set(orders(one))) == len(orders(one)) == 4
    printed(search, other)  # the first has ended
    assert len(orders(other)) == 4


def test_a_search_whose_record_another_host_takes_over_ends_and_writes_no_more(
    two: tuple[Run, Run],
) -> None:
    one, other = two
    beside = Beside(other=other, here=one.folder, is_seen=False)
    with pytest.raises(RuntimeError, match="storage must be held until the end") as ended:
        printed(search, replace(one, executor=beside))
    assert f"a command in {str(other.folder)!r} has taken over" in str(ended.value)
    assert len(set(orders(other))) == len(orders(other)) == 4


def test_a_final_test_is_begun_by_one_folder_at_a_time(two: tuple[Run, Run]) -> None:
    one, other = two
    printed(search, one)
    printed(search, other)
    with RunLock(one.folder) as lock:
        one.studies.begun("confirm").hold(lock)
        with pytest.raises(RuntimeError, match="the record of 'tiny-confirm'"):
            printed(confirm, other, Confirm(num_seeds=2))
    assert one.studies.begun("confirm").final_tests == []


def test_a_record_that_was_taken_over_is_written_by_its_last_holder_alone(
    two: tuple[Run, Run],
) -> None:
    one, other = two
    for run in two:
        run.folder.mkdir()
    first, second = one.studies.begun(), other.studies.begun()
    with RunLock(one.folder) as lock, RunLock(other.folder) as others:
        first.hold(lock)
        (one.folder / NAME).rename(one.folder / "aside")  # not seen, as from another host
        second.hold(others)
        (one.folder / "aside").rename(one.folder / NAME)
        second.keep_costs({"by": "second"})
        for write in (
            lambda: first.keep_costs({"by": "first"}),
            lambda: first.claim({"by": "first"}),
            lambda: first.stop("over"),
        ):
            with pytest.raises(RuntimeError, match="storage must be held until the end"):
                write()
        assert second.costs == {"by": "second"}
        assert second.stop("done") == 0
