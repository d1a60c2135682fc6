"""The check of a recipe in words and as a section of the report."""

from collections.abc import Iterable

import numpy as np

from scaling_search.core.metric import Metric
from scaling_search.core.recipe import Recipe, text_of
from scaling_search.display.fairness import f_text, without_sign
from scaling_search.display.formatting import count, difference, level, with_interval
from scaling_search.display.report_section import ReportSection
from scaling_search.follow_ups.recipe_check import (
    FEWEST,
    Improvement,
    Order,
    RecipeCheck,
    Setting,
)


def asking(num_trainings: int, settings: Iterable[Setting]) -> str:
    """The line before trainings of the check."""
    return (
        f"Before the search, {count(num_trainings, 'training')} check its recipe at "
        f"{', '.join(map(setting_text, settings))}; those at the rate that the search "
        "takes count as its own."
    )


def setting_text(setting: Setting) -> str:
    """A setting in a few words."""
    return f"rate {setting.learning_rate:g}" + ("" if setting.is_augmented else " unaugmented")


def check_sentences(check: RecipeCheck) -> list[str]:
    """The result of the check before the search goes on, with options to paste."""
    if (better := check.better) is not None:
        options = " ".join(_overrides(better.setting, check.recipe))
        told = f"{_about_better(better, check)}. To use it, search again with {options}"
        return [f"{told} and another out=."]
    return [_about_none(check)]


def recipe_warnings(check: RecipeCheck) -> list[str]:
    """First lines of a report: limits of the answer that the check has found."""
    if not check.is_done:
        return []
    said = []
    if (better := check.better) is not None:
        said.append(f"{_about_better(better, check)}. It may give another answer.")
    if check.order is not None and check.order.changes:
        said.append(_about_change(check.order))
    return said


def recipe_note(check: RecipeCheck | None) -> list[str]:
    """A line for a search whose recipe is not checked."""
    if check is None:
        unasked = "The recipe was not compared with other learning rates or no augmentation"
        return [f"{unasked}. A better recipe may give another answer."]
    if not check.is_done:
        return ["The check of the recipe has not ended; the same search command continues it."]
    return []


def recipe_section(check: RecipeCheck, span: float | None) -> ReportSection:
    """The section on the recipe, with each network's result at each setting.

    Args:
        check: The trainings.
        span: Range of the search's surface; None if unknown.
    """
    said = recipe_warnings(check) if check.is_done else recipe_note(check)
    if check.is_done and check.better is None:
        said.append(_about_none(check))
    order = check.order
    if check.is_done and order is not None and not order.changes:
        said += _about_same(order, check.objective, span)
    if failed := int((np.isnan(check.losses) & ~check.is_missing).sum()):
        said.append(f"{count(failed, 'training')} failed.")
    own = f"The recipe of the search has {setting_text(check.own)} (learning rate)."
    return ReportSection(
        name="recipe_check",
        title="Does the answer depend on the recipe?",
        sentences=(*said, f"{own} Each value in the table is one training."),
        lines=_lines(check),
        table=check.table(),
    )


def _overrides(setting: Setting, recipe: Recipe) -> list[str]:
    """Options that change a recipe into a setting."""
    rate = [f"recipe.learning_rate={setting.learning_rate}"]
    off = recipe.without_augmentation()
    plain = [f"recipe.{name}={text_of(getattr(off, name))}" for name in recipe.augmentation]
    changes = rate if setting.learning_rate != recipe.rate else []
    return changes + ([] if setting.is_augmented else plain)


def _about_better(better: Improvement, check: RecipeCheck) -> str:
    networks = count(better.num_networks, "network")
    gain = with_interval(better.gain, check.objective)
    so = f"for all {networks}, by {gain} in the mean"
    if not better.is_for_all:
        so = f"by {gain} in the mean of {networks}"
    own = setting_text(check.own)
    return (
        f"Another recipe is better: {setting_text(better.setting)} is better than {own} {so} "
        "(one seed)"
    )


def _about_none(check: RecipeCheck) -> str:
    num_networks = int(np.isfinite(check.losses[:, check.settings.index(check.own)]).sum())
    if num_networks < FEWEST:
        return (
            f"These results cannot show whether another recipe is better: the check needs {FEWEST} "
            f"networks trained with this recipe, got {num_networks}."
        )
    others = ", ".join(setting_text(one) for one in check.settings if one != check.own)
    return (
        f"No other setting ({others}) is better than {setting_text(check.own)}, neither for all "
        f"{count(num_networks, 'network')} nor significantly in the mean (one seed)."
    )


def _about_change(order: Order) -> str:
    test = order.cells.test
    if test is None:
        said = (
            "The answer may hold for this recipe only: the order of the networks changes with it, "
            "as far as single trainings show"
        )
        return f"{said}. Noise alone can do this. {_about_firsts(order)}"
    said = "The answer holds for this recipe only: the recipe favours some networks"
    noise = "with the noise between seeds of the search"
    return f"{said} ({f_text(test)}, {noise}). {_about_firsts(order)}"


def _about_firsts(order: Order) -> str:
    """The best network at each setting, the recipe's own first."""
    places = [order.own, *(place for place in range(len(order.settings)) if place != order.own)]
    own, *others = (f"{order.firsts[i]} at {setting_text(order.settings[i])}" for i in places)
    numbers = ", ".join(f"{order.correlations[i]:.2f}" for i in places[1:])
    return (
        f"The best of {len(order.names)} networks is {own}, {', '.join(others)}. The rank "
        f"correlations with the order at {setting_text(order.settings[order.own])} are {numbers}."
    )


def _about_same(order: Order, objective: Metric, span: float | None) -> list[str]:
    cells = order.cells
    if cells.test is None or cells.detectable is None:
        same = "The order of the networks does not change much, as far as single trainings show"
        return [f"{same}. {_about_firsts(order)}"]
    found = (
        f"one of the {len(order.names)} networks gains "
        f"{difference(cells.detectable, objective)} more than the others from one setting to "
        "another, with the noise between seeds of the search"
    )
    what, least = "the recipe favours some networks", cells.detectable
    return without_sign(what, cells.test, found, least, span=span, objective=objective)


def _lines(check: RecipeCheck) -> list[list[str]]:
    """A header and a line for each network, then their mean."""
    sign = check.objective.sign
    header = ["network", *map(setting_text, check.settings)]
    lines = dict(zip(check.names, check.losses, strict=True))
    lines["mean"] = check.losses.mean(axis=0)  # none where one is missing
    cells = {
        name: [
            "–" if np.isnan(one) else level(sign * one, check.objective, in_table=True)
            for one in line
        ]
        for name, line in lines.items()
    }
    return [header, *([name, *line] for name, line in cells.items())]
