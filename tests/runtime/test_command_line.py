import random
import subprocess

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from scaling_search.runtime.command_line import as_override, shell_command

SIGNS = "ab1_0.e/\\'\"`$ {}[]()=,:;#%?&*~!@^|<>-+é漢"
VALUES = ("null", "True", "inf", "NaN", "1e5", "e5", "1_000", "007", "..", "./1", "a.1_0", "", " ")


def texts() -> list[str]:
    draw = random.Random(0)
    drawn = ["".join(draw.choices(SIGNS, k=draw.randint(1, 8))) for _ in range(3000)]
    return [*VALUES, *drawn]


def test_hydra_reads_an_override_as_the_text_that_it_was_made_of() -> None:
    parser = OverridesParser.create()
    for text in texts():
        if "${" not in text:  # a reference stays one
            assert parser.parse_override(as_override("out", text)).value() == text
    assert parser.parse_override(as_override("out", "a ${b} (1)")).value() == "a ${b} (1)"


@pytest.mark.parametrize("text", ["runs/default", "/tmp/a-b_c.1", "mine"])
def test_what_needs_no_quotes_has_none(text: str) -> None:
    assert shell_command("report", as_override("out", text)) == f"scaling-search report out={text}"


def test_a_shell_takes_a_pasted_command_apart_into_its_words() -> None:
    words = [as_override("out", text) for text in texts()[:300] if "\0" not in text]
    command = shell_command(*words).replace("scaling-search", "printf '%s\\n'", 1)
    said = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert said.stdout.splitlines() == words
