"""The record: what goes into the storage comes out of it, here and in Optuna's own tools."""

import json
import math
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from scaling_search.core.metric import VAL_ACCURACY, VAL_LOSS, Metric
from scaling_search.core.trial import Epoch
from scaling_search.record import storage as storages
from scaling_search.record.record import Record, direction
from scaling_search.record.studies import Studies
from scaling_search.runtime.lock import RunLock
from scaling_search.training.engine import train_trial
from tests.tiny import ended, failed, tiny_trial

STORAGES: dict[str, Callable[[Path], str]] = {
    "sqlite": lambda folder: f"sqlite:///{folder}/study.db",
    "journal": lambda folder: f"{folder}/study.log",
}


@pytest.fixture(params=STORAGES)
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return STORAGES[request.param](tmp_path)


def opened(storage: str, objective: Metric = VAL_LOSS) -> Record:
    return Record(storage, "tiny", objective)


def test_a_line_that_another_process_left_unfinished_spoils_nothing(tmp_path: Path) -> None:
    storage = STORAGES["journal"](tmp_path)
    record = opened(storage)
    record.add(ended(tiny_trial(1), 2.0, 1.5))
    writes: tuple[Callable[[], object], ...] = (
        lambda: record.add(ended(tiny_trial(2), 2.0, 1.5)),
        lambda: record.keep_costs({"cost": 1}),
        lambda: record.claim({"name": "tiny"}),
        lambda: record.stop("enough"),
    )
    for write in writes:
        with Path(storage).open("ab") as journal:
            journal.write(b'{"op_code": 8, "worker_id": "an')
        write()
    again = opened(storage)
    assert [row["candidate"] for row in again.rows()] == [1, 2]
    assert (again.costs, again.choices, again.stopped) == ({"cost": 1}, {"name": "tiny"}, "enough")


def test_results_come_back_as_they_went_in(storage: str) -> None:
    results = [
        train_trial(tiny_trial(1, seed=1), "cpu"),
        failed(tiny_trial(0, seed=1)),
        ended(tiny_trial(2), 2.0, 1.5),
    ]
    record = opened(storage)
    for result in results:
        record.add(result, commit="abc", finished="2026-01-01T00:00:00+00:00")
    trials = [tiny_trial(number, seed=seed) for number in range(4) for seed in range(2)]
    for again in (record, opened(storage)):
        read = again.results_of(trials)
        assert set(read) == {result.trial.key for result in results}
        for result in results:
            back = read[result.trial.key]
            assert back.trial == result.trial
            for name in ("state", "reason", "curve", "peak_memory_bytes", "device", "versions"):
                assert getattr(back, name) == getattr(result, name)
            for name in ("train_seconds", "total_seconds", "images_per_second"):
                expected = getattr(result, name)
                assert getattr(back, name) == pytest.approx(expected, nan_ok=True)
        assert [row["commit"] for row in again.rows()] == ["abc"] * 3


def test_rows_have_a_training_s_columns_in_the_order_in_which_they_ended(storage: str) -> None:
    record = opened(storage)
    record.add(ended(tiny_trial(2, seed=1), 2.0, 1.5), commit="abc")
    record.add(failed(tiny_trial(0)))
    complete, fail = record.rows()
    assert complete | tiny_trial(2).candidate.row() == complete
    assert (complete["candidate"], complete["seed"], complete["state"]) == (2, 1, "COMPLETE")
    assert (complete["val_loss"], complete["train_loss"]) == (1.5, 2.5)
    assert complete["val_accuracy"] == 1 - 1.5 / 10
    assert complete["curve"] == [
        {"train_loss": 3.0, "val_loss": 2.0, "val_accuracy": 0.8},
        {"train_loss": 2.5, "val_loss": 1.5, "val_accuracy": 0.85},
    ]
    assert (complete["train_seconds"], complete["host"]) == (10.0, "here")
    assert (fail["candidate"], fail["state"]) == (0, "FAIL")
    assert fail["reason"] == "RuntimeError: no luck"
    for name in ("val_loss", "val_accuracy", "train_loss", "train_seconds", "depth_share"):
        assert fail[name] is None


def test_rows_are_plain_json_but_for_a_curve_that_is_not_finite(storage: str) -> None:
    record = opened(storage)
    record.add(failed(tiny_trial(0)))
    record.add(ended(tiny_trial(1), 2.0))
    for row in record.rows():
        assert json.loads(json.dumps(row, allow_nan=False)) == row


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_curve_that_was_not_finite_for_a_while_is_kept(storage: str, loss: float) -> None:
    trial = tiny_trial(1)
    curve = (Epoch(1.0, loss, 0.1), Epoch(1.0, 2.0, 0.2))
    record = opened(storage)
    record.add(replace(ended(trial, 2.0), curve=curve))
    back = opened(storage).results_of([trial])[trial.key].curve
    assert back[0].val_loss == pytest.approx(loss, nan_ok=True)
    assert back[1] == curve[1]


@pytest.mark.parametrize("objective", [VAL_LOSS, VAL_ACCURACY])
def test_optuna_itself_shows_every_training(storage: str, objective: Metric) -> None:
    record = opened(storage, objective)
    results = [ended(tiny_trial(number), 2.0, 2.0 - number / 10) for number in (1, 2, 3)]
    for result in (*results, failed(tiny_trial(0))):
        record.add(result)
    place = storage if "://" in storage else JournalStorage(JournalFileBackend(storage))
    study = optuna.load_study(study_name="tiny", storage=place)
    trials = study.get_trials()
    complete, fail = TrialState.COMPLETE, TrialState.FAIL
    assert [trial.state for trial in trials] == [complete, complete, complete, fail]
    for trial, result in zip(trials, results, strict=False):
        coefficients = result.trial.candidate.coefficients
        assert trial.params == {
            "alpha": coefficients.alpha,
            "beta": coefficients.beta,
            "gamma": coefficients.gamma,
        }
        values = [getattr(epoch, objective.name) for epoch in result.curve]
        assert trial.value == values[-1]
        assert trial.intermediate_values == dict(enumerate(values, start=1))
    assert trials[-1].value is None
    # The loss falls from candidate to candidate, and the accuracy of `ended` rises with it.
    assert study.best_trial.number == 2
    assert study.direction.name.lower() == direction(objective)


def test_the_value_is_the_last_epochs_not_the_best_ones(storage: str) -> None:
    record = opened(storage)
    record.add(ended(tiny_trial(1), 1.0, 2.0))
    assert record.study.trials[0].value == record.rows()[0]["val_loss"] == 2.0


def test_a_coefficient_above_four_is_recorded_too(storage: str) -> None:
    trial = tiny_trial(1)
    large = replace(trial.candidate.coefficients, alpha=5.5)
    record = opened(storage)
    record.add(ended(trial, 2.0))
    record.add(ended(replace(trial, candidate=replace(trial.candidate, coefficients=large)), 2.0))
    assert [t.params["alpha"] for t in record.study.trials][1] == 5.5


def test_a_record_keeps_the_choices_that_it_is_bound_to(storage: str) -> None:
    opened(storage).claim({"recipe": {"epochs": 4, "widths": (4, 8)}, "dataset": "abcdef"})
    record = opened(storage)
    assert record.choices == {"recipe": {"epochs": 4, "widths": [4, 8]}, "dataset": "abcdef"}
    assert record.fingerprint == "abcdef"


def test_a_record_that_nobody_claimed_has_no_fingerprint(storage: str) -> None:
    assert opened(storage).fingerprint == ""


def test_records_of_one_storage_are_told_apart_by_name(storage: str, tmp_path: Path) -> None:
    Record(storage, "one", VAL_LOSS).add(ended(tiny_trial(1), 2.0))
    other = Record(storage, "other", VAL_LOSS)
    assert other.rows() == []
    assert sorted(Studies(tmp_path, storage, "one", VAL_LOSS).names) == ["one", "other"]


# A storage that cannot be used.


def unusable(storage: str) -> str:
    with pytest.raises(RuntimeError) as caught:
        Record(storage, "tiny", VAL_LOSS).add(ended(tiny_trial(1), 2.0))
    message = str(caught.value)
    assert message.startswith(
        ("storage must be readable and writable, got ", "storage must hold what was recorded, got ")
    )
    assert len(message.splitlines()) == 1
    return message


@pytest.mark.parametrize("kind", STORAGES)
def test_a_folder_that_is_not_there_is_named(kind: str, tmp_path: Path) -> None:
    assert f"{tmp_path}/missing/study." in unusable(STORAGES[kind](tmp_path / "missing"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", STORAGES)
def test_a_folder_that_cannot_be_written_is_named(kind: str) -> None:
    if not Path("/proc/self").is_dir():
        pytest.skip("root may write everywhere but in Linux's /proc")
    assert "/proc/self/study." in unusable(STORAGES[kind](Path("/proc/self")))


@pytest.mark.parametrize("kind", STORAGES)
def test_a_file_of_another_kind_is_left_alone(kind: str, tmp_path: Path) -> None:
    storage = STORAGES[kind](tmp_path)
    (file,) = (tmp_path / f"study.{end}" for end in ("db", "log") if storage.endswith(end))
    text = "somebody's notes\n" * 100 + "without an end"
    file.write_text(text, encoding="utf-8")
    assert str(file) in unusable(storage)
    assert file.read_text(encoding="utf-8") == text


def test_a_database_that_another_holds_is_named_and_goes_on_when_it_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storages, "PATIENCE_SECONDS", 2.0)
    storage = f"sqlite:///{tmp_path}/study.db?timeout=0"
    record = opened(storage)
    other = sqlite3.connect(tmp_path / "study.db")
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(RuntimeError, match=r"study\.db' \(.*database is locked\); check"):
        record.add(ended(tiny_trial(1), 2.0))
    other.close()
    record.add(ended(tiny_trial(1), 2.0))
    assert len(record.rows()) == 1


@pytest.mark.parametrize(
    "storage",
    [
        "nosuch://somebody:secret@host/database",
        "mysql+nosuch://somebody:sec@ret@host/database",
        "postgresql+nosuch://host/database?user=somebody&password=secret",
        "somebody:secret@host/database",
    ],
)
def test_a_password_is_not_in_the_message(storage: str) -> None:
    message = unusable(storage)
    assert "host/database" in message
    assert "secret" not in message
    assert "ret@" not in message


# What a killed writer leaves behind.


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """Two trainings in a journal."""
    record = opened(f"{tmp_path}/study.log")
    for number in (1, 2):
        record.add(ended(tiny_trial(number), 2.0))
    return tmp_path / "study.log"


@pytest.mark.parametrize("num_bytes", [1, 2, 700])
def test_a_journal_whose_last_line_was_cut_off_goes_on_before_it(
    journal: Path, num_bytes: int
) -> None:
    whole = journal.read_bytes()
    journal.write_bytes(whole[:-num_bytes])
    record = opened(str(journal))
    assert [row["candidate"] for row in record.rows()] == [1]
    record.add(ended(tiny_trial(2), 2.0))
    record.add(ended(tiny_trial(3), 2.0))
    assert [row["candidate"] for row in opened(str(journal)).rows()] == [1, 2, 3]
    assert list(journal.parent.iterdir()) == [journal]  # no lock is left


def test_a_journal_whose_only_line_was_cut_off_begins_anew(journal: Path) -> None:
    first = journal.read_bytes().splitlines(keepends=True)[0]
    for content in (first[:-1], first[:5], b""):
        journal.write_bytes(content)
        opened(str(journal)).add(ended(tiny_trial(1), 2.0))
        assert len(opened(str(journal)).rows()) == 1


@pytest.mark.parametrize("damaged", [b"{\n", b"\0\n", b"[]\n", b"{}\n"])
def test_a_damaged_journal_is_told_by_its_file_and_line(journal: Path, damaged: bytes) -> None:
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join([*lines[:2], damaged, *lines[3:]]))
    with pytest.raises(RuntimeError, match=rf"{journal}.*\(line 3") as told:
        opened(str(journal))
    assert "\n" not in str(told.value)


def test_a_whole_journal_is_not_changed_by_opening_it(journal: Path) -> None:
    before = journal.read_bytes()
    assert len(opened(str(journal)).rows()) == 2
    assert journal.read_bytes() == before


@pytest.mark.parametrize("is_kept", [False, True])
def test_a_lock_that_came_along_with_a_copied_journal_is_none_of_its_own(
    journal: Path, tmp_path: Path, *, is_kept: bool
) -> None:
    copied = tmp_path / "copied"
    copied.mkdir()
    shutil.copy(journal, copied)
    (copied / "study.log.lock").symlink_to(journal)  # as versions before this one left it
    if not is_kept:
        journal.unlink()
    record = opened(str(copied / "study.log"))
    record.add(ended(tiny_trial(3), 2.0))
    assert len(record.rows()) == 3
    assert [path.name for path in copied.iterdir()] == ["study.log"]


@pytest.mark.skipif(os.geteuid() != 0, reason="acts as another user")
def test_a_record_is_read_by_a_user_who_may_not_write_it() -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        for kind in STORAGES.values():
            opened(kind(Path(folder))).add(ended(tiny_trial(1), 2.0))
        os.seteuid(1)
        try:
            for kind in STORAGES.values():
                record = opened(kind(Path(folder)))
                assert len(record.rows()) == 1
                with pytest.raises(RuntimeError, match="storage must be readable and writable"):
                    record.hold(RunLock(Path(folder)))
        finally:
            os.seteuid(0)


@pytest.mark.parametrize(("umask", "mode"), [(0o002, 0o664), (0o077, 0o600)])
def test_a_record_can_be_written_by_whom_the_umask_says(
    storage: str, tmp_path: Path, umask: int, mode: int
) -> None:
    before = os.umask(umask)
    try:
        opened(storage).add(ended(tiny_trial(1), 2.0))
    finally:
        os.umask(before)
    (file,) = tmp_path.iterdir()
    assert file.stat().st_mode & 0o777 == mode


def test_opening_a_record_leaves_one_file(tmp_path: Path) -> None:
    for kind in STORAGES.values():
        opened(kind(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["study.db", "study.log"]
