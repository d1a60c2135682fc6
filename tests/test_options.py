"""Options do what their comments in conf/ say, and no command takes one that it would ignore."""

import hashlib
import re
import shutil
from pathlib import Path

import optuna
import pandas as pd
import pytest

from scaling_search.commands.folders import OWN_OPTIONS
from scaling_search.experiment.texts import TEXTS
from scaling_search.record.schema import MOVED
from scaling_search.record.storage import sqlite_url
from scaling_search.training import timing
from tests.cli import TINY, Outcome, ran
from tests.composed import PARTS, composed


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that a search among two networks left."""
    folder = tmp_path_factory.mktemp("searched") / "mine"
    assert ran("search", f"out={folder}", *TINY).code == 0
    return folder


@pytest.fixture
def mine(searched: Path, here: Path) -> Path:
    """A copy of that folder."""
    return Path(shutil.copytree(searched, here / "mine"))


def contents(folder: Path) -> dict[str, str]:
    """All files of a folder by their hash."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def trainings(outcome: Outcome) -> int:
    """The number of trainings that a price is of."""
    assert outcome.code == 0, outcome.err
    (number,) = re.findall(r"(\d+) trainings?(?: \(\d+ more are done\))?[:;]", outcome.out)
    return int(number)


def test_price_only_of_a_search_says_what_plan_says_and_writes_nothing(here: Path) -> None:
    priced = ran("search", "price_only=true", *TINY, "limits.trainings=2")
    assert (priced.code, priced.err) == (0, "")
    planned = ran("plan", *TINY, "limits.trainings=2").out.splitlines()
    assert priced.out.splitlines()[-2:] == planned[-2:]
    assert priced.out.startswith("The data\n")
    assert trainings(priced) == 3
    assert priced.out.endswith("The search ends earlier at limits.trainings=2.\n")
    assert not list(here.iterdir())


def test_price_only_of_a_search_times_steps_where_nothing_is_known(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WARM_SECONDS", "TIMED_SECONDS", "EVALUATION_SECONDS"):
        monkeypatch.setattr(timing, name, 0.01)
    timed = ran("search", "price_only=true", *TINY, "timed=true")
    assert "The time is estimated from a few steps of 3 networks on cpu" in timed.out
    assert "3 trainings: about " in timed.out
    assert not list(here.iterdir())


@pytest.mark.slow
def test_price_only_of_a_search_that_has_begun_counts_what_is_left(mine: Path) -> None:
    before = contents(mine)
    priced = ran("search", "out=mine", "price_only=true", "num_seeds=3", *TINY)
    assert "6 trainings (3 more are done): about " in priced.out
    other = ran("search", "out=mine", "price_only=true", *TINY, "recipe.epochs=2")
    assert other.code == 2
    assert "recipe.epochs must be 1.0 as in this folder's record" in other.err
    assert contents(mine) == before


@pytest.mark.parametrize(
    ("line", "number"),
    [
        ("scale scale.phis=[0,1] scale.families=[width] scale.num_seeds=3", 4),
        ("scale scale.phis=[1,2] scale.families=[depth,width] scale.num_seeds=2", 6),
        ("scale scale.phis=[1] scale.families=[compound] scale.coefficients=[1.2,1.1,1.15]", 1),
        ("confirm confirm.num_seeds=2", 4),
        ("confirm decide.delta=0.01 decide.seed_sd=0.01", 34),
        ("fairness fairness.learning_rate=true fairness.num_seeds=2", 10),
        ("fairness fairness.length=true fairness.num_seeds=3", 24),
        ("export export.train=true", 2),
    ],
)
def test_price_only_of_what_follows_counts_what_was_asked_and_changes_nothing(
    mine: Path, line: str, number: int
) -> None:
    before = contents(mine)
    assert trainings(ran(*line.split(), "out=mine", "price_only=true", *TINY[-2:-1])) == number
    assert contents(mine) == before


def test_a_price_of_an_export_that_trains_nothing_is_refused(mine: Path) -> None:
    refused = ran("export", "out=mine", "price_only=true")
    assert refused.code == 2
    assert "export.train must be true with price_only=true" in refused.err
    assert not (mine / "export").exists()


@pytest.mark.parametrize(
    "line",
    [
        "report decide.seed_sd=0.1",
        "report keep_weights=true",
        "report price_only=true",
        "scale limits.region=0.1",
        "confirm limits.region=0.1",
        "fairness keep_weights=true",
        "transfer keep_weights=true",
        "export limits.hours=1",
        "scale timed=false",
        "confirm report.most=3",
        "fairness num_seeds=3",
    ],
)
def test_an_option_that_a_command_would_ignore_is_refused(mine: Path, line: str) -> None:
    command, option = line.split()
    before = contents(mine)
    refused = ran(command, "out=mine", option)
    assert contents(mine) == before
    assert refused.code == 2
    assert f"{command} takes its choices from mine/config.yaml, got {option!r}" in refused.err
    assert f"only out, {', '.join(OWN_OPTIONS[command])} can be set" in refused.err


def test_a_report_shows_as_many_rows_as_asked(mine: Path) -> None:
    for most in (1, 2):
        said = ran("report", "out=mine", f"report.most={most}").out
        assert f"the best {most} of 2 scaled networks" in said
        rows = [line.split()[0] for line in said.splitlines() if re.match(r" +(base|\d) ", line)]
        assert (rows[0], len(rows)) == ("base", most + 1)
    assert not (mine / "figures" / "published_family.png").exists()


def test_a_report_to_another_folder_leaves_the_run_as_it_is(mine: Path, here: Path) -> None:
    file = mine / "config.yaml"
    text = file.read_text(encoding="utf-8")
    assert "to: null\n" in text
    # Where a folder of others says where to write, it is not asked.
    file.write_text(text.replace("to: null\n", "to: theirs\n"), encoding="utf-8")
    before = contents(mine)
    said = ran("report", "out=mine", "report.to=elsewhere/again")
    assert said.code == 0, said.err
    assert "elsewhere/again/report.html" in said.out
    assert contents(mine) == before
    assert ran("report", "out=mine").code == 0
    assert contents(mine) != before
    assert not (here / "theirs").exists()
    again = (here / "elsewhere" / "again" / "coefficients.csv").read_bytes()
    assert again == (mine / "coefficients.csv").read_bytes()


def test_a_run_that_names_parts_by_where_they_were_is_read(mine: Path) -> None:
    text = (mine / "config.yaml").read_text(encoding="utf-8")
    older = text
    for old, new in MOVED.items():
        older = older.replace(new, old)
    assert older != text
    (mine / "config.yaml").write_text(older, encoding="utf-8")
    assert ran("report", "out=mine").code == 0


@pytest.mark.slow
def test_the_objective_orders_the_table_and_directs_the_study(here: Path) -> None:
    assert ran("search", "objective=val_accuracy", "out=mine", *TINY).code == 0
    assert ran("report", "out=mine").code == 0
    table = pd.read_csv(here / "mine" / "coefficients.csv")
    scaled = table[table["candidate"] > 0].sort_values("order")
    assert scaled["val_accuracy_mean"].is_monotonic_decreasing
    url = sqlite_url(str(here / "mine" / "study.db"))
    study = optuna.load_study(study_name="default", storage=url)
    assert study.direction.name == "MAXIMIZE"


@pytest.mark.slow
@pytest.mark.parametrize("limit", ["hours=1e-9", "gpu_hours=1e-9", "trainings=1"])
def test_a_limit_ends_a_search_and_says_so(limit: str) -> None:
    ended = ran("search", "out=mine", f"limits.{limit}", *TINY)
    assert ended.code == 0
    value = limit.replace("1e-9", "1e-09")
    assert (
        f"limits.{value} is reached; its page and tables: scaling-search report out=mine"
        in ended.out
    )
    again = ran("search", "out=mine", *TINY)
    assert "all trainings are done" in again.out


@pytest.mark.slow
def test_trainings_that_all_fail_end_in_one_line_with_the_commonest_reason() -> None:
    wild = ("search", "out=mine", *TINY, "recipe.learning_rate=1e30")
    for share, said in (
        ("failed_share=0", "limits.failed_share=0 is exceeded: 1 of 1 training failed, most often"),
        ("trainings=1", "1 of 1 training failed, most often (1): FloatingPointError: "),
        ("failed_share=1", "3 of 3 trainings failed, most often (3): FloatingPointError: "),
        ("failed_share=1", "3 of 3 trainings failed, most often (3): FloatingPointError: "),
    ):
        ended = ran(*wild, f"limits.{share}")
        assert ended.code == 2
        assert ended.err.splitlines()[-1].startswith(f"scaling-search: {said}")
    assert "next:" not in ended.out
    assert ran("scale", "out=mine").code == 2


@pytest.mark.parametrize(
    ("option", "near"),
    [
        ("datset=x", ["dataset"]),
        ("+datset=x", ["dataset"]),
        ("Dataset=arrays", ["dataset"]),
        ("dataset/x=3", ["dataset"]),
        ("dataset.nothing=x", ["dataset.num_train", "dataset.resolution", "dataset"]),
        ("epochs=3", ["recipe.epochs"]),
        ("dataset.dataset=3", ["dataset"]),
    ],
)
def test_near_misses_are_distinct_and_never_the_word_itself(option: str, near: list[str]) -> None:
    said = ran("plan", option).err
    assert said.count("\n") == 1
    words = said.strip().partition("did you mean ")[2].removesuffix("?").split(" or ")
    assert near[0] in words
    assert len(words) == len(set(words))
    assert option.partition("=")[0].lstrip("+") not in words


@pytest.mark.slow
def test_every_option_that_takes_text_without_quotes_is_one() -> None:
    there = {
        f"{group}.{key}" for group, name in PARTS for key in composed(f"{group}={name}")[group]
    }
    there |= {"name", "out", "storage", "report.to", "audit.table"}
    assert set(TEXTS) <= there
