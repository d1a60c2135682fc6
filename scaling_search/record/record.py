"""The record of a search: an Optuna study with one trial for each training that ended."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, TypeVar

import optuna
from optuna.distributions import FloatDistribution
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from scaling_search.core.metric import KNOWN, Metric
from scaling_search.core.trial import Key, Trial, TrialResult
from scaling_search.record.digests import DIGEST, DamagedError, checked_row, digest
from scaling_search.record.holding import Hold, TakenOverError
from scaling_search.record.results import KEY, Row, result_of, row_of
from scaling_search.record.schema import VERSION, WITHOUT_DIGESTS, check_version, current_costs
from scaling_search.record.storage import Pause, file_of, open_storage, unusable, wait, write
from scaling_search.runtime.lock import RunLock
from scaling_search.runtime.passwords import without_password
from scaling_search.runtime.progress import progress

Read = TypeVar("Read")

optuna.logging.set_verbosity(optuna.logging.ERROR)  # what ends a command is told in one line


DIRECTIONS: dict[str, Literal["minimize", "maximize"]] = {"min": "minimize", "max": "maximize"}


def direction(objective: Metric) -> Literal["minimize", "maximize"]:
    """The direction in which an objective is better, in Optuna's words."""
    return DIRECTIONS[str(objective.direction)]


OBJECTIVES = {direction(metric).upper(): metric.name for metric in KNOWN.values()}
"""Metrics of this package's training that Optuna has, by its name of their direction."""


@dataclass(frozen=True)
class InterimAnalysis:
    """The region of the rule during a search.

    Attributes:
        trainings: Finished trainings of scaled networks that it rests on.
        region: Part of the searched area that can be the best.
    """

    trainings: int
    region: float


@dataclass(frozen=True)
class FinalTest:
    """One comparison of a search's winner on the test split, after new trainings.

    Attributes:
        arms: Numbers of the candidates: ``found``, ``paper`` and ``base``.
        seeds: Seeds with which each of them is trained.
        objective: Name of the metric that decides.
        delta: The smallest difference of it that matters; None if unknown.
        why: The reason why the winner was chosen.
        searched: The winner's results in the search, by metric.
        began: Time at which the trainings were chosen.
        when: Time at which the test split was used; empty while trainings remain.
    """

    arms: dict[str, int]
    seeds: list[int]
    objective: str
    delta: float | None
    why: str
    searched: dict[str, list[float]]
    began: str
    when: str = ""


class Record:
    """The results of an experiment; the only writer of its storage.

    Opening it creates nothing but the study itself. What was changed since it was recorded is
    refused when it is read: each training and each attribute has a digest beside it, but for those
    of older versions.
    """

    def __init__(
        self, storage: str, name: str, objective: Metric, *, opened: BaseStorage | None = None
    ) -> None:
        """Opens a study, or creates it; ``opened`` is its storage, if that is open already.

        Raises:
            ValueError: The storage's URL would name another file than it seems to.
            RuntimeError: The storage cannot be used, or its record is newer than this code.
        """
        self.storage = storage
        self.objective = objective
        self._name = name
        self._read: list[Row] = []  # rows of trainings that ended, which do not change
        self._written: dict[str, object] = {}
        self._added: list[FrozenTrial] = []
        self._opened = opened or open_storage(storage)
        file = file_of(storage)
        self._hold = Hold(self._opened, name, "" if file is None else str(file.resolve()))
        self.study = self._reading(self._loaded_or_created)
        if not self._attributes and not self.study.get_trials(deepcopy=False):
            self.study.set_user_attr("schema", VERSION)
        check_version(self.schema, f"storage {without_password(storage)!r}")

    def hold(self, lock: RunLock) -> None:
        """Makes a command the only one that writes, until another takes the record over.

        Raises:
            RuntimeError: A command of another folder writes, or the storage cannot be written.
        """
        self._reading(lambda: self._hold.take(lock))
        self._written.clear()  # what was written before is others' too
        self._added.clear()

    def claim(self, choices: Mapping[str, object]) -> None:
        """Binds the record to the choices that decide outcomes."""
        self._set("schema", VERSION)  # an older one is brought up to date
        self._set("choices", choices)

    @property
    def choices(self) -> dict[str, object]:
        """The choices that it is bound to, empty before it is; by full keys in version 1."""
        return dict(self._get("choices", {}))

    @property
    def options(self) -> list[dict[str, Any]]:
        """Options that searches wrote into ``config.yaml``, the last at the end.

        Several folders can share a record, and a search may be killed before it writes the file.
        """
        return list(self._get("options", []))

    @property
    def digests(self) -> dict[str, list[str]]:
        """Digests of the run's files that only a search can make again, by their names."""
        return dict(self._get("digests", {}))

    @property
    def schema(self) -> int:
        """Version of the record."""
        return int(self._get("schema", 1))

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the dataset that was trained on."""
        return str(self.choices.get("dataset", ""))

    @property
    def networks(self) -> list[Row]:
        """A row for each network to train, with its architecture; empty in version 1."""
        return list(self._get("networks", []))

    def keep_networks(self, rows: Iterable[Row]) -> None:
        """Records the networks before they are trained."""
        self._keep("networks", list(rows))

    def keep_files(self, *, options: Mapping[str, object], digests: Mapping[str, str]) -> None:
        """Records what decides in the run's ``config.yaml``, and the digests of other files."""
        self._keep("options", [*(one for one in self.options if one != options), options])
        kept = {name: set(every) for name, every in self.digests.items()}
        every = {name: sorted({*kept.get(name, ()), one}) for name, one in digests.items()}
        self._keep("digests", every)

    @property
    def costs(self) -> dict[str, Any]:
        """Measured costs of networks, as `Budget.state` has them."""
        return current_costs(self._get("costs", {}))

    def keep_costs(self, state: Mapping[str, Any]) -> None:
        """Records measured costs, so that a later plan is the same."""
        self._keep("costs", state)

    @property
    def interim_analyses(self) -> list[InterimAnalysis]:
        """The estimates of the rule's region, first to last."""
        return [InterimAnalysis(**one) for one in self._get("looks", [])]

    def add_interim_analysis(self, estimate: InterimAnalysis) -> None:
        """Records one more estimate of the region."""
        self._set("looks", [asdict(one) for one in (*self.interim_analyses, estimate)])

    @property
    def final_tests(self) -> list[FinalTest]:
        """The comparisons on the test split, first to last; the last may not have ended."""
        return [FinalTest(**one) for one in self._get("test_looks", [])]

    def begin_final_test(self, test: FinalTest) -> None:
        """Records a comparison before its networks are trained."""
        self._set_final_tests([*self.final_tests, test])

    def end_final_test(self, test: FinalTest, when: str) -> None:
        """Records the time at which the test split is used by a comparison that was begun."""
        ended = [one for one in self.final_tests if one.when]
        earlier = [one for one in ended if replace(one, when="") != replace(test, when="")]
        self._set_final_tests([*earlier, replace(test, when=when)])

    def _set_final_tests(self, tests: Iterable[FinalTest]) -> None:
        self._set("test_looks", [asdict(test) for test in tests])

    @property
    def stopped(self) -> str:
        """The reason why the last command ended, empty before the first did."""
        return str(self._get("stopped", ""))

    def stop(self, reason: str, *, pause: Pause = wait) -> int:
        """Records why a command ended; tries again as `add` does.

        Returns:
            The number of its trainings that the storage had lost and that were written again.
        """
        lost: list[FrozenTrial] = []

        def write_end(_: bool) -> None:  # noqa: FBT001  # as `write` calls it
            self._hold.check()
            lost.extend(self._write_lost())
            self._set("stopped", reason)

        write(self.storage, write_end, pause)
        return len(lost)

    def _write_lost(self) -> list[FrozenTrial]:
        """Writes what this command wrote and a server no longer has; returns the trainings.

        A standby that takes over may not have received the last of it.
        """
        if file_of(self.storage) is not None:
            return []
        for key, value in list(self._written.items()):
            if digest(self.study.user_attrs.get(key)) != digest(value):
                self._set(key, value)
        held = self._digests()
        lost = [trial for trial in self._added if trial.user_attrs[DIGEST] not in held]
        for trial in lost:
            self.study.add_trial(trial)
        return lost

    def _digests(self) -> set[object]:
        """Digests of the trainings in the storage itself, which Optuna's cache may differ from."""
        study = optuna.load_study(storage=self._opened, study_name=self._name)
        return {trial.user_attrs.get(DIGEST) for trial in study.get_trials(deepcopy=False)}

    def _get(self, key: str, default: object) -> Any:
        """An attribute; RuntimeError if it was changed since."""
        attributes = self._attributes
        value = attributes.get(key)
        if digest(value) not in attributes.get(f"{key} {DIGEST}", [digest(value)]):
            raise RuntimeError(unusable(self.storage, DamagedError(f"{key} of {self._name}")))
        return default if value is None else value

    def _keep(self, key: str, value: object) -> None:
        value = json.loads(json.dumps(value))
        if value and value != self._attributes.get(key):
            self._set(key, value)

    def _set(self, key: str, value: object) -> None:
        """Writes an attribute behind its digest.

        A command that is killed in between leaves the value before it, whose digest is there too.
        """
        self._hold.check()
        before = self.study.user_attrs.get(key)
        if self.schema == WITHOUT_DIGESTS:  # whose code would write the value alone
            self.study.set_user_attr("schema", VERSION)
        self.study.set_user_attr(f"{key} {DIGEST}", [digest(before), digest(value)])
        self.study.set_user_attr(key, value)
        self._written[key] = value

    @property
    def _attributes(self) -> dict[str, Any]:
        return self._reading(lambda: self.study.user_attrs)

    def _loaded_or_created(self) -> optuna.Study:
        """The study; created only if it is not there, for a user may be allowed to read alone."""
        place: Any = {"storage": self._opened, "study_name": self._name}
        try:
            return optuna.load_study(**place)
        except KeyError:
            own = direction(self.objective)
            return optuna.create_study(**place, direction=own, load_if_exists=True)

    def _reading(self, function: Callable[[], Read]) -> Read:
        """The result of a function that reads; a RuntimeError names the storage if it fails."""
        try:
            return function()
        except TakenOverError:
            raise
        except Exception as error:
            raise RuntimeError(unusable(self.storage, error)) from error

    def add(self, result: TrialResult, *, pause: Pause = wait, **extra: object) -> None:
        """Records a training that ended, in one transaction.

        A storage that cannot be written is tried again for `PATIENCE_SECONDS`.

        Args:
            result: The training's result.
            pause: Waits until the next try.
            extra: More columns.

        Raises:
            RuntimeError: The storage cannot be written.
        """
        coefficients = asdict(result.trial.candidate.coefficients)
        name, is_complete = self.objective.name, result.state == "COMPLETE"
        points = enumerate(result.points, 1)
        values = {place: point[name] for place, point in points if name in point}
        row = row_of(result) | extra
        trial = optuna.trial.create_trial(
            state=TrialState.COMPLETE if is_complete else TrialState.FAIL,
            value=result.scores[name] if is_complete else None,
            params=coefficients,
            distributions={k: FloatDistribution(1.0, max(4.0, v)) for k, v in coefficients.items()},
            user_attrs={"row": row, DIGEST: digest(row)},
            intermediate_values=values,
        )

        def write_trial(is_first_try: bool) -> None:  # noqa: FBT001  # as `write` calls it
            self._hold.check()
            # A try that failed may have lost no more than its answer.
            if is_first_try or trial.user_attrs[DIGEST] not in self._digests():
                self.study.add_trial(trial)

        write(self.storage, write_trial, pause)
        self._added.append(trial)

    def rows(self) -> list[Row]:
        """The last row of every training, in the order in which they first ended."""
        return list(self._rows().values())

    def _rows(self) -> dict[tuple[object, ...], Row]:
        """The same by `KEY`; a training that failed and was tried again has several rows."""
        return {tuple(row[name] for name in KEY): row for row in self._all_rows()}

    def _all_rows(self) -> list[Row]:
        self._reading(self._read_rows)
        return [dict(row) for row in self._read]

    def _read_rows(self) -> None:
        """Reads and checks what was not read before."""
        objective = OBJECTIVES[self.study.direction.name]
        trials = self._unread()
        for trial in trials if self._read else progress(trials, "reading trainings", None):
            self._read.append(checked_row(trial, len(self._read), objective))

    def _unread(self) -> Iterator[FrozenTrial]:
        """Trainings that were not read before; the first takes as long as all."""
        yield from self.study.get_trials(deepcopy=False)[len(self._read) :]

    def results_of(self, trials: Iterable[Trial]) -> dict[Key, TrialResult]:
        """The results of those trials that have ended, by their keys."""
        rows = self._rows()
        return {t.key: result_of(t, rows[t.key]) for t in trials if t.key in rows}
