"""Tables of scaled networks, published or one's own: what rows cost, and what rule they follow."""

import math
from dataclasses import dataclass
from importlib.resources import files

import pandas as pd

from scaling_search.core.network import Architecture
from scaling_search.core.protocols import Cost
from scaling_search.core.scaling import DIMENSIONS, PAPER, Coefficients, Multipliers, Shares
from scaling_search.planning.multiplier_table import (
    MULTIPLIERS,
    fitted,
    read_variants,
    resolution_multipliers,
)

READERS_PHI = {
    "B0": 0.0,
    "B1": 0.5,
    "B2": 1.0,
    "B3": 2.0,
    "B4": 3.5,
    "B5": 5.0,
    "B6": 6.0,
    "B7": 7.0,
}
"""The compound coefficient of each variant. The paper gives none; these are a reader's fit to the
published multipliers. Source: tensorflow/tpu#390."""


SCALED_BY_THE_PAPER = {
    568_740_352: "MobileNetV1",
    300_774_272: "MobileNetV2",
    4_089_184_256: "ResNet-50",
}
"""Base networks of Tan & Le 2019, Table 3, by their multiply-adds; so any other option shows."""


def published_scalings(base_network: Architecture) -> pd.DataFrame:
    """Table 3's ways of scaling this base network, a row each; none for a network not in it.

    Columns: ``model``, ``method``; the multipliers ``d``, ``w``, ``r``; ``flops_paper_b``, in
    billions, as published; ``flops``, in closed form, of the network that the multipliers round
    to, with its ``layers`` and ``resolution``; the last three missing where the table has no
    multipliers.

    Source: the column ``source`` of `reference/scaling_mobilenet_resnet.csv`.
    """
    with (
        files("scaling_search.planning") / "reference" / "scaling_mobilenet_resnet.csv"
    ).open() as lines:
        table = pd.read_csv(lines)
    name = SCALED_BY_THE_PAPER.get(_flops(base_network))
    rows = table[table["model"] == name].to_dict("records")
    return pd.DataFrame([row | _scaled(base_network, row["d"], row["w"], row["r"]) for row in rows])


def _scaled(base_network: Architecture, d: float, w: float, r: float) -> dict[str, object]:
    if math.isnan(d + w + r):
        return {"flops": math.nan, "layers": "", "resolution": math.nan}
    built = base_network.scaled(Multipliers(d, w, r))
    layers = "-".join(str(num) for num in built.num_layers)
    return {"flops": _flops(built), "layers": layers, "resolution": built.resolution}


def _flops(architecture: Architecture) -> int:
    return sum(layer.flops for layer in architecture.layers())


def published_family() -> pd.DataFrame:
    """B0 to B7 as published, one row each, the base network first, and a reader's ``phi``.

    Source: the column ``source`` of `reference/efficientnet_family.csv`; `READERS_PHI`.
    """
    with (
        files("scaling_search.planning") / "reference" / "efficientnet_family.csv"
    ).open() as lines:
        family = pd.read_csv(lines)
    return family.assign(phi=family["variant"].map(READERS_PHI))


@dataclass(frozen=True, eq=False)
class AuditInput:
    """A table of scaled networks, and the rule that it is held against.

    Attributes:
        variants: As `audit` takes them.
        rule: The coefficients; None where there is nothing to say what they would be.
        source: Where the rows come from: ``family``, the paper's B0 to B7 on their own base
            network; ``multipliers``, the same on another one; ``table_3``; or ``own``.
        is_fitted: Whether the rule was fitted to the rows.
        unstated: Rows that state no multipliers and are left out.
    """

    variants: pd.DataFrame
    rule: Coefficients | None
    source: str
    is_fitted: bool = False
    unstated: tuple[str, ...] = ()


def audit_input(
    base_network: Architecture, table: str | None, given: Coefficients | None
) -> AuditInput:
    """The rows to audit: a person's own table, or what was published.

    Without a table the rows are those that Tan & Le 2019 published for this base network: their
    own family for B0, Table 3 for the networks in it. Any other gets the family's multipliers.

    Args:
        base_network: The network whose multipliers are 1.
        table: A CSV file, as `variants.read_variants` reads it.
        given: The rule, if the caller has one.

    Raises:
        RuntimeError: The file cannot be read.
        ValueError: It does not hold such a table.
    """
    if table is not None:
        variants = read_variants(table)
        fit = fitted(variants, base_network.resolution) if given is None else None
        return AuditInput(variants, given or fit, "own", is_fitted=fit is not None)
    if not (scalings := published_scalings(base_network)).empty:
        stated = scalings["flops"].notna()
        variants = scalings[stated].rename(
            columns={"method": "variant", "d": "depth", "w": "width", "r": "resolution_multiplier"}
        )
        variants["flops"] = variants["flops_paper_b"] * 1e9
        columns = ["variant", "depth", "width", "resolution_multiplier", "flops"]
        unstated = tuple(scalings.loc[~stated, "method"])
        rows = variants[columns].reset_index(drop=True)
        return AuditInput(rows, given, "table_3", unstated=unstated)
    source = "family" if _flops(base_network) == FLOPS_OF_B0 else "multipliers"
    return AuditInput(published_family()[FAMILY_COLUMNS], given or PAPER, source)


FLOPS_OF_B0 = 385_814_752
"""The paper's base network by its multiply-adds. Source: docs/sources.md, the published family."""

FAMILY_COLUMNS = ["variant", "phi", "depth", "width", "resolution"]


class Costs:
    """Costs over a base network's, in closed form; that of each dimension alone is kept."""

    def __init__(self, base_network: Architecture, cost: Cost) -> None:
        self.base_network = base_network
        self._cost = cost
        self._of_base = cost.estimate(base_network)
        self._logs: dict[Multipliers, float] = {}

    def ratio(self, architecture: Architecture) -> float:
        """Cost over the base network's."""
        return self._cost.estimate(architecture) / self._of_base

    def shares(self, multipliers: Multipliers, ratio: float) -> tuple[float, ...]:
        """The split as built of a network of this cost; undefined for the base network's own."""
        if ratio == 1:
            return UNDEFINED
        try:
            return tuple(Shares.of_logs(*(self._log(multipliers.alone(d)) for d in DIMENSIONS)))
        except ValueError:  # what one dimension adds is what another takes
            return UNDEFINED

    def _log(self, multipliers: Multipliers) -> float:
        if multipliers not in self._logs:
            self._logs[multipliers] = math.log(self.ratio(self.base_network.scaled(multipliers)))
        return self._logs[multipliers]


UNDEFINED = (math.nan,) * len(DIMENSIONS)


def audited_table(
    base_network: Architecture, cost: Cost, rule: Coefficients | None, variants: pd.DataFrame
) -> pd.DataFrame:
    """One row for each variant: its multipliers, what the rule gives, what both cost.

    Costs are in closed form; no network is built. What a row or the rule does not tell is not a
    number. Columns:

    - ``variant``, ``phi``: the table's own, else the binary logarithm of the real cost ratio;
    - ``depth``, ``width`` (multipliers) and ``resolution`` (pixels, as built);
    - ``rule_depth``, ``rule_width``, ``rule_resolution``: ``rule`` to the power of ``phi``, nothing
      rounded, and ``rule_cost_ratio``: the cost of the network they round to;
    - ``phi_from_depth``, ``phi_from_width``, ``phi_from_resolution``: the phi at which the rule
      would give each one;
    - ``off_depth``, ``off_width``, ``off_resolution``: the multipliers over the rule's, less 1;
    - ``nominal_depth_share`` and so on, of the multipliers, and ``depth_share`` and so on, as
      built; not a number for the base network;
    - ``nominal_flops_ratio``, ``cost_ratio``, ``flops`` and ``params``;
    - ``published_flops`` and ``published_params``, where the table has them.

    Args:
        base_network: The network whose multipliers are 1.
        cost: What the ratios are of.
        rule: Coefficients that the variants should follow, if there are any.
        variants: As `variants.read_variants` gives them.

    Raises:
        ValueError: The base network cannot be scaled so far down.
    """
    costs = Costs(base_network, cost)
    resolutions = resolution_multipliers(variants, base_network.resolution)
    return pd.DataFrame(
        [
            _row(
                costs,
                rule,
                variant=row["variant"],
                phi=row.get("phi", math.nan),
                multipliers=Multipliers(row["depth"], row["width"], resolution),
                published={k: row[k] for k in ("flops", "params") if k in row},
            )
            for row, resolution in zip(variants.to_dict("records"), resolutions, strict=True)
        ]
    )


def rule_as_built(
    base_network: Architecture, cost: Cost, coefficients: Coefficients, *, phi: float = 1.0
) -> pd.DataFrame:
    """The network that the rule itself gives at ``phi``, as one row with the columns of `audit`."""
    row = _row(
        Costs(base_network, cost),
        coefficients,
        variant=f"rule, phi = {phi:g}",
        phi=phi,
        multipliers=coefficients.multipliers(phi),
        published={},
    )
    return pd.DataFrame([row])


def _row(
    costs: Costs,
    coefficients: Coefficients | None,
    *,
    variant: str,
    phi: float,
    multipliers: Multipliers,
    published: dict[str, float],
) -> dict[str, object]:
    try:
        _check_span(multipliers)
        built = costs.base_network.scaled(multipliers)
        cost_ratio = costs.ratio(built)
        shares = costs.shares(multipliers, cost_ratio)
    except ValueError as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"audit.table must have multipliers that the base network can be scaled by, got "
            f"{variant!r} with depth {multipliers.depth:g}, width {multipliers.width:g}, "
            f"resolution {multipliers.resolution:g} ({reason}); leave the row out"
        ) from error
    phi = math.log2(cost_ratio) if math.isnan(phi) else phi
    row: dict[str, object] = {
        "variant": variant,
        "phi": phi,
        "depth": multipliers.depth,
        "width": multipliers.width,
        "resolution": built.resolution,
        **_of_rule(costs, coefficients, phi, multipliers),
    }
    for dimension, share in zip(DIMENSIONS, _nominal(multipliers), strict=True):
        row[f"nominal_{dimension}_share"] = share
    for dimension, share in zip(DIMENSIONS, shares, strict=True):
        row[f"{dimension}_share"] = share
    row |= {"nominal_flops_ratio": multipliers.nominal_flops_ratio, "cost_ratio": cost_ratio}
    row |= {"flops": _flops(built), "params": sum(layer.params for layer in built.layers())}
    return row | {f"published_{name}": count for name, count in published.items()}


def _nominal(multipliers: Multipliers) -> tuple[float, ...]:
    """The shares of the multipliers; undefined where their cost is the base network's."""
    try:
        return tuple(Shares.nominal(multipliers))
    except ValueError:  # depth that is taken back by width, for one
        return UNDEFINED


def _of_rule(
    costs: Costs, coefficients: Coefficients | None, phi: float, multipliers: Multipliers
) -> dict[str, object]:
    """What the rule gives at phi, and how far the multipliers are from it."""
    if coefficients is None:
        rule, bases = Multipliers(*UNDEFINED), UNDEFINED
    else:
        rule = coefficients.multipliers(phi)
        bases = (coefficients.alpha, coefficients.beta, coefficients.gamma)
    row: dict[str, object] = {
        "rule_depth": rule.depth,
        "rule_width": rule.width,
        "rule_resolution": costs.base_network.resolution * rule.resolution,
        "rule_cost_ratio": _ratio(costs, rule),
    }
    for dimension, coefficient in zip(DIMENSIONS, bases, strict=True):
        row[f"phi_from_{dimension}"] = _phi(getattr(multipliers, dimension), coefficient)
    for dimension in DIMENSIONS:
        row[f"off_{dimension}"] = getattr(multipliers, dimension) / getattr(rule, dimension) - 1
    return row


def _ratio(costs: Costs, rule: Multipliers) -> float:
    """The cost of the network that a rule rounds to; not a number where it goes too far."""
    try:
        _check_span(rule)
        return costs.ratio(costs.base_network.scaled(rule))
    except ValueError:
        return math.nan


def _check_span(multipliers: Multipliers) -> None:
    low, high = MULTIPLIERS
    if not all(low <= getattr(multipliers, dimension) <= high for dimension in DIMENSIONS):
        raise ValueError(f"multipliers must be from {low:g} to {high:g}")


def _phi(multiplier: float, coefficient: float) -> float:
    """The power of the coefficient that gives the multiplier; a coefficient of 1 has none."""
    undefined = math.isnan(coefficient) or coefficient == 1
    return math.nan if undefined else math.log(multiplier) / math.log(coefficient)
