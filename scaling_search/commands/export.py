"""Writes the networks that a search found as files."""

from dataclasses import replace

import pandas as pd

from scaling_search.commands.retraining import train_again
from scaling_search.commands.run import Run
from scaling_search.display.formatting import count
from scaling_search.display.tables import show_table
from scaling_search.display.terminal import say, tell
from scaling_search.experiment.options import Export
from scaling_search.exports.card import example, loading, member_lines
from scaling_search.exports.card_data import CardData
from scaling_search.exports.files import write_export
from scaling_search.exports.members import named, rows_of, trainings
from scaling_search.exports.programs import check_packages
from scaling_search.follow_ups.confirmation import Confirmation
from scaling_search.record.results import results_table, with_means

OPTIONAL = ("measured cost", "failed", "parameters", "phi")
"""Columns of the card that a narrow terminal leaves out."""


def export(run: Run, options: Export = Export(), *, price_only: bool = False) -> None:
    """Writes ``out/export``: weights, programs, ONNX, coefficients and a model card.

    Args:
        run: A search.
        options: The files to write; True in ``train`` trains again for missing weights.
        price_only: True to print the price of that training and write nothing.

    Raises:
        ValueError: The search has no finished training, or a needed package is not installed.
        RuntimeError: There is no search, or a file would differ from the trained network.
    """
    console = run.console
    _check_training(run)
    if price_only and not options.train:
        raise ValueError(
            "export.train must be true with price_only=true, got false; without it an export "
            "trains nothing"
        )
    if options.onnx:
        check_packages()
    with console.status("reading the record"):
        run.check_choices()
        data = card_data(run, options)
    trained = trainings(
        data.members,
        pd.concat([data.trained, data.confirm]),
        folder=run.folder.resolve() / "weights",
        fingerprint=data.fingerprint,
    )
    if options.train and not train_again(run, trained, price_only=price_only):
        return
    kept = {one: facts for one in trained if (facts := one.facts()) is not None}
    data = replace(data, kept=kept)
    folder = run.folder / "export"
    with console.status("writing networks"):
        paths = write_export(data, folder)
    show_table(console, member_lines(data), optional=OPTIONAL)
    if without := [one for one in trained if one not in kept]:
        names = ", ".join(dict.fromkeys(one.member.name for one in without))
        again = run.next("export", "export.train=true")
        left = f"{len(without)} of {len(trained)} trainings, of {names}, left no weights"
        tell(console, f"{left}; to train them again: {again}")
    others = [one for one, facts in kept.items() if facts.val_loss != one.row["val_loss"]]
    if others:
        names = ", ".join(dict.fromkeys(one.member.name for one in others))
        said = (
            f"{count(len(others), 'file')} of weights, of {names}, gave another loss than the "
            "record. Other devices, other versions or weights of another run can cause this. "
            "family.json has both losses."
        )
        say(console, [said])
    say(console, [f"  {path}" for path in paths])
    if options.programs:
        for line in loading(example(data).name, f"{folder}/").splitlines():
            tell(console, line)


def _check_training(run: Run) -> None:
    """Checks that this package has trained the networks.

    Raises:
        ValueError: A function of the user's own has.
    """
    if (training := run.experiment.training) is not None:
        raise ValueError(
            f"export must be of this package's training, got training={training}; take the "
            "weights from its own folder, and a network by load(out).network('found').build()"
        )


def card_data(run: Run, options: Export) -> CardData:
    """The networks of the record and the contents of the card, without weights."""
    experiment, search, scale = run.experiment, run.results, run.results_of("scale")
    conclusion = run.conclusion
    found, why = run.found(conclusion)
    rule, why_rule = run.rule(conclusion)
    kept = conclusion.kept(search)
    confirmed = run.studies.beyond("confirm")
    fresh = [] if confirmed is None else confirmed.rows()
    looks = [] if confirmed is None else [look for look in confirmed.final_tests if look.when]
    tested = None if confirmed is None else Confirmation.last(confirmed)
    if tested is not None and tested.look.arms["found"] != found.number:
        tested = None
    members = named(run.members(), experiment.candidates.target)
    networks = pd.DataFrame([one.candidate.row() for one in members]).drop_duplicates("network")
    means = with_means(networks, pd.concat([kept, scale], ignore_index=True), run.metrics)
    return CardData(
        experiment=experiment,
        options=options,
        fingerprint=run.record.fingerprint,
        planned=len(experiment.trials(run.networks)),
        found=found.number,
        why=why,
        rule=rule,
        why_rule=why_rule,
        conclusion=conclusion,
        members=members,
        means={str(row["network"]): row for row in rows_of(means)},
        search=search,
        scale=scale,
        confirm=results_table(fresh),
        tested=tested,
        looks=len(looks),
    )
