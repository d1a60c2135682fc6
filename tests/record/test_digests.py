"""Records that were changed: each is refused by the name of its file when it is read."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState

from scaling_search.core.metric import VAL_LOSS
from scaling_search.record.digests import DIGEST
from scaling_search.record.record import FinalTest, Record
from tests.tiny import ended, failed, tiny_trial

STORAGES = {"sqlite:///study.db": Path("study.db"), "study.log": Path("study.log")}
TEST = FinalTest({"found": 1}, [3, 4], "val_loss", 0.01, "why", {"val_loss": [2.0]}, "now", "then")


@pytest.fixture(params=STORAGES)
def storage(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Three trainings and a final test, in the current folder."""
    monkeypatch.chdir(tmp_path)
    record = opened(request.param)
    record.claim({"name": "tiny", "dataset": "abc"})
    record.begin_final_test(TEST)
    for result in (ended(tiny_trial(1), 2.5, 2.25), failed(tiny_trial(2)), ended(tiny_trial(2), 2)):
        record.add(result)
    return str(request.param)


def opened(storage: str) -> Record:
    return Record(storage, "tiny", VAL_LOSS)


def refused(storage: str, read: Callable[[Record], object]) -> str:
    """The line that refuses the record when it is opened and read."""
    with pytest.raises(RuntimeError) as caught:
        read(opened(storage))
    line = str(caught.value)
    assert str(STORAGES[storage]) in line
    assert len(line.splitlines()) == 1
    return line


def changed(storage: str, old: str, new: str) -> None:
    """Replaces text of the same length in the storage's file."""
    file, before = STORAGES[storage], STORAGES[storage].read_bytes()
    after = before.replace(old.encode(), new.encode())
    assert after != before
    assert len(after) == len(before)
    file.write_bytes(after)


def execute(*statements: str) -> None:
    with sqlite3.connect("study.db") as database:
        for statement in statements:
            database.execute(statement)
    database.close()


def test_a_whole_record_is_read(storage: str) -> None:
    record = opened(storage)
    assert [row["val_loss"] for row in record.rows()] == [2.25, 2.0]
    assert record.final_tests == [TEST]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"peak_memory_bytes": 1000', '"peak_memory_bytes": 1001'),
        ('"val_accuracy": 0.775', '"val_accuracy": 0.875'),
        ('"network": "', '"netwerk": "'),
        ('"row"', '"rov"'),
    ],
)
def test_a_changed_training_is_named(storage: str, old: str, new: str) -> None:
    if storage == "study.log":
        old, new = old.replace(": ", ":"), new.replace(": ", ":")
    if old == '"row"' and storage != "study.log":
        execute("update trial_user_attributes set key = 'rov' where key = 'row'")
    else:
        changed(storage, old, new)
    said = refused(storage, lambda record: record.rows())
    assert ("line " if storage == "study.log" else "training 0") in said


def test_a_changed_final_test_is_named(storage: str) -> None:
    changed(storage, '"then"', '"when"')
    said = refused(storage, lambda record: record.final_tests)
    assert ("line " if storage == "study.log" else "test_looks of tiny") in said


def test_a_training_without_a_digest_must_have_the_loss_that_optuna_has(storage: str) -> None:
    record = opened(storage)
    row = {**record.rows()[0], "seed": 7}
    for number, loss in enumerate((2.25, 1.0)):
        record.study.add_trial(
            optuna.trial.create_trial(
                state=TrialState.COMPLETE,
                value=loss,
                params={"alpha": 1.0},
                distributions={"alpha": FloatDistribution(1, 4)},
                user_attrs={"row": row},
                intermediate_values={1: 2.5, 2: 2.25},
            )
        )
        if number == 0:
            assert opened(storage).rows()[-1] == row
    said = refused(storage, lambda record: record.rows())
    assert "training 4, of network 1 with seed 7: val_loss 2.25 is 1.0 by Optuna" in said


def test_a_command_that_is_killed_before_an_attribute_leaves_the_one_before(storage: str) -> None:
    record = opened(storage)
    key = f"choices {DIGEST}"
    before = record.study.user_attrs[key]
    record.study.set_user_attr(key, [before[-1], "0" * 64])
    assert opened(storage).choices == {"name": "tiny", "dataset": "abc"}
    record.study.set_user_attr(key, ["0" * 64, "1" * 64])
    assert "choices of tiny" in refused(storage, lambda record: record.choices)


def test_a_record_of_version_2_becomes_one_of_version_3_with_its_first_digest(storage: str) -> None:
    earlier = Record(storage, "earlier", VAL_LOSS)
    earlier.study.set_user_attr("schema", 2)
    earlier.add(ended(tiny_trial(1), 2.5))
    assert earlier.schema == 2
    earlier.begin_final_test(TEST)
    # Version 2 would write the next one without a digest, so its code must refuse the record.
    assert earlier.schema == 3
    assert earlier.final_tests == [TEST]


@pytest.mark.parametrize("storage", ["sqlite:///study.db"], indirect=True)
def test_a_training_that_was_taken_out_of_a_database_is_missed(storage: str) -> None:
    execute("delete from trials where number = 1")
    assert "training 1 is incomplete" in refused(storage, lambda record: record.rows())


@pytest.mark.parametrize("storage", ["sqlite:///study.db"], indirect=True)
def test_a_database_whose_index_misses_a_row_is_refused(storage: str) -> None:
    other = "select rootpage from sqlite_master where name = 'sqlite_autoindex_trial_params_1'"
    execute(
        "pragma writable_schema = on",
        f"update sqlite_master set rootpage = ({other}) "
        "where name = 'sqlite_autoindex_trial_user_attributes_1'",
    )
    assert "damaged or changed" in refused(storage, lambda record: record.rows())


@pytest.mark.parametrize("storage", ["study.log"], indirect=True)
def test_a_journal_whose_last_line_is_damaged_is_refused(storage: str) -> None:
    content = Path(storage).read_bytes()
    for damaged in (content[:-2] + b"\n", content[:-3] + b"\0}\n"):
        Path(storage).write_bytes(damaged)
        refused(storage, lambda record: record.rows())
