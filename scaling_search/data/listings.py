"""The listing of images whose splits have names and whose labels lie in columns."""

from collections.abc import Callable, Sequence

import numpy as np

from scaling_search.data.labels import Column, check_classes, understood
from scaling_search.data.sources import Listing
from scaling_search.data.split_names import OPTION, Found, counted, quoted


def listing(
    found: Found,
    option: OPTION | None,
    columns: Callable[[str], Sequence[Column]],
    num_images: Callable[[str], int],
    left_out: Sequence[str],
) -> Listing:
    """The images of what is read, by split; its ``tables`` say what that is.

    Images of a name that have no labels at all are left out.

    Args:
        found: Folders and files that lie there.
        option: Reading of its names.
        columns: The labels under a name.
        num_images: The number of images under a name.
        left_out: Other files that are not read.

    Raises:
        ValueError: Names have two readings, or labels are no classes.
    """
    choice = found.choice(option)
    labels = understood({name: columns(name) for of in choice.by_split.values() for name in of})
    kept = {
        split: tuple(name for name in of if name in labels.by_place)
        for split, of in choice.by_split.items()
    }
    if not kept["train"]:
        names = choice.by_split["train"]
        raise ValueError(
            f"labels must be there for the images to train on, got none for {quoted(names)} in "
            f"{found.place!r}; {columns(names[0])[0].another}"
        )
    by_split = {
        split: np.concatenate([labels.by_place[name] for name in of])
        for split, of in kept.items()
        if of
    }
    check_classes(labels.classes, by_split, choice.ready, found.place)
    unread = [
        f"{name!r} with {counted(num_images(name), 'image')}, "
        + ("beside the whole" if name in found.splits else "whose name means no split")
        for name in choice.unread
    ]
    without = [
        f"{name!r}, {counted(count, 'image')} without labels"
        for name, count in labels.without.items()
    ]
    return Listing(
        labels.classes,
        by_split,
        tables={split: kept[split] for split in by_split},
        ready={split: name for split, name in choice.ready.items() if split in by_split},
        notes=labels.notes,
        left_out=(*unread, *without, *labels.left_out, *left_out),
    )
