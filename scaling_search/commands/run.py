"""A run: an experiment in a folder, with the results that the folder holds."""

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import field, replace
from functools import cached_property
from pathlib import Path

import pandas as pd
from rich.console import Console

from scaling_search.answer.conclusions import Conclusion, conclude
from scaling_search.answer.stopping import Limits
from scaling_search.answer.verdicts import Answer
from scaling_search.commands.figures import Figures
from scaling_search.core.candidate import Candidate
from scaling_search.core.metric import KNOWN, Metric
from scaling_search.core.network import Architecture
from scaling_search.core.part import part
from scaling_search.core.protocols import Executor
from scaling_search.core.scaling import Shares
from scaling_search.core.trial import Trial, TrialResult
from scaling_search.display.answer import answer_sentences
from scaling_search.display.headline import Headline
from scaling_search.display.recipe_check import recipe_note, recipe_warnings
from scaling_search.experiment.composing import choices, decisive, earlier_choices, saved
from scaling_search.experiment.experiment import Experiment
from scaling_search.experiment.options import Report
from scaling_search.experiment.trust import Trusted
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
    metrics_of,
    noise,
    results_table,
    with_means,
)
from scaling_search.record.schema import CROP_KEY, START_KEY, check_choices, current
from scaling_search.record.serialization import completed
from scaling_search.record.studies import Studies
from scaling_search.runtime.command_line import as_override, shell_command
from scaling_search.runtime.passwords import is_hidden


@part
class Run:
    """An experiment in a folder, its executor, and its results so far.

    Tables and conclusions are read from the record each time, so they include new trainings of a
    running search.

    Attributes:
        experiment: The choices that decide outcomes.
        out: The run's folder.
        executor: Runs trainings.
        storage: SQLAlchemy URL or path ending in ``.log``; None for ``study.db`` in the folder.
        limits: Limits at which a command stops early.
        keep_weights: True if a training leaves its weights in the folder.
        console: Prints messages of commands; ``rich.console.Console(quiet=True)`` for none.
        trusted: User code that the folder may name.
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
        """A further command on this folder, as text for a shell."""
        flags = [flag for flag in self.flags if not is_hidden(flag)]
        text = shell_command(command, as_override("out", self.out), *options, *flags)
        has_all = len(flags) == len(self.flags)
        return text if has_all else f"{text}, with storage= and its password again"

    @cached_property
    def studies(self) -> Studies:
        """The records of the search and of what was trained beyond it."""
        experiment = self.experiment
        return Studies(self.folder, self.storage, experiment.name, experiment.metric)

    def check_executor(self) -> None:
        """Checks that trainings can run and give the objective, and that no file chooses a cluster.

        Raises:
            ValueError: They cannot, or a file gives the address of a cluster.
            RuntimeError: A cluster cannot be reached.
        """
        experiment = self.experiment
        if experiment.training is None and not experiment.metric.is_known:
            raise ValueError(
                f"objective must be {' or '.join(map(repr, KNOWN))} for this package's training, "
                f"got {experiment.objective!r}; add training=custom for a training that returns it"
            )
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
        remedy = f"put {path} back as it was; the same search writes it again"
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
        start = None if fingerprint else str(held.get(START_KEY, "none"))
        mine = choices(self.experiment, fingerprint or str(held["dataset"]), start=start)
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
        """True if the search checks its recipe; false if it began without the check."""
        if self.experiment.training is not None:
            return False
        if not self.experiment.recipe.check or not self.studies.is_begun:
            return self.experiment.recipe.check
        return self.studies.beyond("recipe") is not None or not self.record.rows()

    @property
    def recipe_check(self) -> RecipeCheck | None:
        """The search's recipe compared with others, as far as trained; None without a check."""
        at_rates, plain = (self.studies.beyond(one) for one in ("recipe", "recipe-plain"))
        if at_rates is None:
            return None
        return recipe_check(
            self.rows_at_rates(),
            [] if plain is None else plain.rows(),
            experiment=self.experiment,
            networks=self.networks,
            noise=noise(self.results, self.experiment.metric),
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

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The metrics of the search's trainings, in the order of tables."""
        return metrics_of(self.record.rows(), self.experiment.metric)

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
        Where there is an answer, ``expected`` is each one's expected metric at exactly the target's
        cost and decides the order, and ``in_region`` says which networks can be the best.
        """
        return self.coefficients_of(self.results, self.conclusion)

    def coefficients_of(self, results: pd.DataFrame, conclusion: Conclusion) -> pd.DataFrame:
        """The scaling coefficient table of results and what was concluded from them."""
        kept, answer = conclusion.kept(results), conclusion.answer
        expected = None if answer is None else answer.expected_of()
        table = coefficient_table(
            self.candidates, kept, self.experiment.metric, expected, self.metrics
        )
        left_out = Counter(one.candidate for one in conclusion.left_out)
        table["left_out"] = table["candidate"].map(lambda number: left_out[number])
        if answer is not None:
            possible = table["candidate"].isin(answer.possible)
            table["in_region"] = possible.where(table["candidate"] != 0)
        return table

    @property
    def families(self) -> pd.DataFrame | None:
        """The members of each family with the means of their trainings; None before `scale`."""
        members = networks_table(self.networks_of("scale"))
        if members.empty:
            return None
        return with_means(
            members, pd.concat([self.results, self.results_of("scale")]), self.metrics
        )

    # Answers.

    @property
    def conclusion(self) -> Conclusion:
        """The answer, the variance components, and sentences on both.

        The fresh seeds of `confirm` count too, since they are trained with the same recipe.
        """
        fresh = self.studies.beyond("confirm")
        rows = [*self.record.rows(), *([] if fresh is None else fresh.rows())]
        results = results_table(rows)
        found = conclude(
            results,
            curves_table(rows),
            objective=self.experiment.metric,
            target=self.experiment.candidates.target,
            delta=self.experiment.decide.delta,
            num_classes=self.experiment.base_network.num_classes,
        )
        check = self.recipe_check
        first = [] if check is None else recipe_warnings(check)
        last = recipe_note(check) if len(results) and self.experiment.training is None else []
        said = (*first, *answer_sentences(found, results), *last)
        return replace(found, sentences=said)

    @property
    def answer(self) -> Answer | None:
        """The rule, its region, and its comparison with each reference, as values.

        None where there are too few trainings for a fit; ``conclusion.missing`` has the reason.
        """
        return self.conclusion.answer

    @property
    def headline(self) -> Headline:
        """The answer in three lines: the network to use, how sure that is, what to do next."""
        from scaling_search.commands.headline import headline  # noqa: PLC0415  # it is about a run

        conclusion = self.conclusion
        return headline(self, conclusion, self.coefficients_of(self.results, conclusion))

    def found(self, conclusion: Conclusion | None = None) -> tuple[Candidate, str]:
        """The network for this size, and the reason: best expected, else first by its mean.

        Raises:
            ValueError: No scaled network has a finished training.
        """
        conclusion = conclusion or self.conclusion
        answer = conclusion.answer
        if answer is not None:
            number, why = answer.network, "best expected at this size"
            if answer.region.is_everything:
                why = f"{why}, a guess"
        else:
            table = self.coefficients_of(self.results, conclusion)
            first = table[table["order"] == 1]
            if first.empty:
                raise ValueError(
                    "out must hold a finished training of a scaled network, got none in "
                    f"{self.out!r}; search first: {self.next('search')}"
                )
            metric = self.experiment.metric
            first_mean = f"{metric.best} mean {metric.noun}"
            number, why = int(first["candidate"].iloc[0]), f"{first_mean}, without an answer"
        return next(one for one in self.networks if one.number == number), why

    def rule(self, conclusion: Conclusion | None = None) -> tuple[Shares, str]:
        """The split for other sizes, and the reason: best by the fit, else the network's own.

        Raises:
            ValueError: No scaled network has a finished training.
        """
        conclusion = conclusion or self.conclusion
        if conclusion.answer is not None:
            guess = ", a guess" if conclusion.answer.region.is_everything else ""
            return conclusion.answer.rule, f"best split by the fit{guess}"
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
            self.metrics,
        )

    # Text and figures.

    @property
    def plot(self) -> Figures:
        """The figures: ``plot.accuracy()`` and the other methods of `Figures`."""
        conclusion = self.conclusion
        return Figures(
            out=self.out,
            coefficients=self.coefficients_of(self.results, conclusion),
            epochs=self.curves,
            families_table=self.families,
            answer=conclusion.answer,
            objective=self.experiment.metric,
            equal=self.experiment.equal,
            label_smoothing=self.experiment.recipe.label_smoothing,
        )

    def report(self, *, most: int = 10, published: bool = False, to: str | None = None) -> Path:
        """Prints the answer and writes tables, figures and ``report.html`` into a folder.

        Args:
            most: Rows of the printed table.
            published: True to draw EfficientNet-B0 to B7's published ImageNet accuracies too.
            to: The folder, made if it is missing; None for the run's.

        Returns:
            The path of ``report.html``.

        Raises:
            RuntimeError: There is no record yet, or a file cannot be written.
        """
        from scaling_search.commands.reporting import make_report  # noqa: PLC0415  # takes matplotlib

        return make_report(self, Report(most=most, published=published, to=to))

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
            ValueError: No network has that name.
        """
        known = self.members() | {str(one.number): one for one in self.networks}
        if str(name) not in known:
            raise ValueError(f"name must be one of {', '.join(known)}, got {name!r}")
        return known[str(name)].architecture


def by_candidate(result: TrialResult) -> tuple[int, int]:
    """The order of tables: candidate, then seed."""
    return result.trial.candidate.number, result.trial.seed
