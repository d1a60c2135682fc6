"""The text of a model card."""

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from typing import Any

import jinja2
import pandas as pd
import yaml

from scaling_search.answer.verdicts import Estimate
from scaling_search.core.metric import VAL_ACCURACY, Metric
from scaling_search.core.scaling import Shares
from scaling_search.display.confirmation import confirmation_section
from scaling_search.display.formatting import (
    coefficients_text,
    count,
    difference,
    mean_header,
    named_shares,
    plus_minus,
    with_interval,
)
from scaling_search.exports.card_data import CardData
from scaling_search.exports.members import NamedNetwork
from scaling_search.planning.families import ON_RAY
from scaling_search.runtime.visible_text import visible

_SIGNS = re.compile(r"[\\`*\[\]<>&|~$]|(?<![^\W_])_|_(?![^\W_])")
"""Characters that Markdown would not show as they are; underscores within a word it does."""


def member_lines(data: CardData) -> list[list[str]]:
    """The table of members: a header and a line for each."""
    lines = []
    for member in data.members:
        row = data.means[member.network]
        seeds = [str(training.seed) for training, _ in data.kept_of(member)]
        line = {
            "member": member.name,
            "phi": f"{member.phi:g}",
            "px": f"{row['resolution']}",
            "measured cost": f"{row.get('cost_ratio', row['flops_ratio']):.3f}x",
            "multiply-adds": f"{row['flops']:,}",
            "parameters": f"{row['params']:,}",
            **{
                mean_header(metric): plus_minus(row[f"{metric}_mean"], row[f"{metric}_sd"], metric)
                for metric in data.metrics
            },
            "seeds": f"{row['num_seeds']}",
            "failed": f"{row['num_failed']}",
            "weights of seeds": ", ".join(seeds) or "–",
        }
        lines.append(line)
    return [list(lines[0]), *(list(line.values()) for line in lines)]


def gain_sentence(gains: Iterable[Mapping[str, Any]], metrics: Iterable[Metric]) -> str:
    """The first gain of the network over the base network."""
    one = next((one for one in gains if one["over"] == "base"), None)
    if one is None:
        return "It shares no seed with the base network, so its gain is unknown."
    metric = next(metric for metric in metrics if metric.noun == one["measure"])
    gain, meaning = difference(one["mean"], metric), ""
    if one["low"] is not None:
        gain = with_interval(Estimate(one["mean"], one["low"], one["high"]), metric)
        meaning = " The brackets have the 95 % interval."
    by = one["by"] if one["seeds"] != 1 else one["by"].replace("seeds", "seed")
    return (
        f"Its gain over the base network in {one['split']} {one['measure']} is {gain}, "
        f"measured with {one['seeds']} {by}. A gain above 0 is better.{meaning}"
    )


def card(
    data: CardData, values: Mapping[str, Any], files: Mapping[str, Mapping[str, object]]
) -> str:
    """``README.md``: a model card.

    Args:
        data: Its values.
        values: The content of ``coefficients.yaml``.
        files: The other files, with what ``family.json`` says of each.
    """
    source = resources.files("scaling_search.exports").joinpath("card.md.j2").read_text("utf-8")
    environment = jinja2.Environment(  # Markdown, not HTML
        finalize=lambda value: _plain(value) if type(value) is str else value,  # else it is safe
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"table": _table, "block": _block, "listed": _listed}
    environment.filters |= {"fenced": _fenced, "literal": _literal}
    row = data.means[data.members[1].network]
    trained = [member for member in data.members if data.kept_of(member)]
    return environment.from_string(source).render(
        data=data,
        tested=data.tested and confirmation_section(data.tested, data.experiment.metric),
        values=values,
        loading=loading,
        front=yaml.safe_dump(_front(data, values), sort_keys=False, allow_unicode=True),
        rule=named_shares(data.rule),
        triple=coefficients_text(pd.Series(row)),
        gain=gain_sentence(values["gains"], data.metrics),
        members=member_lines(data),
        example=example(data),
        aside=_aside(data),
        weights=f"weights/{data.kept_of(trained[-1])[0][0].path.name}" if trained else None,
        trained=[member.name for member in trained],
        untrained=[member.name for member in data.members if member not in trained],
        files=files,
    )


def example(data: CardData) -> NamedNetwork:
    """A member for examples: with weights if possible, the largest of the compound family."""
    named = [one for one in data.members if data.kept_of(one)] or data.members
    return ([one for one in named if one.name.startswith("compound-")] or named)[-1]


def loading(name: str, folder: str = "") -> str:
    """The lines that load and call a member's program."""
    path = _literal(f"{folder}programs/{name}.pt2")
    return (
        "import torch\n"
        f"network = torch.export.load({path}).module()\n"
        "logits = network(images)  # (N, C, H, W), normalised"
    )


def _front(data: CardData, values: Mapping[str, Any]) -> dict[str, object]:
    """The head that model hubs read, in the order of Hugging Face's own cards."""
    front: dict[str, object] = {
        "library_name": "pytorch",
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", "compound-scaling", "scaling-search"],
        "metrics": ["accuracy"],
    }
    row = data.means[data.members[1].network]
    if math.isnan(row.get("val_accuracy_mean", math.nan)):
        return front
    means = {
        f"validation accuracy, mean of {count(row['num_seeds'], 'seed')}": row["val_accuracy_mean"]
    }
    means |= {
        f"test accuracy, mean of {count(one.pairs, 'fresh seed')}": one.found
        for one in (data.tested.comparisons(VAL_ACCURACY) if data.tested else ())
        if (one.split, one.measure, one.verdict.against) == ("test", VAL_ACCURACY, "base")
    }
    module, _, name = values["data"]["class"].rpartition(".")
    result = {
        "task": {"type": "image-classification"},
        "dataset": {"name": name, "type": module.rpartition(".")[2]},
        "metrics": [{"type": "accuracy", "name": n, "value": v} for n, v in means.items()],
    }
    name = f"{data.experiment.name}-found"
    return front | {"model-index": [{"name": name, "results": [result]}]}


def _aside(data: CardData) -> str:
    """A sentence on members of the compound family that differ from the rule; empty without."""
    away = {
        member.name: _shares(member).distance(data.rule)
        for member in data.members
        if member.name.startswith("compound-")
    }
    others = [f"{name} ({gap:.2f})" for name, gap in away.items() if gap > ON_RAY]
    if not others:
        return ""
    said = "The shares of these members of the compound family differ from the rule"
    return f"{said}: {', '.join(others)}."


def _shares(member: NamedNetwork) -> Shares:
    assert member.candidate.shares is not None  # only the base network has none
    return member.candidate.shares


def _plain(text: str) -> str:
    """A text that Markdown shows as it is."""
    return _SIGNS.sub(r"\\\g<0>", visible(text))


def _literal(text: str) -> str:
    """A text as Python's source, in double quotes."""
    return json.dumps(text, ensure_ascii=False)


def _fenced(text: str, language: str) -> str:
    """A block of code, whose fence is longer than any in the text."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def _block(options: Mapping[str, object]) -> str:
    """Options as a block of YAML, one a line."""
    text = ""
    for key, held in options.items():
        style = None if isinstance(held, list | dict) else False
        text += yaml.safe_dump({key: held}, default_flow_style=style, width=100, allow_unicode=True)
    return _fenced(text, "yaml")


def _listed(seeds: Sequence[int]) -> str:
    if len(seeds) > 2 and seeds == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]} to {seeds[-1]}"
    return ", ".join(map(str, seeds))


def _table(lines: Iterable[Sequence[str]]) -> str:
    """A Markdown table: a header and lines, the first column to the left."""
    header, *rows = ([_plain(one.replace("\n", " ")) for one in line] for line in lines)
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, rule, *rows))
