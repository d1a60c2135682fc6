"""The source of networks cut out of their package: what building them needs, and nothing else."""

import ast
import dataclasses
import importlib.util
import re
import symtable
import sys
import typing
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from scaling_search.export.literals import annotation, literal, nested

REMARK = re.compile(r"[ \t]*# (type: ignore|noqa).*$", re.MULTILINE)
"""To the checkers of the package that the source is cut out of."""

Reference = tuple[str, str]
"""A module and a name in it; the module itself where the name is empty."""


@dataclass(frozen=True)
class Bundle:
    """Source that stands alone.

    Attributes:
        imports: Lines, sorted in sections.
        definitions: All that building uses, in an order in which it can be executed.
        packages: What must be installed beside PyTorch.
    """

    imports: str
    definitions: str
    packages: tuple[str, ...]


def bundled(
    architectures: Iterable[object], imports: Mapping[str, Reference], reserved: Iterable[str] = ()
) -> Bundle:
    """The source of the classes of some architectures and of all that building them uses.

    Names from this package and from that of an architecture are followed to their definitions,
    all others stay imports. Of an architecture's own class fields stay, and what ``build`` reaches.

    Args:
        architectures: Dataclasses with a method ``build``.
        imports: What the rest of the file uses, by the name that it has there.
        reserved: Names that the rest of the file defines.

    Raises:
        ValueError: A network uses what cannot be cut out.
    """
    architectures = tuple(architectures)
    classes = {type(architecture) for architecture in architectures}
    wanted = list(dict.fromkeys(type(v) for a in architectures for v in nested(a)))
    attributes: set[str] = {"build"}
    while True:
        cut = _Cut({c.__module__ for c in wanted}, classes, attributes)
        for called, target in imports.items():
            cut.take_in(called, target)
        for name in reserved:
            cut.reserve(name)
        for one in wanted:
            cut.follow((one.__module__, one.__qualname__))
        definitions = cut.definitions()
        used = {n.attr for n in ast.walk(ast.parse(definitions)) if isinstance(n, ast.Attribute)}
        if used <= attributes:
            return Bundle(cut.imports.sorted(), definitions, cut.imports.packages())
        attributes |= used


@dataclass
class _Imports:
    """Names by what they are in the file."""

    targets: dict[str, Reference] = field(default_factory=dict)

    def packages(self) -> tuple[str, ...]:
        roots = {module.partition(".")[0] for module, _ in self.targets.values()}
        return tuple(sorted(roots - sys.stdlib_module_names - {"torch"}))

    def sorted(self) -> str:
        """Lines in the order of ruff: Python's own first, modules before names."""
        whole: list[Reference] = []
        names: dict[str, list[tuple[str, str]]] = {}
        for called, (module, name) in self.targets.items():
            if name:
                names.setdefault(module, []).append((name, called))
            else:
                whole.append((module, called))
        lines = [(module, f"import {_as(module, called)}") for module, called in sorted(whole)]
        for module, listed in sorted(names.items()):
            joined = ", ".join(_as(*one) for one in sorted(listed, key=_by_kind))
            lines.append((module, f"from {module} import {joined}"))
        own = [line for module, line in lines if _is_pythons(module)]
        others = [line for module, line in lines if not _is_pythons(module)]
        return "\n\n".join("\n".join(section) for section in (own, others) if section)


def _as(name: str, called: str) -> str:
    return name if name == called else f"{name} as {called}"


def _by_kind(named: tuple[str, str]) -> tuple[int, str]:
    """Constants, classes, functions."""
    name = named[0]
    kind = 0 if name.isupper() and len(name) > 1 else 1 if name[0].isupper() else 2
    return kind, name


def _is_pythons(module: str) -> bool:
    return module.partition(".")[0] in sys.stdlib_module_names


class _Cut:
    """Follows names from definition to definition.

    Attributes:
        imports: What stays an import.
    """

    def __init__(
        self, modules: Iterable[str], architectures: Collection[type], attributes: Collection[str]
    ) -> None:
        self.imports = _Imports()
        self._packages = {m.partition(".")[0] for m in (*modules, __name__)}
        self._architectures, self._attributes = architectures, attributes
        self._kept: dict[str, dict[int, str]] = {}  # by module and line
        self._uses: dict[str, dict[str, None]] = {}  # modules, of other modules
        self._seen: set[Reference] = set()
        self._holders: dict[str, Reference] = {}

    def definitions(self) -> str:
        """Modules one after the other, each in the order of its lines.

        Raises:
            ValueError: Two modules use each other.
        """
        try:
            order = [m for m in TopologicalSorter(self._uses).static_order() if m in self._kept]
        except CycleError as error:
            raise ValueError(
                "a network's modules must not use each other in a circle, got "
                f"{' > '.join(error.args[1])}; put what they share into one more module"
            ) from error
        texts = [text for module in order for _, text in sorted(self._kept[module].items())]
        return "\n\n\n".join(texts)

    def reserve(self, name: str) -> None:
        """Lets nothing have this name."""
        self._claim(name, ("the exported file", name))

    def take_in(self, called: str, target: Reference) -> None:
        """Keeps an import."""
        self._claim(called, target)
        self.imports.targets[called] = target

    def follow(self, reference: Reference) -> None:
        """Keeps a definition and all that it uses."""
        if reference in self._seen:
            return
        self._seen.add(reference)
        module, name = reference
        source = _source(module)
        if name in source.imported:
            self._follow_import(name, source.imported[name], module)
        elif name in source.defined:
            self._claim(name, reference)
            node = source.defined[name]
            text = self._text(source, node, name)
            for used in sorted(_globals(text) & source.names):
                self.follow((module, used))
            for used in sorted(_globals(text) & {"Literal", "dataclass"} - source.names):
                self.take_in(used, ("typing" if used == "Literal" else "dataclasses", used))
            self._kept.setdefault(module, {})[node.lineno] = text
            self._uses.setdefault(module, {})

    def _follow_import(self, called: str, target: Reference, module: str) -> None:
        if target[0].partition(".")[0] not in self._packages:
            self.take_in(called, target)
        elif called != target[1] or called not in _source(target[0]).names:
            raise ValueError(
                f"a network must name what it uses of its own package, got {called} in {module}; "
                "write 'from module import name' and use that name"
            )
        else:
            self._uses.setdefault(module, {})[target[0]] = None
            self.follow(target)

    def _claim(self, name: str, reference: Reference) -> None:
        holder = self._holders.setdefault(name, reference)
        if holder != reference:
            raise ValueError(
                f"what a network uses must have different names, got {name} in {holder[0]} and in "
                f"{reference[0]}; rename one"
            )

    def _text(self, source: "_Source", node: ast.stmt, name: str) -> str:
        made = getattr(sys.modules.get(source.module), name, None)
        if not (isinstance(node, ast.ClassDef) and isinstance(made, type)):
            return source.cut(node)
        if not dataclasses.is_dataclass(made):
            return source.cut(node)
        attributes = self._attributes if made in self._architectures else None
        return _plain_dataclass(source, node, made, attributes)


def _plain_dataclass(
    source: "_Source", node: ast.ClassDef, made: type, attributes: Collection[str] | None
) -> str:
    """A dataclass that checks nothing; of its methods those among the attributes, None for all."""
    hints = typing.get_type_hints(made)
    text = f"@dataclass(frozen=True)\nclass {node.name}:"
    before: ast.stmt | None = None
    for statement in node.body:
        is_field = isinstance(statement, ast.AnnAssign)
        name = statement.name if isinstance(statement, ast.FunctionDef) else None
        if attributes is not None and name is not None and name not in attributes:
            continue
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            name = statement.target.id
            given = statement.value and ast.get_source_segment(
                "\n".join(source.lines), statement.value
            )
            value = f" = {given}" if given else ""
            piece = f"    {name}: {annotation(hints[name])}{value}"
            if not isinstance(before, ast.AnnAssign):  # those of the classes above it come first
                above = (f for f in dataclasses.fields(made) if f.name not in made.__annotations__)
                lines = (
                    f"    {f.name}: {annotation(hints[f.name])} = {literal(f.default)}\n"
                    for f in above
                )
                piece = "".join(lines) + piece
        else:
            piece = source.cut(statement)
        apart = before is not None and not (is_field and isinstance(before, ast.AnnAssign))
        text += f"{chr(10) if apart else ''}\n{piece}"
        before = statement
    return text


class _Source:
    """A module's text and what it defines and imports at its top."""

    def __init__(self, module: str) -> None:
        spec = importlib.util.find_spec(module)
        if spec is None or not str(spec.origin).endswith(".py"):
            raise ValueError(
                f"a network must be defined in a Python file, got the module {module} without "
                "one; put it into a file"
            )
        text = Path(str(spec.origin)).read_text(encoding="utf-8")
        self.module = module
        self.lines = text.splitlines()
        self.imported: dict[str, Reference] = {}
        self.defined: dict[str, ast.stmt] = {}
        self._documented: dict[ast.stmt, ast.stmt] = {}
        body = ast.parse(text).body
        for node, after in zip(body, [*body[1:], None], strict=True):
            self.imported |= dict(_imports(node, module))
            self.defined |= dict.fromkeys(_defines(node), node)
            if isinstance(after, ast.Expr) and isinstance(node, ast.Assign | ast.AnnAssign):
                self._documented[node] = after

    @property
    def names(self) -> set[str]:
        return {*self.imported, *self.defined}

    def cut(self, node: ast.stmt) -> str:
        """The lines of a statement with what documents it, without remarks to checkers."""
        decorators = getattr(node, "decorator_list", [])
        first = min([node.lineno, *(decorator.lineno for decorator in decorators)])
        while self.lines[first - 2].lstrip().startswith("#") and first > 1:
            first -= 1
        last = self._documented.get(node, node).end_lineno
        return REMARK.sub("", "\n".join(self.lines[first - 1 : last]))


@cache
def _source(module: str) -> _Source:
    return _Source(module)


def _imports(node: ast.stmt, module: str) -> Iterator[tuple[str, Reference]]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            called = alias.asname or alias.name.partition(".")[0]
            yield called, (alias.name if alias.asname else called, "")
    elif isinstance(node, ast.ImportFrom):
        package = module.rpartition(".")[0] if node.level else ""
        for _ in range(node.level - 1):
            package = package.rpartition(".")[0]
        source = ".".join(part for part in (package, node.module) if part)
        for alias in node.names:
            yield alias.asname or alias.name, (source, alias.name)


def _defines(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.Assign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        for target in targets:
            yield from (name.id for name in ast.walk(target) if isinstance(name, ast.Name))


def _globals(text: str) -> set[str]:
    """The names that a statement takes from its module, in annotations too."""
    top = symtable.symtable(text, "definition", "exec")
    names = {symbol.get_name() for symbol in top.get_symbols() if symbol.is_referenced()}
    scopes = list(top.get_children())
    while scopes:
        scope = scopes.pop()
        scopes += scope.get_children()
        names |= {s.get_name() for s in scope.get_symbols() if s.is_global()}
    return names
