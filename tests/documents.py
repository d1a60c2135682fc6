"""README.md and the pages of docs/: their blocks of code, and the commands in them."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))


@dataclass(frozen=True)
class Block:
    """A block of a page.

    Attributes:
        page: The page's file name.
        section: Its heading.
        before: The text of the section between the block before and this one.
        language: What stands behind the opening fence; empty for commands and other text.
        text: Its lines.
    """

    page: str
    section: str
    before: str
    language: str
    text: str

    @property
    def first(self) -> str:
        """The first line."""
        return self.text.splitlines()[0]

    @property
    def lines(self) -> list[str]:
        """Its command lines, without the output that may stand below them."""
        lines = self.text.replace("\\\n", " ").splitlines()
        shown = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        return shown or lines


def blocks(*pages: Path) -> list[Block]:
    """The blocks of the pages, in order."""
    found: list[Block] = []
    for page in pages:
        for section in re.split(r"^#+ (?=.*\n\n)", page.read_text("utf-8"), flags=re.MULTILINE):
            heading = section.partition("\n")[0]
            pattern = r"(.*?)^```(\w*)\n(.*?)^```$"
            parts = re.findall(pattern, section, flags=re.MULTILINE | re.DOTALL)
            found += [Block(page.name, heading, *groups) for groups in parts]
    return found


def words(line: str) -> list[str]:
    """A command line as the shell passes it on, without its comment."""
    return shlex.split(line, comments=True)
