"""Verdicts, names of splits, and why trainings are left out, in words."""

from scaling_search.answer.verdicts import Comparison, Outcome
from scaling_search.core.scaling import Shares
from scaling_search.core.space_filling import PLACE

SAME = 0.01
"""A reference nearer to the best split than this is the same and not compared with it."""

PHRASES = {
    Outcome.BETTER: "better than {}",
    Outcome.WORSE: "worse than {}",
    Outcome.AS_GOOD: "as good as {}",
    Outcome.CANNOT_TELL: "no significant difference from {}",
    None: "outside the searched splits: {}",
}
"""Words of each outcome, with the network or split that was compared."""

SPLITS = {
    "depth": "depth alone",
    "width": "width alone",
    "resolution": "resolution alone",
    "thirds": "thirds (equal shares)",
    "paper": "paper (the split of EfficientNet)",
    "pycls": "pycls (mostly width)",
}
"""Each of `REFERENCES` with its meaning."""

SHARE_MEANT = "A share is the part of the growth in cost (of its logarithm) that a dimension gets."
"""Meaning of a share."""

PLACE_MEANT = f"a place is a group of networks whose shares differ by at most {PLACE}"
"""Meaning of a place."""

WHY = {
    "chance": "no better than chance",
    "first epoch": "no better than after the first epoch",
    "outlying": "far outside all others",
}
"""Reasons why trainings are left out of the fit."""


def is_same(one: Comparison, rule: Shares) -> bool:
    """True if a reference is the best split itself."""
    return one.shares.distance(rule) < SAME
