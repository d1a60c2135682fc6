"""Sentences on several searches: what differs is named, and what cannot be compared is not."""

from typing import Any

import pandas as pd
import pytest

import scaling_search as ss
from scaling_search.answer.agreement import agreement
from scaling_search.answer.verdicts import answer
from scaling_search.display.compared import compared_sentences
from scaling_search.display.differences import choice_sentences
from scaling_search.experiment.composing import choices
from tests.surfaces import Luck, around, fitted
from tests.tiny import tiny_experiment, tiny_network, tiny_recipe

WORDS = ("data", "base network", "cost", "target", "metric", "recipe")


def table(**columns: list[str]) -> pd.DataFrame:
    """The columns of names that sentences use."""
    known = {
        "run": ["one", "other"],
        "data": ["FashionMnistSmall"] * 2,
        "fingerprint": ["a" * 64, "b" * 64],
        "base_network": ["EfficientNet"] * 2,
        "base": ["1-2/4-8/8", "1-3/4-8/8"],
    }
    return pd.DataFrame(known | columns).assign(misfits=False, missing="")


def chosen(fingerprint: str = "a", **changes: Any) -> dict[str, Any]:
    return choices(tiny_experiment(**changes), fingerprint)


DIFFERENT: dict[str, tuple[dict[str, Any], str]] = {
    "data": (
        chosen("b"),
        "The data differ: FashionMnistSmall aaaaaaaa (one); FashionMnistSmall bbbbbbbb (other).",
    ),
    "base network": (
        chosen(base_network=tiny_network(num_layers=(1, 3))),
        "The base networks differ: EfficientNet 1-2/4-8/8 (one); EfficientNet 1-3/4-8/8 (other).",
    ),
    "target": (
        chosen(candidates=ss.candidates.Buildable(tolerance=0.1, max_networks=3, target=4)),
        "The targets differ: candidates.target 2 (one); 4 (other).",
    ),
    "metric": (
        chosen(objective="val_accuracy"),
        "The metrics differ: objective val_loss (one); val_accuracy (other).",
    ),
    "recipe": (
        chosen(recipe=tiny_recipe(epochs=8, momentum=0.8)),
        "The recipes differ: recipe.epochs 2 (one); 8 (other); recipe.momentum 0.9 (one); 0.8",
    ),
    "cost": (
        chosen(cost=ss.costs.Params()),
        "Different costs are held equal: cost.class Flops (one); Params (other).",
    ),
}


@pytest.mark.parametrize("word", DIFFERENT)
def test_a_choice_that_differs_is_named_and_no_other(word: str) -> None:
    other, expected = DIFFERENT[word]
    equal, differing = choice_sentences(table(), [chosen(), other])
    assert differing.startswith(expected)
    assert equal == f"Equal in all runs: {', '.join(one for one in WORDS if one != word)}."


def test_base_networks_of_equal_layers_differ_by_their_options() -> None:
    other = chosen(base_network=tiny_network(dropout=0.5))
    same = table(base=["1-2/4-8/8"] * 2)
    assert any(
        "The base networks differ: base_network.dropout 0.2 (one); 0.5 (other)." in sentence
        for sentence in choice_sentences(same, [chosen(), other])
    )


def test_other_choices_are_named_too() -> None:
    other = chosen(candidates=ss.candidates.Buildable(tolerance=0.1, max_networks=9))
    *_, last = choice_sentences(table(), [chosen(), other])
    assert last == "Other choices differ: candidates.max_networks 3 (one); 9 (other)."


def test_runs_that_are_asked_alike_differ_in_nothing() -> None:
    other = chosen(name="another", recipe=tiny_recipe(checkpoint_minutes=5))
    assert list(choice_sentences(table(), [chosen(), other])) == [
        "Equal in all runs: data, base network, cost, target, metric, recipe."
    ]


def test_splits_of_different_costs_are_not_compared() -> None:
    truths = (around(0.2, 0.6, spread=0.1), around(0.8, 0.1, spread=0.1))
    luck = Luck(seed_sd=0.004, network_sd=0.002)
    answers = {
        name: answer(fitted(truth, luck, number=20))
        for name, truth in zip(("one", "other"), truths, strict=True)
    }
    found = agreement([one.surface for one in answers.values()])
    for other, is_compared in ((chosen(), True), (chosen(cost=ss.costs.Params()), False)):
        said = compared_sentences(table(), [chosen(), other], answers, found, {})
        assert any("region" in sentence for sentence in said) == is_compared
        assert any("are not compared" in sentence for sentence in said) != is_compared
