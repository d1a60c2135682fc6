"""Verdicts, and why trainings are left out, in words."""

from scaling_search.answer.verdicts import Outcome

PHRASES = {
    Outcome.BETTER: "better than {}",
    Outcome.WORSE: "worse than {}",
    Outcome.AS_GOOD: "as good as {}",
    Outcome.CANNOT_TELL: "no significant difference from {}",
    None: "{} not searched",
}
"""Words of each outcome, with the network or split that was compared."""

WHY = {
    "chance": "at chance",
    "first epoch": "no better than after the first epoch",
    "outlying": "far outside all others",
}
"""Reasons why trainings are left out of the fit."""
