"""Published networks beside ours: EfficientNets and their own rule, and others that it scaled."""

import math
from importlib.resources import files

import pandas as pd

from scaling_search.candidates import Costed
from scaling_search.protocols import Architecture, Cost
from scaling_search.scaling import DIMENSIONS, Coefficients, Multipliers, Shares

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
    with (files("scaling_search") / "reference" / "scaling_mobilenet_resnet.csv").open() as lines:
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
    with (files("scaling_search") / "reference" / "efficientnet_family.csv").open() as lines:
        family = pd.read_csv(lines)
    return family.assign(phi=family["variant"].map(READERS_PHI))


def audit(
    base_network: Architecture, cost: Cost, coefficients: Coefficients, variants: pd.DataFrame
) -> pd.DataFrame:
    """One row for each published variant: its multipliers, what the rule gives, what both cost.

    Costs are in closed form; no network is built. Columns:

    - ``variant``, ``phi``; ``depth``, ``width`` (multipliers) and ``resolution`` (pixels);
    - ``rule_depth``, ``rule_width``, ``rule_resolution``: ``coefficients`` to the power of
      ``phi``, nothing rounded, and ``rule_flops_ratio``: the cost of the network they round to;
    - ``phi_from_depth``, ``phi_from_width``, ``phi_from_resolution``: the phi at which the rule
      would give each one;
    - ``nominal_depth_share`` and so on, of the multipliers, and ``depth_share`` and so on, as
      built; not a number for the base network;
    - ``nominal_flops_ratio``, ``flops_ratio``, ``flops`` and ``params``.

    Args:
        base_network: The network whose multipliers are 1.
        cost: What the ratios are of.
        coefficients: The rule.
        variants: Columns variant, phi, depth, width, resolution; the base network's row first.
    """
    costed = Costed(base_network, cost, 1.0)
    base_resolution = int(variants["resolution"].iloc[0])
    return pd.DataFrame(
        [
            _row(
                costed,
                coefficients,
                variant=row["variant"],
                phi=row["phi"],
                multipliers=Multipliers(
                    row["depth"], row["width"], row["resolution"] / base_resolution
                ),
            )
            for row in variants.to_dict("records")
        ]
    )


def rule_as_built(
    base_network: Architecture, cost: Cost, coefficients: Coefficients, *, phi: float = 1.0
) -> pd.DataFrame:
    """The network that the rule itself gives at ``phi``, as one row with the columns of `audit`."""
    row = _row(
        Costed(base_network, cost, 1.0),
        coefficients,
        variant=f"rule, phi = {phi:g}",
        phi=phi,
        multipliers=coefficients.multipliers(phi),
    )
    return pd.DataFrame([row])


def _row(
    costed: Costed,
    coefficients: Coefficients,
    *,
    variant: str,
    phi: float,
    multipliers: Multipliers,
) -> dict[str, object]:
    built = costed.candidate(multipliers, multipliers, multipliers)
    rule = coefficients.multipliers(phi)
    is_base = multipliers == Multipliers(1.0, 1.0, 1.0)
    undefined = (math.nan,) * len(DIMENSIONS)
    nominal = undefined if is_base else Shares.nominal(multipliers)
    bases = (coefficients.alpha, coefficients.beta, coefficients.gamma)
    row: dict[str, object] = {
        "variant": variant,
        "phi": phi,
        "depth": multipliers.depth,
        "width": multipliers.width,
        "resolution": built.architecture.resolution,
        "rule_depth": rule.depth,
        "rule_width": rule.width,
        "rule_resolution": costed.base_network.resolution * rule.resolution,
        "rule_flops_ratio": costed.ratio(costed.base_network.scaled(rule)),
    }
    for dimension, coefficient in zip(DIMENSIONS, bases, strict=True):
        row[f"phi_from_{dimension}"] = _phi(getattr(multipliers, dimension), coefficient)
    for dimension, share in zip(DIMENSIONS, nominal, strict=True):
        row[f"nominal_{dimension}_share"] = share
    for dimension, share in zip(DIMENSIONS, built.shares or undefined, strict=True):
        row[f"{dimension}_share"] = share
    for name in ("nominal_flops_ratio", "flops_ratio", "flops", "params"):
        row[name] = getattr(built, name)
    return row


def _phi(multiplier: float, coefficient: float) -> float:
    """The power of the coefficient that gives the multiplier; a coefficient of 1 has none."""
    return math.log(multiplier) / math.log(coefficient) if coefficient > 1 else math.nan
