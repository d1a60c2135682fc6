"""The data in sentences, a table and a contact sheet, before training and in the report."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
from rich.console import Console

from scaling_search.core.dataset import Dataset
from scaling_search.data.description import Description
from scaling_search.data.gathering import Described, describe
from scaling_search.display.data import data_section
from scaling_search.display.terminal import say, show
from scaling_search.experiment.experiment import Experiment
from scaling_search.runtime.files import replace_file
from scaling_search.training.batches import augmented_batches, load

FILE = "data.json"
"""File of a run's folder that describes its data."""

SHEET = "figures/contact_sheet.png"
"""Its figure."""

FILES = (FILE, SHEET)

NO_DATA = "none"
"""The fingerprint of a search whose training brings its own data."""

NO_DATA_SHOWN = "The training brings its own data, which are neither read nor compared here."


def fingerprint_of(dataset: Dataset | None) -> str:
    """The fingerprint that a record has of a ready dataset."""
    return NO_DATA if dataset is None else dataset.fingerprint()


def outlined(experiment: Experiment, *, timed: bool) -> Description | None:
    """The data of a plan, all read where steps are timed on them; None where nothing is known.

    Raises:
        ValueError: They are not what the options say.
        RuntimeError: They are missing or damaged.
    """
    if experiment.dataset is None:
        return None
    if timed:
        return described(experiment, experiment.ready_dataset())
    if not isinstance(experiment.dataset, Described):
        return None
    about = experiment.dataset.outline()
    few = _too_few(experiment, about)
    return replace(about, warnings=(*about.warnings, f"{few}.")) if few else about


def described(experiment: Experiment, dataset: Dataset | None) -> Description | None:
    """The data of a search, all read; None where its training brings them.

    Raises:
        ValueError: They are fewer than a batch.
        RuntimeError: They are missing or damaged.
    """
    if dataset is None:
        return None
    about = describe(dataset)
    if few := _too_few(experiment, about):
        raise ValueError(few)
    return about


def _too_few(experiment: Experiment, about: Description) -> str:
    """The sentence on a batch that is never full, empty if it is."""
    num_train, size = sum(about.counts["train"]), experiment.recipe.batch_size
    if num_train >= size or experiment.training is not None:
        return ""
    return (
        f"recipe.batch_size must be at most the {num_train} images of train, got {size}: no batch "
        f"would be full; add recipe.batch_size={min(num_train, max(2, num_train // 4))}"
    )


def show_data(experiment: Experiment, about: Description | None, console: Console) -> None:
    """Prints the data, and the resolution of the base network."""
    if about is None:
        say(console, [NO_DATA_SHOWN])
        return
    show(console, data_section(about))
    base = experiment.base_network.resolution
    said = f"The base network takes {base} x {base} px"
    if base < about.resolution:
        said = (
            f"{said} of them, so resolution can grow by a factor of {about.resolution / base:.2f}."
        )
    elif base == about.resolution:
        said = f"{said}, all that the images have, so resolution cannot grow."
    else:
        said = f"Warning: the base network uses {base} x {base} px, to which images are upsampled."
    say(console, [said])
    console.print()


def keep(
    experiment: Experiment,
    about: Description | None,
    folder: Path,
    digests: Mapping[str, Sequence[str]],
) -> dict[str, str]:
    """Writes the description and the contact sheet into a run's folder, unless they are there.

    Args:
        experiment: Its data are shown.
        about: Description of the data; None where the training brings them.
        folder: The run's.
        digests: Digests of the files that are there, as the record has them.

    Returns:
        Those of the files now.

    Raises:
        RuntimeError: They cannot be written.
    """
    if about is None:
        return {}
    text = json.dumps(about.row(), indent=1).encode()
    now = _digests(folder)
    is_kept = all(name in now and now[name] in digests.get(name, ()) for name in FILES)
    if is_kept and now[FILE] == sha256(text).hexdigest():
        return now
    replace_file(folder / SHEET, _sheet(experiment, about))
    replace_file(folder / FILE, text)
    return _digests(folder)


def kept(folder: Path, digests: Mapping[str, Sequence[str]]) -> tuple[Description, bytes] | None:
    """The description and the contact sheet of a run's folder; None where it has none.

    Args:
        folder: The run's.
        digests: Their digests by the record, which older ones do not have.

    Raises:
        RuntimeError: They are damaged.
    """
    now = _digests(folder)
    if len(now) < len(FILES):
        return None
    if changed := [name for name in FILES if now[name] not in digests.get(name, [now[name]])]:
        raise RuntimeError(
            f"{folder / changed[0]} must be what the search has written, got another content; the "
            "same search writes it again"
        )
    try:
        about = Description.of_row(json.loads((folder / FILE).read_text(encoding="utf-8")))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise RuntimeError(
            f"{folder / FILE} must be what the search has written, got {type(error).__name__}; "
            "the same search writes it again"
        ) from error
    return about, (folder / SHEET).read_bytes()


def _digests(folder: Path) -> dict[str, str]:
    """Digests of the files that are there, by their names in a run's folder."""
    there = [name for name in FILES if (folder / name).is_file()]
    return {name: sha256((folder / name).read_bytes()).hexdigest() for name in there}


def _sheet(experiment: Experiment, about: Description) -> bytes:
    """The first images of the first training's first batch, as they enter the base network."""
    # A search that goes on draws nothing.
    from scaling_search.display.plots.contact_sheet import COLUMNS, ROWS, contact_sheet  # noqa: PLC0415
    from scaling_search.display.plots.drawing import drawable, rendered  # noqa: PLC0415

    assert experiment.dataset is not None
    resolution = experiment.base_network.resolution
    data = load(experiment.dataset, resolution, "cpu")
    number = min(ROWS * COLUMNS, len(data.splits.train.labels))
    batches = augmented_batches(data, 0, 0, replace(experiment.recipe, batch_size=number))
    images, labels = next(iter(batches))
    # Of mixed images the class of the larger part.
    classes = (labels.argmax(1) if labels.ndim == 2 else labels).tolist()
    pixels = (images * data.std + data.mean).round().clamp(0, 255).permute(0, 2, 3, 1)
    figure = contact_sheet(
        pixels.numpy().astype(np.uint8),
        [drawable(about.classes[label], str(label)) for label in classes],
        title=f"Images of train as they enter the base network, {resolution} x {resolution} px",
    )
    return rendered(figure, suffixes=(".png",))[".png"]
