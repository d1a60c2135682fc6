"""Help of a command: its options as they would be used, with the comments of their YAML files."""

import re
import shutil
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from scaling_search.commands.folders import OWN_OPTIONS

FIRST = {
    "run": (
        *("dataset", "hours", "out", "experiment", "base_network", "run"),
        *("candidates.target", "recipe.epochs", "executor.device", "price_only"),
    ),
    "plan": (
        *("experiment", "dataset", "base_network", "candidates.target", "candidates.tolerance"),
        *("candidates.max_networks", "num_seeds", "recipe.epochs", "cost", "timed", "out"),
    ),
    "search": (
        *("experiment", "dataset", "base_network", "out", "recipe.epochs", "recipe.learning_rate"),
        *("num_seeds", "candidates.target", "candidates.max_networks", "limits.hours"),
        *("sampler", "executor", "executor.device", "keep_weights", "price_only"),
    ),
    "compare": ("compare", "out"),
    "audit": ("base_network", "audit", "cost", "out"),
}
"""What the short help of a command has: options, parts, and sections with all of theirs.

Commands that read a run's folder have few options and show all of them.
"""

MOST_LEFT = 36
"""Longest option with its comment beside it, not below."""

WIDTHS = (60, 110)
"""Fewest and most columns of the text."""

_LINE = re.compile(r" *(- )?(?P<key>[\w@]+):(?P<value>| .*?)(?:\s+#\s*(?P<said>.*))?")

Entry = tuple[str, str]
"""An option or a part as it is typed, and what it is."""


class Help:
    """The options of a command, composed, with the comments of their files."""

    def __init__(self, config: Any, choices: Mapping[str, str], folders: Sequence[Path]) -> None:
        """Reads the comments.

        Args:
            config: Composed options, whose references are harmless.
            choices: The part of each group, as Hydra has chosen it.
            folders: Folders of YAML files; the last one wins.
        """
        self.choices = choices
        self.groups: dict[str, dict[str, Path]] = {}
        for path in sorted(path for folder in folders for path in folder.glob("*/*.yaml")):
            self.groups.setdefault(path.parent.name, {})[path.stem] = path
        self.options = dict(_options(config))
        self.comments = _comments(folders[0] / "config.yaml")
        for choice, name in choices.items():
            group, _, place = choice.partition("@")
            file = self.groups.get(group, {}).get(str(name))
            if file is not None and group != "experiment":
                self.comments |= _comments(file, f"{place or group}.")

    def short(self, command: str, does: str, chosen: Iterable[str]) -> str:
        """The options that are set most, and all of the parts that the command line chooses.

        Args:
            command: Name of the command.
            does: What it does.
            chosen: Groups of the parts that the command line chooses.
        """
        own = OWN_OPTIONS.get(command)
        keys = FIRST.get(command, ("out", *(own or (command,))))
        entries = [entry for key in keys for entry in self._of(key)]
        title = "options that are set most" if own is None else "options"
        parts = [*_usage(command, does), *_block(title, entries)]
        for group in dict.fromkeys([*chosen, *(own or ())]):
            if group in self.groups and group in self.sections:
                title = f"options of {group}={self.choices.get(group)}"
                parts += ["", *_block(title, list(self._section(group)))]
        if own is None:
            more = (
                f"scaling-search {command} --help-all lists every option and every part. With "
                "dataset=imagefolder, or another part, --help lists that part's options too."
            )
        else:
            more = "All other choices are those of the search, in config.yaml of the folder out."
        return "\n".join([*parts, "", *textwrap.wrap(more, _width())])

    def whole(self, command: str, does: str) -> str:
        """Every part that can be chosen, and every option."""
        if command in OWN_OPTIONS:
            return self.short(command, does, ())
        parts = [*_usage(command, does)]
        for group, files in self.groups.items():
            entries = [(f"{group}={name}", _head(path)) for name, path in files.items()]
            parts += [*_block(self._title(group), entries), ""]
        own = [name for name in self.options if "." not in name and name not in self.sections]
        parts += [*_block("options", [self._entry(name) for name in own])]
        for section in self.sections:
            parts += ["", *_block(self._title(section), list(self._section(section)))]
        more = (
            "Values are those that would be used; --cfg job shows them as YAML. "
            "--config-dir=FOLDER adds YAML files of your own. --multirun runs several experiments, "
            "as with recipe.epochs=2,4,8. --hydra-help lists what else there is."
        )
        return "\n".join([*parts, "", *textwrap.wrap(more, _width())])

    @property
    def sections(self) -> dict[str, None]:
        """Parts and other sections with options of their own, in their order."""
        return dict.fromkeys(name.partition(".")[0] for name in self.options if "." in name)

    def _of(self, key: str) -> Iterator[Entry]:
        """The lines of an option, of a choice of parts, or of a section."""
        if key in self.groups:
            told = [self.comments.get(key, ""), ", ".join(self.groups[key])]
            yield f"{key}={self.choices.get(key) or 'null'}", ": ".join(filter(None, told))
        elif key in self.sections:
            yield from self._section(key)
        elif key in self.options:
            yield self._entry(key)

    def _section(self, name: str) -> Iterator[Entry]:
        return (self._entry(key) for key in self.options if key.startswith(f"{name}."))

    def _entry(self, name: str) -> Entry:
        return f"{name}={self.options[name]}", self.comments.get(name, "")

    def _title(self, name: str) -> str:
        said = self.comments.get(name, "")
        return f"{name}: {said}" if said else name


def _usage(command: str, does: str) -> list[str]:
    told = textwrap.wrap(f"{does[0].upper()}{does[1:]}.", _width())
    return [f"usage: scaling-search {command} [key=value ...]", "", *told, ""]


def _width() -> int:
    fewest, most = WIDTHS
    return max(fewest, min(most, shutil.get_terminal_size((most, 24)).columns))


def _block(title: str, entries: Sequence[Entry]) -> list[str]:
    """Lines of a title and its options, each with its comment beside or below it."""
    column = max([len(left) for left, _ in entries if len(left) <= MOST_LEFT], default=0) + 4
    lines = textwrap.wrap(f"{title}:", _width())
    for left, said in entries:
        told = textwrap.wrap(said, _width() - column, break_on_hyphens=False)
        is_beside = len(left) + 4 <= column and told
        lines.append(f"  {left}".ljust(column) + told.pop(0) if is_beside else f"  {left}")
        lines += [" " * column + one for one in told]
    return lines


def _options(config: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every option by its full key, with its value as it is typed."""
    raw: Any = OmegaConf.to_container(config, resolve=False)
    for key, written in raw.items():
        name = f"{prefix}{key}"
        if isinstance(written, dict):
            yield from _options(config[key], f"{name}.")
        elif key != "_partial_" and not str(written).startswith("scaling_search."):
            try:
                yield name, _typed(OmegaConf.select(config, key, default="???"))
            except OmegaConfBaseException:  # it refers to a part that is not there
                yield name, str(written)


def _typed(value: Any) -> str:
    if value is None:
        return "null"
    if OmegaConf.is_list(value):
        return f"[{','.join(map(_typed, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _comments(path: Path, prefix: str = "") -> dict[str, str]:
    """The comment beside each key of a YAML file, with the lines of comment that go on below it."""
    found: dict[str, str] = {}
    open_keys: list[tuple[int, str]] = []
    last = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        indent = len(line) - len(line.lstrip())
        if last and line.lstrip().startswith("#"):
            found[last] += " " + line.strip(" #")
        elif (match := _LINE.fullmatch(line)) is not None:
            open_keys = [one for one in open_keys if one[0] < indent and not match[1]]
            open_keys.append((indent, match["key"]))
            last = prefix + ".".join(key for _, key in open_keys) if match["said"] else ""
            if last:
                found[last] = match["said"].strip()
        else:
            last = ""
    return found


def _head(path: Path) -> str:
    """The first sentence of a YAML file's comment at its top."""
    lines = path.read_text(encoding="utf-8").splitlines()
    told = [line.lstrip("# ") for line in lines if not line.startswith("# @package")]
    number = next((i for i, line in enumerate(lines) if line and line[0] != "#"), len(lines))
    text = " ".join(told[: number - (len(lines) - len(told))])
    return re.split(r"(?<=[.?]) ", text, maxsplit=1)[0]
