"""Trains the network again with fresh seeds, then uses the test split, once."""

from dataclasses import replace
from datetime import UTC, datetime

from scaling_search.answer.conclusions import Conclusion
from scaling_search.commands.fresh_seeds import arms_of, delta_of, seed_sd_of
from scaling_search.commands.run import Run
from scaling_search.commands.trainings import searched, train_more
from scaling_search.display.confirmation import confirmation_section
from scaling_search.display.formatting import count, difference
from scaling_search.display.terminal import say, show
from scaling_search.experiment.options import Confirm
from scaling_search.follow_ups.confirmation import Confirmation, num_seeds_needed
from scaling_search.record.record import FinalTest, Record
from scaling_search.record.studies import FOLLOW_UPS
from scaling_search.record.tables import write_table


def confirm(run: Run, options: Confirm = Confirm(), *, price_only: bool = False) -> None:
    """Trains three networks with fresh seeds, then compares them on the test split, once.

    They are the network with the best expected metric, the one nearest to the paper's split and the
    base network. The test split is not used before all trainings have ended.

    Args:
        run: A search.
        options: Number of seeds, and whether to look again.
        price_only: True to print the price and train nothing.

    Raises:
        ValueError: The test split was looked at before, or the number of seeds is not known.
        RuntimeError: There is no search, or all trainings failed.
    """
    console = run.console
    networks = searched(run)
    begun = run.studies.beyond("confirm")
    looks = [] if begun is None else begun.final_tests
    is_begun = bool(looks) and not looks[-1].when
    if looks and not is_begun and not options.force:
        raise ValueError(
            "confirm.force must be true to use the test split again, got false; it was used on "
            f"{looks[-1].when[:10]}; confirm.force=true uses it once more, and the report counts it"
        )
    look = looks[-1] if is_begun else _new_look(run, options)
    say(console, [_intention(look, is_begun=is_begun)])
    candidates = {candidate.number: candidate for candidate in networks}
    trials = [
        replace(run.experiment.trial(candidates[number], seed), on_test=True)
        for number in sorted(set(look.arms.values()))
        for seed in look.seeds
    ]

    def begin(record: Record) -> None:
        if record.final_tests != looks:
            raise RuntimeError(
                "confirm must be the only command that uses the test split, got another one that "
                "began or ended meanwhile; run the same command again"
            )
        if not is_begun:
            record.begin_final_test(look)

    if train_more(run, trials, "confirm", price_only=price_only, begin=begin) is None:
        return
    record = run.studies.begun("confirm")
    record.end_final_test(look, _now())
    tested = Confirmation.last(record)
    assert tested is not None
    section = confirmation_section(tested, run.experiment.metric)
    write_table(section.table, run.folder / f"{section.name}.csv")
    console.print()
    show(console, section)


def _new_look(run: Run, options: Confirm) -> FinalTest:
    """The networks to train, by the search as it is now, and seeds that no training has used."""
    experiment, conclusion = run.experiment, run.conclusion
    arms, why = arms_of(run, conclusion)
    num_seeds = options.num_seeds
    if num_seeds is None:
        num_seeds = _num_seeds(run, conclusion)
    first = _first_unused_seed(run)
    results = conclusion.kept(run.results)
    ended = results[(results["candidate"] == arms["found"]) & (results["state"] == "COMPLETE")]
    return FinalTest(
        arms=arms,
        seeds=list(range(first, first + num_seeds)),
        objective=experiment.objective,
        delta=delta_of(run, conclusion),
        why=why,
        searched={metric.name: ended[metric.name].tolist() for metric in run.metrics},
        began=_now(),
    )


def _num_seeds(run: Run, conclusion: Conclusion) -> int:
    """The number of seeds that the difference that matters needs, and prints why.

    Raises:
        ValueError: That difference or the noise of a seed is not known.
    """
    delta, seed_sd = delta_of(run, conclusion), seed_sd_of(run, conclusion)
    if delta is None:
        raise ValueError(
            "decide.delta must be given while the gain of more compute is unknown, got null; add "
            "decide.delta=0.01, or confirm.num_seeds=8"
        )
    if seed_sd is None:
        raise ValueError(
            "confirm.num_seeds must be given while no network has two seeds, got null; add "
            "confirm.num_seeds=8, or decide.seed_sd to calculate it"
        )
    num_seeds = num_seeds_needed(seed_sd, delta)
    smallest, noise_sd = (difference(one, run.experiment.metric) for one in (delta, seed_sd))
    needed = f"{count(num_seeds, 'seed')} a network show a difference of {smallest}"
    noise = f"at a standard deviation of {noise_sd} between seeds"
    say(run.console, [f"{needed} in 80 of 100 cases, {noise}."])
    return num_seeds


def _first_unused_seed(run: Run) -> int:
    """One more than the largest seed of any study of this run, the search's planned ones too."""
    beyond = [run.studies.beyond(command) for command in FOLLOW_UPS]
    own = [run.record, *(record for record in beyond if record is not None)]
    used = [int(str(row["seed"])) for record in own for row in record.rows()]
    return max([run.experiment.most_seeds - 1, *used]) + 1


def _intention(look: FinalTest, *, is_begun: bool) -> str:
    """A sentence on what will be trained."""
    arms = look.arms
    against = f"network {arms['paper']} (nearest to the paper's split) and the base network"
    if arms["paper"] == arms["found"]:
        against = "the base network; it is also the nearest to the paper's split"
    since = f", as begun on {look.began[:10]}" if is_begun else ""
    return (
        f"Confirmation with seeds {look.seeds[0]} to {look.seeds[-1]}{since}: network "
        f"{arms['found']} ({look.why}) against {against}."
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
