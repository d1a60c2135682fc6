"""Versions of what decides a training's results, which must be the same on all machines."""

import functools
import hashlib
import importlib.util
import pickle
import pickletools
import sys
from pathlib import Path

import numpy as np
import torch

from scaling_search.core.trial import Trial

PACKAGE = "scaling_search"

LIBRARIES = {"torch": torch, "numpy": np}
"""Libraries that are compared by their versions, all else by its source."""


def versions(trial: Trial | None = None) -> dict[str, str]:
    """Versions by name: of this package, of libraries, and of a trial's own packages."""
    # The second protocol writes the names of modules as text, as `Function` writes its own.
    said = pickletools.genops(_pickled(trial))
    named = {str(text).replace(" ", ".").rpartition(".")[0] for _, text, _ in said}
    own = {name.partition(".")[0] for name in named if name in sys.modules}
    names = {PACKAGE, *LIBRARIES, *own} - {*sys.stdlib_module_names, "__main__"}
    return {name: version(name) for name in sorted(names)}


@functools.cache
def version(name: str) -> str:
    """A library's version without its build, which is CUDA's; else a hash of a package's source."""
    if name in LIBRARIES:
        return str(LIBRARIES[name].__version__).partition("+")[0]
    sources, digest = sorted(_sources(name)), hashlib.sha256()
    for path in sources:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12] if sources else "missing"


def _pickled(trial: Trial | None) -> bytes:
    try:
        return pickle.dumps(trial, 2)
    except (pickle.PicklingError, AttributeError, TypeError):
        return pickle.dumps(None, 2)  # classes within functions, whose code Ray sends along


def _sources(name: str) -> set[Path]:
    """The files of a package or a module; none if it is missing."""
    try:
        found = importlib.util.find_spec(name)
    except ValueError:  # made without a file
        return set()
    if found is None:
        return set()
    folders = found.submodule_search_locations
    if folders is not None:
        return {path for folder in folders for path in Path(folder).rglob("*.py")}
    return {Path(found.origin)} if found.has_location and found.origin else set()
