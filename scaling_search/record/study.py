"""The record of a search: an Optuna study that holds one trial for each training that ended."""

import base64
import functools
import json
import math
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.distributions import FloatDistribution
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from optuna.trial import TrialState
from sqlalchemy import make_url
from sqlalchemy.engine import URL

from scaling_search.core.trial import Epoch, Key, TestScores, Trial, TrialResult
from scaling_search.record.schema import VERSION, check_version
from scaling_search.runtime.passwords import without_password

Objective = Literal["val_loss", "val_accuracy"]
Row = dict[str, object]

KEY = ("network", "seed", "epochs", "learning_rate")
"""Columns that make a training the same as another: those of `Trial.key`."""

optuna.logging.set_verbosity(optuna.logging.WARNING)

PATIENCE_SECONDS = 90.0
"""So long storage that cannot be written is tried again: a server starts anew, a lock is held."""

LOCKED_SECONDS = 0.5
"""So long SQLite waits for a lock of another process."""

MOST_SECONDS = 10.0
"""Between two tries."""

SQLITE_OPTIONS = {
    *("timeout", "isolation_level", "detect_types", "check_same_thread", "cached_statements"),
}
"""Keys that an SQLite URL may have behind ``?``; SQLAlchemy drops others without a word."""

Pause = Callable[[str, float], None]
"""Waits so many seconds, for a reason that it may tell."""


def _pause(reason: str, seconds: float) -> None:
    del reason
    time.sleep(seconds)


def direction(objective: Objective) -> Literal["minimize", "maximize"]:
    """Which way an objective is better, in Optuna's words."""
    return "minimize" if objective == "val_loss" else "maximize"


def sqlite_url(path: str) -> str:
    """The URL of an SQLite file, whatever characters its path has."""
    return URL.create("sqlite", database=path).render_as_string(hide_password=False)


def open_storage(storage: str) -> BaseStorage:
    """The storage of an SQLAlchemy URL, or of a path ending in ``.log`` for Optuna's journal.

    Raises:
        ValueError: It would name another file than it seems to.
        RuntimeError: It cannot be opened.
    """
    _check_sqlite(storage)
    literal = storage.replace("{", "{{").replace("}", "}}")  # Optuna takes it for a format
    try:
        if _is_journal(storage):
            # Its lock is a link that names the file; a relative name would be taken from elsewhere.
            return JournalStorage(JournalFileBackend(str(Path(storage).resolve())))
        return RDBStorage(literal, engine_kwargs=_engine_options(storage))
    except Exception as error:
        raise RuntimeError(_unusable(storage, error)) from error


def _check_sqlite(storage: str) -> None:
    """Looks whether what stands behind ``?`` are options of SQLite and not the end of a name."""
    _, mark, query = storage.partition("?")
    names = {option.partition("=")[0] for option in query.split("&")}
    if not storage.startswith("sqlite") or not mark or "uri" in names or names <= SQLITE_OPTIONS:
        return
    path = storage.partition(":///")[2]
    raise ValueError(
        f"storage must not have a ? but before options of SQLite, got {storage!r}; a file of that "
        f"name is {sqlite_url(path)}"
    )


def _engine_options(storage: str) -> dict[str, object]:
    """Short waits for SQLite's lock: Optuna and `Record` try again, and a signal cannot end one."""
    is_free = storage.startswith("sqlite") and "timeout=" not in storage
    return {"connect_args": {"timeout": LOCKED_SECONDS}} if is_free else {}


@dataclass(frozen=True)
class InterimAnalysis:
    """The region of the best split during a search.

    Attributes:
        trainings: Of scaled networks, ended.
        region: Part of what was searched that can be the best.
    """

    trainings: int
    region: float


@dataclass(frozen=True)
class LookAtTest:
    """New trainings of a search's winner that are looked at on the test split.

    Attributes:
        arms: Numbers of the candidates: ``found``, ``paper`` and ``base``.
        seeds: Each arm is trained with.
        objective: The metric that decides.
        delta: The difference of it that matters; None where that is not known.
        why: The found one is it, in words.
        searched: What the found one's trainings gave in the search, by metric.
        began: When it was chosen what to train.
        when: The test split was looked at; empty while trainings remain.
    """

    arms: dict[str, int]
    seeds: list[int]
    objective: Objective
    delta: float | None
    why: str
    searched: dict[str, list[float]]
    began: str
    when: str = ""


class Record:
    """What an experiment has trained so far; the only writer of its storage.

    Opening it creates nothing but the study itself.
    """

    def __init__(self, storage: str, name: str, objective: Objective) -> None:
        self.storage = storage
        self.objective = objective
        _check_sqlite(storage)
        try:
            if _is_journal(storage):
                _cut_to_whole_lines(Path(storage))
            self.study = optuna.create_study(
                storage=open_storage(storage),
                study_name=name,
                direction=direction(objective),
                load_if_exists=True,
            )
        except Exception as error:
            raise RuntimeError(_unusable(storage, error)) from error
        if not self.study.user_attrs and not self.study.get_trials(deepcopy=False):
            self.study.set_user_attr("schema", VERSION)
        check_version(self.schema, f"storage {without_password(storage)!r}")

    def claim(self, choices: Mapping[str, object]) -> None:
        """Binds the record to the choices that decide outcomes."""
        self.study.set_user_attr("schema", VERSION)  # an older one is brought up to date
        self.study.set_user_attr("choices", json.loads(json.dumps(choices)))

    @property
    def choices(self) -> dict[str, object]:
        """The choices that it is bound to, empty before it is; by full keys in version 1."""
        return dict(self.study.user_attrs.get("choices", {}))

    @property
    def schema(self) -> int:
        """Version of the record."""
        return int(self.study.user_attrs.get("schema", 1))

    @property
    def networks(self) -> list[Row]:
        """A row for each network that is trained, with its architecture; empty in version 1."""
        return list(self.study.user_attrs.get("networks", []))

    def keep_networks(self, rows: Iterable[Row]) -> None:
        """Keeps the networks that are trained, before they are."""
        kept = json.loads(json.dumps(list(rows)))
        if kept != self.networks:
            self.study.set_user_attr("networks", kept)

    @property
    def is_claimed(self) -> bool:
        """True if it is a search's, bound to choices."""
        return bool(self.choices)

    @property
    def fingerprint(self) -> str:
        """Of the dataset that was trained on."""
        return str(self.choices.get("dataset", ""))

    def add(self, result: TrialResult, *, pause: Pause = _pause, **extra: object) -> None:
        """Records a training that ended, in one transaction.

        Storage that cannot be written is tried again for as long as `PATIENCE_SECONDS`.

        Args:
            result: Of the training.
            pause: Waits until the next try.
            extra: More columns.

        Raises:
            RuntimeError: The storage cannot be written.
        """
        coefficients = asdict(result.trial.candidate.coefficients)
        values = {epoch: getattr(e, self.objective) for epoch, e in enumerate(result.curve, 1)}
        is_complete = result.state == "COMPLETE"
        trial = optuna.trial.create_trial(
            state=TrialState.COMPLETE if is_complete else TrialState.FAIL,
            value=values[len(values)] if is_complete else None,
            params=coefficients,
            distributions={k: FloatDistribution(1.0, max(4.0, v)) for k, v in coefficients.items()},
            user_attrs={"row": _row(result) | extra},
            intermediate_values=values,
        )
        self._written(functools.partial(self._add, trial), pause)

    def _add(self, trial: optuna.trial.FrozenTrial, *, is_first_try: bool) -> None:
        # The answer of a try that failed may be all that was lost.
        if is_first_try or trial.user_attrs["row"] not in self._all_rows():
            self.study.add_trial(trial)

    def _written(self, write: Callable[..., None], pause: Pause) -> None:
        """Writes, again and again where storage is locked, full or gone, until patience ends."""
        end, seconds, is_first_try = time.monotonic() + PATIENCE_SECONDS, 1.0, True
        while True:
            try:
                if _is_journal(self.storage):
                    Path(self.storage).stat()  # Optuna would begin a new one
                    if not is_first_try:  # what filled the disk may be a half
                        _cut_to_whole_lines(Path(self.storage))
                write(is_first_try=is_first_try)
            except Exception as error:
                unusable = _unusable(self.storage, error)
                if time.monotonic() + seconds > end:
                    raise RuntimeError(unusable) from error
            else:
                return
            is_first_try = False
            pause(unusable, seconds)
            seconds = min(2 * seconds, MOST_SECONDS)

    @property
    def costs(self) -> dict[str, Any]:
        """What was measured of networks' costs, as `Budget.state` has it."""
        return dict(self.study.user_attrs.get("costs", {}))

    def keep_costs(self, state: Mapping[str, Any]) -> None:
        """Keeps what was measured, so that a later plan is the same."""
        if state and dict(state) != self.costs:
            self.study.set_user_attr("costs", dict(state))

    @property
    def interim_analyses(self) -> list[InterimAnalysis]:
        """The interim analyses so far, first to last."""
        return [InterimAnalysis(**one) for one in self.study.user_attrs.get("looks", [])]

    def add_interim_analysis(self, analysis: InterimAnalysis) -> None:
        """Records an interim analysis."""
        kept = [asdict(one) for one in (*self.interim_analyses, analysis)]
        self.study.set_user_attr("looks", kept)

    @property
    def test_looks(self) -> list[LookAtTest]:
        """The looks at the test split, first to last; the last may not have ended."""
        return [LookAtTest(**look) for look in self.study.user_attrs.get("test_looks", [])]

    def begin_test_look(self, look: LookAtTest) -> None:
        """Records what will be trained, before it is."""
        self._set_test_looks([*self.test_looks, look])

    def end_test_look(self, when: str) -> None:
        """Records that the test split is looked at now."""
        *earlier, last = self.test_looks
        self._set_test_looks([*earlier, replace(last, when=when)])

    def _set_test_looks(self, looks: Iterable[LookAtTest]) -> None:
        self.study.set_user_attr("test_looks", [asdict(look) for look in looks])

    @property
    def stopped(self) -> str:
        """Why the last command ended, empty before the first did."""
        return str(self.study.user_attrs.get("stopped", ""))

    def stop(self, reason: str, *, pause: Pause = _pause) -> None:
        """Records why a command ended, with the patience of `add`."""

        def write(**_: bool) -> None:
            self.study.set_user_attr("stopped", reason)

        self._written(write, pause)

    def rows(self) -> list[Row]:
        """The last row of every training, in the order in which they first ended."""
        return list(self._rows().values())

    def _rows(self) -> dict[tuple[object, ...], Row]:
        """The same by `KEY`; one that failed and was tried again has several."""
        return {tuple(row[name] for name in KEY): row for row in self._all_rows()}

    def _all_rows(self) -> list[Row]:
        trials = self.study.get_trials(deepcopy=False)
        return [dict(t.user_attrs["row"]) for t in trials if "row" in t.user_attrs]

    def results_of(self, trials: Iterable[Trial]) -> dict[Key, TrialResult]:
        """The results of those of the trials that have ended, by their keys."""
        rows = self._rows()
        return {t.key: _result(t, rows[t.key]) for t in trials if t.key in rows}


def names(storage: str) -> list[str]:
    """The names of all studies in a storage; none where its file is not there, and none is made."""
    _check_sqlite(storage)
    if (file := file_of(storage)) is not None and not file.exists():
        return []
    return [str(name) for name in optuna.get_all_study_names(open_storage(storage))]


def file_of(storage: str) -> Path | None:
    """The file of a journal or of SQLite; None for a server and for SQLite's own kinds of URL."""
    if _is_journal(storage):
        return Path(storage)
    path = make_url(storage).database if storage.startswith("sqlite:///") else None
    return None if path is None or path.startswith((":", "file:")) else Path(path)


def _is_journal(storage: str) -> bool:
    return storage.endswith(".log") and "://" not in storage


def _cut_to_whole_lines(journal: Path) -> None:
    """Takes off the last line that a killed writer left unfinished.

    Optuna would write on behind it, and could open the journal no more.
    """
    if not journal.exists() or journal.read_bytes()[-1:] in {b"", b"\n"}:
        return
    lock = JournalFileSymlinkLock(str(journal.resolve()))
    lock.acquire()  # whoever writes just now ends the line
    try:
        content = journal.read_bytes()
        begins = b'{"op_code"'
        if content[: len(begins)] == begins[: len(content)]:  # else it is no journal
            os.truncate(journal, content.rfind(b"\n") + 1)
    finally:
        lock.release()


def _row(result: TrialResult) -> Row:
    last = result.curve[-1] if result.state == "COMPLETE" else None
    row: Row = result.trial.candidate.row()
    row |= dict(zip(KEY, result.trial.key, strict=True))
    row |= {"state": result.state, "reason": without_password(result.reason)}
    for metric in ("val_accuracy", "val_loss", "train_loss"):
        row[metric] = None if last is None else getattr(last, metric)
    for name in ("train_seconds", "total_seconds", "images_per_second"):
        value = getattr(result, name)
        row[name] = value if math.isfinite(value) else None
    for name in (
        "attempts",
        "device_share",
        "peak_memory_bytes",
        "micro_batches",
        "device",
        "host",
        "versions",
    ):
        row[name] = getattr(result, name)
    row["curve"] = [asdict(epoch) for epoch in result.curve]
    if result.test is not None:
        row |= {"test_loss": result.test.loss, "test_accuracy": result.test.accuracy}
        row["test_losses"] = base64.b64encode(result.test.packed_losses).decode()
        row["test_hits"] = base64.b64encode(result.test.packed_hits).decode()
    return row


def scores_on_test(row: Mapping[str, object]) -> TestScores | None:
    """What a row's network gave on the test split; None where it was not asked."""
    if row.get("test_loss") is None:
        return None
    return TestScores(
        loss=float(str(row["test_loss"])),
        accuracy=float(str(row["test_accuracy"])),
        packed_losses=base64.b64decode(str(row["test_losses"])),
        packed_hits=base64.b64decode(str(row["test_hits"])),
    )


def _result(trial: Trial, row: Mapping[str, object]) -> TrialResult:
    def seconds(name: str) -> float:
        value = row[name]
        return value if isinstance(value, float) else math.nan

    curve = row["curve"]
    assert isinstance(curve, list)
    return TrialResult(
        trial,
        "COMPLETE" if row["state"] == "COMPLETE" else "FAIL",
        reason=str(row["reason"]),
        curve=tuple(Epoch(**epoch) for epoch in curve),
        train_seconds=seconds("train_seconds"),
        total_seconds=seconds("total_seconds"),
        images_per_second=seconds("images_per_second"),
        device_share=seconds("device_share"),
        peak_memory_bytes=int(str(row["peak_memory_bytes"])),
        micro_batches=int(str(row["micro_batches"])),
        attempts=int(str(row["attempts"])),
        device=str(row["device"]),
        host=str(row["host"]),
        versions=str(row["versions"]),
        test=scores_on_test(row),
    )


def _unusable(storage: str, error: BaseException) -> str:
    reason = next(iter(str(error.__cause__ or error).split("\n")), "") or type(error).__name__
    reason = without_password(reason)
    if _is_journal(storage):
        place = storage
    elif storage.startswith("sqlite:///"):
        place = make_url(storage).database or storage
    else:  # passwords stand before @ or after ?
        place = storage.rpartition("@")[2].partition("?")[0]
    return (
        f"storage must be readable and writable, got {place!r} ({reason}); check that the folder "
        "exists, is writable and that nothing else holds a lock on it"
    )
