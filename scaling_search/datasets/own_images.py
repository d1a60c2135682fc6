"""Options and methods that all data sets of a user's own images share."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Literal

from pydantic import Field

from scaling_search.core.dataset import Splits
from scaling_search.core.part import part
from scaling_search.data import gathering, sources
from scaling_search.data.cache import Part
from scaling_search.data.description import Description
from scaling_search.data.sources import Source
from scaling_search.data.split_names import OPTION


@part
class OwnImages:
    """Images of a user's own, with ready splits or split here; a `Source` by what each adds.

    Attributes:
        path: Where they lie; None is refused once they are looked for.
        splits: ``given`` takes what is called train, val and test as splits, ``drawn`` all as one
            whole; None is told by the names, if they have one reading.
        val_share: The part of the training images to choose on, unless there is a ready split.
        test_share: The part to report on, unless there is a ready split.
        split_seed: Of the draw of both.
        duplicates: ``drop`` removes exact copies of images, ``keep`` leaves them in.
        aspect: ``crop`` takes the centre of images that are not square, ``stretch`` the whole.
        num_classes: Classes there must be; None for those there are.
        in_channels: 3 for colour, 1 for grey; None for 1 where all are grey.
        resolution: Height and width that are kept, in pixels, the largest to train at; None for
            what half of the images have, up to 320.
    """

    path: str | None
    splits: OPTION | None = None
    val_share: Annotated[float, Field(gt=0, lt=1)] = 0.1
    test_share: Annotated[float, Field(gt=0, lt=1)] = 0.1
    split_seed: Annotated[int, Field(ge=0)] = 0
    duplicates: Literal["keep", "drop"] = "keep"
    aspect: Literal["crop", "stretch"] = "crop"
    num_classes: Annotated[int, Field(ge=2)] | None = None
    in_channels: Literal[1, 3] | None = None
    resolution: Annotated[int, Field(ge=1)] | None = None

    def __post_init__(self) -> None:
        sources.check_shares(self.val_share, self.test_share)

    def check(self: Source) -> None:
        """Reads all images into maps unless they are there, with a bar on a terminal.

        Raises:
            ValueError: An option is not what lies there.
            RuntimeError: Images are missing or broken, there is no room, or a package is missing.
        """
        gathering.check(self)

    def fingerprint(self: Source) -> str:
        """A hash of the images and labels of all splits and of how they are read."""
        return gathering.fingerprint(self)

    def load(self: Source, resolution: int, device: str) -> Splits:
        """The splits at a size, on a device."""
        return gathering.load(self, resolution, device)

    def parts(self: Source, resolution: int) -> Iterator[Part]:
        """The splits at a size, some images at a time."""
        return gathering.parts(self, resolution)

    def sentences(self: Source, resolutions: Iterable[int]) -> Iterator[str]:
        """Sentences on the cost of reading the images and on their room at these sizes."""
        return gathering.sentences(self, resolutions)

    def numbers(self: Source) -> Mapping[str, int]:
        """Classes, channels and resolution that are left open, read from the images."""
        return gathering.numbers(self)

    def description(self: Source) -> Description:
        """The images as they were understood, once all have been read."""
        return gathering.description(self)

    def outline(self: Source) -> Description:
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
