"""Several searches beside each other: a table, a figure, and sentences."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from rich.console import Console

from scaling_search.answer.agreement import Agreement, agreement
from scaling_search.answer.conclusions import Conclusion
from scaling_search.answer.outliers import without_trainings
from scaling_search.answer.verdicts import Answer, gain_of_rule
from scaling_search.commands.api import load
from scaling_search.commands.run import Run
from scaling_search.core.scaling import DIMENSIONS
from scaling_search.core.space_filling import places
from scaling_search.display.compared import compared_lines, compared_sentences
from scaling_search.display.tables import show_table
from scaling_search.display.terminal import say
from scaling_search.experiment.composing import choices
from scaling_search.record.results import coefficient_table
from scaling_search.record.schema import START_KEY
from scaling_search.record.tables import write_table
from scaling_search.runtime.output import surviving

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TRAINING = ("network", "seed", "total_seconds", "host", "finished")
"""Columns by which a training is known again in another folder."""


@dataclass(frozen=True, eq=False)
class Compared:
    """Several searches as they were when they were compared.

    Attributes:
        out: Folder that `report` writes to.
        table: A row for each run: what was searched, its rule and region, its network, its gain.
        sentences: What agrees and what differs, in words.
        answers: The answers there are, by the name of the run.
        agreement: Regions and rules of these beside each other; None where there are none.
        equal: `Recipe.equal` of the trainings; None where the runs differ.
        console: Prints what `report` says.
    """

    out: str
    table: pd.DataFrame
    sentences: tuple[str, ...]
    answers: Mapping[str, Answer]
    agreement: Agreement | None
    equal: str | None
    console: Console

    def triangle(self) -> "Figure":
        """The rule, region and network of each run in the triangle of shares."""
        from scaling_search.display.plots.compared import triangle_of_runs  # noqa: PLC0415  # late: slow

        differ = [name for name in ("cost", "target", "metric") if self.table[name].nunique() > 1]
        labels = {
            row["run"]: ", ".join([row["run"], *(f"{name} {row[name]}" for name in differ)])
            for _, row in self.table.iterrows()
        }
        return triangle_of_runs(labels, self.answers, self.agreement, equal=self.equal)

    def report(self) -> Path:
        """Prints tables and sentences, writes ``compared.csv`` and figures, returns the folder.

        Raises:
            RuntimeError: A file cannot be written.
        """
        from scaling_search.display.plots.drawing import save  # noqa: PLC0415  # late: slow

        folder, console = Path(self.out), self.console
        with surviving():
            write_table(self.table, folder / "compared.csv")
            drawn = save(self.triangle(), folder / "figures", "compared")
            for lines in compared_lines(self.table):
                show_table(console, lines)
                console.print()
            say(console, self.sentences)
            console.print()
            say(console, [f"  {path}" for path in (folder / "compared.csv", *drawn)])
        return folder


def compare(
    *runs: str | Path | Run,
    out: str | Path = "runs/compared",
    console: Console | None = None,
    allow: Sequence[str] = (),
) -> Compared:
    """Compares finished or begun searches; reads their folders and changes nothing in them.

    Args:
        runs: Folders of two searches or more, or runs that `load` has returned.
        out: Folder for the files of `Compared.report`.
        console: Prints what `Compared.report` says.
        allow: Packages of your own whose classes the folders may name.

    Raises:
        ValueError: There are fewer than two, one is named twice, or one is no folder of a search.
        RuntimeError: A record cannot be read.
    """
    given = [run.out if isinstance(run, Run) else str(run) for run in runs]
    _check(given)
    loaded = [run if isinstance(run, Run) else _loaded(str(run), allow) for run in runs]
    for run in loaded:
        if not run.studies.is_begun:
            raise ValueError(
                f"compare.runs must be folders with the record of a search, {run.studies.lacking}"
            )
    names = _names(given)
    conclusions = [run.conclusion for run in loaded]
    table = pd.DataFrame(
        [_row(*one) for one in zip(names, given, loaded, conclusions, strict=True)]
    )
    answers = {name: one.answer for name, one in zip(names, conclusions, strict=True) if one.answer}
    found = agreement([one.surface for one in answers.values()]) if answers else None
    chosen = [
        choices(
            run.experiment, run.record.fingerprint, start=str(run.record.choices.get(START_KEY))
        )
        for run in loaded
    ]
    equal = {run.experiment.equal for run in loaded}
    return Compared(
        out=str(out),
        table=table,
        sentences=tuple(
            compared_sentences(table, chosen, answers, found, _in_common(names, loaded))
        ),
        answers=answers,
        agreement=found,
        equal=equal.pop() if len(equal) == 1 else None,
        console=console or Console(),
    )


def _check(folders: Sequence[str]) -> None:
    """Checks that there are two folders or more, each of a search, and none twice."""
    if len(folders) < 2:
        raise ValueError(
            f"compare.runs must be two folders or more, got {list(folders)!r}; name them, as in "
            "scaling-search compare runs/one runs/other"
        )
    for folder in folders:
        if not (Path(folder) / "config.yaml").is_file():
            raise ValueError(
                "compare.runs must be folders that a search has made, got "
                f"{folder!r} without a config.yaml; leave it out (only out= and allow= are options)"
            )
    for one, other in combinations(folders, 2):
        if Path(one).resolve() == Path(other).resolve():
            raise ValueError(
                f"compare.runs must be different folders, got {one!r} and {other!r}, which are "
                "the same; name it once"
            )


def _loaded(folder: str, allow: Sequence[str]) -> Run:
    try:
        return load(folder, allow=allow)
    except Exception as error:
        error.add_note(f"that is of the run {folder!r}")
        raise


def _names(folders: Sequence[str]) -> list[str]:
    """The folders below the innermost folder that holds all of them."""
    paths = [Path(folder).absolute() for folder in folders]
    above = os.path.commonpath([path.parent for path in paths])
    return [str(path.relative_to(above)) for path in paths]


def _in_common(names: Sequence[str], runs: Sequence[Run]) -> dict[tuple[str, str], int]:
    """The number of trainings that two runs have in common, by their names, where there are any."""
    trained = []
    for run in runs:
        results = run.results
        columns = [name for name in TRAINING if name in results]
        trained.append(Counter(results[columns].itertuples(index=False, name=None)))
    pairs = combinations(zip(names, trained, strict=True), 2)
    shared = {(one, other): (mine & theirs).total() for (one, mine), (other, theirs) in pairs}
    return {pair: number for pair, number in shared.items() if number}


def _row(name: str, folder: str, run: Run, conclusion: Conclusion) -> dict[str, Any]:
    """A run as a row of the table."""
    experiment, results = run.experiment, run.results
    networks = run.candidates
    base = networks[networks["candidate"] == 0].iloc[0]
    fitted = without_trainings(results, conclusion.left_out)
    table = coefficient_table(networks, fitted, experiment.metric, metrics=(experiment.metric,))
    trained = table[(table["candidate"] != 0) & (table["num_seeds"] > 0)]
    shares = trained[[f"{d}_share" for d in DIMENSIONS]].to_numpy(dtype=float)
    seconds = results["total_seconds"].sum() if len(results) else 0.0
    row: dict[str, Any] = {
        "run": name,
        "folder": folder,
        "name": experiment.name,
        "data": _data_name(experiment.dataset),
        "fingerprint": run.record.fingerprint,
        "base_network": type(experiment.base_network).__name__,
        "base": base["network"],
        "base_blocks": base["layers"],
        "base_px": base["resolution"],
        "base_cost": base["cost"],
        "cost": experiment.cost.column,
        "target": experiment.candidates.target,
        "tolerance": experiment.candidates.tolerance,
        "metric": experiment.objective,
        "epochs": experiment.recipe.epochs,
        "networks": len(trained),
        "places": len(set(places(shares).tolist())),
        "trainings": len(results),
        "failed": int((results["state"] != "COMPLETE").sum()) if len(results) else 0,
        "fewest_seeds": int(trained["num_seeds"].min()) if len(trained) else 0,
        "most_seeds": int(trained["num_seeds"].max()) if len(trained) else 0,
        "device_hours": seconds / 3600,
        "missing": conclusion.missing,
        "misfits": conclusion.diagnosis is not None and conclusion.diagnosis.misfits,
    }
    return row | ({} if conclusion.answer is None else _found(conclusion.answer, table))


def _found(answer: Answer, table: pd.DataFrame) -> dict[str, Any]:
    """The columns of a run's answer: rule, region, gain, and the network with its own gain."""
    region, response = answer.region, answer.surface.observations.response
    gain = gain_of_rule(answer)
    network = table[table["candidate"] == answer.network].iloc[0]
    row: dict[str, Any] = {"is_everything": region.is_everything, "p_value": answer.flat.p_value}
    row |= {f"rule_{d}_share": s for d, s in zip(DIMENSIONS, answer.rule, strict=True)}
    for end in ("low", "high"):
        shares = zip(DIMENSIONS, getattr(region, end), strict=True)
        row |= {f"region_{d}_{end}": share for d, share in shares}
    row |= {"region_area": region.area, "searched_area": region.searched_area}
    row |= {"gain": gain.mean, "gain_low": gain.low, "gain_high": gain.high}
    row |= {"network": answer.network, "expected": answer.expected}
    for name in ("layers", "channels", "resolution", "alpha", "beta", "gamma", "cost_ratio"):
        row[name] = network[name]
    row |= {f"network_{d}_share": network[f"{d}_share"] for d in DIMENSIONS}
    row["network_seeds"] = network["num_seeds"]
    return row | {
        "network_gain": network[f"{response}_gain"],
        "network_gain_se": network[f"{response}_gain_se"],
    }


def _data_name(dataset: object) -> str:
    """The class of the data, and the name of the folder or file of one's own."""
    kind, path = type(dataset).__name__, getattr(dataset, "path", None)
    return f"{kind} {Path(path).name}" if isinstance(path, str) else kind
