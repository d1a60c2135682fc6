"""Trains networks again whose weights were not kept; the record stays as it is."""

import math
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path

from scaling_search.answer.stopping import told_failures
from scaling_search.commands.run_folder import Call
from scaling_search.commands.trainings import logged, provenance
from scaling_search.experiment import Experiment
from scaling_search.export.members import COEFFICIENTS, Member, Training
from scaling_search.formatting import count
from scaling_search.lock import RunLock
from scaling_search.planning.candidates import Candidate
from scaling_search.progress import View
from scaling_search.record.study import Record
from scaling_search.scaling import DIMENSIONS, Coefficients, Shares
from scaling_search.search import Search
from scaling_search.terminal import price_sentence, say
from scaling_search.training.price import price
from scaling_search.training.trial import Trial, TrialResult
from scaling_search.training.weights import check_keepable


def train_again(call: Call, trained: Sequence[Training], fingerprint: str) -> bool:
    """Says what the missing weights cost and trains for them.

    Args:
        call: The command's.
        trained: Trainings whose weights are wanted, there or not.
        fingerprint: Of the record's data.

    Returns:
        Whether to go on; not where only the price was asked.

    Raises:
        ValueError: The data or the recipe are not the record's.
        RuntimeError: The data are missing or damaged, or all trainings failed.
    """
    experiment, console = call.experiment, call.console
    missing = [training for training in trained if training.facts() is None]
    if not missing:
        say(console, ["The weights of all members are there."])
        return not experiment.price_only
    if (found := experiment.ready_dataset().fingerprint()) != fingerprint:
        raise ValueError(
            f"dataset must be the one that was searched with, {fingerprint[:16]}..., got "
            f"{found[:16]}...; put back the run's data"
        )
    executor = experiment.executor
    executor.check()
    check_keepable(experiment.base_network)
    trials = [_trial(experiment, training) for training in missing]
    cost = price(
        trials,
        _as_recorded(trials, missing),
        known=(),
        slots=executor.slots,
        device_share=executor.device_share,
    )
    say(console, [f"Again, for their weights: {price_sentence(cost, executor.slots)}"])
    if experiment.price_only:
        return False
    folder = Path(experiment.out)
    with tempfile.TemporaryDirectory() as aside, RunLock(folder), logged(folder):
        # A record that is thrown away: what remains are the weights.
        record = Record(f"{aside}/again.log", "again", experiment.objective)
        search = Search(trials, record, provenance=provenance(), retries=executor.retries)
        search.run(None, executor, View(console, experiment.objective))
    results = [search.finished[trial.key] for trial in trials]
    if all(result.state == "FAIL" for result in results):
        raise RuntimeError(f"{told_failures(results)}; search.log has the tracebacks")
    say(console, _about(missing, results))
    return True


def _about(missing: Iterable[Training], results: Iterable[TrialResult]) -> Iterator[str]:
    """What did not come again as it was."""
    others = 0
    for training, result in zip(missing, results, strict=True):
        if result.state != "COMPLETE":
            yield f"{training.member.name} seed {training.seed} failed: {result.reason}"
        elif result.curve[-1].val_loss != training.row["val_loss"]:
            others += 1
    if others:
        yield (
            f"{count(others, 'training')} did not give the record's very loss, as on other devices "
            "and under other versions; manifest.json has both."
        )


def _trial(experiment: Experiment, training: Training) -> Trial:
    """The training of a row as it was, without a look at the test split."""
    member, row = training.member, training.row
    target = 2.0**member.phi if member.phi else None
    trial = experiment.trial(_candidate(member), training.seed, target=target)
    if trial.key != tuple(row[name] for name in ("network", "seed", "epochs", "learning_rate")):
        raise ValueError(
            f"recipe must be as {member.name} was trained, for {row['epochs']:g} epochs, got "
            f"{trial.recipe.epochs:g}; put back the run's config.yaml"
        )
    return replace(trial, weights=training.folder)


def _candidate(member: Member) -> Candidate:
    """A member as what is trained, from its columns."""
    row = member.row
    triples = {
        name: Coefficients(*(member.number(f"{c}{end}") for c in COEFFICIENTS))
        for name, end in (("coefficients", ""), ("lowest", "_low"), ("highest", "_high"))
    }
    parts = [member.number(f"{dimension}_share") for dimension in DIMENSIONS]
    shares = None if math.isnan(parts[0]) else Shares(*parts)
    values = {f.name: row[f.name] for f in fields(Candidate) if f.name in row}
    values |= {"number": int(member.number("candidate")), "architecture": member.architecture}
    return Candidate(**values | triples | {"shares": shares})  # type: ignore[arg-type]  # by name


def _as_recorded(trials: Iterable[Trial], missing: Iterable[Training]) -> list[TrialResult]:
    """What the same trainings took."""
    return [
        TrialResult(
            trial,
            "COMPLETE",
            total_seconds=float(str(training.row["total_seconds"])),
            device_share=float(str(training.row["device_share"])),
            device=str(training.row["device"]),
        )
        for trial, training in zip(trials, missing, strict=True)
    ]
