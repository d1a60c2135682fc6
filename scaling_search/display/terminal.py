"""Tables and sentences for the terminal."""

import math
from collections.abc import Iterable

from rich.console import Console
from rich.text import Text

from scaling_search.answer.conclusions import Conclusion
from scaling_search.core.scaling import Shares
from scaling_search.display.answer import comparison_lines
from scaling_search.display.formatting import count
from scaling_search.display.progress import duration
from scaling_search.display.report_section import ReportSection
from scaling_search.display.tables import show_table
from scaling_search.runtime.visible_text import visible
from scaling_search.training.price import Price


class Terminal(Console):
    """A console whose closed pipe ends the program well; rich would exit with 1."""

    def on_broken_pipe(self) -> None:
        """Ends the program: its reader has left, as head does."""
        try:
            super().on_broken_pipe()
        except SystemExit as ended:
            raise SystemExit(0) from ended


def show_comparisons(console: Console, conclusion: Conclusion) -> None:
    """Prints the rule against each reference, with its shares where there is room."""
    lines = comparison_lines(conclusion)
    show_table(console, lines, optional=lines[0][1:2])


def price_sentence(cost: Price, slots: int, part: str = "") -> str:
    """The price of trainings before they start; ``part`` says what some of them are for."""
    if not cost.num_trainings:
        return f"All {count(cost.num_known, 'training')} are done."
    known = f" ({cost.num_known} more are done)" if cost.num_known else ""
    trainings = f"{count(cost.num_trainings, 'training')}{known}{part}"
    if math.isnan(cost.seconds) or not slots:
        return f"{trainings}; how long they take is not known before one has ended."
    shortest, longest = duration(cost.shortest), duration(cost.longest)
    each = shortest if shortest == longest else f"{shortest} to {longest}"
    hours = "GPU-hours" if cost.on_gpu else "hours of a device"
    return (
        f"{trainings}: about {duration(cost.seconds)} with {slots} at a time, "
        f"{cost.device_seconds / 3600:.2f} {hours}; one takes {each}."
    )


def show(console: Console, section: ReportSection) -> None:
    """Prints a section: its title, its table if it has one, its sentences."""
    console.print(Text(visible(section.title), style="bold"), soft_wrap=True)
    if section.lines:
        show_table(console, section.lines)
    say(console, section.sentences)


def shares_text(shares: Shares | None) -> str:
    """Shares of depth, width and resolution; empty for the base network's."""
    return "" if shares is None else "/".join(f"{share:.2f}" for share in shares)


def tell(console: Console, line: str) -> None:
    """Prints a line that is never broken, so that a command in it can be pasted."""
    console.print(Text(visible(line)), soft_wrap=True)


def say(console: Console, sentences: Iterable[str]) -> None:
    """Prints sentences, wrapped on a terminal and one to a line elsewhere."""
    for sentence in sentences:
        console.print(Text(visible(sentence)), soft_wrap=not console.is_terminal)
