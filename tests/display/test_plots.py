"""Figures: what they show, that nothing in them is cut off, and that equal tables look equal."""

import re
from collections.abc import Callable, Collection
from dataclasses import replace
from io import BytesIO
from itertools import combinations
from pathlib import Path

import matplotlib as mpl
import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import to_rgb
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.text import Text

from scaling_search.answer.fit import fit_surface
from scaling_search.answer.region import GRID, find_region
from scaling_search.answer.verdicts import Answer, Estimate, Outcome, Verdict
from scaling_search.core.metric import VAL_ACCURACY, VAL_LOSS, Metric
from scaling_search.core.scaling import DIMENSIONS, REFERENCES
from scaling_search.display.plots.accuracy import accuracy_over_flops, dominating, pareto_front
from scaling_search.display.plots.audited import triangle_of_variants
from scaling_search.display.plots.comparisons import comparison_chart
from scaling_search.display.plots.curves import training_curves
from scaling_search.display.plots.drawing import COLOURS, GREY, INK, PAPER, fence, rendered, save
from scaling_search.display.plots.fairness import setting_curves
from scaling_search.display.plots.families import family_curves, published_family
from scaling_search.display.plots.labels import apart
from scaling_search.display.plots.shares import fill_region, outline_region, place
from scaling_search.display.plots.triangle import triangle_of_shares
from scaling_search.runtime.files import replace_file
from tests.surfaces import Luck, around, plan_shares, trainings
from tests.tables import Tables, conclusion_of, every_training, families, tables

PUBLISHED = pd.read_csv(
    Path(__file__).parents[2]
    / "scaling_search"
    / "planning"
    / "reference"
    / "efficientnet_family.csv"
)
SEARCHES = {
    "nothing trained": tables(9, 0),
    "all failed": tables(9, 2, failed=every_training(9, 2)),
    "base alone": tables(0, 1),
    "one network": tables(1, 3),
    "nine networks, one seed": tables(9, 1),
    "failures": tables(33, 3, failed=[(0, 1), (4, 0), (4, 1), (4, 2), (9, 1)], untrained=[33]),
    "base failed": tables(9, 2, failed=[(0, 0), (0, 1)]),
    "a network far off": tables(12, 2, lead=-0.7),
    "many networks": tables(114, 3),
}
ANSWERED = tables(20, 2, bend=0.1, left_out=[7, 12])
"""A search with an answer, whose best split is near to thirds."""

MARKED = ("the network", "has trainings left out")
"""Marks of a network beside its own."""

SEARCHED = tables(2, 1).coefficients
"""Networks of a search, of which families scale to the first two."""

SHARES = [f"{dimension}_share" for dimension in DIMENSIONS]
FIGURES: dict[str, Callable[[Tables], Figure]] = {
    "accuracy": lambda t: accuracy_over_flops(
        t.coefficients, objective=VAL_ACCURACY, equal="epochs"
    ),
    "triangle of accuracy": lambda t: triangle_of_shares(
        t.coefficients, VAL_ACCURACY, equal="epochs"
    ),
    "triangle of loss": lambda t: triangle_of_shares(t.coefficients, VAL_LOSS, equal="epochs"),
    "curves": lambda t: training_curves(t.curves, objective=VAL_ACCURACY, equal="epochs"),
}
EQUAL_FIGURES: dict[str, Callable[[str], Figure]] = {
    "accuracy": lambda e: accuracy_over_flops(
        SEARCHES["failures"].coefficients, objective=VAL_ACCURACY, equal=e
    ),
    "triangle": lambda e: triangle_of_shares(SEARCHES["failures"].coefficients, VAL_LOSS, equal=e),
    "curves": lambda e: training_curves(
        SEARCHES["failures"].curves, objective=VAL_ACCURACY, equal=e
    ),
    "families": lambda e: family_curves(families(), SEARCHED, objective=VAL_ACCURACY, equal=e),
    "comparisons": lambda e: comparison_chart(answer_of(ANSWERED), equal=e),
    "rates": lambda e: setting_curves(settings("rate", 5), VAL_LOSS, equal=e),
    "lengths": lambda e: setting_curves(settings("length", 10), VAL_LOSS, equal=e),
}
OTHER_FIGURES: dict[str, Callable[[], Figure]] = {
    "families": lambda: family_curves(families(), SEARCHED, objective=VAL_ACCURACY, equal="epochs"),
    "families, one seed": lambda: family_curves(
        families(1), SEARCHED, objective=VAL_ACCURACY, equal="epochs"
    ),
    "families without trainings": lambda: family_curves(
        families().assign(num_seeds=0), SEARCHED, objective=VAL_ACCURACY, equal="epochs"
    ),
    "published": lambda: published_family(PUBLISHED),
    "rates": lambda: setting_curves(settings("rate", 5), VAL_LOSS, equal="epochs"),
    "rates of one network": lambda: setting_curves(
        settings("rate", 1), VAL_ACCURACY, equal="epochs"
    ),
    "rates, one left out": lambda: setting_curves(
        settings("rate", 5, left_out=[2]), VAL_LOSS, equal="training_flops"
    ),
    "rates, all left out": lambda: setting_curves(
        settings("rate", 2, left_out=[1, 2]), VAL_LOSS, equal="epochs"
    ),
    "lengths": lambda: setting_curves(settings("length", 10), VAL_ACCURACY, equal="epochs"),
    "audited": lambda: triangle_of_variants(variants("B{}", 7)),
    "audited, long names": lambda: triangle_of_variants(variants("my own network {}", 14)),
    "audited, too many": lambda: triangle_of_variants(variants("network {}", 40)),
}


def settings(setting: str, num_networks: int, left_out: Collection[int] = ()) -> pd.DataFrame:
    """The table of a section of fairness: a row for each network at each factor."""
    stream = np.random.default_rng(0)
    networks = tables(num_networks, 0).candidates.query("candidate > 0")
    names = ["depth (1)", "width (2)", "resolution/found (3)", "thirds (4)"]
    rows = []
    for number, (_, network) in enumerate(networks.iterrows(), start=1):
        for factor in (0.5, 1.0, 2.0):
            mean = 0.4 + 0.01 * number - 0.02 * factor + stream.normal(0, 0.004)
            mean = np.nan if number in left_out else mean
            row = {name: network[name] for name in (*SHARES, "candidate", "network")}
            row |= {"name": [*names, *"56789", "10"][number - 1], setting: factor}
            for metric in ("val_loss", "val_accuracy"):
                row |= {f"{metric}_mean": mean, f"{metric}_se": 0.003 + 0 * mean}
            rows.append(row)
    return pd.DataFrame(rows)


def variants(name: str, number: int) -> pd.DataFrame:
    """So many rows of an audit near to each other, as the published family's."""
    stream = np.random.default_rng(0)
    built = stream.dirichlet([30, 30, 30], number)
    nominal = stream.dirichlet([3000, 3000, 4000], number)
    columns = [*SHARES, *(f"nominal_{share}" for share in SHARES)]
    table = pd.DataFrame(np.hstack([built, nominal]), columns=columns)
    return table.assign(variant=[name.format(i) for i in range(number)])


def texts(figure: Figure) -> list[Text]:
    """All texts that are drawn: labels of ticks outside the axes are not."""
    found = figure.findobj(lambda artist: isinstance(artist, Text) and artist.get_visible())
    hidden = [
        label
        for axes in figure.axes
        for axis in (axes.xaxis, axes.yaxis)
        for tick in axis.get_major_ticks()
        for label in (tick.label1, tick.label2)
        if not min(axis.get_view_interval()) <= tick.get_loc() <= max(axis.get_view_interval())
        or not axes.axison
    ]
    drawn = [t for t in found if isinstance(t, Text) and t not in hidden]
    return [t for t in drawn if t.get_text().strip()]


def said(figure: Figure) -> str:
    return " ".join(" ".join(t.get_text() for t in texts(figure)).split())


def assert_readable(figure: Figure) -> None:
    """No text is cut off by the figure's edge, none lies on another."""
    figure.draw_without_rendering()
    # An annotation's own extent has its arrow in it.
    boxes = [(t.get_text(), Text.get_window_extent(t)) for t in texts(figure)]
    edge = figure.bbox
    for text, box in boxes:
        assert box.x0 >= edge.x0 - 1, text
        assert box.y0 >= edge.y0 - 1, text
        assert box.x1 <= edge.x1 + 1, text
        assert box.y1 <= edge.y1 + 1, text
    for (text, box), (other_text, other) in combinations(boxes, 2):
        width = min(box.x1, other.x1) - max(box.x0, other.x0)
        height = min(box.y1, other.y1) - max(box.y0, other.y0)
        assert min(width, height) <= 3, (text, other_text)  # pixels, of 16 a line


def scattered(figure: Figure) -> list[PathCollection]:
    return [c for axes in figure.axes for c in axes.collections if isinstance(c, PathCollection)]


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("figure", FIGURES)
def test_every_search_gives_figures_whose_texts_can_be_read(search: str, figure: str) -> None:
    assert_readable(FIGURES[figure](SEARCHES[search]))


@pytest.mark.parametrize("figure", OTHER_FIGURES)
def test_families_give_figures_whose_texts_can_be_read(figure: str) -> None:
    assert_readable(OTHER_FIGURES[figure]())


@pytest.mark.parametrize("figure", EQUAL_FIGURES)
def test_every_figure_of_trainings_names_what_was_equal(figure: str) -> None:
    assert "Trained at equal epochs." in said(EQUAL_FIGURES[figure]("epochs"))
    assert "Trained at equal training FLOPs." in said(EQUAL_FIGURES[figure]("training_flops"))


def test_every_figure_names_a_network_s_marks_alike() -> None:
    table, curves, found = ANSWERED.coefficients, ANSWERED.curves, answer_of(ANSWERED)
    for figure in (
        accuracy_over_flops(table, found, objective=VAL_ACCURACY, equal="epochs"),
        triangle_of_shares(table, VAL_ACCURACY, found, equal="epochs"),
        training_curves(curves, found, objective=VAL_ACCURACY, equal="epochs"),
    ):
        assert {f"network-{number}" for number in range(1, 21)} <= ids(figure)
    members = family_curves(families(), SEARCHED, objective=VAL_ACCURACY, equal="epochs")
    assert {"network-0", "network-1", "family-paper-3"} <= ids(members)
    assert {"network-1", "network-5"} <= ids(EQUAL_FIGURES["rates"]("epochs"))


def ids(figure: Figure) -> set[str]:
    """Of all elements of the SVG."""
    page = rendered(figure, suffixes=(".svg",))[".svg"].decode()
    return set(re.findall(r'id="([^"]+)"', page))


def test_a_page_s_background_shows_through_an_svg_and_not_through_a_png() -> None:
    images = rendered(
        accuracy_over_flops(ANSWERED.coefficients, objective=VAL_ACCURACY, equal="epochs")
    )
    assert b"<image" not in images[".svg"]
    first = images[".svg"].split(b'id="patch_2"')[0]
    assert PAPER.encode() not in first.split(b'id="patch_1"')[1]
    corner = matplotlib.image.imread(BytesIO(images[".png"]))[0, 0]
    assert corner.tolist() == [1, 1, 1, 1]


def test_what_others_trained_is_not_called_equal() -> None:
    assert "Trained at" not in said(published_family(PUBLISHED))


def drawn_networks(figure: Figure) -> dict[int, np.ndarray]:
    """Place of each network's mark by its number."""
    found = {}
    for collection in scattered(figure):
        gid = collection.get_gid() or ""
        if gid.startswith("network-") and not str(collection.get_label()).startswith(MARKED):
            assert gid not in found
            found[gid] = np.asarray(collection.get_offsets(), dtype=float)[0]
    return {int(gid.removeprefix("network-")): at for gid, at in found.items()}


@pytest.mark.parametrize("search", SEARCHES)
def test_each_trained_network_is_one_point_over_its_cost(search: str) -> None:
    table = SEARCHES[search].coefficients
    trained = table[table["num_seeds"] > 0].set_index("candidate")
    figure = accuracy_over_flops(table, objective=VAL_ACCURACY, equal="epochs")
    drawn = drawn_networks(figure)
    assert sorted(drawn) == sorted(trained.index)
    for number, (x, y) in drawn.items():
        # Those that coincide lie side by side.
        assert x == pytest.approx(trained.loc[number, "flops"], rel=0.02)
        mean = float(str(trained.loc[number, "val_accuracy_mean"]))
        assert y == mean or mean < figure.axes[0].get_ylim()[0]


@pytest.mark.parametrize("search", SEARCHES)
def test_each_scaled_network_is_one_point_of_the_triangle(search: str) -> None:
    table = SEARCHES[search].coefficients
    drawn = drawn_networks(triangle_of_shares(table, VAL_LOSS, equal="epochs"))
    scaled = table[table["candidate"] != 0]
    expected = place(scaled[SHARES].to_numpy(dtype=float)).T
    assert sorted(drawn) == sorted(scaled["candidate"])
    for number, exact in zip(scaled["candidate"], expected, strict=True):
        assert np.hypot(*(drawn[number] - exact)) < 0.03


def answer_of(search: Tables, objective: Metric = VAL_ACCURACY) -> Answer:
    found = conclusion_of(search, objective).answer
    assert found is not None
    return found


def labelled(figure: Figure, label: str) -> np.ndarray:
    """Places of the markers with a label, (markers, 2)."""
    drawn = [c for c in scattered(figure) if str(c.get_label()) == label]
    return np.concatenate([np.asarray(c.get_offsets(), dtype=float) for c in drawn])


def test_the_triangle_marks_the_rule_and_rings_the_network() -> None:
    table, found = ANSWERED.coefficients, answer_of(ANSWERED)
    assert not found.region.is_everything
    figure = triangle_of_shares(table, VAL_ACCURACY, found, equal="epochs")
    rule = labelled(figure, "the rule, for other sizes")
    np.testing.assert_allclose(rule, place([found.rule]).T)
    row = table[table["candidate"] == found.network]
    ring = labelled(figure, "the network, for this size")
    np.testing.assert_allclose(ring, place(row[SHARES].to_numpy(dtype=float)).T)
    bad = table[table["candidate"].isin([7, 12])]
    crosses = labelled(figure, "has trainings left out of the fit")
    expected = place(bad[SHARES].to_numpy(dtype=float)).T
    np.testing.assert_allclose(sorted(crosses.tolist()), sorted(expected.tolist()))
    assert "95 % region of the rule" in said(figure)
    plain = said(triangle_of_shares(SEARCHES["failures"].coefficients, VAL_LOSS, equal="epochs"))
    for word in ("the rule", "the network", "left out"):
        assert word not in plain


def test_the_region_s_outline_goes_around_the_points_of_the_region() -> None:
    truth = around(0.3, 0.3, spread=0.03)
    region = find_region(fit_surface(trainings(plan_shares(), truth, Luck(0.0065))))
    axes = Figure().subplots()
    fill_region(axes, region)
    (filled,) = axes.collections
    inside = filled.get_paths()[0].contains_points(place(GRID).T)
    # On the very edge rounding decides.
    assert (inside != region.mask).sum() <= 2
    assert 5 < region.mask.sum() < 200
    outline_region(axes, region)
    outline = axes.collections[-1].get_paths()[0].vertices
    assert np.hypot(*np.diff(outline, axis=0).T).max() < 0.05  # no steps of the grid


def test_a_rule_that_is_a_guess_is_called_one() -> None:
    search = tables(20, 2)
    found = answer_of(search)
    assert found.region.is_everything
    figure = triangle_of_shares(search.coefficients, VAL_ACCURACY, found, equal="epochs")
    np.testing.assert_allclose(labelled(figure, "the rule, a guess"), place([found.rule]).T)
    assert "for other sizes" not in said(figure)


def test_the_accuracies_ring_the_network_and_cross_what_was_left_out() -> None:
    table, found = ANSWERED.coefficients, answer_of(ANSWERED)
    figure = accuracy_over_flops(table, found, objective=VAL_ACCURACY, equal="epochs")
    row = table[table["candidate"] == found.network]
    ring = labelled(figure, "the network, for this size")
    wanted = row[["flops", "val_accuracy_mean"]].to_numpy(dtype=float)
    np.testing.assert_allclose(ring, wanted, rtol=0.01)
    bad = table[table["candidate"].isin([7, 12])]
    crosses = labelled(figure, "has trainings left out of the fit")
    np.testing.assert_allclose(sorted(crosses[:, 0]), sorted(bad["flops"]), rtol=0.01)
    assert "the network, for this size" in said(figure)
    assert "the rule" not in said(figure)


@pytest.mark.parametrize("search", ["clear", "guess"])
def test_figures_with_an_answer_can_be_read(search: str) -> None:
    drawn = ANSWERED if search == "clear" else tables(20, 2)
    for objective in (VAL_ACCURACY, VAL_LOSS):
        found = answer_of(drawn, objective)
        for figure in (
            triangle_of_shares(drawn.coefficients, objective, found, equal="epochs"),
            accuracy_over_flops(drawn.coefficients, found, objective=VAL_ACCURACY, equal="epochs"),
            training_curves(drawn.curves, found, objective=VAL_ACCURACY, equal="epochs"),
        ):
            assert_readable(figure)


def test_corners_of_the_triangle_are_one_dimension_alone() -> None:
    corners = place(REFERENCES[dimension] for dimension in DIMENSIONS).T
    np.testing.assert_allclose(corners, [(0, 0), (1, 0), (0.5, np.sqrt(3) / 2)])
    np.testing.assert_allclose(place([REFERENCES["thirds"]]).T[0], corners.mean(axis=0))


def test_there_is_a_line_for_each_network_in_each_panel_of_the_curves() -> None:
    curves = SEARCHES["failures"].curves
    num_networks, base_seeds = curves["candidate"].nunique(), 2
    for panel in training_curves(curves, objective=VAL_ACCURACY, equal="epochs").axes:
        assert len(panel.lines) == num_networks + base_seeds


def test_the_network_s_seeds_have_a_line_each_and_its_name() -> None:
    found = answer_of(ANSWERED)
    figure = training_curves(ANSWERED.curves, found, objective=VAL_ACCURACY, equal="epochs")
    for panel in figure.axes:
        assert len(panel.lines) == 21 + 2 + 2
    assert f"the network, number {found.network}" in said(figure)
    assert "the network, number" not in said(
        training_curves(ANSWERED.curves, objective=VAL_ACCURACY, equal="epochs")
    )


def test_smoothed_labels_are_named_where_the_losses_are_compared() -> None:
    curves = SEARCHES["one network"].curves
    smoothed = said(
        training_curves(curves, objective=VAL_ACCURACY, equal="epochs", label_smoothing=0.1)
    )
    assert "Training loss (nats), labels smoothed" in smoothed
    assert "with label smoothing of 0.1, not to be compared with the validation" in smoothed
    assert "smooth" not in said(training_curves(curves, objective=VAL_ACCURACY, equal="epochs"))


def compared(outcome: Outcome | None, *, low: float = -0.02, delta: float = 0.01) -> Answer:
    """An answer whose first reference has an outcome, with an interval from ``low`` to 0.05."""
    found = answer_of(ANSWERED)
    one = found.comparisons[1]
    verdict = None if outcome is None else Verdict(one.name, Estimate(0.03, low, 0.05), outcome)
    first = replace(one, verdict=verdict, shares=REFERENCES["depth"])
    return replace(
        found, delta=delta, comparisons=(found.comparisons[0], first, *found.comparisons[2:])
    )


def test_each_reference_has_its_difference_with_the_interval() -> None:
    found = answer_of(ANSWERED)
    figure = comparison_chart(found, equal="epochs")
    bars = [c for c in figure.axes[0].containers if isinstance(c, ErrorbarContainer)]
    drawn = [bar.lines[2][0].get_segments()[0][:, 0].tolist() for bar in bars]
    told = [c.verdict.difference for c in found.comparisons[1:] if c.verdict is not None]
    expected = [
        [one.low, one.high]
        for one, c in zip(told, found.comparisons[1:], strict=True)
        if c.shares.distance(found.rule) >= 0.01
    ]
    np.testing.assert_allclose(drawn, expected)
    assert_readable(figure)


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (Outcome.BETTER, "better than depth 3.0 points (-2.0 to 5.0)"),
        (Outcome.CANNOT_TELL, "no significant difference from depth 3.0 points"),
        (None, "outside the searched splits: depth"),
    ],
)
def test_the_verdict_stands_beside_the_interval(outcome: Outcome | None, words: str) -> None:
    figure = comparison_chart(compared(outcome), equal="epochs")
    assert words in said(figure)
    assert "too small to matter, below 1.0 points" in said(figure)
    assert_readable(figure)


def heights(axes: Axes) -> np.ndarray:
    """Of the lines with error bars, (lines, points)."""
    bars = [c for c in axes.containers if isinstance(c, ErrorbarContainer)]
    return np.stack([np.asarray(bar.lines[0].get_ydata(), dtype=float) for bar in bars])


def test_each_network_is_a_line_over_the_setting_with_its_means() -> None:
    table = settings("rate", 5, left_out=[2])
    figure = setting_curves(table, VAL_LOSS, equal="epochs")
    drawn, level = (heights(axes) for axes in figure.axes)
    wanted = table["val_loss_mean"].to_numpy().reshape(5, 3)[[0, 2, 3, 4]]
    np.testing.assert_allclose(drawn, wanted)
    np.testing.assert_allclose(level, wanted - wanted.mean(axis=0))
    assert "Not drawn: 1 of 5 networks." in said(figure)
    assert "Not drawn" not in said(setting_curves(settings("rate", 5), VAL_LOSS, equal="epochs"))


def test_the_axis_is_named_after_the_setting() -> None:
    for setting, axis in (("rate", "Learning rate over"), ("length", "Length of training over")):
        assert axis in said(setting_curves(settings(setting, 3), VAL_LOSS, equal="epochs"))


def test_a_training_of_one_epoch_is_visible() -> None:
    figure = training_curves(
        tables(4, 2, num_epochs=1).curves, objective=VAL_ACCURACY, equal="epochs"
    )
    assert [line.get_marker() for line in figure.axes[0].lines].count("o") == 5


def test_error_bars_are_standard_errors_over_seeds() -> None:
    table = SEARCHES["one network"].coefficients
    figure = accuracy_over_flops(table, objective=VAL_ACCURACY, equal="epochs")
    bars = [
        segment
        for axes in figure.axes
        for collection in axes.collections
        if isinstance(collection, LineCollection)
        for segment in collection.get_segments()
    ]
    lengths = sorted(segment[1][1] - segment[0][1] for segment in bars)
    np.testing.assert_allclose(lengths, sorted(2 * table["val_accuracy_sd"] / np.sqrt(3)))
    assert "bars: one standard error" in said(figure)


def test_one_seed_has_no_error_bars_and_says_so() -> None:
    assert "One seed: no error bars." in said(
        FIGURES["accuracy"](SEARCHES["nine networks, one seed"])
    )
    assert "One seed: no error bars." in said(
        family_curves(families(1), SEARCHED, objective=VAL_ACCURACY, equal="epochs")
    )


def test_the_axis_is_broken_between_the_base_and_a_band_of_one_cost() -> None:
    left, right = accuracy_over_flops(
        SEARCHES["many networks"].coefficients, objective=VAL_ACCURACY, equal="epochs"
    ).axes
    assert left.get_xlim()[1] < right.get_xlim()[0]
    assert left.get_ylim() == right.get_ylim()
    assert (
        len(
            accuracy_over_flops(
                SEARCHES["base failed"].coefficients, objective=VAL_ACCURACY, equal="epochs"
            ).axes
        )
        == 1
    )


def test_costs_of_more_than_threefold_range_are_on_a_logarithmic_axis() -> None:
    table = SEARCHES["nine networks, one seed"].coefficients
    spread = table.assign(flops=table["flops"] * np.linspace(1, 2, len(table)))
    assert (
        accuracy_over_flops(spread, objective=VAL_ACCURACY, equal="epochs").axes[0].get_xscale()
        == "log"
    )
    assert (
        accuracy_over_flops(
            table.assign(flops=100 + table.index), objective=VAL_ACCURACY, equal="epochs"
        )
        .axes[0]
        .get_xscale()
        == "linear"
    )


def test_a_network_far_off_does_not_squeeze_the_others() -> None:
    figure = accuracy_over_flops(
        SEARCHES["a network far off"].coefficients, objective=VAL_ACCURACY, equal="epochs"
    )
    assert figure.axes[0].get_ylim()[0] > 0.8
    assert "Arrows: 1 far below, down to 1" in said(figure)


def test_untrained_networks_are_counted() -> None:
    figure = accuracy_over_flops(
        SEARCHES["failures"].coefficients, objective=VAL_ACCURACY, equal="epochs"
    )
    assert "Without a finished training: 2 of 34 networks." in said(figure)


def test_a_network_is_named_after_the_dimension_with_more_than_half() -> None:
    table = SEARCHES["failures"].coefficients.sort_values("candidate")
    first = dominating(table[table["candidate"].between(1, 6)])
    assert list(first) == ["depth", "width", "resolution", "mixed", "mixed", "width"]


def test_members_off_their_ray_are_hollow_and_an_early_end_is_said() -> None:
    figure = family_curves(families(), SEARCHED, objective=VAL_ACCURACY, equal="epochs")
    white = [
        len(np.asarray(collection.get_offsets()))
        for collection in scattered(figure)
        if np.asarray(collection.get_facecolor()).min() == 1
    ]
    assert sum(white) == 1
    assert "Resolution ends at 2 times the base network's cost: the data have" in said(figure)
    goes_on = families().assign(ends_at_native_resolution=False, is_on_ray=True)
    assert "pixels" not in said(
        family_curves(goes_on, SEARCHED, objective=VAL_ACCURACY, equal="epochs")
    )
    assert "off its ray" not in said(
        family_curves(goes_on, SEARCHED, objective=VAL_ACCURACY, equal="epochs")
    )


def test_families_with_the_same_networks_are_both_seen() -> None:
    table = families()
    again = table[table["family"] == "resolution"].assign(family="compound")
    both = pd.concat([again, table[table["family"] != "compound"]])
    figure = family_curves(both, SEARCHED, objective=VAL_ACCURACY, equal="epochs")
    assert "Compound and resolution scale to the same networks." in said(figure)
    ends = both.loc[both["family"].eq("compound") & both["phi"].eq(1), "flops"].iloc[0]
    marks = [c for c in scattered(figure) if np.asarray(c.get_offsets())[0, 0] == ends]
    sizes = [c.get_sizes()[0] for c in marks]
    assert len(sizes) == 2
    assert sizes[0] > 2 * sizes[1]
    lines = [line for line in figure.axes[0].lines if np.asarray(line.get_xdata())[-1] == ends]
    dashes = [line.get_linestyle() for line in lines if line.get_linestyle() != "None"]
    assert dashes == ["--", "--"]
    assert "same networks" not in said(
        family_curves(table, SEARCHED, objective=VAL_ACCURACY, equal="epochs")
    )


def test_marks_differ_for_colour_blind_readers_too() -> None:
    # Machado, Oliveira & Fernandes 2009: linear RGB as without one kind of cone.
    blind = [
        [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
        [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
        [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
    ]
    colours = np.array([to_rgb(colour) for colour in (*COLOURS.values(), INK, GREY)])
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    for seen in (np.eye(3), *map(np.array, blind)):
        lab = cie_lab(np.clip(linear @ seen.T, 0, 1))
        for name in ("rule", "network"):
            at = list(COLOURS).index(name)
            others = np.delete(lab, at, axis=0)
            assert np.linalg.norm(others - lab[at], axis=1).min() > 20  # 2 can just be seen


def cie_lab(linear: np.ndarray) -> np.ndarray:
    """CIE 1976 L*a*b* of linear sRGB, (colours, 3)."""
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = linear @ np.array(to_xyz).T / np.array([0.9505, 1, 1.089])
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116).T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1)


def test_the_published_family_is_drawn_as_published() -> None:
    figure = published_family(PUBLISHED)
    v5, icml = (np.asarray(line.get_xydata())[[0, -1]] for line in figure.axes[0].lines)
    # Tan & Le, Table 2: B0 and B7 in arXiv v5 and at ICML 2019.
    np.testing.assert_allclose(v5, np.array([(0.39e9, 0.771), (37e9, 0.843)]))
    np.testing.assert_allclose(icml, np.array([(0.39e9, 0.763), (37e9, 0.844)]))
    assert "arXiv:1905.11946v5" in said(figure)


POINTS = st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9)), max_size=30)


@given(POINTS)
def test_the_pareto_front_is_what_no_point_beats(pairs: list[tuple[int, int]]) -> None:
    costs, values = [c for c, _ in pairs], [v for _, v in pairs]
    front = pareto_front(costs, values)

    def beaten(i: int) -> bool:
        return any(c <= costs[i] and v >= values[i] and (c, v) != pairs[i] for c, v in pairs)

    assert sorted(front) == [i for i in range(len(pairs)) if not beaten(i)]
    assert [costs[i] for i in front] == sorted(costs[i] for i in front)
    assert [values[i] for i in front] == sorted(values[i] for i in front)


def test_within_the_tolerance_of_cost_there_is_no_front() -> None:
    costs, values = [1.0, 1.04, 1.2], [0.8, 0.9, 0.95]
    assert pareto_front(costs, values) == [0, 1, 2]
    assert pareto_front(costs, values, tolerance=0.05) == [1, 2]


def test_networks_of_one_cost_have_no_pareto_front() -> None:
    table = SEARCHES["nine networks, one seed"].coefficients
    assert "Pareto front of means" not in said(
        accuracy_over_flops(table, objective=VAL_ACCURACY, equal="epochs")
    )
    spread = table.assign(flops=table["flops"] * np.linspace(1, 2, len(table)))
    assert "Pareto front of means" in said(
        accuracy_over_flops(spread, objective=VAL_ACCURACY, equal="epochs")
    )


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=12), st.booleans())
def test_points_moved_apart_keep_their_distance(pairs: list[tuple[int, int]], level: bool) -> None:
    places = np.array(pairs, dtype=float).reshape(-1, 2).T
    moved = apart(places, 0.1, level=level)
    for (x, y), (other_x, other_y) in combinations(moved.T, 2):
        assert np.hypot(x - other_x, y - other_y) > 0.09
    assert np.abs(moved - places).max(initial=0) <= 0.1 * len(pairs)
    if level:
        np.testing.assert_allclose(moved[1], places[1])


@given(st.lists(st.floats(0.8, 0.9), min_size=8, max_size=40))
def test_the_fence_leaves_the_middle_half_inside(values: list[float]) -> None:
    low, high = fence(pd.Series(values))
    assert low <= np.quantile(values, 0.25)
    assert high >= np.quantile(values, 0.75)


def test_equal_tables_give_equal_bytes(tmp_path: Path) -> None:
    for folder in ("first", "second"):
        again = tables(33, 3, failed=[(4, 1)])
        save(
            accuracy_over_flops(again.coefficients, objective=VAL_ACCURACY, equal="epochs"),
            tmp_path / folder,
            "accuracy",
        )
        save(
            triangle_of_shares(again.coefficients, VAL_LOSS, equal="epochs"),
            tmp_path / folder,
            "triangle",
        )
    names = sorted(path.name for path in (tmp_path / "first").iterdir())
    assert names == ["accuracy.png", "accuracy.svg", "triangle.png", "triangle.svg"]
    for name in names:
        first, second = (tmp_path / folder / name for folder in ("first", "second"))
        assert first.read_bytes() == second.read_bytes()


def test_drawing_leaves_the_settings_of_matplotlib_alone(tmp_path: Path) -> None:
    before = dict(mpl.rcParams)
    save(
        training_curves(SEARCHES["one network"].curves, objective=VAL_ACCURACY, equal="epochs"),
        tmp_path,
        "curves",
    )
    assert dict(mpl.rcParams) == before


def test_a_file_is_replaced_whole_and_nothing_else_is_left(tmp_path: Path) -> None:
    replace_file(tmp_path / "new" / "table.csv", b"old")
    replace_file(tmp_path / "new" / "table.csv", b"new")
    assert [(p.name, p.read_bytes()) for p in (tmp_path / "new").iterdir()] == [
        ("table.csv", b"new")
    ]


def test_a_file_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file where the folder should be")
    with pytest.raises(RuntimeError, match=r"table\.csv must be writable, got 'File exists'"):
        replace_file(tmp_path / "taken" / "table.csv", b"")
    (tmp_path / "table.csv").mkdir()
    with pytest.raises(RuntimeError, match=r"table\.csv must be writable"):
        replace_file(tmp_path / "table.csv", b"")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["table.csv", "taken"]
