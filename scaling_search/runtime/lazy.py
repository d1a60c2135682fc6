"""Names that a package offers without importing their modules before they are used."""

import ast
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any


def lazy_names(package: str, file: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The functions ``__getattr__`` and ``__dir__`` of a package (PEP 562).

    They offer the names that the package's file, its ``__init__.py``, imports for type checkers:
    packages within it, and names of its modules. No such name may be a module's too, which an
    import would put in its place.
    """
    tree = ast.walk(ast.parse(Path(file).read_text(encoding="utf-8")))
    imports = [(node.module, node.names) for node in tree if isinstance(node, ast.ImportFrom)]
    own = [(module, names) for module, names in imports if f"{module}.".startswith(f"{package}.")]
    modules = {alias.name: f"{module}" for module, names in own for alias in names}

    def find(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        if modules[name] == package:
            return importlib.import_module(f"{package}.{name}")
        return getattr(importlib.import_module(modules[name]), name)

    return find, lambda: list(modules)
