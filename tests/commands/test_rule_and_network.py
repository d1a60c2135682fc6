"""The rule and the network in what commands write, and searches without an answer."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from scaling_search.answer.stopping import Limits
from scaling_search.candidates import Buildable
from scaling_search.commands.export import export
from scaling_search.commands.run import Run
from scaling_search.commands.scale import scale
from scaling_search.commands.search import search
from scaling_search.core.scaling import Shares
from scaling_search.display.formatting import named_shares
from scaling_search.experiment.options import Export, Scale
from scaling_search.record.networks import candidate_of
from tests.in_process import printed
from tests.simulated import BEST, LEADER, Simulating, simulated_run
from tests.tiny import changed

COMPOUND = Scale(families=("compound",), phis=(0, 1), num_seeds=1)
PLAIN = Export(programs=False)


def shares_of(run: Run, number: int) -> Shares:
    """Shares of a network of the search."""
    (shares,) = (one.shares for one in run.networks if one.number == number)
    assert shares is not None
    return shares


def card_of(run: Run) -> str:
    return " ".join((run.folder / "export" / "README.md").read_text("utf-8").split())


def test_the_rule_is_the_best_split_and_the_network_the_best_expected(answered: Run) -> None:
    answer = answered.answer
    assert answer is not None
    assert answer.rule.distance(BEST) < 0.1
    assert answer.network == LEADER
    assert answered.found()[0].number == LEADER
    assert answered.found()[1] == "best expected at this size"
    assert answered.rule() == (answer.rule, "best split by the fit")
    expected = answered.coefficients.set_index("candidate")["expected"]
    assert expected.idxmin() == LEADER
    assert expected[LEADER] == pytest.approx(answer.expected)


def test_the_compound_family_has_the_rules_shares_and_not_the_networks(answered: Run) -> None:
    answer = answered.answer
    assert answer is not None
    out = printed(scale, answered, COMPOUND)
    assert f"compound: {named_shares(answer.rule)} (the rule, best split by the fit)" in out
    (row,) = (row for row in answered.networks_of("scale") if row["phi"] == 1)
    built = candidate_of(row, answered.trusted.packages).shares
    assert built is not None
    assert built.distance(answer.rule) < built.distance(shares_of(answered, LEADER))
    assert built.distance(answer.rule) < 0.1


def test_the_card_names_the_rule_and_the_network(answered: Run) -> None:
    answer = answered.answer
    assert answer is not None
    printed(scale, answered, COMPOUND)
    printed(export, answered, PLAIN)
    card = card_of(answered)
    said = f"for other sizes: {named_shares(answer.rule)} (best split by the fit)."
    assert f"**The rule**, the split of the extra cost {said}" in card
    assert f"**The network** for this size, `found` below: number {LEADER} (best expected" in card
    assert all(sentence in card for sentence in answered.conclusion.sentences[1:3])
    values = yaml.safe_load((answered.folder / "export" / "coefficients.yaml").read_text("utf-8"))
    assert list(values["rule"]["shares"].values()) == pytest.approx(list(answer.rule), abs=1e-6)
    assert values["rule"]["is_a_guess"] is False
    assert values["found"]["candidate"] == LEADER
    assert list(values["found"]["shares"].values()) == pytest.approx(
        list(shares_of(answered, LEADER)), abs=1e-6
    )


def test_a_collapsed_training_is_in_no_mean_of_the_table_and_of_the_card(tmp_path: Path) -> None:
    fallen = simulated_run(tmp_path)
    away = {c.number: c.shares.distance(BEST) for c in fallen.experiment.plan() if c.shares}
    number = min(away, key=away.__getitem__)
    fallen = replace(fallen, executor=Simulating(lead=0.0, collapsed=((number, 1),)))
    printed(search, fallen)
    (left_out,) = fallen.conclusion.left_out
    assert (left_out.candidate, left_out.seed, left_out.why) == (number, 1, "chance")
    row = fallen.coefficients.set_index("candidate").loc[number]
    assert (row["left_out"], row["num_seeds"]) == (1, 1)
    losses = fallen.results.set_index(["candidate", "seed"])["val_loss"]
    assert row["val_loss_mean"] == pytest.approx(losses[number, 0])
    printed(export, fallen, PLAIN)
    card = card_of(fallen)
    assert (
        f"Left out of the fit: 1 training, namely network {number} seed 1 (no better than chance)."
        in card
    )
    values = yaml.safe_load((fallen.folder / "export" / "coefficients.yaml").read_text("utf-8"))
    assert values["found"]["candidate"] == number
    (gain,) = (one for one in values["gains"] if one["measure"] == "loss")
    assert gain["seeds"] == 1
    assert gain["mean"] == pytest.approx(losses[0, 0] - losses[number, 0], rel=1e-6)


def test_a_base_network_far_behind_all_others_is_not_left_out(tmp_path: Path) -> None:
    behind = simulated_run(tmp_path, executor=Simulating(behind=0.5, lead=0.0), num_seeds=3)
    printed(search, behind)
    conclusion = behind.conclusion
    assert conclusion.left_out == ()
    assert conclusion.answer is not None
    assert len(conclusion.answer.surface.observations.base_loss) == 3


def test_a_search_of_too_few_places_says_so_and_goes_on_without_an_answer(tmp_path: Path) -> None:
    few = simulated_run(tmp_path / "few", candidates=Buildable(max_networks=9))
    printed(search, few)
    assert few.answer is None
    said = printed(Run.report, few)
    assert "There is no answer yet: " in said
    assert "candidates.max_networks=null" in " ".join(said.split())
    found, why = few.found()
    order = few.coefficients.set_index("order")["candidate"]
    assert (found.number, why) == (order[1], "lowest mean loss, without an answer")
    assert few.rule() == (found.shares, f"the split of network {found.number}: {why}")
    printed(export, few, PLAIN)
    assert f"(the split of network {found.number}: lowest mean loss" in card_of(few)
    assert "Whether the split matters: these results cannot show it." in card_of(few)


def test_a_search_without_second_seeds_says_the_command_and_more_seeds_give_an_answer(
    tmp_path: Path,
) -> None:
    one = simulated_run(tmp_path, num_seeds=1)
    printed(search, one)
    assert one.conclusion.missing.startswith("an answer needs a second seed of some networks")
    assert "num_seeds=1.25" in one.conclusion.missing
    printed(search, changed(one, num_seeds=2))
    assert one.answer is not None


def test_all_that_is_missing_is_said_at_once(tmp_path: Path) -> None:
    few = simulated_run(tmp_path, candidates=Buildable(max_networks=9), num_seeds=1)
    printed(search, few)
    missing = few.conclusion.missing
    assert missing.startswith("an answer needs trained networks in 12 places or more")
    assert "; and a second seed of some networks" in missing


def test_without_any_scaled_network_the_rule_is_asked_for(tmp_path: Path) -> None:
    begun = simulated_run(tmp_path, limits=Limits(trainings=1))
    printed(search, begun)
    with pytest.raises(ValueError, match="out must hold a finished training of a scaled network"):
        begun.rule()
    assert printed(scale, begun, replace(COMPOUND, coefficients=(1.2, 1.1, 1.15)), price_only=True)
