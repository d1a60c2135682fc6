"""Plans in words: the networks, the holes between them, and what would help."""

from scaling_search.base_networks import small_efficientnet
from scaling_search.base_networks.efficientnets import efficientnet
from scaling_search.candidates import Buildable, PaperGrid
from scaling_search.costs.flops import Flops
from scaling_search.display.plan import plan_sentences
from scaling_search.planning.budget import Budget


def test_the_plan_says_what_it_leaves_to_compare() -> None:
    plan = Buildable().plan(Budget(small_efficientnet(), Flops()))
    said = " ".join(plan_sentences(plan))
    assert "114 distinct networks of 1.90x to 2.10x" in said
    assert "32 networks are selected" in said
    assert "The largest hole in the triangle of shares is 0.2" in said
    assert "Warning" not in said


def test_the_plan_warns_of_unequal_cost() -> None:
    said = " ".join(plan_sentences(PaperGrid().plan(Budget(efficientnet("b0"), Flops()))))
    # Source: docs/sources.md, the grid: 108 points, 65 networks, of which 4 are within 2 ± 0.1.
    assert "108 coefficient triples lead to 65 distinct networks of 1.93x to 3.33x" in said
    assert "5 triples (4 networks) lie within 2 ± 0.1" in said
    assert "Warning: 61 of the selected networks do not have the target's cost" in said


def test_the_plan_warns_of_holes_and_says_what_would_give_more() -> None:
    plan = Buildable(alpha=(1.0, 1.0), max_networks=5).plan(Budget(small_efficientnet(), Flops()))
    said = " ".join(plan_sentences(plan))
    assert "Warning: holes over 0.25" in said
    assert "depth_rounding=round" in said
