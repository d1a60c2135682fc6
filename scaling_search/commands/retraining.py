"""Trains networks again whose weights were not kept; the record stays as it is."""

import tempfile
from collections.abc import Sequence
from dataclasses import replace

from scaling_search.answer.stopping import told_failures
from scaling_search.commands.data_sheet import fingerprint_of
from scaling_search.commands.run import Run
from scaling_search.commands.training_loop import TrainingLoop
from scaling_search.commands.trainings import logged, provenance
from scaling_search.core.trial import Trial, TrialResult
from scaling_search.display.progress import View
from scaling_search.display.terminal import price_sentence, say
from scaling_search.experiment.experiment import Experiment
from scaling_search.exports.members import Training
from scaling_search.record.record import Record
from scaling_search.runtime.lock import RunLock
from scaling_search.training.price import price
from scaling_search.training.weights import check_keepable


def train_again(run: Run, trained: Sequence[Training], *, price_only: bool) -> bool:
    """Prints the price of trainings for missing weights and runs them.

    Args:
        run: The search.
        trained: Trainings whose weights are wanted, whether they exist or not.
        price_only: True to print the price and train nothing.

    Returns:
        False if ``price_only``.

    Raises:
        ValueError: The data or the recipe are not the record's.
        RuntimeError: The data are missing or damaged, or all trainings failed.
    """
    experiment, console, executor = run.experiment, run.console, run.executor
    fingerprint = run.record.fingerprint
    missing = [training for training in trained if training.facts() is None]
    if not missing:
        say(console, ["All members have weights."])
        return not price_only
    if (found := fingerprint_of(experiment.ready_dataset())) != fingerprint:
        raise ValueError(
            f"dataset must have the fingerprint of the search, {fingerprint[:16]}..., got "
            f"{found[:16]}...; put back the run's data"
        )
    run.check_executor()
    check_keepable(experiment.base_network)
    trials = [_trial(experiment, training, fingerprint) for training in missing]
    recorded = [
        TrialResult(
            trial,
            "COMPLETE",
            total_seconds=float(str(training.row["total_seconds"])),
            device_share=float(str(training.row["device_share"])),
            device=str(training.row["device"]),
        )
        for trial, training in zip(trials, missing, strict=True)
    ]
    cost = price(
        trials,
        recorded,
        known=(),
        slots=executor.slots,
        device_share=executor.device_share,
    )
    say(console, [f"To train again for weights: {price_sentence(cost, executor.slots)}"])
    if price_only:
        return False
    with tempfile.TemporaryDirectory() as aside, RunLock(run.folder) as hold, logged(run):
        # This record is deleted; only the weights remain.
        record = Record(f"{aside}/again.log", "again", experiment.metric)
        loop = TrainingLoop(trials, record, provenance=provenance(), retries=executor.retries)
        names = {one.member.candidate.network: one.member.name for one in missing}
        view = View(console, experiment.metric, names)
        loop.run(None, executor, view, check=hold.check)
    results = [loop.finished[trial.key] for trial in trials]
    if all(result.state == "FAIL" for result in results):
        raise RuntimeError(f"{told_failures(results)}; search.log has the tracebacks")
    for training, result in zip(missing, results, strict=True):
        if result.state != "COMPLETE":
            failed = f"{training.member.name} seed {training.seed} failed: {result.reason}"
            say(console, [failed])
    return True


def _trial(experiment: Experiment, training: Training, fingerprint: str) -> Trial:
    """The training of a row, without an evaluation on the test split."""
    member, row = training.member, training.row
    target = 2.0**member.phi if member.phi else None
    trial = experiment.trial(member.candidate, training.seed, target=target)
    if trial.key != tuple(row[name] for name in ("network", "seed", "epochs", "learning_rate")):
        raise ValueError(
            f"recipe must be as {member.name} was trained, for {row['epochs']:g} epochs, got "
            f"{trial.recipe.epochs:g}; put back the run's config.yaml"
        )
    return replace(trial, weights=training.folder, fingerprint=fingerprint)
