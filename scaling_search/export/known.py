"""All that is known of an export, from the record alone, and the same as YAML."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from scaling_search.answer.conclusions import Conclusion
from scaling_search.export.family import Weights
from scaling_search.export.members import COEFFICIENTS, Member
from scaling_search.follow_ups.tested import Contrast, over_seeds
from scaling_search.passwords import without_password
from scaling_search.record.results import METRICS
from scaling_search.record.study import Objective
from scaling_search.scaling import DIMENSIONS
from scaling_search.sections import Section

PLACES = ("path", "root", "url")
"""Options of data that say where they lie, which is nobody else's business."""


@dataclass(frozen=True, eq=False)
class Known:
    """All that an export says, as values.

    Attributes:
        name: Of the experiment.
        objective: The metric that decides.
        cost: What was held equal, by its column.
        target: Cost over the base network's.
        tolerance: Half the width of the band around it, a fraction.
        base_network: Class and options.
        data: Class and options.
        licence: Of the data.
        recipe: Options.
        planned: Trainings that the search could do.
        found: Number of the network that was found.
        why: It is the one.
        conclusion: What the search's trainings say.
        members: The base network first, then the found one.
        means: A row for each network, with means over seeds.
        search: A row for each training of the search.
        trained: The same of the search and of the families.
        contrasts: Of the found network on splits with fresh seeds; empty before the test split
            was looked at, or where another network was found then.
        tested: The same in words; None as above.
        looks: How often the test split was looked at.
        confirmed: A row for each training with fresh seeds.
        weights: Files by network.
        images: Number in each split, where a training left it.
        fingerprint: Of the data.
    """

    name: str
    objective: Objective
    cost: str
    target: float
    tolerance: float
    base_network: Mapping[str, object]
    data: Mapping[str, object]
    licence: str
    recipe: Mapping[str, object]
    planned: int
    found: int
    why: str
    conclusion: Conclusion
    members: Sequence[Member]
    means: pd.DataFrame
    search: pd.DataFrame
    trained: pd.DataFrame
    contrasts: Sequence[Contrast]
    tested: Section | None
    looks: int
    confirmed: pd.DataFrame
    weights: Mapping[str, Sequence[Weights]]
    images: Mapping[str, int]
    fingerprint: str

    @property
    def is_guess(self) -> bool:
        """Whether any split may be the best."""
        answer = self.conclusion.answer
        return answer is None or answer.region.is_everything


def coefficients_yaml(known: Known) -> str:
    """What was found, for machines."""
    found = known.members[1]
    row = found.row
    values: dict[str, object] = {
        "experiment": known.name,
        "found": {
            "candidate": known.found,
            "why": known.why,
            "is_a_guess": known.is_guess,
            "phi": found.phi,
            "coefficients": {
                name: {
                    "value": _number(row[name]),
                    "lowest": _number(row[f"{name}_low"]),
                    "highest": _number(row[f"{name}_high"]),
                }
                for name in COEFFICIENTS
            },
            "shares": {d: _number(row[f"{d}_share"]) for d in DIMENSIONS},
            "network": found.network,
            "resolution": int(found.number("resolution")),
            "cost": {
                "held_equal": known.cost,
                "target": known.target,
                "tolerance": known.tolerance,
                "ratio": _number(row.get("cost_ratio", row["flops_ratio"])),
                "flops_ratio": _number(row["flops_ratio"]),
                "nominal_flops_ratio": _number(row["nominal_flops_ratio"]),
                "flops": int(found.number("flops")),
                "params": int(found.number("params")),
                "activations": int(found.number("activations")),
            },
        },
        "gains": gains(known),
        "region": _region(known),
        "base_network": dict(known.base_network),
        "data": {**shown(known.data), "licence": known.licence, "fingerprint": known.fingerprint},
        "recipe": dict(known.recipe),
        "seeds": {
            "search": seeds_of(known.search),
            "families": seeds_of(known.trained[len(known.search) :]),
            "confirm": seeds_of(known.confirmed),
        },
        "trainings": {"planned": known.planned, **ended(known.search)},
        "versions": versions(known),
    }
    if known.images:
        data = values["data"]
        assert isinstance(data, dict)
        data["images"] = dict(known.images)
    head = (
        "# What a search for scaling coefficients found. Multipliers of depth, width and\n"
        "# resolution are the coefficients to the phi; every value from lowest to highest rounds\n"
        "# to the same network. Gains are better above 0, with 95 % intervals.\n"
    )
    text: str = yaml.safe_dump(
        plain(values), sort_keys=False, default_flow_style=None, width=100, allow_unicode=True
    )
    return head + text


def gains(known: Known) -> list[dict[str, object]]:
    """By how much the found network is better than others, and by which trainings."""
    said: list[dict[str, object]] = [
        {
            "over": one.other,
            "split": one.split,
            "measure": one.measure.removeprefix("val_"),
            "by": "fresh seeds",
            "seeds": one.pairs,
            "mean": one.better_by.mean,
            "low": one.better_by.low,
            "high": one.better_by.high,
            "verdict": one.verdict,
        }
        for one in known.contrasts
    ]
    for metric in sorted(METRICS, key=lambda one: one != known.objective):
        differences = _over_base(known, metric)
        if len(differences) == 0:
            continue
        estimate = over_seeds(differences) if len(differences) > 1 else None
        said.append(
            {
                "over": "base",
                "split": "validation",
                "measure": metric.removeprefix("val_"),
                "by": "seeds of the search, which chose the network by them",
                "seeds": len(differences),
                "mean": float(differences.mean()),
                "low": None if estimate is None else estimate.low,
                "high": None if estimate is None else estimate.high,
                "verdict": None,
            }
        )
    return said


def _over_base(known: Known, metric: str) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    """The search's gains of the found network within each seed that the base network shares."""
    ended = known.search[known.search["state"] == "COMPLETE"]
    by_seed = ended.pivot_table(index="seed", columns="candidate", values=metric)
    if known.found not in by_seed or 0 not in by_seed:
        return np.empty(0)
    sign = 1 if metric == "val_accuracy" else -1
    return (sign * (by_seed[known.found] - by_seed[0])).dropna().to_numpy(dtype=np.float64)


def _region(known: Known) -> dict[str, object] | None:
    """Where the best split can be; None where no surface is fitted."""
    answer = known.conclusion.answer
    if answer is None:
        return None
    region = answer.region
    return {
        "best": dict(zip(DIMENSIONS, region.best, strict=True)),
        "lowest": dict(zip(DIMENSIONS, region.low, strict=True)),
        "highest": dict(zip(DIMENSIONS, region.high, strict=True)),
        "is_everything": region.is_everything,
        "networks": len(answer.possible),
        "of_networks": len(region.networks),
    }


def versions(known: Known) -> dict[str, object]:
    """What trained, and when."""
    results = pd.concat([known.trained, known.confirmed])
    said: dict[str, object] = {}
    for column, title in (
        ("version", "scaling_search"),
        ("commit", "commit"),
        ("versions", "trained_with"),
        ("device", "device"),
    ):
        if column in results:
            said[title] = ", ".join(sorted({str(v) for v in results[column].dropna() if v}))
    if "finished" in results:
        said["trained_from"] = str(results["finished"].min())
        said["trained_until"] = str(results["finished"].max())
    return said


def seeds_of(results: pd.DataFrame) -> list[int]:
    """The seeds of some trainings, each once."""
    return sorted({int(seed) for seed in results["seed"]}) if len(results) else []


def ended(results: pd.DataFrame) -> dict[str, int]:
    """How many trainings ended, and how many failed."""
    failed = int((results["state"] != "COMPLETE").sum())
    return {"ended": len(results) - failed, "failed": failed}


def shown(data: Mapping[str, object]) -> dict[str, object]:
    """Options of data without folders of this machine."""

    def without_place(key: str, value: object) -> object:
        if key not in PLACES or not isinstance(value, str):
            return value
        is_here = Path(value).is_absolute() or Path(value).exists() or "://" in value
        return Path(without_password(value)).name if is_here else value

    return {key: without_place(key, value) for key, value in data.items()}


def _number(value: object) -> float | None:
    number = math.nan if value is None else float(str(value))
    return None if math.isnan(number) else number


def plain(value: object) -> object:
    """The same of what YAML can hold; seven digits as in tables."""
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, float | np.floating) and not isinstance(value, bool):
        return float(f"{float(value):.7g}")
    if value is None or isinstance(value, bool | int | str):
        return value
    return str(value)
