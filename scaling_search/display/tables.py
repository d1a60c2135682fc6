"""Tables of text that fit a width: by broken headers and words, never by cut numbers."""

import re
from collections.abc import Iterator, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from scaling_search.runtime.visible_text import visible

Lines = Sequence[Sequence[str]]
"""A header and rows of text."""

GAPS = (2, 1)
"""Characters between two columns where there is room, and where there is not."""


def show_table(
    console: Console, lines: Lines, *, optional: Sequence[str] = (), title: str = ""
) -> None:
    """Prints a table that fits the console.

    What does not fit has its headers broken, then fewer columns, then its words and last its
    intervals broken. If that is too little, the remaining columns follow below, each part with the
    first column.

    Args:
        console: Its width counts.
        lines: A header and rows of text.
        optional: Headers of the columns that may be left out, the first one first.
        title: A line above it; empty for none.
    """
    if title:
        console.print(Text(visible(title), style="bold"), soft_wrap=True)
    clean = [[visible(cell) for cell in line] for line in lines]
    for part in _parts(clean, console.width, optional):
        console.print(part)


def _parts(lines: Lines, width: int, optional: Sequence[str]) -> Iterator[Table]:
    columns = list(map(list, zip(*lines, strict=True)))
    widths = [max(map(cell_len, column)) for column in columns]
    if _room(widths, width, GAPS[0]) >= 0:
        yield _table(columns, widths, GAPS[0])
        return
    heads = [_narrow(column[:1], column[1:]) for column in columns]
    for name in optional:
        if _room(heads, width) >= 0:
            break
        place = next(place for place, column in enumerate(columns) if column[0] == name)
        del columns[place], widths[place], heads[place]
    least = [_narrow(column, ()) for column in columns]
    least[0] = min(least[0], max(1, width // 2))  # names of any length
    words = [
        one if "(" in "".join(column[1:]) else two
        for column, one, two in zip(columns, heads, least, strict=True)
    ]
    narrowed = _narrowed(_narrowed(heads, words, width), least, width)
    widened = _widened(narrowed, widths, width)
    for places in _groups(widened, width):
        yield _table([columns[i] for i in places], [widened[i] for i in places], GAPS[1])


def _room(widths: Sequence[int], width: int, gap: int = GAPS[1]) -> int:
    """Characters that are left beside columns."""
    return width - sum(widths) - gap * (len(widths) - 1)


def _narrowed(widths: Sequence[int], least: Sequence[int], width: int) -> list[int]:
    """Widths that fit, if that is possible: as few columns as possible have their least."""
    now = list(widths)
    while _room(now, width) < 0 and now != list(least):
        place = max(range(len(now)), key=lambda i: now[i] - least[i])
        now[place] = least[place]
    return now


def _widened(widths: Sequence[int], whole: Sequence[int], width: int) -> list[int]:
    """Widths that use what is left, the narrowest column first."""
    now = list(widths)
    for place in sorted(range(len(now)), key=now.__getitem__):
        now[place] += max(0, min(whole[place] - now[place], _room(now, width)))
    return now


def _groups(widths: Sequence[int], width: int) -> Iterator[list[int]]:
    """Columns that fit beside each other, each group with the first one."""
    group = [0]
    for place in range(1, len(widths)):
        if len(group) > 1 and _room([widths[i] for i in (*group, place)], width) < 0:
            yield group
            group = [0]
        group.append(place)
    yield group


def _table(columns: Sequence[Sequence[str]], widths: Sequence[int], gap: int) -> Table:
    table = Table(box=None, padding=(0, gap, 0, 0), pad_edge=False, header_style="bold")
    for place, (column, width) in enumerate(zip(columns, widths, strict=True)):
        letters = [any(map(str.isalpha, cell if place == 0 else cell[:1])) for cell in column[1:]]
        is_text = 2 * sum(letters) > len(letters)
        table.add_column(
            Text(_broken(column[0], width)),
            justify="left" if is_text else "right",
            width=width,
            overflow="fold",
        )
    for line in zip(*(column[1:] for column in columns), strict=True):
        table.add_row(*(Text(_broken(c, w)) for c, w in zip(line, widths, strict=True)))
    return table


def _narrow(breakable: Sequence[str], whole: Sequence[str]) -> int:
    """The smallest width of cells of which some may be broken."""
    pieces = [piece for cell in breakable for piece in _pieces(cell)]
    return max(map(cell_len, [*pieces, *whole]))


def _pieces(cell: str) -> list[str]:
    """What is never broken: a word, and a number with its error or its interval."""
    if any(letter.isdigit() for letter in cell):
        return re.split(r" (?=\()", cell)
    return cell.split() or [""]


def _broken(cell: str, width: int) -> str:
    """A cell over as many lines as its width needs."""
    if cell_len(cell) <= width:
        return cell
    lines: list[str] = []
    for piece in _pieces(cell):
        if lines and cell_len(f"{lines[-1]} {piece}") <= width:
            lines[-1] += f" {piece}"
        else:
            lines.append(piece)
    return "\n".join(lines)
