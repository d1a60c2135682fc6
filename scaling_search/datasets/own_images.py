"""Options and methods that all data sets of a user's own images share."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

from scaling_search.core.dataset import Splits
from scaling_search.core.part import part
from scaling_search.data import gathering
from scaling_search.data.cache import Part
from scaling_search.data.description import Description
from scaling_search.data.sources import Source


@part
class OwnImages(Source):
    """A dataset of a user's own images, read once and kept as maps."""

    def check(self) -> None:
        """Reads all images into maps unless they are there, with a bar on a terminal.

        Raises:
            ValueError: An option is not what lies there.
            RuntimeError: Images are missing or broken, there is no room, or a package is missing.
        """
        gathering.check(self)

    def fingerprint(self) -> str:
        """A hash of the images and labels of all splits and of how they are read."""
        return gathering.fingerprint(self)

    def load(self, resolution: int, device: str) -> Splits:
        """The splits at a size, on a device."""
        return gathering.load(self, resolution, device)

    def parts(self, resolution: int) -> Iterator[Part]:
        """The splits at a size, some images at a time."""
        return gathering.parts(self, resolution)

    def sentences(self, resolutions: Iterable[int]) -> Iterator[str]:
        """Sentences on the cost of reading the images and on their room at these sizes."""
        return gathering.sentences(self, resolutions)

    def numbers(self) -> Mapping[str, int]:
        """Classes, channels and resolution that are left open, read from the images."""
        return gathering.numbers(self)

    def description(self) -> Description:
        """The images as they were understood, once all have been read."""
        return gathering.description(self)

    def outline(self) -> Description:
        """The images as they are understood before any is decoded."""
        return gathering.outline(self)


@part
class OwnPictures(OwnImages):
    """Images that are decoded from files of pictures.

    Attributes:
        broken: ``fail`` ends the command at pictures that cannot be read, ``skip`` leaves them out.
        background: Paper under transparent pixels.
    """

    broken: Literal["fail", "skip"] = "fail"
    background: Literal["white", "black"] = "white"
