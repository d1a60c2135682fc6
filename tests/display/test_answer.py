from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from scaling_search.answer.conclusions import Conclusion, conclude
from scaling_search.core.scaling import DIMENSIONS
from scaling_search.display.answer import answer_sentences, comparison_lines
from tests.surfaces import Truth, around, flat, plan_shares

TRIPLE = ("alpha", "beta", "gamma")


def results(
    truth: Truth,
    *,
    seed_sd: float = 0.001,
    num_seeds: int = 3,
    accuracy_truth: Truth | None = None,
    own: dict[int, float] | None = None,
) -> pd.DataFrame:
    """A results table of the small proxy's plan whose losses follow a truth.

    Accuracies are 1.25 less the loss unless they have a truth of their own; ``own`` adds to the
    losses of single networks what their split does not explain.
    """
    stream = np.random.default_rng(0)
    shares = plan_shares()
    rows: list[dict[str, object]] = []
    for seed in range(num_seeds):
        for number, point in enumerate([None, *shares]):
            luck = stream.normal(0, seed_sd)
            split, loss, other = [np.nan] * 3, 0.43, 0.43
            if point is not None:
                split, loss = point.tolist(), float(truth(point[None])[0])
                other = float((accuracy_truth or truth)(point[None])[0])
            rows.append(
                {
                    "candidate": number,
                    "seed": seed,
                    "state": "COMPLETE",
                    "cost_ratio": 1.0 if point is None else 2.0,
                    "val_loss": loss + luck + (own or {}).get(number, 0.0),
                    "val_accuracy": 1.25 - other - luck,
                }
                | {f"{d}_share": s for d, s in zip(DIMENSIONS, split, strict=True)}
                | {f"{name}{end}": 1.5 for name in TRIPLE for end in ("", "_low", "_high")}
                | {"alpha": 1 + number / 100, "alpha_low": 1.0, "alpha_high": 1.5}
            )
    return pd.DataFrame(rows)


def concluded(table: pd.DataFrame, delta: float | None = None) -> Conclusion:
    found = conclude(table, objective="val_loss", target=2.0, delta=delta)
    return replace(found, sentences=tuple(answer_sentences(found, table)))


def said(conclusion: Conclusion) -> str:
    return "\n".join(conclusion.sentences)


def test_a_sharp_optimum_is_found_and_told_from_the_corners() -> None:
    conclusion = concluded(results(around(0.3, 0.3, spread=0.05)))
    assert conclusion.answer is not None
    best = conclusion.answer.region.best
    assert max(abs(best.depth - 0.3), abs(best.width - 0.3)) < 0.05
    text = said(conclusion)
    assert "The split matters (p < 0.001 against a flat surface)" in text
    assert "better than depth, width, resolution" in text
    assert "a guess" not in text
    assert "Warning" not in text


def test_a_flat_truth_names_no_winner_and_calls_the_best_a_guess() -> None:
    conclusion = concluded(results(flat, seed_sd=0.0065))
    text = said(conclusion)
    assert "These results cannot show that the split matters" in text
    assert "is a guess" in text
    assert "better than" not in text
    assert "With 95 % confidence" not in text


@pytest.mark.parametrize(("truth", "is_guess"), [(around(0.3, 0.3), False), (flat, True)])
def test_the_found_coefficients_are_those_of_the_nearest_network_with_their_cell(
    truth: Truth, *, is_guess: bool
) -> None:
    conclusion = concluded(results(truth, seed_sd=0.003))
    assert conclusion.answer is not None
    number, distance = conclusion.answer.found, conclusion.answer.found_distance
    guess = ", a guess" if is_guess else ""
    triple = f"alpha {1 + number / 100:.3f} (1.000 to 1.500), beta 1.500, gamma 1.500"
    expected = f"Found{guess}: {triple}; network {number}, {distance:.2f} away from it."
    assert expected in conclusion.sentences


def test_an_optimum_in_a_corner_is_said_to_lie_on_an_edge() -> None:
    text = said(concluded(results(around(1.0, 0.0))))
    assert "on an edge of the triangle" in text
    assert "on an edge" not in said(concluded(results(around(0.3, 0.3))))


def test_the_best_mean_outside_of_the_region_is_named() -> None:
    truth = around(0.0, 0.0, spread=0.05)
    lucky = 1  # the nearest to the corner of depth
    assert plan_shares()[lucky - 1, 0] == 1.0
    table = results(truth, own={lucky: -0.06})
    assert f"Network {lucky} has the best mean and is not among them" in said(concluded(table))
    assert "the best mean" not in said(concluded(results(truth)))


def test_a_misfit_is_named_in_every_sentence_with_an_interval() -> None:
    wavy = results(lambda points: 0.4 + 0.02 * np.sin(12 * points[:, 0]), seed_sd=0.001)
    conclusion = concluded(wavy)
    text = said(conclusion)
    assert "Warning: a quadratic surface misfits" in text
    with_interval = [s for s in conclusion.sentences if "With 95 %" in s or "references" in s]
    assert with_interval
    assert all("warning below" in sentence for sentence in with_interval)
    assert "misfit" not in said(concluded(results(around(0.3, 0.3))))


def test_one_seed_says_that_the_seeds_luck_is_not_known() -> None:
    one = said(concluded(results(around(0.3, 0.3), num_seeds=1)))
    assert "noise of the seed is not known" in one
    assert "seeds vary a network by" in said(concluded(results(around(0.3, 0.3))))


def test_measures_that_contradict_each_other_are_a_warning() -> None:
    agree = said(concluded(results(around(0.1, 0.8))))
    assert "By accuracy the best is" in agree
    assert "the two regions overlap" in agree
    contrary = results(around(1.0, 0.0), accuracy_truth=around(0.0, 0.0))
    assert "Warning: by accuracy the best is" in said(concluded(contrary))


def test_what_is_missing_is_said_and_nothing_invented() -> None:
    table = results(around(0.3, 0.3))
    for broken, missing in (
        (table[table["candidate"] < 6], "7 networks or more"),
        (table[table["candidate"] != 0], "base network must have a finished training"),
        (table.assign(state="FAIL"), "7 networks or more"),
        (table.iloc[:0], "7 networks or more"),
        (table.assign(val_loss=0.5), "must differ between trainings"),
    ):
        conclusion = concluded(broken)
        assert conclusion.answer is None
        assert conclusion.comparisons().empty
        assert len(conclusion.sentences) == 1
        assert conclusion.sentences[0].startswith("No surface is fitted: ")
        assert missing in conclusion.sentences[0]


def test_the_table_compares_the_best_with_every_reference() -> None:
    conclusion = concluded(results(around(0.3, 0.3, spread=0.01), seed_sd=0.006))
    assert conclusion.answer is not None
    table = conclusion.comparisons()
    names = ["best", "depth", "width", "resolution", "thirds", "paper", "pycls"]
    assert table["split"].tolist() == names
    header, *lines = comparison_lines(conclusion.answer)
    assert [line[0] for line in lines] == names
    assert all(len(line) == len(header) for line in lines)


@pytest.mark.parametrize(("truth", "is_same"), [(around(1.0, 0.0), True), (around(0, 0), False)])
def test_a_reference_that_is_the_best_is_not_compared_with_itself(
    truth: Truth, is_same: bool
) -> None:
    conclusion = concluded(results(truth))
    assert conclusion.answer is not None
    depth = comparison_lines(conclusion.answer)[2]
    assert depth[0] == "depth"
    assert (depth[-1] == "the same") == is_same


@pytest.mark.parametrize(("delta", "word"), [(0.5, "as good"), (1e-6, "cannot tell")])
def test_what_matters_decides_between_as_good_and_cannot_tell(delta: float, word: str) -> None:
    table = results(around(1 / 3, 1 / 3, spread=0.05), seed_sd=0.003)
    conclusion = concluded(table, delta=delta)
    assert conclusion.answer is not None
    (thirds,) = [c for c in conclusion.answer.comparisons if c.name == "thirds"]
    assert thirds.verdict.outcome == word
