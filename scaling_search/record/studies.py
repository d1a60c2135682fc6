"""The studies of a run in one storage: the search's, and one of each command beyond it."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import optuna
from optuna.storages import BaseStorage

from scaling_search.core.metric import Metric
from scaling_search.record.record import Record
from scaling_search.record.storage import default_storage, file_of, open_storage, unusable
from scaling_search.record.storage_urls import has_studies
from scaling_search.runtime.command_line import as_override, shell_command
from scaling_search.runtime.passwords import without_password

FOLLOW_UPS = ("scale", "confirm", "fairness", "transfer", "recipe", "recipe-plain")
"""Names of studies beyond the search: those of commands, and two of the check of its recipe.

A training is known by network, seed, epochs and learning rate, so those without augmentation have a
study of their own.
"""


@dataclass(frozen=True)
class Studies:
    """The studies of a run; reading creates none. The storage and each study are opened once.

    Attributes:
        out: The run's folder.
        storage: SQLAlchemy URL or path ending in ``.log``; None for ``study.db`` in the folder.
        name: The experiment's, which its study has too.
        objective: The metric that decides.
    """

    out: Path
    storage: str | None
    name: str
    objective: Metric

    @property
    def url(self) -> str:
        """The storage's URL or path."""
        return self.storage or default_storage(self.out)

    @cached_property
    def _opened(self) -> BaseStorage:
        return open_storage(self.url)

    @cached_property
    def _records(self) -> dict[str, Record]:
        return {}

    def _record(self, name: str) -> Record:
        """The record of a study's name, created if it is not there."""
        if name not in self._records:
            self._records[name] = Record(self.url, name, self.objective, opened=self._opened)
        return self._records[name]

    @property
    def names(self) -> list[str]:
        """Names of all studies in the storage, other experiments' too; none if none was begun.

        Raises:
            RuntimeError: The storage cannot be read.
        """
        if not has_studies(self.url):
            return []
        opened = self._opened
        try:
            return [str(name) for name in optuna.get_all_study_names(opened)]
        except Exception as error:
            raise RuntimeError(unusable(self.url, error)) from error

    def name_of(self, command: str) -> str:
        """Name of the study that holds a command's trainings beyond the search."""
        return f"{self.name}-{command}"

    @property
    def is_begun(self) -> bool:
        """True if there is a record of the search."""
        return self.name in self._records or self.name in self.names

    @property
    def search(self) -> Record:
        """The record of the search; RuntimeError if there is none yet."""
        if not self.is_begun:
            raise RuntimeError(f"out must hold the record of {self.name!r}, {self.lacking}")
        return self._record(self.name)

    @property
    def lacking(self) -> str:
        """Text of a message: what the folder holds, no record, and the command that makes one."""
        folder = repr(str(self.out))
        if self.names:
            return (
                f"got {sorted(self.names)} in {folder}; the same search again begins it, under the "
                "name in config.yaml"
            )
        if self.storage is not None:
            return f"got none at {without_password(self.url)!r}; the same search again begins it"
        again = shell_command("search", as_override("out", str(self.out)))
        if (self.out / "results.csv").is_file():
            return (
                f"got {folder} with tables and no study.db; read results.csv as it is, or train "
                f"again by its config.yaml: {again}"
            )
        return f"got {folder} without study.db; {again} begins it"

    def begun(self, command: str | None = None) -> Record:
        """The record of the search or of a command beyond it, created if it is not there.

        Raises:
            ValueError: A search of that name is in its place.
        """
        name = self.name if command is None else self.name_of(command)
        record = self._record(name)
        if command is not None and record.choices:
            raise ValueError(
                f"storage must have no search of the name {name!r}, under which {command} keeps "
                "its trainings, got one; use another storage for one of them"
            )
        return record

    def beyond(self, command: str) -> Record | None:
        """The record of a command beyond the search; None before it has begun."""
        name = self.name_of(command)
        if name not in self._records and name not in self.names:
            return None
        record = self._record(name)
        return None if record.choices else record  # a search of that name has choices

    def check_place(self) -> None:
        """Checks that the storage holds no other experiment's record, and can hold this one's.

        Raises:
            ValueError: It does, or the experiment's name is that of a study of a command.
            RuntimeError: The record's file would lie in a folder that is not there.
        """
        place = file_of(self.url)
        is_in_run = place is not None and place.parent.resolve() == self.out.resolve()
        if place is not None and not is_in_run and not place.parent.is_dir():
            raise RuntimeError(
                f"storage must be readable and writable, got {str(place)!r} in a folder that is "
                "not there; make the folder or use another"
            )
        own = [self.name_of(command) for command in FOLLOW_UPS]
        for command in FOLLOW_UPS:
            if self.name.endswith(f"-{command}"):
                raise ValueError(
                    f"name must not end in -{command}, as the studies of {command} do, got "
                    f"{self.name!r}; use another"
                )
        stored = self.names
        others = {*stored} - {self.name, *(own if self.name in stored else [])}
        if self.storage is None and others:
            raise ValueError(
                f"name must be {min(others, key=len)!r} as in this folder's record, got "
                f"{self.name!r}; use another out= for another experiment"
            )
