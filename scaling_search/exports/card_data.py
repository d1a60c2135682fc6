"""The values of a model card, and the same as YAML."""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from scaling_search.answer.conclusions import Conclusion
from scaling_search.core.metric import Metric
from scaling_search.core.scaling import DIMENSIONS, Shares
from scaling_search.display.formatting import metrics_in
from scaling_search.experiment.experiment import Experiment
from scaling_search.experiment.options import Export
from scaling_search.exports.members import NamedNetwork, Training
from scaling_search.follow_ups.confirmation import Confirmation, over_seeds
from scaling_search.record.networks import COEFFICIENTS
from scaling_search.runtime.passwords import without_password
from scaling_search.training.weights import Facts

PLACES = ("path", "root", "url")
"""Options of data that name folders and addresses; they stay private."""

HEAD = """\
# The result of a search for scaling coefficients. rule: the best split by the fit, for other
# sizes. found: the network, best expected at the size of the search. A share is the part of
# the growth in cost (of its logarithm) that a dimension gets. The multipliers of depth, width
# and resolution are the coefficients to the power phi; any value from lowest to highest builds
# the same network.
# Gains above 0 are better; low and high are 95 % intervals.
"""


@dataclass(frozen=True, eq=False)
class CardData:
    """The values of a model card.

    Attributes:
        experiment: Every choice of the search.
        options: Files to write.
        fingerprint: Fingerprint of the data.
        planned: Number of planned trainings of the search.
        found: Number of the network to use at the search's size.
        why: Reason for its choice.
        rule: Shares of the split to scale other sizes with.
        why_rule: Reason for it.
        conclusion: Conclusion of the search's trainings.
        members: The base network first, then the network.
        means: Columns with means over seeds, by network.
        search: A row for each training of the search.
        scale: A row for each training of the families beyond it.
        confirm: A row for each training with fresh seeds.
        tested: The network with fresh seeds; None before the evaluation on the test split,
            or where another network was found then.
        looks: Number of evaluations on the test split.
        kept: Trainings whose weights were kept, with the facts of their files.
    """

    experiment: Experiment
    options: Export
    fingerprint: str
    planned: int
    found: int
    why: str
    rule: Shares
    why_rule: str
    conclusion: Conclusion
    members: Sequence[NamedNetwork]
    means: Mapping[str, Mapping[str, Any]]
    search: pd.DataFrame
    scale: pd.DataFrame
    confirm: pd.DataFrame
    tested: Confirmation | None
    looks: int
    kept: Mapping[Training, Facts] = field(default_factory=dict)

    @property
    def is_guess(self) -> bool:
        """True if any split may be the best."""
        answer = self.conclusion.answer
        return answer is None or answer.region.is_everything

    @property
    def metrics(self) -> list[Metric]:
        """The metrics of which the members have means."""
        return metrics_in(self.means[self.members[0].network], self.experiment.metric)

    @property
    def trained(self) -> pd.DataFrame:
        """A row for each training of the search and of the families."""
        return pd.concat([self.search, self.scale], ignore_index=True)

    def kept_of(self, member: NamedNetwork) -> list[tuple[Training, Facts]]:
        """The trainings of a network whose weights were kept, by seed."""
        return [one for one in self.kept.items() if one[0].member.network == member.network]


def values_of(data: CardData) -> dict[str, Any]:
    """The content of ``coefficients.yaml``, in types that YAML has."""
    experiment, found = data.experiment, data.members[1]
    row = found.candidate.row()
    columns = ("flops_ratio", "nominal_flops_ratio", "flops", "params", "activations")
    recipe = _options(experiment.recipe)
    del recipe["class"]
    values = {
        "experiment": experiment.name,
        "rule": {
            "why": data.why_rule,
            "is_a_guess": data.is_guess,
            "shares": dict(zip(DIMENSIONS, data.rule, strict=True)),
        },
        "found": {
            "candidate": data.found,
            "why": data.why,
            "phi": found.phi,
            "coefficients": {
                name: {
                    "value": row[name],
                    "lowest": row[f"{name}_low"],
                    "highest": row[f"{name}_high"],
                }
                for name in COEFFICIENTS
            },
            "shares": {dimension: row[f"{dimension}_share"] for dimension in DIMENSIONS},
            "network": found.network,
            "resolution": row["resolution"],
            "cost": {
                "held_equal": experiment.cost.column,
                "target": experiment.candidates.target,
                "tolerance": experiment.candidates.tolerance,
                "ratio": row.get("cost_ratio", row["flops_ratio"]),
                **{column: row[column] for column in columns},
            },
        },
        "gains": [*_fresh_gains(data), *_gains_of_the_search(data)],
        "region": _region(data.conclusion),
        "base_network": _options(experiment.base_network),
        "data": {
            **{
                key: _without_place(key, held) for key, held in _options(experiment.dataset).items()
            },
            "licence": getattr(experiment.dataset, "licence", "not stated"),
            "fingerprint": data.fingerprint,
            "images": next((facts.images for facts in data.kept.values()), {}),
        },
        "recipe": recipe,
        "seeds": {
            name: sorted({int(seed) for seed in results["seed"]}) if len(results) else []
            for name, results in (
                ("search", data.search),
                ("families", data.scale),
                ("confirm", data.confirm),
            )
        },
        "trainings": {
            "planned": data.planned,
            "ended": int((data.search["state"] == "COMPLETE").sum()),
            "failed": int((data.search["state"] != "COMPLETE").sum()),
        },
        "versions": _versions(pd.concat([data.trained, data.confirm])),
    }
    return {key: _plain(value) for key, value in values.items()}


def as_yaml(values: Mapping[str, Any]) -> str:
    """The text of ``coefficients.yaml``."""
    text: str = yaml.safe_dump(
        values, sort_keys=False, default_flow_style=None, width=100, allow_unicode=True
    )
    return HEAD + text


def _fresh_gains(data: CardData) -> Iterator[dict[str, object]]:
    for one in data.tested.comparisons(data.experiment.metric) if data.tested else ():
        yield {
            "over": one.verdict.against,
            "split": one.split,
            "measure": one.measure.noun,
            "by": "fresh seeds",
            "seeds": one.pairs,
            **dataclasses.asdict(one.verdict.difference),
            "verdict": one.verdict.outcome,
        }


def _gains_of_the_search(data: CardData) -> Iterator[dict[str, object]]:
    """Gains within each seed that the base network shares, the metric that decides first."""
    kept = data.conclusion.kept(data.search)
    complete = kept[kept["state"] == "COMPLETE"]
    for metric in sorted(data.metrics, key=lambda one: one != data.experiment.metric):
        if metric.direction is None:
            continue
        by_seed = complete.pivot_table(index="seed", columns="candidate", values=metric.name)
        if data.found not in by_seed or 0 not in by_seed:
            return
        gains = (-metric.sign * (by_seed[data.found] - by_seed[0])).dropna().to_numpy(dtype=float)
        if len(gains) == 0:
            return
        estimate = over_seeds(gains) if len(gains) > 1 else None
        yield {
            "over": "base",
            "split": "validation",
            "measure": metric.noun,
            "by": "seeds of the search, which also chose the network",
            "seeds": len(gains),
            "mean": float(gains.mean()),
            "low": estimate and estimate.low,
            "high": estimate and estimate.high,
            "verdict": None,
        }


def _region(conclusion: Conclusion) -> dict[str, object] | None:
    """The splits that can be the rule; None without an answer."""
    answer = conclusion.answer
    if answer is None:
        return None
    region = answer.region
    return {
        "lowest": dict(zip(DIMENSIONS, region.low, strict=True)),
        "highest": dict(zip(DIMENSIONS, region.high, strict=True)),
        "is_everything": region.is_everything,
        "networks": len(answer.possible),
        "of_networks": len(region.networks),
    }


def _versions(results: pd.DataFrame) -> dict[str, str]:
    """Versions and devices of all trainings, and their first and last date."""
    said = {}
    for column in ("version", "commit", "versions", "device"):
        if column in results:
            title = {"version": "scaling_search", "versions": "trained_with"}.get(column, column)
            said[title] = ", ".join(sorted({str(one) for one in results[column].dropna() if one}))
    if "finished" in results:
        said["trained_from"] = str(results["finished"].min())
        said["trained_until"] = str(results["finished"].max())
    return said


def _options(part: object) -> dict[str, object]:
    """A part's class and options."""
    options = dataclasses.asdict(part) if dataclasses.is_dataclass(part) else {}  # type: ignore[arg-type]  # no class
    return {"class": f"{type(part).__module__}.{type(part).__qualname__}", **options}


def _without_place(key: str, value: object) -> object:
    """An option of data without folders of this machine and addresses."""
    if key not in PLACES or not isinstance(value, str):
        return value
    is_here = Path(value).is_absolute() or Path(value).exists() or "://" in value
    return Path(without_password(value)).name if is_here else value


def _plain(value: object) -> object:
    """The same in types that YAML has; seven digits as in tables, None for NaN."""
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, float):
        return None if math.isnan(value) else float(f"{value:.7g}")
    return value if value is None or isinstance(value, bool | int) else str(value)
