"""A mark in a study by which one command at a time writes to it, whatever folder that is in."""

import time
from functools import cached_property
from typing import Any

from optuna.storages import BaseStorage

from scaling_search.runtime.lock import RunLock

MARK = "held"
"""Name of the mark, a system attribute of Optuna: these are few, so that reading it is fast."""


SETTLE_SECONDS = 0.1
"""Time after which a mark that was written at the same time is there."""


class TakenOverError(RuntimeError):
    """Another command writes to the study."""


class Hold:
    """The hold of one study; a folder's own lock does not reach other folders with its storage.

    The mark names the lock of the folder that writes. While that lock is seen from here and its
    command lives, others are refused; else they take the study over, and the first one ends at its
    next write.

    Attributes:
        file: The storage's file, by which a copy of it is told; empty for a server.
    """

    def __init__(self, opened: BaseStorage, name: str, file: str) -> None:
        self.file = file
        self._opened = opened
        self._name = name
        self._known: list[Any] = []  # the mark of this command, and the one before

    def take(self, lock: RunLock) -> None:
        """Marks the study with the lock of a folder.

        Raises:
            TakenOverError: A command of another folder holds it.
        """
        before, mark = self._mark, lock.mark | {"file": self.file}
        is_here = isinstance(before, dict) and before.get("file") == self.file
        if is_here and (holder := lock.holder(before)):
            raise TakenOverError(
                f"storage must be written by one command at a time, got the record of "
                f"{self._name!r}, which {holder}; wait for it or end it, or use another name="
            )
        self._opened.set_study_system_attr(self._id, MARK, mark)
        self._known = [mark, before]
        time.sleep(SETTLE_SECONDS)  # another may have looked before this was written
        self.check()

    def check(self) -> None:
        """Checks that the study is still this command's, if it was taken.

        Raises:
            TakenOverError: Another command has taken it over.
        """
        if not self._known or (mark := self._mark) == self._known[0]:
            return
        # A standby that becomes the server may not have received the mark of this one, or any.
        if mark not in [*self._known, None]:
            raise TakenOverError(
                f"storage must be held until the end, got the record of {self._name!r}, which "
                f"a command in {mark.get('folder')!r} has taken over; wait for that one"
            )
        self._opened.set_study_system_attr(self._id, MARK, self._known[0])

    @cached_property
    def _id(self) -> int:
        return self._opened.get_study_id_from_name(self._name)

    @property
    def _mark(self) -> Any:
        return self._opened.get_study_system_attrs(self._id).get(MARK)
