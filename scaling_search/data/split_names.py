"""Names that data sets give to train, validation and test, and which of what lies there is read."""

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from scaling_search.data.maps import NAMES

WORDS = {
    "train": ("train", "training", "trainval"),
    "val": ("val", "valid", "validation", "dev", "devel", "development", "eval", "evaluation"),
    "test": ("test", "testing", "holdout", "heldout"),
}
"""The words in use for each split."""

BESIDE = ("set", "split", "data", "dataset", "images", "image", "imgs", "img", "pictures", "seg")
"""Words that may stand before or behind such a word: ``seg_train``, ``test_set``."""

OPTION = Literal["given", "drawn"]

_SPLITS = {word: split for split, words in WORDS.items() for word in words}
_BESIDE = f"(?:{'|'.join(BESIDE)})*"
_NAME = re.compile(rf"({_BESIDE}({'|'.join(_SPLITS)}){_BESIDE})\d*")


def plain(name: str) -> str:
    """A name in lower case without hyphens, underscores, dots, slashes and spaces."""
    return re.sub(r"[-_./\s]+", "", name.casefold())


def split_of(name: str) -> str | None:
    """The split that a name means, as in `NAMES`; None if it means none.

    Case and separators are not looked at; a number may stand behind, as in ``train2017``.
    """
    found = _NAME.fullmatch(plain(name))
    return _SPLITS[found[2]] if found else None


def split_words(name: str) -> dict[str, str]:
    """The words in a name that mean splits, with these: of ``train-00000-of-00003``."""
    if whole := _NAME.fullmatch(plain(name)):
        return {whole[1]: _SPLITS[whole[2]]}
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)
    pairs = [a + b for a, b in itertools.pairwise(words)]  # hold-out
    for several in (words, pairs):
        if found := {plain(word): split for word in several if (split := split_of(word))}:
            return found
    return {}


@dataclass(frozen=True)
class Choice:
    """Names that are read as splits.

    Attributes:
        by_split: Names of what lies there; all under ``train`` where all is one.
        ready: Original name of each ready split; empty where all is one.
        unread: Names that are left out.
    """

    by_split: dict[str, tuple[str, ...]]
    ready: dict[str, str]
    unread: tuple[str, ...] = ()


@dataclass(frozen=True)
class Found:
    """Names of folders, files or arrays that lie at one place.

    Attributes:
        place: Place, as shown.
        splits: The split of each name that means one.
        others: Names that may belong to splits or be another part of the whole.
        extra: Names that are surely no split's, read only where all is one.
        kind: Kind of things with such names: folders, files, arrays.
        drawn: Effect of ``dataset.splits=drawn`` on them, as shown.
        is_whole: True if the others alone are all of it, as an array ``images`` is beside
            ``train_images``.
    """

    place: str
    splits: Mapping[str, str]
    others: Sequence[str] = ()
    extra: Sequence[str] = ()
    kind: str = "splits"
    drawn: str = "all are one whole"
    is_whole: bool = False

    def choice(self, option: OPTION | None) -> Choice:
        """The choice of what is read as which split.

        Args:
            option: ``given`` takes what is called a split as one, ``drawn`` takes all as one;
                None leaves it to the names, if they have one reading.

        Raises:
            ValueError: They have two, or the option does not fit them.
        """
        everything = (*self.splits, *self.others, *self.extra)
        if option == "drawn" and self.others and self.is_whole:
            return Choice({"train": tuple(self.others)}, {}, tuple(self.splits))
        if option == "drawn" or (option is None and not self.splits and len(everything) == 1):
            return Choice({"train": everything}, {})
        if option is None and self.splits and self.others:
            raise self._two_readings()
        names = {split: [n for n, s in self.splits.items() if s == split] for split in NAMES}
        for split, several in names.items():
            if len(several) > 1:
                raise ValueError(
                    f"dataset.path must hold one {self.kind[:-1]} for {split}, got "
                    f"{quoted(several)} in {self.place!r}; rename or move one of them, or add "
                    f"dataset.splits=drawn if {self.drawn}"
                )
        unread = (*self.others, *self.extra)
        if not names["train"]:
            names["train"] = list(self.others or self.extra) if option == "given" else []
            unread = tuple(name for name in unread if name not in names["train"])
        if not names["train"]:
            raise self._without_train()
        by_split = {split: tuple(of) for split, of in names.items() if of}
        ready = {
            split: of[0] if len(of) == 1 else f"{len(of):,} {self.kind}"
            for split, of in by_split.items()
        }
        return Choice(by_split, ready, unread)

    def _two_readings(self) -> ValueError:
        is_there = "train" in self.splits.values()
        what = "left out" if is_there else "train"
        return ValueError(
            f"dataset.path must hold {self.kind} with one reading, got {quoted(self.splits)} "
            f"beside {quoted(self.others)} in {self.place!r}; add dataset.splits=given if "
            f"{quoted(self.splits)} {_are(self.splits)} (then {quoted(self.others)} "
            f"{'is' if len(self.others) == 1 else 'are'} {what}), or dataset.splits=drawn if "
            f"{self.drawn}"
        )

    def _without_train(self) -> ValueError:
        got = quoted((*self.splits, *self.others, *self.extra))
        given = ""
        if self.splits and self.extra:
            given = f"dataset.splits=given if {quoted(self.extra)} is to train on, or "
        return ValueError(
            f"dataset.path must hold {self.kind} to train on, got {got} alone in {self.place!r}; "
            f"rename them to 'train', or add {given}dataset.splits=drawn if {self.drawn}"
        )


def _are(names: Mapping[str, str]) -> str:
    return "is a split" if len(names) == 1 else "are splits"


def quoted(names: Sequence[str] | Mapping[str, str], count: int = 3) -> str:
    """The first few names, as shown; a name may hold anything, so it is quoted."""
    first = ", ".join(map(repr, itertools.islice(names, count)))
    return first + (f" and {len(names) - count:,} more" if len(names) > count else "")


def counted(number: int, noun: str) -> str:
    """A number of things, as shown."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
