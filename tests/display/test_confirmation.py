import io
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from scaling_search.core import trial as values
from scaling_search.core.metric import VAL_ACCURACY, VAL_LOSS, Metric
from scaling_search.core.scaling import REFERENCES
from scaling_search.core.trial import TrialResult
from scaling_search.display.confirmation import confirmation_section
from scaling_search.display.report_section import ReportSection
from scaling_search.display.terminal import show
from scaling_search.follow_ups.confirmation import Confirmation
from scaling_search.record.record import FinalTest, Record
from scaling_search.record.results import results_table
from tests.tiny import candidate_of, ended, failed, tiny_plan, tiny_trial

IMAGES = 1 + np.random.default_rng(1).random(60)
"""Cross-entropies of sixty images."""

SEEDS = [3, 4, 5, 6]
LOOK = FinalTest(
    arms={"found": 2, "paper": 1, "base": 0},
    seeds=SEEDS,
    objective="val_loss",
    delta=0.1,
    why="nearest to the surface's best",
    searched={"val_loss": [1.0, 1.02], "val_accuracy": [0.9, 0.898]},
    began="2026-11-02T10:00:00+00:00",
)
WHEN = "2026-11-03T10:00:00+00:00"

Loss = Callable[[int, int], float]
"""The loss of an arm's number with a seed."""


def scored(number: int, seed: int, loss: float, hit: float = 0.5) -> TrialResult:
    """A result with this loss on both splits; the first of the images are recognised."""
    trial = replace(tiny_trial(number, seed=seed), on_test=True)
    losses = (IMAGES - IMAGES.mean() + loss).astype("<f2")
    hits = np.arange(len(IMAGES)) < hit * len(IMAGES)
    test = values.TestScores(  # imported by name it would be taken for tests
        float(losses.mean()), hits.mean(), losses.tobytes(), np.packbits(hits).tobytes()
    )
    return replace(ended(trial, loss), test=test)


def jitter(number: int, seed: int) -> float:
    """A hundredth of luck that differs between arms and seeds and is nothing in the mean."""
    return -0.01 if (seed + number // 2) % 2 else 0.01


def section_of(record: Record, objective: Metric = VAL_LOSS) -> ReportSection | None:
    tested = Confirmation.last(record)
    return confirmation_section(tested, objective) if tested else None


def opened(folder: Path) -> Record:
    return Record(f"{folder}/study.log", "tiny-confirm", VAL_LOSS)


def looked(
    folder: Path,
    loss: Loss,
    look: FinalTest = LOOK,
    *,
    hit: Loss = lambda *_: 0.5,
    lost: Iterable[tuple[int, int]] = (),
) -> ReportSection:
    """The report's section after one more final test."""
    record = opened(folder)
    record.begin_final_test(look)
    for number in sorted(set(look.arms.values())):
        for seed in look.seeds:
            if (number, seed) in lost:
                record.add(failed(tiny_trial(number, seed=seed)))
            else:
                record.add(scored(number, seed, loss(number, seed), hit(number, seed)))
    record.end_final_test(look, WHEN)
    section = section_of(opened(folder))
    assert section is not None
    return section


def gaining(gain: float) -> Loss:
    """Network 2 is so much better than network 1, and both than the base network."""
    losses = {0: 1.5, 1: 1.0, 2: 1.0 - gain}
    return lambda number, seed: losses[number] + jitter(number, seed)


def paper() -> str:
    shares = candidate_of(tiny_plan(), 1).shares
    assert shares is not None
    away = shares.distance(REFERENCES["paper"])
    return f"network 1, the nearest to the paper's split (shares differ by {away:.2f})"


@pytest.mark.parametrize(
    ("gain", "said"),
    [
        (0.2, r"is better than {}: 0\.200 \(0\.1\d+ to 0\.2\d+\) in loss\."),
        (-0.2, r"is worse than {}: -0\.\d+ \(-0\.2\d+ to -0\.1\d+\) in loss\."),
        (
            0.01,
            r"is as good as {}: 0\.\d+ \(-0\.\d+ to .*\) in loss, within ± 0\.100, .* matters\.",
        ),
        (-0.01, r"is as good as {}: -0\.\d+ \(-0\.\d+ to 0\.0\d+\) in loss, within .*"),
    ],
)
def test_the_verdict_against_the_paper_comes_first(tmp_path: Path, gain: float, said: str) -> None:
    sentence = looked(tmp_path, gaining(gain)).sentences[0]
    assert re.fullmatch(
        rf"On 60 test images, network 2 {said.format(re.escape(paper()))}", sentence
    )


def test_a_difference_within_luck_and_beyond_delta_cannot_be_told(tmp_path: Path) -> None:
    def loss(number: int, seed: int) -> float:
        return 1 + 20 * jitter(number, seed)

    said = looked(tmp_path, loss).sentences[0]
    assert f"network 2 shows no significant difference from {paper()}: " in said
    unknown = looked(tmp_path, gaining(0.01), replace(LOOK, delta=None, seeds=[9, 10, 11]))
    assert "no significant difference from" in unknown.sentences[0]


def test_the_base_network_is_compared_too(tmp_path: Path) -> None:
    section = looked(tmp_path, gaining(0.2))
    assert section.sentences[1].startswith("On 60 test images, network 2 is better than the base ")
    assert section.table["against"].tolist() == ["paper"] * 4 + ["base"] * 4
    assert section.table["split"].tolist() == (["test"] * 2 + ["validation"] * 2) * 2
    assert section.table["measure"].tolist() == ["loss", "accuracy"] * 4
    assert (section.table["pairs"] == 4).all()


def test_the_differences_are_seed_by_seed(tmp_path: Path) -> None:
    # Seeds move both networks by a lot, alike.
    def loss(number: int, seed: int) -> float:
        return seed + (0.0 if number == 2 else 0.1) + jitter(number, seed) / 10

    table = looked(tmp_path, loss).table
    on_validation = table[(table["split"] == "validation") & (table["measure"] == "loss")].iloc[0]
    gains = [loss(1, seed) - loss(2, seed) for seed in SEEDS]
    assert on_validation["better_by"] == pytest.approx(np.mean(gains))
    assert on_validation["high"] - on_validation["low"] < 0.02
    assert on_validation["verdict"] == "better"


def test_accuracy_decides_where_it_is_the_objective(tmp_path: Path) -> None:
    record = opened(tmp_path)
    looked(tmp_path, gaining(0.2), hit=lambda number, _: 0.9 if number == 2 else 0.5)
    section = section_of(record, VAL_ACCURACY)
    assert section is not None
    assert "is better than" in section.sentences[0]
    assert ": 40.0 points (" in section.sentences[0]
    assert section.sentences[0].endswith("in accuracy.")


def test_measures_that_contradict_are_a_warning(tmp_path: Path) -> None:
    # Nearly all images change sides, which no sample of sixty gives by chance.
    section = looked(tmp_path, gaining(0.2), hit=lambda number, _: 0.05 if number == 2 else 0.95)
    warning = next(said for said in section.sentences if said.startswith("Warning"))
    assert "is better than network 1" in warning
    assert "in test loss and validation loss" in warning
    assert "worse in test accuracy" in warning
    agreed = looked(tmp_path, gaining(0.2), replace(LOOK, seeds=[13, 14, 15]))
    assert not [said for said in agreed.sentences if said.startswith("Warning")]


@pytest.mark.parametrize(
    ("searched", "said"),
    [
        ([0.5, 0.52], r"0\.510\. That is 0\.49\d* ± 0\.0.* better .*was optimistic"),
        ([1.5, 1.52], r"1\.510\. That is 0\.51\d* ± 0\.0.* worse .*was pessimistic"),
        (
            [0.99, 1.0],
            r"0\.995\. That is .* better than .*: within noise",
        ),
        ([0.5], r"0\.500\. That is 0\.50\d* .*: the search was optimistic"),
    ],
)
def test_how_optimistic_the_search_was_is_said(
    tmp_path: Path, searched: list[float], said: str
) -> None:
    look = replace(LOOK, searched={"val_loss": searched, "val_accuracy": searched})
    section = looked(tmp_path, gaining(0.0), look)
    had = "In the search, network 2 had a validation loss of"
    assert re.fullmatch(rf"{had} {said}\.", section.sentences[2])
    row = section.table[section.table["split"] == "validation"].iloc[0]
    assert row["optimism"] == pytest.approx(1.0 - np.mean(searched))
    fresh = [1 + jitter(2, seed) for seed in SEEDS]
    squares = sum(np.var(x) * len(x) for x in (fresh, searched))
    freedom = len(fresh) + len(searched) - 2
    error = (squares / freedom * (1 / len(fresh) + 1 / len(searched))) ** 0.5
    assert row["optimism_error"] == pytest.approx(error)


def test_failures_leave_out_their_pairs_and_are_counted(tmp_path: Path) -> None:
    section = looked(tmp_path, gaining(0.2), lost=[(2, 3), (1, 4)])
    assert section.table["pairs"].tolist() == [2] * 4 + [3] * 4
    assert section.sentences[-1] == (
        "2 of 12 trainings failed. A comparison leaves out a seed with which either network failed."
    )
    whole = looked(tmp_path, gaining(0.2), replace(LOOK, seeds=[7, 8]))
    assert not [said for said in whole.sentences if "failed" in said]


def test_fewer_than_two_pairs_give_no_interval(tmp_path: Path) -> None:
    section = looked(tmp_path, gaining(0.2), lost=[(1, 3), (1, 4), (2, 5)])
    assert section.sentences[0] == (
        f"Network 2 cannot be compared with {paper()}: an interval needs two seeds finished by "
        "both networks, and 1 of 4 are."
    )
    assert set(section.table["against"]) == {"base"}


def test_nothing_but_failures_can_be_said_too(tmp_path: Path) -> None:
    everything = [(number, seed) for number in (0, 1, 2) for seed in SEEDS]
    section = looked(tmp_path, gaining(0.2), lost=everything)
    assert section.lines == []
    assert section.table.empty
    assert "both networks, and 0 of 4 are." in section.sentences[0]
    assert "12 of 12 trainings failed" in section.sentences[-1]
    for sentence in section.sentences:
        assert not re.search(r"\bnan\b|None|In the search|interval holds", sentence)


def test_the_papers_own_network_is_trained_once_and_that_is_said(tmp_path: Path) -> None:
    look = replace(LOOK, arms={"found": 1, "paper": 1, "base": 0})
    section = looked(tmp_path, gaining(0.2), look)
    assert set(section.table["against"]) == {"base"}
    same = [said for said in section.sentences if "is also the nearest to the paper's" in said]
    assert len(same) == 1
    assert same[0].endswith(", so these two are not compared.")
    apart = looked(tmp_path, gaining(0.2), replace(LOOK, seeds=[7, 8]))
    assert not [said for said in apart.sentences if "is also" in said]


def test_which_network_and_seeds_were_trained_is_said(tmp_path: Path) -> None:
    assert (
        "Network 2, chosen before these trainings (nearest to the surface's best), was trained "
        "again with 4 fresh seeds, 3 to 6, which the search did not use."
        in looked(tmp_path, gaining(0.2)).sentences
    )


def test_before_a_look_has_ended_nothing_is_said(tmp_path: Path) -> None:
    record = opened(tmp_path)
    assert section_of(record) is None
    record.begin_final_test(LOOK)
    for number in (0, 1, 2):
        for seed in SEEDS:
            record.add(scored(number, seed, 1.0))
    assert section_of(record) is None
    for when in ("earlier", WHEN):  # by two commands in turn, of which one saw it before it ended
        record.end_final_test(LOOK, when)
    assert section_of(record) is not None


def test_a_second_look_says_so_in_every_sentence_and_holds_its_own_seeds(tmp_path: Path) -> None:
    first = looked(tmp_path, gaining(0.2))
    assert not [said for said in first.sentences if "evaluation" in said]
    assert set(first.table["look"]) == {1}
    second = replace(LOOK, seeds=[7, 8])
    opened(tmp_path).begin_final_test(second)
    between = section_of(opened(tmp_path))
    assert between is not None
    assert between.sentences == first.sentences
    opened(tmp_path).end_final_test(second, WHEN)
    third = looked(tmp_path, gaining(-0.2), replace(LOOK, seeds=[9, 10, 11]))
    assert all(said.endswith(" (evaluation 3 on the test split).") for said in third.sentences)
    assert "is worse than" in third.sentences[0]
    assert (third.table["pairs"] == 3).all()


def test_results_keep_means_and_no_images(tmp_path: Path) -> None:
    looked(tmp_path, gaining(0.2))
    table = results_table(opened(tmp_path).rows())
    assert {"test_loss", "test_accuracy"} <= set(table.columns)
    assert not {"test_losses", "test_hits", "curve"} & set(table.columns)


def test_scores_are_read_back_as_they_were(tmp_path: Path) -> None:
    result = scored(1, 3, 1.25, hit=0.4)
    opened(tmp_path).add(result)
    read = opened(tmp_path).results_of([result.trial])[result.trial.key]
    assert read.test == result.test
    assert read.test is not None
    assert read.test.hits.sum() == 24
    assert read.test.losses.mean() == pytest.approx(1.25, rel=1e-3)


def test_the_table_fits_100_characters(tmp_path: Path) -> None:
    section = looked(tmp_path, lambda number, seed: 10 + 300 * jitter(number, seed))
    console = Console(width=100, record=True, file=io.StringIO())
    show(console, replace(section, sentences=()))
    text = console.export_text()
    assert "…" not in text
    assert len(text.splitlines()) == 1 + 9
