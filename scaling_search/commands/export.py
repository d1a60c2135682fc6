"""Writes what a search found as files to take away."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.progress import track
from rich.table import Table

from scaling_search.answer.conclusions import Conclusion, conclude
from scaling_search.commands.retraining import train_again
from scaling_search.commands.run_folder import (
    Call,
    follow_up,
    found_number,
    record_of,
    stored_names,
)
from scaling_search.export.card import card, members_cells
from scaling_search.export.contents import networks
from scaling_search.export.family import Weights
from scaling_search.export.known import Known, coefficients_yaml
from scaling_search.export.members import Member, Training, members, trainings
from scaling_search.export.onnx_files import check_packages
from scaling_search.follow_ups import confirmation
from scaling_search.follow_ups.tested import Tested
from scaling_search.record.results import results_table, with_means
from scaling_search.record.study import Record, Row
from scaling_search.record.tables import read_table
from scaling_search.scaling import phi_of
from scaling_search.terminal import say, tell

LEFT_OUT = ("measured cost", "failed")
"""Columns of the card for which a terminal has no room."""


@dataclass(frozen=True, eq=False)
class Run:
    """What lies in a run's folder.

    Attributes:
        record: Of the search.
        confirm: Of the look at the test split, None if there was none.
        search: A row for each training of the search.
        scale: A row for each training of the families beyond it.
        fresh: A row for each training with fresh seeds.
        candidates: The planned networks.
        conclusion: What the search's trainings say.
        found: Number of the network to go on with, and why.
        members: To take away.
    """

    record: Record
    confirm: Record | None
    search: list[Row]
    scale: list[Row]
    fresh: list[Row]
    candidates: pd.DataFrame
    conclusion: Conclusion
    found: tuple[int, str]
    members: list[Member]


def run(call: Call) -> None:
    """Writes ``out/export``: source, weights, ONNX, coefficients and a model card.

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
        ran = _read(call)
    trained = trainings(
        ran.members,
        [*ran.search, *ran.scale, *ran.fresh],
        folder=Path(experiment.out).resolve() / "weights",
        fingerprint=ran.record.fingerprint,
    )
    if experiment.export.train and not train_again(call, trained, ran.record.fingerprint):
        return
    _write(call, ran, trained)


def _read(call: Call) -> Run:
    """What the record says, and the networks that it names."""
    experiment = call.experiment
    folder = Path(experiment.out)
    stored = stored_names(experiment)
    if experiment.name not in stored:
        raise RuntimeError(
            f"out must hold the record of {experiment.name!r}, got {sorted(stored)} in "
            f"{experiment.out!r}; search first"
        )
    searched = record_of(experiment, experiment.name)
    _check_choices(call.options, searched)
    rows = searched.rows()
    scaled, confirmed = (follow_up(experiment, command) for command in ("scale", "confirm"))
    scale = [] if scaled is None else scaled.rows()
    candidates = read_table(folder / "candidates.csv")
    results = results_table(rows)
    conclusion = conclude(
        results,
        objective=experiment.objective,
        target=experiment.candidates.target,
        delta=experiment.decide.delta,
    )
    found = found_number(conclusion, candidates, results, experiment.objective)
    if found is None:
        raise ValueError(
            f"out must hold a finished training of a scaled network, got none in "
            f"{experiment.out!r}; the same search again goes on"
        )
    families = folder / "families.csv"
    return Run(
        record=searched,
        confirm=confirmed,
        search=rows,
        scale=scale,
        fresh=[] if confirmed is None else confirmed.rows(),
        candidates=candidates,
        conclusion=conclusion,
        found=found,
        members=members(
            experiment.base_network,
            candidates,
            read_table(families) if families.is_file() else None,
            [*scale, *rows],
            found=found[0],
            phi=phi_of(experiment.candidates.target),
        ),
    )


def _check_choices(options: Mapping[str, Any], record: Record) -> None:
    """Looks whether the configuration is the one that the record was made with.

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


def _write(call: Call, ran: Run, trained: Sequence[Training]) -> None:
    """Writes all and says where."""
    experiment, console = call.experiment, call.console
    kept = [training for training in trained if training.facts() is not None]
    family = type(experiment.base_network).__name__
    contents, weights = networks(
        ran.members,
        kept,
        title=f"The {family}s of {experiment.name}",
        onnx=experiment.export.onnx,
        bar=lambda things, what: track(
            things, what, console=console, transient=True, disable=not console.is_terminal
        ),
    )
    facts = kept[0].facts() if kept else None
    known = _known(call, ran, weights, {} if facts is None else facts.images)
    onnx = {
        name: f"{details['largest_difference']:.1e}"
        for name, details in contents.details.items()
        if name.startswith("onnx/")
    }
    packages = contents.details["family.py"]["needs"]
    assert isinstance(packages, list)
    getting = "scaling-search export out=... export.train=true"
    text = card(known, onnx, needs=packages, getting=getting)
    contents.add("coefficients.yaml", coefficients_yaml(known).encode())
    contents.add("README.md", text.encode())
    paths = contents.write(Path(experiment.out) / "export")
    _show(console, known)
    without = [one for one in trained if one not in kept]
    if without:
        names = ", ".join(dict.fromkeys(one.member.name for one in without))
        again = call.next("export", "export.train=true")
        left = f"{len(without)} of {len(trained)} trainings left no weights, of {names}"
        tell(console, f"{left}; this trains them again for that: {again}")
    say(console, [f"  {path}" for path in paths])


def _known(
    call: Call, ran: Run, weights: Mapping[str, Sequence[Weights]], images: Mapping[str, int]
) -> Known:
    """All that the card says."""
    experiment = call.experiment
    search = results_table(ran.search)
    trained = pd.concat([search, results_table(ran.scale)], ignore_index=True)
    shown = pd.DataFrame([dict(m.row) for m in ran.members]).drop_duplicates("network")
    number, why = ran.found
    tested, contrasts, looks = None, [], 0
    if ran.confirm is not None:
        done = [look for look in ran.confirm.test_looks if look.when]
        looks = len(done)
        if done and done[-1].arms["found"] == number:
            tested = confirmation.stored_section(ran.confirm, experiment.objective)
            rows = {(int(str(r["candidate"])), int(str(r["seed"]))): r for r in ran.fresh}
            contrasts = Tested(done[-1], rows).contrasts(experiment.objective)
    dataset = experiment.dataset
    return Known(
        name=experiment.name,
        objective=experiment.objective,
        cost=experiment.cost.column,
        target=experiment.candidates.target,
        tolerance=experiment.candidates.tolerance,
        base_network=_options(experiment.base_network),
        data=_options(dataset),
        licence=str(getattr(dataset, "licence", "not stated")),
        recipe={k: v for k, v in _options(experiment.recipe).items() if k != "class"},
        planned=len(ran.candidates) * experiment.num_seeds,
        found=number,
        why=why,
        conclusion=ran.conclusion,
        members=ran.members,
        means=with_means(shown, trained),
        search=search,
        trained=trained,
        contrasts=contrasts,
        tested=tested,
        looks=looks,
        confirmed=results_table(ran.fresh),
        weights=weights,
        images=images,
        fingerprint=ran.record.fingerprint,
    )


def _options(part: object) -> dict[str, object]:
    """A part's class and options."""
    options = asdict(part) if is_dataclass(part) and not isinstance(part, type) else {}
    kind = type(part)
    return {"class": f"{kind.__module__}.{kind.__qualname__}", **options}


def _show(console: Console, known: Known) -> None:
    """Prints the table of members."""
    header, *lines = members_cells(known)
    shown = [place for place, title in enumerate(header) if title not in LEFT_OUT]
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    for place in shown:
        table.add_column(header[place], justify="right" if place else "left", no_wrap=True)
    for line in lines:
        table.add_row(*(line[place] for place in shown))
    console.print(table)
