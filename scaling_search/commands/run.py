"""A run: an experiment in a folder, with the results that the folder holds."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from rich.console import Console

from scaling_search.answer.conclusions import Conclusion, conclude
from scaling_search.answer.stopping import Limits
from scaling_search.answer.verdicts import Answer
from scaling_search.commands import data_sheet
from scaling_search.commands.figures import Figures
from scaling_search.core.candidate import Candidate
from scaling_search.core.network import Architecture
from scaling_search.core.part import part
from scaling_search.core.protocols import Executor
from scaling_search.core.scaling import Shares
from scaling_search.core.trial import Trial, TrialResult
from scaling_search.display.answer import answer_sentences
from scaling_search.display.confirmation import confirmation_section
from scaling_search.display.data import data_section
from scaling_search.display.fairness import fairness_sections
from scaling_search.display.recipe_check import recipe_note, recipe_section, recipe_warnings
from scaling_search.display.report_section import ReportSection
from scaling_search.display.terminal import comparison_table, say, show
from scaling_search.display.transfer import transfer_section
from scaling_search.experiment.composing import choices, decisive, earlier_choices, saved
from scaling_search.experiment.experiment import Experiment
from scaling_search.experiment.trust import Trusted
from scaling_search.follow_ups.confirmation import Confirmation
from scaling_search.follow_ups.fairness import fairness_checks, span_of
from scaling_search.follow_ups.recipe_check import RecipeCheck, recipe_check
from scaling_search.follow_ups.transfer import Transferred, transferred
from scaling_search.record.networks import (
    candidate_of,
    earlier_networks,
    network_row,
    networks_table,
)
from scaling_search.record.record import Record
from scaling_search.record.results import (
    Row,
    coefficient_table,
    curves_table,
    noise,
    results_table,
    with_means,
)
from scaling_search.record.schema import CROP_KEY, check_choices, current
from scaling_search.record.serialization import completed
from scaling_search.record.studies import Studies
from scaling_search.runtime.command_line import as_override, shell_command
from scaling_search.runtime.passwords import is_hidden

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@part
class Run:
    """An experiment in a folder, the way it trains, and its results so far.

    Tables and conclusions are read from the record each time, so they follow a search that goes
    on.

    Attributes:
        experiment: The choices that decide outcomes.
        out: The run's folder.
        executor: Runs trainings.
        storage: SQLAlchemy URL or path ending in ``.log``; None for ``study.db`` in the folder.
        limits: Limits at which a command stops early.
        keep_weights: True if a training leaves its weights in the folder.
        console: Prints messages of commands; ``rich.console.Console(quiet=True)`` for none.
        trusted: Code of the user's own that the folder may name.
        flags: Options that further commands on this folder need; `HIDDEN` stands for a password.
    """

    experiment: Experiment
    out: str
    executor: Executor
    storage: str | None = None
    limits: Limits = Limits()
    keep_weights: bool = False
    console: Console = field(default_factory=Console)
    trusted: Trusted = Trusted()
    flags: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return Path(self.out)

    def next(self, command: str, *options: str) -> str:
        """Another command on this folder, to be pasted into a shell."""
        flags = [flag for flag in self.flags if not is_hidden(flag)]
        text = shell_command(command, as_override("out", self.out), *options, *flags)
        has_all = len(flags) == len(self.flags)
        return text if has_all else f"{text}, with storage= and its password again"

    @cached_property
    def studies(self) -> Studies:
        """The records of the search and of what was trained beyond it."""
        experiment = self.experiment
        return Studies(self.folder, self.storage, experiment.name, experiment.objective)

    def check_executor(self) -> None:
        """Checks that trainings can run, and that no file has chosen a cluster for them.

        Raises:
            ValueError: They cannot, or a file gives the address of a cluster.
            RuntimeError: A cluster cannot be reached.
        """
        address = getattr(self.executor, "address", None)
        if not self.trusted.has_address and address not in {None, "auto"}:
            raise ValueError(
                "executor.address must be null or auto where a file gives it, for a cluster can "
                f"run code here, got {address!r}; give executor.address=... if you trust it"
            )
        self.executor.check()

    @property
    def record(self) -> Record:
        """The record of the search; RuntimeError if there is none yet."""
        return self.studies.search

    def check_config(self) -> None:
        """Checks that ``config.yaml`` has the options of the record, if there is one.

        Raises:
            ValueError: An option differs.
        """
        if not self.studies.is_begun:
            return
        path = self.folder / "config.yaml"
        remedy = f"put {path} back as it was; the same search makes it anew"
        *earlier, last = current(self.record.options) or [{}]
        if not last:  # a version that did not record them
            self.check_choices(remedy=remedy)
            return
        mine = decisive(saved(self.folder))
        for held in earlier:
            with suppress(ValueError):
                check_choices(mine, held)
                return
        check_choices(mine, last, remedy=remedy)

    def check_choices(self, fingerprint: str | None = None, **advice: str) -> None:
        """Checks that the experiment has the choices of the record, if there is one.

        Without the dataset's fingerprint, if nothing is trained, the data stay unread.

        Args:
            fingerprint: The dataset's.
            advice: As `check_choices` takes it.

        Raises:
            ValueError: A choice differs.
        """
        held = self.record.choices if self.studies.is_begun else {}
        if not held:
            return
        if self.record.schema == 1:
            held = earlier_choices(held, self.trusted)
        else:
            held = {key: completed(current(value)) for key, value in held.items()}
        mine = choices(self.experiment, fingerprint or str(held["dataset"]))
        if fingerprint is None:  # nothing is trained, so crops do not matter
            mine.pop(CROP_KEY, None)
            held.pop(CROP_KEY, None)
        check_choices(mine, held, **advice)

    # Networks and trainings.

    @property
    def networks(self) -> list[Candidate]:
        """The networks of the search, the base network first, as they were planned."""
        if not (rows := self.networks_of("search")):  # it has just begun
            budget = self.experiment.budget(self.record.costs)
            return list(self.experiment.plan(budget))
        return [candidate_of(row, self.trusted.packages) for row in rows]

    def networks_of(self, command: str) -> list[Row]:
        """Rows of the networks of a command; empty before it has begun."""
        record = self.record if command == "search" else self.studies.beyond(command)
        if record is None:
            return []
        if record.networks:
            return record.networks
        experiment, trained = self.experiment, {str(row["network"]) for row in record.rows()}
        base_network, target = experiment.base_network, experiment.candidates.target
        return earlier_networks(self.folder, command, base_network, target, trained)

    @property
    def finished(self) -> list[TrialResult]:
        """The search's trainings that have ended, by candidate and seed."""
        found = self.record.results_of(self.experiment.trials(self.networks)).values()
        return sorted(found, key=by_candidate)

    @property
    def asks_recipe(self) -> bool:
        """True if a search checks its recipe; one that began without the check goes on so."""
        if not self.experiment.recipe.check or not self.studies.is_begun:
            return self.experiment.recipe.check
        return self.studies.beyond("recipe") is not None or not self.record.rows()

    @property
    def recipe_check(self) -> RecipeCheck | None:
        """The search's recipe beside others, as far as that is trained; None if it is not asked."""
        at_rates, plain = (self.studies.beyond(one) for one in ("recipe", "recipe-plain"))
        if at_rates is None:
            return None
        return recipe_check(
            self.rows_at_rates(),
            [] if plain is None else plain.rows(),
            experiment=self.experiment,
            networks=self.networks,
            noise=noise(self.results, self.experiment.objective),
        )

    def rows_at_rates(self) -> list[Row]:
        """Rows of the search's trainings and of its check at other learning rates."""
        checked = self.studies.beyond("recipe")
        return [*self.record.rows(), *([] if checked is None else checked.rows())]

    def known(self, trials: Sequence[Trial]) -> list[TrialResult]:
        """Results of those trials that the search or its check at other learning rates has."""
        checked = self.studies.beyond("recipe")
        before = {} if checked is None else checked.results_of(trials)
        return list((before | self.record.results_of(trials)).values())

    # Tables.

    @property
    def candidates(self) -> pd.DataFrame:
        """A row for each network of the search, the base network first."""
        rows = self.record.networks or [network_row(network) for network in self.networks]
        return networks_table(rows)

    @property
    def results(self) -> pd.DataFrame:
        """A row for each training of the search, by candidate and seed; failed ones too."""
        return results_table(self.record.rows())

    def results_of(self, command: str) -> pd.DataFrame:
        """A row for each training of a command beyond the search; empty before there is one."""
        beyond = self.studies.beyond(command)
        return results_table([] if beyond is None else beyond.rows())

    @property
    def curves(self) -> pd.DataFrame:
        """A row for each epoch of each training of the search."""
        return curves_table(self.record.rows())

    @property
    def coefficients(self) -> pd.DataFrame:
        """The scaling coefficient table: the base network, then the networks from best to worst.

        ``left_out`` counts trainings that are in no mean, because they collapsed or are outlying.
        Where there is an answer, ``in_region`` says which networks can be the best, ``expected``
        is each one's expected metric at exactly the target's cost.
        """
        return self._coefficients(self.results, self.conclusion)

    def _coefficients(self, results: pd.DataFrame, conclusion: Conclusion) -> pd.DataFrame:
        kept, answer = conclusion.kept(results), conclusion.answer
        table = coefficient_table(self.candidates, kept, self.experiment.objective)
        left_out = Counter(one.candidate for one in conclusion.left_out)
        table["left_out"] = table["candidate"].map(lambda number: left_out[number])
        if answer is not None:
            possible = table["candidate"].isin(answer.possible)
            table["in_region"] = possible.where(table["candidate"] != 0)
            table["expected"] = table["candidate"].map(answer.expected_of())
        return table

    @property
    def families(self) -> pd.DataFrame | None:
        """The members of each family with the means of their trainings; None before `scale`."""
        members = networks_table(self.networks_of("scale"))
        if members.empty:
            return None
        return with_means(members, pd.concat([self.results, self.results_of("scale")]))

    # Answers.

    @property
    def conclusion(self) -> Conclusion:
        """The answer, the variance components, and both in sentences.

        Fresh seeds of `confirm` count: they were trained as the search's own.
        """
        fresh = self.studies.beyond("confirm")
        rows = [*self.record.rows(), *([] if fresh is None else fresh.rows())]
        results = results_table(rows)
        found = conclude(
            results,
            curves_table(rows),
            objective=self.experiment.objective,
            target=self.experiment.candidates.target,
            delta=self.experiment.decide.delta,
            num_classes=self.experiment.base_network.num_classes,
        )
        check = self.recipe_check
        first = [] if check is None else recipe_warnings(check)
        last = recipe_note(check) if len(results) else []
        said = (*first, *answer_sentences(found, results), *last)
        return replace(found, sentences=said)

    @property
    def answer(self) -> Answer | None:
        """The best split, its region, and its comparison with each reference, as values.

        None where there are too few trainings for a fit; `conclusion` says what is missing.
        """
        return self.conclusion.answer

    def found(self, conclusion: Conclusion | None = None) -> tuple[Candidate, str]:
        """The network to go on with, and why: the best expected, else the lowest mean loss.

        Raises:
            ValueError: No scaled network has a finished training.
        """
        conclusion = conclusion or self.conclusion
        answer = conclusion.answer
        if answer is not None:
            number, why = answer.network, "the best expected"
            if answer.region.is_everything:
                why = f"{why}, a guess"
        else:
            table = self._coefficients(self.results, conclusion)
            first = table[table["order"] == 1]
            if first.empty:
                raise ValueError(
                    "out must hold a finished training of a scaled network, got none in "
                    f"{self.out!r}; search first, or give scale.coefficients"
                )
            number, why = int(first["candidate"].iloc[0]), "first in the means, without an answer"
        return next(one for one in self.networks if one.number == number), why

    def rule(self, conclusion: Conclusion | None = None) -> tuple[Shares, str]:
        """The split to scale other sizes with, and why: the surface's best, else the network's.

        Raises:
            ValueError: No scaled network has a finished training.
        """
        conclusion = conclusion or self.conclusion
        if conclusion.answer is not None:
            guess = ", a guess" if conclusion.answer.region.is_everything else ""
            return conclusion.answer.rule, f"the best split of the surface{guess}"
        found, why = self.found(conclusion)
        assert found.shares is not None  # only the base network has none
        return found.shares, f"the split of network {found.number}: {why}"

    def transferred(self, conclusion: Conclusion) -> Transferred | None:
        """The comparison of sizes; None before `transfer` or without an answer."""
        larger, networks = self.studies.beyond("transfer"), self.networks_of("transfer")
        if larger is None or not networks:
            return None
        rows = larger.rows()
        return transferred(
            conclusion,
            networks_table(networks),
            results_table(rows),
            curves_table(rows),
            self.experiment.base_network.num_classes,
        )

    # Text and figures.

    @property
    def plot(self) -> Figures:
        """The figures: ``plot.accuracy()``, ``triangle()``, ``curves()`` and ``families()``."""
        conclusion = self.conclusion
        return Figures(
            out=self.out,
            coefficients=self._coefficients(self.results, conclusion),
            epochs=self.curves,
            families_table=self.families,
            answer=conclusion.answer,
            objective=self.experiment.objective,
            equal=self.experiment.recipe.equal,
        )

    def sections(self, conclusion: Conclusion) -> "Iterator[tuple[ReportSection, Figure | None]]":
        """Answers of trainings beyond the search, each with its figure if it has one."""
        from scaling_search.display.plots.drift import best_by_size  # noqa: PLC0415  # takes matplotlib
        from scaling_search.display.plots.fairness import setting_curves  # noqa: PLC0415  # as above

        objective, equal = self.experiment.objective, self.experiment.recipe.equal
        if (check := self.recipe_check) is not None:
            yield recipe_section(check, span_of(conclusion.answer)), None
        fresh = self.studies.beyond("confirm")
        if fresh is not None and (tested := Confirmation.last(fresh)) is not None:
            yield confirmation_section(tested, objective), None
        if (told := self.transferred(conclusion)) is not None:
            drift = told.drift
            figure = best_by_size(drift.regions, told.table, equal=equal) if drift else None
            yield transfer_section(told), figure
        if (checked := self.studies.beyond("fairness")) is not None:
            checks = fairness_checks(
                self.rows_at_rates(),
                checked.rows(),
                experiment=self.experiment,
                answer=conclusion.answer,
            )
            for section in fairness_sections(checks):
                yield section, setting_curves(section.table, objective, equal=equal)

    def report(self, *, most: int = 10, published: bool = False) -> Path:
        """Prints the answer and writes tables, figures and ``report.html`` into the folder.

        Args:
            most: Rows of the printed table.
            published: True to draw EfficientNet-B0 to B7's published ImageNet accuracies too.

        Returns:
            The path of ``report.html``.

        Raises:
            RuntimeError: There is no record yet, or a file cannot be written.
        """
        from scaling_search.display import report  # noqa: PLC0415  # takes matplotlib

        experiment, console, objective = self.experiment, self.console, self.experiment.objective
        self.check_choices()
        results, conclusion = self.results, self.conclusion
        coefficients = self._coefficients(results, conclusion)
        about = data_sheet.kept(self.folder, self.record.digests)
        sections = list(self.sections(conclusion))
        tables = {
            "candidates": self.candidates,
            "results": results,
            "curves": self.curves,
            "coefficients": coefficients,
        }
        if (families := self.families) is not None:
            tables["families"] = families
            # The search may have trained all of them.
            if len(trained := self.results_of("scale")):
                tables["families_results"] = trained
        written = report.write_report(
            self.folder,
            tables,
            conclusion=conclusion,
            objective=objective,
            equal=experiment.recipe.equal,
            facts=report.facts(experiment, self.record, results),
            answers=sections,
            data=None if about is None else (data_section(about[0]), about[1]),
            published=published,
        )
        console.print(report.terminal_table(coefficients, objective, most=most))
        if conclusion.answer is not None:
            console.print()
            console.print(comparison_table(conclusion))
        console.print()
        say(console, conclusion.sentences)
        say(console, report.sentences(coefficients, conclusion.kept(results), objective))
        for section, _ in sections:
            console.print()
            show(console, section)
        console.print()
        shown = [path for path in written if path.suffix in {".csv", ".html"}]
        say(console, [f"  {path}" for path in (*shown, self.folder / "figures")])
        return self.folder / "report.html"

    def members(self) -> dict[str, Candidate]:
        """Networks by name: ``base``, ``found``, then each family's as in ``compound-2``.

        Raises:
            ValueError: No scaled network has a finished training.
        """
        known = {"base": self.networks[0], "found": self.found()[0]}
        scaled = [row for row in self.networks_of("scale") if row["phi"] != 0]
        families = list(dict.fromkeys(row["family"] for row in scaled))
        for row in sorted(scaled, key=lambda row: (families.index(row["family"]), row["phi"])):
            known[f"{row['family']}-{row['phi']}"] = candidate_of(row, self.trusted.packages)
        return known

    def network(self, name: str | int) -> Architecture:
        """An architecture by its name; ``.build()`` makes the network.

        Args:
            name: One of `members`, or the number of a candidate.

        Raises:
            ValueError: There is none of that name.
        """
        known = self.members() | {str(one.number): one for one in self.networks}
        if str(name) not in known:
            raise ValueError(f"name must be one of {', '.join(known)}, got {name!r}")
        return known[str(name)].architecture


def by_candidate(result: TrialResult) -> tuple[int, int]:
    """The order of tables: candidate, then seed."""
    return result.trial.candidate.number, result.trial.seed
