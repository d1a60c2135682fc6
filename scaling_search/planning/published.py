"""Tables of scaled networks, published or a user's own, with their costs and the rule's."""

import math
from collections.abc import Sequence
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

READERS_PHI = dict(
    zip(("B0", "B1", "B2", "B3", "B4", "B5", "B6", "B7"), (0, 0.5, 1, 2, 3.5, 5, 6, 7), strict=True)
)
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
    table = _reference("scaling_mobilenet_resnet.csv")
    name = SCALED_BY_THE_PAPER.get(_flops(base_network))
    rows = table[table["model"] == name].to_dict("records")
    return pd.DataFrame([row | _scaled(base_network, row["d"], row["w"], row["r"]) for row in rows])


def _scaled(base_network: Architecture, d: float, w: float, r: float) -> dict[str, object]:
    if math.isnan(d + w + r):
        return {"flops": math.nan, "layers": "", "resolution": math.nan}
    built = base_network.scaled(Multipliers(d, w, r))
    layers = "-".join(str(num) for num in built.num_layers)
    return {"flops": _flops(built), "layers": layers, "resolution": built.resolution}


def _reference(name: str) -> pd.DataFrame:
    with (files("scaling_search.planning") / "reference" / name).open() as lines:
        return pd.read_csv(lines)


def _flops(architecture: Architecture) -> int:
    return sum(layer.flops for layer in architecture.layers())


def published_family() -> pd.DataFrame:
    """B0 to B7 as published, one row each, the base network first, and a reader's ``phi``.

    Source: the column ``source`` of `reference/efficientnet_family.csv`; `READERS_PHI`.
    """
    family = _reference("efficientnet_family.csv")
    return family.assign(phi=family["variant"].map(READERS_PHI))


@dataclass(frozen=True, eq=False)
class AuditInput:
    """A table of scaled networks, and the rule that it is compared with.

    Attributes:
        variants: As `audited_table` takes them.
        rule: The coefficients; None if they are not known.
        source: Origin of the rows: ``family``, the paper's B0 to B7 on their own base network;
            ``multipliers``, the same on another one; ``table_3``; or ``own``.
        is_fitted: True if the rule was fitted to the rows.
        unstated: Names of rows that state no multipliers and are left out.
    """

    variants: pd.DataFrame
    rule: Coefficients | None
    source: str
    is_fitted: bool = False
    unstated: tuple[str, ...] = ()


def audit_input(
    base_network: Architecture, table: str | None, given: Coefficients | None
) -> AuditInput:
    """The rows to audit: a user's own table, or those published for this base network.

    Without a table the rows are those that Tan & Le 2019 published for this base network: their
    own family for B0, Table 3 for the networks in it. Any other gets the family's multipliers.

    Args:
        base_network: The network whose multipliers are 1.
        table: A CSV file, as `read_variants` reads it.
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


def audited_table(
    base_network: Architecture, cost: Cost, rule: Coefficients | None, variants: pd.DataFrame
) -> pd.DataFrame:
    """A row for each variant: its multipliers, the rule's, and the costs of both.

    Costs are in closed form; no network is built. Unknown numbers are NaN. Columns:

    - ``variant``, ``phi``: the table's own, else the binary logarithm of the real cost ratio;
    - ``depth``, ``width`` (multipliers) and ``resolution`` (pixels, as built);
    - ``rule_depth``, ``rule_width``, ``rule_resolution``: ``rule`` to the power of ``phi``, nothing
      rounded, and ``rule_cost_ratio``: the cost of the network they round to;
    - ``phi_from_depth``, ``phi_from_width``, ``phi_from_resolution``: the phi at which the rule
      would give each one;
    - ``off_depth``, ``off_width``, ``off_resolution``: the multipliers over the rule's, less 1;
    - ``nominal_depth_share`` and so on, of the multipliers, and ``depth_share`` and so on, as
      built; NaN for the base network;
    - ``nominal_flops_ratio``, ``cost_ratio``, ``flops`` and ``params``;
    - ``published_flops`` and ``published_params``, where the table has them.

    Args:
        base_network: The network whose multipliers are 1.
        cost: The cost of the ratios.
        rule: Coefficients that the variants should follow, if there are any.
        variants: As `read_variants` gives them.

    Raises:
        ValueError: The base network cannot be scaled so far down.
    """
    resolutions = resolution_multipliers(variants, base_network.resolution)
    rows = []
    for row, resolution in zip(variants.to_dict("records"), resolutions, strict=True):
        multipliers = Multipliers(row["depth"], row["width"], resolution)
        phi = row.get("phi", math.nan)
        audited = _row(base_network, cost, rule, multipliers, phi=phi, variant=row["variant"])
        published = {f"published_{k}": row[k] for k in ("flops", "params") if k in row}
        rows.append(audited | published)
    return pd.DataFrame(rows)


def rule_as_built(base_network: Architecture, cost: Cost, rule: Coefficients) -> pd.DataFrame:
    """The network of the rule at phi 1, as one row with the columns of `audited_table`."""
    multipliers = rule.multipliers(1.0)
    row = _row(base_network, cost, rule, multipliers, phi=1.0, variant="rule, phi = 1")
    return pd.DataFrame([row])


def _row(
    base_network: Architecture,
    cost: Cost,
    rule: Coefficients | None,
    multipliers: Multipliers,
    *,
    phi: float,
    variant: str,
) -> dict[str, object]:
    try:
        built = _scaled_within_limits(base_network, multipliers)
    except ValueError as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"audit.table must have multipliers that the base network can be scaled by, got "
            f"{variant!r} with depth {multipliers.depth:g}, width {multipliers.width:g}, "
            f"resolution {multipliers.resolution:g} ({reason}); leave the row out"
        ) from error
    base_cost = cost.estimate(base_network)
    ratio = cost.estimate(built) / base_cost
    phi = math.log2(ratio) if math.isnan(phi) else phi
    nan = (math.nan,) * len(DIMENSIONS)
    by_rule = Multipliers(*nan) if rule is None else rule.multipliers(phi)
    bases = nan if rule is None else (rule.alpha, rule.beta, rule.gamma)
    try:
        rule_cost = cost.estimate(_scaled_within_limits(base_network, by_rule))
    except ValueError:  # too far, or there is no rule
        rule_cost = math.nan
    alone = [base_network.scaled(multipliers.alone(dimension)) for dimension in DIMENSIONS]
    as_built = [math.log(cost.estimate(network) / base_cost) for network in alone]
    nominal = [math.log(multipliers.alone(d).nominal_flops_ratio) for d in DIMENSIONS]
    each = {d: (getattr(multipliers, d), getattr(by_rule, d)) for d in DIMENSIONS}
    return {
        "variant": variant,
        "phi": phi,
        "depth": multipliers.depth,
        "width": multipliers.width,
        "resolution": built.resolution,
        "rule_depth": by_rule.depth,
        "rule_width": by_rule.width,
        "rule_resolution": base_network.resolution * by_rule.resolution,
        "rule_cost_ratio": rule_cost / base_cost,
        **{
            f"phi_from_{d}": math.nan if base == 1 else math.log(mine) / math.log(base)
            for (d, (mine, _)), base in zip(each.items(), bases, strict=True)
        },
        **{f"off_{d}": mine / its - 1 for d, (mine, its) in each.items()},
        **_shares("nominal_", nominal),
        **_shares("", as_built if ratio != 1 else nan),
        "nominal_flops_ratio": multipliers.nominal_flops_ratio,
        "cost_ratio": ratio,
        "flops": _flops(built),
        "params": sum(layer.params for layer in built.layers()),
    }


def _scaled_within_limits(base_network: Architecture, multipliers: Multipliers) -> Architecture:
    low, high = MULTIPLIERS
    if not all(low <= getattr(multipliers, dimension) <= high for dimension in DIMENSIONS):
        raise ValueError(f"multipliers must be from {low:g} to {high:g}")
    return base_network.scaled(multipliers)


def _shares(prefix: str, logs: Sequence[float]) -> dict[str, float]:
    """The columns of the split of three logs of cost; NaN where they sum to 0."""
    try:
        shares = tuple(Shares.of_logs(*logs))
    except ValueError:  # what one dimension adds is what another takes
        shares = (math.nan,) * 3
    return {f"{prefix}{d}_share": share for d, share in zip(DIMENSIONS, shares, strict=True)}
