"""Plans in words: the networks, the holes between them, and what would help."""

import pytest

from scaling_search.base_networks import small_efficientnet
from scaling_search.base_networks.efficientnets import efficientnet
from scaling_search.candidates import Buildable, PaperGrid
from scaling_search.costs.flops import Flops
from scaling_search.display.plan import about_verdicts, plan_sentences, seeds_text
from scaling_search.planning.budget import Budget


def test_the_plan_says_what_it_leaves_to_compare() -> None:
    plan = Buildable().plan(Budget(small_efficientnet(), Flops()))
    said = " ".join(plan_sentences(plan))
    assert (
        "There are 306 distinct networks, with 1.90 to 2.10 times the base network's cost" in said
    )
    assert "53 networks are selected" in said
    assert "They lie in 53 places; a place is a group of networks whose shares differ" in said
    assert "The largest gap between selected networks is near the split depth" in said
    assert ": the shares of the nearest one differ by 0.17." in said
    assert "In 17 networks each dimension has a share of 0.1 or more." in said
    assert "Warning" not in said
    assert not list(about_verdicts(plan, 2))


def test_a_plan_that_will_give_no_verdict_says_what_to_change() -> None:
    plan = Buildable(max_networks=9).plan(Budget(small_efficientnet(), Flops()))
    (few,) = about_verdicts(plan, 2)
    assert "means but no answer. An answer needs 12 places (got 9); for more places set" in few
    assert "seed" not in few
    (both,) = about_verdicts(plan, 1)
    assert "12 places (got 9) and a second seed of some networks (got none)" in both
    assert "num_seeds=1.25" in both
    enough = Buildable(max_networks=12).plan(Budget(small_efficientnet(), Flops()))
    assert not list(about_verdicts(enough, 2))
    (one_seed,) = about_verdicts(enough, 1)
    assert "places" not in one_seed


@pytest.mark.parametrize(
    ("counts", "said"),
    [([1, 1], "1 seed a network"), ([2, 1, 1], "1 seed a network, one more for the first 1,")],
)
def test_seeds_of_a_plan_are_said(counts: list[int], said: str) -> None:
    assert seeds_text(counts) == said


def test_the_plan_warns_of_unequal_cost() -> None:
    said = " ".join(plan_sentences(PaperGrid().plan(Budget(efficientnet("b0"), Flops()))))
    # Source: docs/sources.md, the grid: 108 points, 65 networks, of which 4 are within 2 ± 0.1.
    networks = "108 coefficient triples round to 65 distinct networks"
    assert f"{networks}, with 1.93 to 3.33 times the base network's cost" in said
    assert "5 triples (4 networks) have the target's cost, 2 ± 0.1 times" in said
    assert "Warning: 61 of the selected networks do not have the target's cost" in said


def test_the_plan_warns_of_holes_and_says_what_would_give_more() -> None:
    plan = Buildable(alpha=(1.0, 1.0), max_networks=5).plan(Budget(small_efficientnet(), Flops()))
    said = " ".join(plan_sentences(plan))
    assert "Warning: some splits stay unknown, because of gaps over 0.25 in shares" in said
    assert "depth_rounding=round" in said
