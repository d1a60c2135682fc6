"""The answer in words: two nouns, what they rest on, and nothing that is not known."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from scaling_search.answer.conclusions import Conclusion, conclude
from scaling_search.core.metric import VAL_ACCURACY, VAL_LOSS, Metric
from scaling_search.core.scaling import REFERENCES, Shares
from scaling_search.display.answer import answer_sentences, comparison_lines
from scaling_search.display.formatting import named_shares
from scaling_search.display.verdicts import SHARE_MEANT
from tests.surfaces import Luck, around, flat, search_results

NO_CURVES = pd.DataFrame(columns=["candidate", "seed", "epoch", "val_loss", "val_accuracy"])
SHARP, QUIET, USUAL = around(0.3, 0.3), Luck(0.001), Luck(0.0065)


def concluded(
    table: pd.DataFrame, *, delta: float | None = None, objective: Metric = VAL_LOSS
) -> Conclusion:
    found = conclude(table, NO_CURVES, objective=objective, target=2.0, delta=delta, num_classes=10)
    return replace(found, sentences=tuple(answer_sentences(found, table)))


def said(conclusion: Conclusion) -> str:
    return "\n".join(conclusion.sentences)


def chance(table: pd.DataFrame, *trainings: tuple[int, int]) -> pd.DataFrame:
    """The results with some trainings at chance."""
    keys = pd.Series(list(zip(table["candidate"], table["seed"], strict=True)), table.index)
    return table.assign(val_loss=table["val_loss"].mask(keys.isin(trainings), 2.31))


def test_a_sharp_optimum_is_the_rule_and_better_than_the_corners() -> None:
    conclusion = concluded(search_results(SHARP, QUIET))
    first, second, third, *_ = conclusion.sentences
    assert first.startswith(
        "The split matters: the fitted loss differs between splits by more than noise explains "
        "(p < 0.001)."
    )
    assert second.startswith("The rule (the best split by the fit, for other sizes) is depth ")
    assert conclusion.answer is not None
    assert conclusion.answer.rule.distance(Shares(0.3, 0.3, 0.4)) < 0.02
    assert f"is {named_shares(conclusion.answer.rule)}; its loss is 0.4" in second
    assert third.startswith("The network (best expected at this size) is number ")
    text = said(conclusion)
    better = "better than depth alone, width alone, resolution alone"
    assert f"The rule against other splits: {better}" in text
    assert "a guess" not in text
    assert "Warning" not in text
    assert conclusion.answer is not None
    assert f"{len(conclusion.answer.possible)} of 20 networks" in text


def test_a_flat_truth_names_no_winner_and_calls_the_rule_a_guess() -> None:
    conclusion = concluded(search_results(flat, USUAL))
    text = said(conclusion)
    assert conclusion.sentences[0].startswith("These results cannot show that the split matters;")
    assert "The rule (the best split by the fit, for other sizes) is a guess: depth " in text
    assert "Any split that was searched may be the best." in text
    assert "better than" not in text
    assert "95 % region" not in text
    assert "equals the rule at" not in comparison_lines(conclusion)[0]


@pytest.mark.parametrize("truth", [SHARP, flat])
def test_nothing_else_is_called_best_or_found(truth: object) -> None:
    table = search_results(SHARP if truth is SHARP else flat, QUIET)
    text = said(concluded(table))
    for phrase in ("the best split", "best expected", "may be the best"):
        text = text.replace(phrase, "")
    assert "best" not in text
    assert "Found" not in text


def test_the_network_is_given_with_its_coefficients_and_expected_loss() -> None:
    conclusion = concluded(search_results(SHARP, USUAL))
    assert conclusion.answer is not None
    number, expected = conclusion.answer.network, conclusion.answer.expected
    same = "(any of 1.00 to 2.00 builds the same network)"
    assert conclusion.sentences[2] == (
        f"The network (best expected at this size) is number {number}: alpha "
        f"{1 + number / 100:.2f} {same}, beta 1.50 {same}, gamma 1.50 {same}. Its expected loss is "
        f"{expected:.3f}: the fit plus the network's own deviation, shrunk because of noise."
    )


def test_a_range_of_coefficients_is_rounded_inwards_and_named_only_if_it_has_two_values() -> None:
    table = search_results(SHARP, USUAL).assign(beta_low=1.498, beta_high=1.503)
    (sentence,) = [s for s in concluded(table).sentences if s.startswith("The network")]
    assert "beta 1.50, gamma" in sentence
    table = table.assign(beta_low=1.494, beta_high=1.516)
    (sentence,) = [s for s in concluded(table).sentences if s.startswith("The network")]
    assert "beta 1.50 (any of 1.50 to 1.51 builds the same network)" in sentence


def test_terms_are_explained_where_they_first_appear() -> None:
    for truth in (SHARP, flat):
        text = said(concluded(search_results(truth, USUAL)))
        for term, meaning in {
            "shares": SHARE_MEANT,
            "the fit": "The fit is a quadratic surface of the loss over the shares.",
            "place": "a place is a group of networks whose shares differ by at most 0.02",
            "nats": "loss (cross-entropy in nats)",
            "thirds": "thirds (equal shares)",
            "pycls": "pycls (mostly width)",
        }.items():
            assert term in text
            assert meaning in text


def test_an_optimum_in_a_corner_or_on_an_edge_is_said_to_lie_there() -> None:
    for truth, where in ((around(1.0, 0.0), "in a corner"), (around(0.6, 0.6), "on an edge")):
        text = said(concluded(search_results(truth, QUIET)))
        assert f"It lies {where} of the triangle." in text
    assert "of the triangle." not in said(concluded(search_results(SHARP, QUIET)))


def test_a_network_that_is_good_by_itself_is_told_from_its_split() -> None:
    truth, thirds = around(0.1, 0.25, spread=0.2), 4
    conclusion = concluded(search_results(truth, Luck(0.003), own={thirds: -0.025}))
    assert conclusion.answer is not None
    assert conclusion.answer.network == thirds
    assert conclusion.answer.possible
    assert thirds not in conclusion.answer.possible
    own = "its lead comes from something specific to it."
    assert f"Its split is not in the region of the rule: {own}" in said(conclusion)
    # A region so narrow that it lies between the networks is no word about one of them.
    narrow = concluded(search_results(truth, QUIET))
    assert narrow.answer is not None
    assert narrow.answer.possible == ()
    assert "Its split" not in said(narrow)


def test_a_misfit_is_named_in_every_sentence_with_an_interval() -> None:
    wavy = search_results(lambda points: 0.4 + 0.02 * np.sin(12 * points[:, 0]), Luck(0.0005))
    conclusion = concluded(wavy)
    assert "Warning: the quadratic surface does not fit" in said(conclusion)
    with_interval = [
        s for s in conclusion.sentences if s.startswith(("The rule against", "The 95 %"))
    ]
    assert with_interval
    doubt = "(if the surface fits; see the warning below)"
    assert all(doubt in sentence for sentence in with_interval)
    assert "does not fit" not in said(concluded(search_results(SHARP, QUIET)))


def test_noise_that_differs_between_networks_is_told() -> None:
    table = search_results(SHARP, Luck(), num_seeds=4)
    sds = 0.001 * 10 ** table["resolution_share"].fillna(0.0)
    noise = np.random.default_rng(0).normal(0, 1, len(table)) * sds
    text = said(concluded(table.assign(val_loss=table["val_loss"] + noise)))
    assert "The noise between seeds differs between networks (p < 0.001): 0.00" in text
    assert "Intervals use the mean noise." in text
    assert "noise between seeds differs" not in said(concluded(search_results(SHARP, QUIET)))


def test_both_metrics_agree_or_contradict_in_the_first_sentences() -> None:
    agree = concluded(search_results(around(0.1, 0.8), QUIET))
    assert agree.sentences[3].startswith("By accuracy the rule is depth ")
    assert agree.sentences[3].endswith(". The 95 % regions by loss and by accuracy overlap.")
    contrary = search_results(around(1.2, -0.1), QUIET, accuracy_truth=around(-0.1, -0.1))
    fourth = concluded(contrary).sentences[3]
    assert fourth.startswith("Warning: by accuracy the rule is depth 0.00, width 0.00")
    assert fourth.endswith("The 95 % regions by loss and by accuracy do not overlap.")


def test_a_metric_that_tells_more_or_less_than_the_objective_is_said() -> None:
    table = search_results(flat, USUAL, accuracy_truth=around(0.0, 0.3, spread=0.2))
    by_loss = concluded(table).sentences[3]
    assert by_loss.startswith("Warning: by accuracy the rule is depth 0.0")
    assert "better than depth" in by_loss
    assert by_loss.endswith(". By loss no split is shown to be better than another.")
    by_accuracy = concluded(table, objective=VAL_ACCURACY).sentences[3]
    assert by_accuracy == "By loss alone these results cannot show that the split matters."


def test_trainings_left_out_are_named_with_the_reason() -> None:
    table = search_results(SHARP, QUIET)
    one = said(concluded(chance(table, (3, 1))))
    assert (
        "Left out of the fit: 1 training, namely network 3 seed 1 (no better than chance)." in one
    )
    assert "Left out" not in said(concluded(table))
    many = said(concluded(chance(table, *((n, 0) for n in range(2, 8)))))
    assert "6 trainings, namely network 2 seed 0, network 3 seed 0, network 4 seed 0" in many
    assert "network 5 seed 0 and 2 more (no better than chance)." in many
    assert "network 7 seed" not in many
    far = table.assign(val_loss=table["val_loss"] + 0.3 * (table.index == 10))
    assert "(far outside all others)" in said(concluded(far))


def test_it_is_said_if_trainings_left_out_would_change_the_answer() -> None:
    hidden = said(concluded(chance(search_results(SHARP, QUIET), (3, 1))))
    assert "Warning: with them these results could not show that the split matters." in hidden
    # A seventh of the spread changes nothing.
    table = search_results(around(0.3, 0.3, spread=0.3), Luck(0.0003))
    near = said(concluded(table.assign(val_loss=table["val_loss"] + 0.006 * (table.index == 33))))
    assert "With them the rule and the network are the same." in near


@pytest.mark.parametrize(
    ("broken", "missing"),
    [
        (lambda t: t[t["candidate"] < 6], "count once), got 5; for more places"),
        (lambda t: t[t["candidate"] < 12], "count once), got 11; for more places"),
        (
            lambda t: t[t["seed"] == 0],
            "num_seeds=1.25 trains a quarter of the networks with a second seed",
        ),
        (lambda t: t[t["candidate"] != 0], "base network must have a finished training"),
        (lambda t: t.assign(state="FAIL"), "count once), got 0 (63 failed); for"),
        (lambda t: t.iloc[:0], "count once), got 0; for more places"),
        (lambda t: t.assign(val_loss=0.5), "must differ between trainings"),
    ],
)
def test_what_is_missing_is_said_and_nothing_invented(broken: object, missing: str) -> None:
    assert callable(broken)
    conclusion = concluded(broken(search_results(SHARP, QUIET)))
    assert conclusion.answer is None
    assert conclusion.comparisons().empty
    (sentence,) = conclusion.sentences
    assert sentence.startswith("There is no answer yet: ")
    assert missing in sentence


def test_the_table_has_both_metrics_side_by_side() -> None:
    table = search_results(SHARP, QUIET, accuracy_truth=around(1.2, -0.1))
    conclusion = concluded(table)
    header, *lines = comparison_lines(conclusion)
    assert header[-2:] == ["by loss", "by accuracy"]
    assert [line[0] for line in lines] == ["rule", *REFERENCES]
    assert all(len(line) == len(header) for line in lines)
    by_name = {line[0]: dict(zip(header, line, strict=True)) for line in lines}
    assert (by_name["depth"]["by loss"], by_name["depth"]["by accuracy"]) == ("better", "the same")
    assert by_name["rule"]["by loss"] == "–"
    assert by_name["rule"]["by accuracy"] == "its rule: 1.00 / 0.00 / 0.00"
    alone, *_ = comparison_lines(concluded(table.assign(val_accuracy=np.nan)))
    assert alone[-1] == "by loss"


def test_the_cost_at_which_the_rule_is_equal_is_given_in_the_measured_range() -> None:
    header, *lines = comparison_lines(
        concluded(search_results(around(0.3, 0.3, spread=0.1), QUIET))
    )
    costs = {line[0]: line[header.index("equals the rule at")] for line in lines}
    # Corners are worse than the base network at twice its cost, thirds nearly as good as the rule.
    assert costs["width"] == "under 1x"
    assert costs["thirds"].startswith("1.9")
    assert "x (1." in costs["thirds"]
    assert costs["rule"] == "–"


def test_no_difference_is_ever_negative() -> None:
    for seed in range(3):
        table = search_results(around(1.1, -0.2, spread=0.01), USUAL, seed=seed)
        header, *lines = comparison_lines(concluded(table))
        for line in lines:
            assert not line[header.index("the rule is better by")].startswith("-")


@pytest.mark.parametrize(("place", "is_same"), [((1.2, -0.1), True), ((0.3, 0.3), False)])
def test_a_reference_that_is_the_rule_is_not_compared_with_itself(
    place: tuple[float, float], *, is_same: bool
) -> None:
    depth = comparison_lines(concluded(search_results(around(*place), QUIET)))[2]
    assert depth[0] == "depth"
    assert (depth[-1] == "the same") == is_same
    assert (depth[3] == "–") == is_same


@pytest.mark.parametrize(("delta", "word"), [(0.5, "as good"), (1e-6, "cannot tell")])
def test_what_matters_decides_between_as_good_and_cannot_tell(delta: float, word: str) -> None:
    table = search_results(around(1 / 3, 1 / 3), Luck(0.003))
    conclusion = concluded(table, delta=delta)
    assert conclusion.answer is not None
    (thirds,) = [c for c in conclusion.answer.comparisons if c.name == "thirds"]
    assert thirds.verdict is not None
    assert thirds.verdict.outcome == word
