"""The report: true sentences whatever the numbers are, tables that read back, HTML that is safe."""

import base64
import hashlib
import html
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from scaling_search.answer.conclusions import Conclusion
from scaling_search.core.metric import VAL_ACCURACY, VAL_LOSS, Metric
from scaling_search.core.scaling import REFERENCES
from scaling_search.display.report import sentences, show_coefficients, write_report
from scaling_search.record.results import coefficient_table, noise, results_table
from scaling_search.record.tables import read_table, write_table
from tests.tables import Tables, candidate_rows, conclusion_of, every_training, families, tables

FACTS = {"base network": "three stages, 20 px", "device": "cpu"}
FULL = tables(33, 3, failed=[(4, 1)], untrained=[33])
Trained = Callable[[int, int], float | None]


def said(search: Tables, objective: Metric = VAL_ACCURACY) -> str:
    return " ".join(sentences(search.coefficients, search.results, objective))


def searched(num_networks: int, num_seeds: int, accuracy: Trained) -> Tables:
    """A search whose accuracies are given by candidate and seed; None for a failure."""
    rows = []
    for candidate in candidate_rows(num_networks):
        for seed in range(num_seeds):
            value = accuracy(int(str(candidate["candidate"])), seed)
            row = candidate | {"seed": seed, "state": "FAIL" if value is None else "COMPLETE"}
            row |= {"val_accuracy": value, "val_loss": None if value is None else 1 - value}
            rows.append(row | {"train_seconds": 1.0, "reason": ""})
    results, planned = results_table(rows), pd.DataFrame(candidate_rows(num_networks))
    coefficients = coefficient_table(planned, results, VAL_ACCURACY).assign(left_out=0)
    return Tables(planned, results, pd.DataFrame(), coefficients)


def written(
    folder: Path, search: Tables, families: pd.DataFrame | None = None, **changes: object
) -> list[Path]:
    tables = {
        "candidates": search.candidates,
        "results": search.results,
        "curves": search.curves,
        "coefficients": search.coefficients,
    }
    if families is not None:
        tables |= {"families": families, "families_results": pd.DataFrame()}
    given: dict[str, object] = {
        "title": "default",
        "headline": [("Answer", "None yet.")],
        "objective": VAL_ACCURACY,
        "equal": "epochs",
        "facts": FACTS,
        "conclusion": Conclusion(None, sentences=("There is no answer yet: too few.",)),
    }
    return write_report(folder, tables, **given | changes)  # type: ignore[arg-type]  # each has its own type


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a report on 33 networks with failures and families."""
    folder = tmp_path_factory.mktemp("report")
    written(folder, FULL, families=families())
    return folder


class Page(HTMLParser):
    """Collects what a page refers to, its tables and its text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[str] = [""]
        self.references: list[str] = []
        self.ids: list[str] = []
        self.tables: list[list[list[str]]] = []
        self.text = ""
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.references += [v for k, v in attrs if k in {"src", "href", "srcset", "data"} and v]
        self.ids += [v for k, v in attrs if k == "id" and v]
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in {"td", "th"}:
            self.tables[-1][-1].append("")

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.tags[-1] in {"td", "th"} and data.strip():
            self.tables[-1][-1][-1] += data


def test_nothing_trained_is_said() -> None:
    assert said(tables(9, 0)) == "Nothing is trained yet. The plan has 9 scaled networks."


def test_all_failed_is_said() -> None:
    search = tables(2, 3, failed=every_training(2, 3))
    assert said(search) == (
        "9 of 9 trainings failed, so there is nothing to compare. results.csv has the reasons."
    )


def test_the_base_alone_is_said() -> None:
    search = searched(1, 2, lambda number, _: None if number else 0.875)
    assert said(search) == (
        "Only the base network has a finished training: validation accuracy 87.5 %. "
        "2 of 4 trainings failed and are left out of the means. "
        "1 of 1 scaled network has no finished training."
    )


def test_a_single_network_has_no_order_to_judge() -> None:
    assert "Only one scaled network has a finished training" in said(tables(1, 3))
    assert "do not show which network" not in said(tables(1, 3))
    assert "Only one" not in said(tables(2, 3))


def test_the_best_is_named_with_its_value_coefficients_seeds_and_cost() -> None:
    search = searched(9, 1, lambda number, _: 0.9 if number == 1 else 0.8)
    first = sentences(search.coefficients, search.results, VAL_ACCURACY)[0]
    ratio = float(search.candidates["flops_ratio"].iloc[1])
    assert first == (
        "The highest mean validation accuracy is 90.0 %: network 1 (alpha 2.00, beta 1.00, gamma "
        f"1.00), 1 seed, {ratio:.2f} times the base network's cost."
    )
    by_loss = sentences(search.coefficients, search.results, VAL_LOSS)[0]
    assert "The lowest mean validation loss is 0.100: " in by_loss


def test_one_seed_says_that_the_noise_is_unknown() -> None:
    unknown = (
        "One seed a network, so the noise of the order is unknown; set num_seeds=1.25 to measure "
        "it."
    )
    assert unknown in said(tables(9, 1))
    assert "One seed a network" not in said(tables(9, 3))
    for claim in ("No other network", "standard error", "do not show which"):
        assert claim not in said(tables(9, 1, lead=0.2))


def test_too_few_second_seeds_say_that_the_noise_is_unknown() -> None:
    search = tables(3, 2, failed=[(2, 1), (3, 1)])
    assert "Few networks have a second seed, so the noise" in said(search)
    assert "No other network" not in said(search)


@pytest.mark.parametrize("objective", [VAL_ACCURACY, VAL_LOSS])
def test_a_clear_lead_stands_out_and_a_small_one_does_not(objective: Metric) -> None:
    clear = tables(9, 3, lead=0.05, objective=objective)
    first = "highest" if objective == VAL_ACCURACY else "lowest"
    alone = f"No other network lies within two standard errors of the {first}."
    assert alone in said(clear, objective)
    small = tables(9, 3, lead=0.001, objective=objective)
    assert "do not show which network is the best" in said(small, objective)
    assert "No other network" not in said(small, objective)


def test_a_clear_lead_of_few_trainings_is_not_called_one() -> None:
    search = tables(2, 2, lead=0.2)
    assert noise(search.results, VAL_ACCURACY).degrees_of_freedom == 1
    assert "but its error is rough with so few trainings" in said(search)
    assert "two standard errors of the highest." not in said(search)


def test_networks_that_cannot_be_told_from_the_best_are_counted() -> None:
    # Network 1 and 2 differ by 0.1 points, the others by 5; a seed moves a network by 0.2.
    def accuracy(number: int, seed: int) -> float:
        jitter = 0.002 * ((number + seed) % 2)
        return {0: 0.80, 1: 0.901, 2: 0.9}.get(number, 0.85) + jitter

    assert "1 of the 7 other networks lies within two standard errors" in said(
        searched(8, 4, accuracy)
    )


def test_equal_means_are_no_win() -> None:
    search = searched(4, 3, lambda *_: 0.1)
    assert noise(search.results, VAL_ACCURACY).num_within_noise == 3
    assert "3 of the 3 other networks lie within two standard errors" in said(search)
    assert "1 of the 1 other network lies within" in said(searched(2, 3, lambda *_: 0.1))


def test_the_gain_is_given_with_its_error() -> None:
    def accuracy(number: int, seed: int) -> float:
        return (0.80, 0.82 + 0.01 * seed, 0.7)[number] + 0.05 * seed

    # Differences of 2, 3 and 4 points: mean 3, standard error 1 / sqrt(3).
    assert (
        "It is 3.00 ± 0.58 points better than the base network (mean and standard error over "
        "common seeds)." in said(searched(2, 3, accuracy))
    )


def test_a_gain_within_its_error_is_called_noise() -> None:
    def accuracy(number: int, seed: int) -> float:
        return 0.8 + (0.01 * (-1) ** seed if number else 0) + 0.004 * number

    assert ", which is within noise." in said(searched(2, 4, accuracy))
    assert "within noise" not in said(searched(2, 4, lambda number, _: 0.8 + 0.01 * number))


def test_a_loss_against_the_base_is_called_worse() -> None:
    search = searched(2, 1, lambda number, _: 0.8 - 0.01 * number)
    assert "With their one common seed it is 1.0 points worse than the base network." in said(
        search
    )


def test_a_missing_base_is_said() -> None:
    assert "The base network has no finished training" in said(tables(9, 2, untrained=[0]))
    assert "The base network has no finished training" in said(tables(9, 1, failed=[(0, 0)]))
    apart = tables(1, 2, failed=[(0, 0), (1, 1)])
    assert "It shares no seed with the base network" in said(apart)
    assert "The base network has no finished training" not in said(tables(9, 1))


def test_failures_are_counted() -> None:
    two = said(tables(32, 3, failed=[(3, 1), (5, 2)]))
    assert "2 of 99 trainings failed and are left out of the means." in two
    assert "1 of 99 trainings failed and is left out" in said(tables(32, 3, failed=[(3, 1)]))
    assert "failed" not in said(tables(32, 3))


def test_untrained_networks_are_counted() -> None:
    some = said(tables(9, 2, untrained=[8, 9]))
    assert "2 of 9 scaled networks have no finished training." in some
    assert "no finished training" not in said(tables(9, 2))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.floats(0.1, 0.9) | st.none(), min_size=2, max_size=2), max_size=5))
def test_no_numbers_leave_a_sentence_with_a_hole(accuracies: list[list[float | None]]) -> None:
    search = searched(
        len(accuracies), 2, lambda number, seed: accuracies[number - 1][seed] if number else 0.5
    )
    for sentence in sentences(search.coefficients, search.results, VAL_ACCURACY):
        assert re.fullmatch(r"[A-Z0-9].*\.", sentence)
        assert not re.search(r"\bnan\b|None|<NA>|-1 of| 1 [a-z]+s\b", sentence)


def test_tables_read_back_as_they_were(report: Path, tmp_path: Path) -> None:
    for name, table in {
        "candidates": FULL.candidates,
        "results": FULL.results,
        "curves": FULL.curves,
        "coefficients": FULL.coefficients,
        "families": families(),
    }.items():
        read = read_table(report / f"{name}.csv")
        pd.testing.assert_frame_equal(read, table, rtol=1e-6, check_dtype=False)
        write_table(read, tmp_path / "again.csv")
        assert (tmp_path / "again.csv").read_bytes() == (report / f"{name}.csv").read_bytes()


@given(st.lists(st.integers(1_000_000, 4_000_000), min_size=1, max_size=20))
def test_coefficients_keep_their_six_decimals(
    tmp_path_factory: pytest.TempPathFactory, millionths: list[int]
) -> None:
    path = tmp_path_factory.mktemp("table") / "table.csv"
    values = [round(m * 1e-6, 6) for m in millionths]
    write_table(pd.DataFrame({"alpha": values}), path)
    assert list(read_table(path)["alpha"]) == values


def test_integers_stay_integers(tmp_path: Path) -> None:
    table = pd.DataFrame({"flops": [385_814_752, 12_233_232_000], "order": [pd.NA, 1]})
    write_table(table.astype({"order": "Int64"}), tmp_path / "table.csv")
    assert (tmp_path / "table.csv").read_bytes() == b"flops,order\n385814752,\n12233232000,1\n"


def test_a_table_that_cannot_be_read_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"missing\.csv must be a table"):
        read_table(tmp_path / "missing.csv")
    write_table(pd.DataFrame(), tmp_path / "empty.csv")
    assert read_table(tmp_path / "empty.csv").empty


def test_equal_tables_give_equal_bytes_and_all_files_are_named(
    report: Path, tmp_path: Path
) -> None:
    again = tables(33, 3, failed=[(4, 1)], untrained=[33])
    paths = written(tmp_path, again, families=families())
    assert sorted(paths) == sorted(p for p in tmp_path.rglob("*") if p.is_file())
    assert len(paths) == 6 + 2 * 4 + 1
    for path in paths:
        assert (report / path.relative_to(tmp_path)).read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    "search",
    [tables(9, 0), tables(2, 1, failed=every_training(2, 1)), tables(0, 1)],
    ids=["nothing trained", "all failed", "base alone"],
)
def test_a_report_can_be_written_at_any_time(tmp_path: Path, search: Tables) -> None:
    page = Page(written(tmp_path, search)[-1])
    assert len(page.tables[0]) == 1 + len(search.candidates)
    assert page.tags.count("svg") == 3


def test_the_page_stands_alone(report: Path) -> None:
    path = report / "report.html"
    page = Page(path)
    assert page.tags.count("svg") == 4
    within = [reference for reference in page.references if not reference.startswith("data:image/")]
    assert {reference[0] for reference in within} == {"#"}
    assert {reference[1:] for reference in within} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert not {"link", "iframe", "form", "object", "img"} & set(page.tags)
    assert page.tags.count("script") == 1
    assert not re.search(r"https?:|@import|url\((?!#)", path.read_text("utf-8"))


def test_the_page_lets_no_script_run_but_its_own(report: Path) -> None:
    text = (report / "report.html").read_text("utf-8")
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', text)
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    rules = dict(rule.strip().split(" ", 1) for rule in html.unescape(policy).split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == f"'sha256-{digest}'"
    assert rules["img-src"] == "data:"


def test_what_others_wrote_is_text_not_markup(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>"
    search = tables(2, 2, failed=[(1, 1)], reason=f"ValueError: {evil}")
    search.results["network"] = evil
    named = {"title": evil, "headline": [(evil, evil)], "facts": {evil: evil}}
    paths = written(tmp_path, search, families=families().assign(family=evil), **named)
    page = Page(paths[-1])
    assert page.tags.count("script") == 1
    assert page.text.count(evil) >= 8


def test_the_page_has_every_network_with_its_numbers(tmp_path: Path) -> None:
    def accuracy(number: int, seed: int) -> float | None:
        return None if (number, seed) == (2, 1) else 0.8 + 0.01 * number + 0.02 * seed

    search = searched(3, 2, accuracy)
    page = Page(written(tmp_path, replace(search, curves=tables(1, 0).curves))[-1])
    header, base, *others = page.tables[0]
    assert base[header.index("order")] == "base"
    assert [row[header.index("network")] for row in others] == ["3", "1", "2"]
    assert [row[header.index("order")] for row in others] == ["1", "2", "3"]
    best = dict(zip(header, others[0], strict=True))
    assert float(best["gamma"]) == pytest.approx(1.414, abs=0.005)
    ranges = "alpha 1.00 to 1.08, beta 1.00 to 1.08, gamma 1.41 to 1.49"
    assert best["the same network from"] == ranges
    assert best["accuracy, % ± sd"] == "84.00 ± 1.41"
    assert best["loss, nats ± sd"] == "0.1600 ± 0.0141"
    assert best["gain, points ± se"] == "3.00 ± 0.00"
    last = dict(zip(header, others[-1], strict=True))
    assert (last["seeds"], last["failed"], last["accuracy, % ± sd"]) == ("1", "1", "82.00")
    assert page.tables[-1][1][:3] == ["2", "2-3-2/8-16/20", "1"]


def test_no_failures_are_said_and_facts_are_shown(tmp_path: Path) -> None:
    page = Page(written(tmp_path, tables(2, 1))[-1])
    assert len(page.tables) == 1
    assert page.text.strip().startswith("default: scaling coefficients")
    assert "None." in page.text
    assert "three stages, 20 px" in page.text


def test_the_page_has_the_answer_by_both_metrics_and_what_was_left_out(tmp_path: Path) -> None:
    search = tables(20, 2, bend=0.1, left_out=[7])
    found = conclusion_of(search)
    assert found.answer is not None
    paths = written(tmp_path, search, conclusion=replace(found, sentences=("The split matters.",)))
    page = Page(paths[-1])
    header, rule, *references = page.tables[0]
    assert header[-3:] == ["equals the rule at", "by accuracy", "by loss"]
    assert (rule[0], len(references)) == ("rule", 6)
    assert [line[0] for line in references] == list(REFERENCES)
    assert {line[-2] for line in references[:3]} == {"better"}
    assert "The split matters." in page.text
    header, *networks = page.tables[1]
    bad = {
        line[header.index("network")] for line in networks if line[header.index("left out")] == "1"
    }
    assert bad == {"7"}
    table = read_table(tmp_path / "comparisons.csv")
    assert table["split"].tolist() == ["rule", *REFERENCES]
    assert {"equal_cost", "difference_low", "verdict"} <= set(table)


def test_families_are_listed_with_their_ends(report: Path) -> None:
    table = Page(report / "report.html").tables[1]
    assert len(table) == 1 + len(families())
    assert sum("no more pixels" in row[-1] for row in table) == 1
    assert sum("*" in row[table[0].index("off its ray")] for row in table) == 1


def printed(search: Tables, objective: Metric, *, most: int, width: int) -> str:
    console = Console(width=width, record=True, file=StringIO())
    show_coefficients(console, search.coefficients, objective, most=most)
    return console.export_text()


@pytest.mark.parametrize("objective", [VAL_ACCURACY, VAL_LOSS])
@pytest.mark.parametrize("width", [80, 110, 200])
def test_the_terminal_table_fits_uncut_and_has_both_metrics(objective: Metric, width: int) -> None:
    search = tables(114, 3, failed=[(4, 1)], objective=objective)
    text = printed(search, objective, most=10, width=width)
    assert "…" not in text
    assert max(len(line.rstrip()) for line in text.splitlines()) <= width
    assert "Base network and the best 10 of 114 scaled networks" in text
    rows = [line for line in text.splitlines() if line.count("±") > 2 or "1.000x" in line]
    assert len(rows) >= 10
    assert {"loss,", "accuracy,", "gain,"} <= set(text.split())
    assert ("the same network from" in text) == (width == 200)


def test_the_terminal_table_is_empty_before_the_first_training() -> None:
    text = printed(tables(9, 0), VAL_LOSS, most=10, width=110)
    assert text.count("x ") == 1  # the base network, whose numbers are dashes
    assert printed(tables(9, 1), VAL_LOSS, most=3, width=110).count("x ") == 4


def test_a_network_that_is_in_no_fit_has_finished_trainings_and_no_place() -> None:
    search = tables(9, 2)
    numbers = [one for one in search.candidates["candidate"] if one not in {0, 3}]
    expected = {number: 0.8 + 0.001 * number for number in numbers}
    table = coefficient_table(search.candidates, search.results, VAL_ACCURACY, expected)
    ranked = table[table["order"].notna()]
    assert ranked["candidate"].tolist() == sorted(numbers, reverse=True)
    assert table["order"].isna().sum() == 2
    said = " ".join(sentences(table, search.results, VAL_ACCURACY))
    assert "no finished training" not in said
