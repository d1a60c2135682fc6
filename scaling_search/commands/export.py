"""Writes what a search found as files to take away."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from scaling_search.answer.conclusions import conclude
from scaling_search.commands.retraining import train_again
from scaling_search.commands.run_folder import (
    Call,
    follow_up,
    found_number,
    record_of,
    stored_names,
)
from scaling_search.export.card import example, loading, members_cells
from scaling_search.export.card_data import CardData
from scaling_search.export.files import write_export
from scaling_search.export.members import members, rows_of, trainings
from scaling_search.export.programs import check_packages
from scaling_search.follow_ups import confirmation
from scaling_search.follow_ups.tested import Tested
from scaling_search.record.results import results_table, with_means
from scaling_search.record.study import Record
from scaling_search.record.tables import read_table
from scaling_search.scaling import phi_of
from scaling_search.terminal import say, tell

LEFT_OUT = ("measured cost", "failed")
"""Columns of the card for which a terminal has no room."""


def run(call: Call) -> None:
    """Writes ``out/export``: weights, programs, ONNX, coefficients and a model card.

    Raises:
        ValueError: The search has no finished training, or what is asked is not installed.
        RuntimeError: There is no search, or what would be written is not what was trained.
    """
    experiment, console = call.experiment, call.console
    if experiment.price_only and not experiment.export.train:
        raise ValueError(
            "export.train must be true for a price to be said, got false; without it an export "
            "trains nothing"
        )
    if experiment.export.onnx:
        check_packages()
    with console.status("reading the record"):
        known = _read(call)
    trained = trainings(
        known.members,
        pd.concat([known.trained, known.confirm]),
        folder=Path(experiment.out).resolve() / "weights",
        fingerprint=known.fingerprint,
    )
    if experiment.export.train and not train_again(call, trained, known.fingerprint):
        return
    kept = {one: facts for one in trained if (facts := one.facts()) is not None}
    known = replace(known, kept=kept)
    folder = Path(experiment.out) / "export"
    with console.status("writing networks"):
        paths = write_export(known, folder)
    _show(console, known)
    if without := [one for one in trained if one not in kept]:
        names = ", ".join(dict.fromkeys(one.member.name for one in without))
        again = call.next("export", "export.train=true")
        left = f"{len(without)} of {len(trained)} trainings left no weights, of {names}"
        tell(console, f"{left}; this trains them again for that: {again}")
    say(console, [f"  {path}" for path in paths])
    if experiment.export.programs:
        console.print(loading(example(known).name, f"{folder}/"), markup=False, soft_wrap=True)


def _read(call: Call) -> CardData:
    """The networks that the record names and all that the card says; no weights yet."""
    experiment = call.experiment
    folder = Path(experiment.out)
    stored = stored_names(experiment)
    if experiment.name not in stored:
        raise RuntimeError(
            f"out must hold the record of {experiment.name!r}, got {sorted(stored)} in "
            f"{experiment.out!r}; search first"
        )
    record = record_of(experiment, experiment.name)
    _check_choices(call.options, record)
    scaled, confirmed = (follow_up(experiment, command) for command in ("scale", "confirm"))
    fresh = [] if confirmed is None else confirmed.rows()
    search = results_table(record.rows())
    scale = results_table([] if scaled is None else scaled.rows())
    candidates = read_table(folder / "candidates.csv")
    conclusion = conclude(
        search,
        objective=experiment.objective,
        target=experiment.candidates.target,
        delta=experiment.decide.delta,
    )
    found = found_number(conclusion, candidates, search, experiment.objective)
    if found is None:
        raise ValueError(
            f"out must hold a finished training of a scaled network, got none in "
            f"{experiment.out!r}; the same search again goes on"
        )
    number, why = found
    families = folder / "families.csv"
    named = members(
        experiment.base_network,
        candidates,
        read_table(families) if families.is_file() else None,
        pd.concat([scale, search]),
        found=number,
        phi=phi_of(experiment.candidates.target),
    )
    looks = [] if confirmed is None else [look for look in confirmed.test_looks if look.when]
    tested, contrasts = None, []
    if confirmed is not None and looks and looks[-1].arms["found"] == number:
        tested = confirmation.stored_section(confirmed, experiment.objective)
        rows = {(int(str(row["candidate"])), int(str(row["seed"]))): row for row in fresh}
        contrasts = Tested(looks[-1], rows).contrasts(experiment.objective)
    networks = pd.DataFrame([dict(one.row) for one in named]).drop_duplicates("network")
    means = with_means(networks, pd.concat([search, scale], ignore_index=True))
    return CardData(
        experiment=experiment,
        fingerprint=record.fingerprint,
        planned=len(candidates) * experiment.num_seeds,
        found=number,
        why=why,
        conclusion=conclusion,
        members=named,
        means={str(row["network"]): row for row in rows_of(means)},
        search=search,
        scale=scale,
        confirm=results_table(fresh),
        contrasts=contrasts,
        tested=tested,
        looks=len(looks),
    )


def _check_choices(options: Mapping[str, Any], record: Record) -> None:
    """Checks that the configuration is the one that the record was made with.

    Raises:
        ValueError: It is not; names the first option that differs.
    """
    for key, held in record.study.user_attrs.get("choices", {}).items():
        value: Any = options
        for name in key.split("."):
            value = value.get(name, held) if isinstance(value, Mapping) else held
        if key == "dataset" or key.endswith("_target_"):
            continue  # a fingerprint, and names of code that may have moved since
        if json.loads(json.dumps(value)) != held:
            raise ValueError(
                f"{key} must be {held!r} as in this folder's record, got {value!r}; put back the "
                "run's config.yaml"
            )


def _show(console: Console, known: CardData) -> None:
    """Prints the table of members."""
    header, *lines = members_cells(known)
    shown = [place for place, title in enumerate(header) if title not in LEFT_OUT]
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    for place in shown:
        table.add_column(header[place], justify="right" if place else "left", no_wrap=True)
    for line in lines:
        table.add_row(*(line[place] for place in shown))
    console.print(table)
