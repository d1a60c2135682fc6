"""The networks that fresh seeds confirm, and the number of seeds that this needs."""

from typing import TYPE_CHECKING

from scaling_search.answer.conclusions import Conclusion
from scaling_search.core.scaling import REFERENCES
from scaling_search.follow_ups.confirmation import num_seeds_needed
from scaling_search.record.results import noise

if TYPE_CHECKING:
    from scaling_search.commands.run import Run


def arms_of(run: "Run", conclusion: Conclusion) -> tuple[dict[str, int], str]:
    """Numbers of the networks that are trained anew, by what they are, and why of the first."""
    found, why = run.found(conclusion)
    shares = {one.number: one.shares for one in run.networks if one.shares}
    away = {number: one.distance(REFERENCES["paper"]) for number, one in shares.items()}
    return {"found": found.number, "paper": min(away, key=away.__getitem__), "base": 0}, why


def seeds_needed(run: "Run", conclusion: Conclusion) -> int | None:
    """Number of seeds that finds the difference that matters; None where not known."""
    delta, seed_sd = delta_of(run, conclusion), seed_sd_of(run, conclusion)
    return None if delta is None or seed_sd is None else num_seeds_needed(seed_sd, delta)


def delta_of(run: "Run", conclusion: Conclusion) -> float | None:
    """The difference that matters; None while it is not known what compute is worth."""
    given, answer = run.experiment.decide.delta, conclusion.answer
    return answer.delta if given is None and answer is not None else given


def seed_sd_of(run: "Run", conclusion: Conclusion) -> float | None:
    """Standard deviation of the seed that networks do not share; None without second seeds."""
    experiment = run.experiment
    if experiment.decide.seed_sd is not None:
        return experiment.decide.seed_sd
    diagnosis = conclusion.diagnosis
    if diagnosis is not None and diagnosis.own_seed_sd is not None:
        return diagnosis.own_seed_sd
    measured = noise(run.results, experiment.metric)
    return measured.seed_sd if measured.residual_sd is None else measured.residual_sd
