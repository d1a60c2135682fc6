"""A model card: what is known of an export, for people and for the hubs that models lie on."""

import math
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources

import jinja2
import yaml

from scaling_search.export.known import Known, ended, gains, plain, seeds_of, shown, versions
from scaling_search.export.members import COEFFICIENTS, Member, example
from scaling_search.formatting import HEADERS, count, difference, plus_minus
from scaling_search.planning.ladder import ON_RAY
from scaling_search.record.results import METRICS
from scaling_search.scaling import DIMENSIONS, Shares


def _means(known: Known) -> dict[str, dict[str, float]]:
    """Means and numbers of trainings by network."""
    columns = [f"{metric}_{kind}" for metric in METRICS for kind in ("mean", "sd")]
    columns += ["num_seeds", "num_failed"]
    rows = known.means[columns].astype(float).to_dict("records")
    by_name = [{str(column): float(value) for column, value in row.items()} for row in rows]
    return dict(zip(known.means["network"], by_name, strict=True))


MEMBER_COLUMNS = (
    *("member", "phi", "px", "measured cost", "multiply-adds", "parameters"),
    *(f"{header} ± sd" for header in HEADERS.values()),
    *("seeds", "failed", "weights of seeds"),
)


def members_cells(known: Known) -> list[list[str]]:
    """A header, and a line for each member, as tables of the report write them."""
    by_network = _means(known)
    lines = []
    for member in known.members:
        row = by_network[member.network]
        seeds = ", ".join(str(one.seed) for one in known.weights.get(member.network, ()))
        ratio = member.row.get("cost_ratio", member.row["flops_ratio"])
        lines.append(
            [
                member.name,
                f"{member.phi:g}",
                f"{member.number('resolution'):.0f}",
                f"{float(str(ratio)):.3f}x",
                f"{member.number('flops'):,.0f}",
                f"{member.number('params'):,.0f}",
                *(plus_minus(row[f"{m}_mean"], row[f"{m}_sd"], m) for m in HEADERS),
                f"{row['num_seeds']:.0f}",
                f"{row['num_failed']:.0f}",
                seeds or "–",
            ]
        )
    return [list(MEMBER_COLUMNS), *lines]


def gain_sentence(known: Known) -> str:
    """The best that is known of how much better the found network is than the base network."""
    over_base = [one for one in gains(known) if one["over"] == "base"]
    if not over_base:
        return "It shares no seed with the base network, so its gain is not known."
    one = over_base[0]
    metric = f"val_{one['measure']}"
    mean, low, high = (one[key] for key in ("mean", "low", "high"))
    assert isinstance(mean, float)
    better = "better" if mean >= 0 else "worse"
    ends = ""
    if isinstance(low, float) and isinstance(high, float):
        first, last = (low, high) if mean >= 0 else (-high, -low)
        ends = f" ({difference(first, metric)} to {difference(last, metric)})"
    seeds = one["seeds"]
    assert isinstance(seeds, int)
    size = f"{difference(abs(mean), metric)}{ends} {better} than the base network"
    by = (
        str(one["by"])
        if seeds > 1
        else str(one["by"]).replace("seeds", "seed").replace("them", "it")
    )
    return f"In {one['split']} {one['measure']} it is {size}, by {seeds} {by}."


def not_known(known: Known) -> list[str]:
    """What a reader could take for known and is not."""
    said = []
    left = known.planned - sum(ended(known.search).values())
    if known.is_guess:
        said.append("Whether the split of the compute matters: the search could not tell.")
    if known.tested is None:
        said.append(
            "How good the networks are on images that no choice was made by: the test split was "
            "not looked at. Accuracies are of the validation split, by which the found network "
            "was chosen, so that it likely looks better than it is."
        )
    elif len(known.members) > 2:
        said.append(
            "How good the other members are on the test split: only the found network and those "
            "that it was compared with were asked."
        )
    if left > 0:
        said.append(
            f"What {left} of the search's {known.planned} planned trainings would have said: they "
            "were not done."
        )
    failed = int((known.trained["state"] != "COMPLETE").sum())
    if failed:
        said.append(
            f"What {failed} of {len(known.trained)} trainings would have given: they failed and "
            "are left out of all means."
        )
    said.append(
        "Whether the coefficients hold for other data, other networks, longer training or other "
        "sizes than those in the table."
    )
    return said


def card(known: Known, onnx: Mapping[str, str], *, needs: Sequence[str], getting: str) -> str:
    """``README.md``: a model card.

    Args:
        known: All that it says.
        onnx: The difference of each ONNX file from PyTorch, in words.
        needs: Packages that ``family.py`` imports, torch among them.
        getting: The command that gets missing weights.
    """
    source = resources.files("scaling_search.export").joinpath("card.md.j2").read_text("utf-8")
    environment = jinja2.Environment(  # Markdown, not HTML
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["table"] = _table
    trained = [m.name for m in known.members if known.weights.get(m.network)]
    return environment.from_string(source).render(
        known=known,
        front=yaml.safe_dump(plain(_front(known)), sort_keys=False, allow_unicode=True),
        family=str(known.base_network["class"]).rpartition(".")[2],
        found=known.members[1],
        triple=", ".join(_coefficient(known.members[1], name) for name in COEFFICIENTS),
        gain=gain_sentence(known),
        cells=members_cells(known),
        largest=max(member.phi for member in known.members),
        example=example(known.members),
        data=_block(shown(known.data) | {"fingerprint": known.fingerprint}),
        recipe=_block(known.recipe),
        base=_block(known.base_network),
        aside=_aside(known),
        search_seeds=_listed(seeds_of(known.search)),
        family_seeds=_listed(seeds_of(known.trained[len(known.search) :])),
        confirm_seeds=_listed(seeds_of(known.confirmed)),
        counts=ended(known.search),
        not_known=not_known(known),
        versions=versions(known),
        trained=trained,
        untrained=[m.name for m in known.members if m.name not in trained],
        onnx=dict(onnx),
        others=[name for name in needs if name != "torch"],
        getting=getting,
        hours=f"{known.trained['total_seconds'].sum() / 3600:.2f}",
    )


def _front(known: Known) -> dict[str, object]:
    """What model hubs read, in the order of Hugging Face's own cards."""
    found = known.members[1]
    row = _means(known)[found.network]
    front: dict[str, object] = {
        "library_name": "pytorch",
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", "compound-scaling", "scaling-search"],
        "metrics": ["accuracy"],
    }
    if not math.isnan(row["val_accuracy_mean"]):
        metrics: list[dict[str, object]] = [
            {
                "type": "accuracy",
                "name": f"validation accuracy, mean of {count(int(row['num_seeds']), 'seed')}",
                "value": float(row["val_accuracy_mean"]),
            }
        ]
        metrics += [
            {
                "type": "accuracy",
                "name": f"test accuracy, mean of {count(one.pairs, 'fresh seed')}",
                "value": one.found,
            }
            for one in known.contrasts
            if (one.split, one.measure, one.other) == ("test", "val_accuracy", "base")
        ]
        module, _, name = str(known.data["class"]).rpartition(".")
        front["model-index"] = [
            {
                "name": f"{known.name}-found",
                "results": [
                    {
                        "task": {"type": "image-classification"},
                        "dataset": {"name": name, "type": module.rpartition(".")[2]},
                        "metrics": metrics,
                    }
                ],
            }
        ]
    return front


def _coefficient(member: Member, name: str) -> str:
    value, low, high = (member.number(f"{name}{end}") for end in ("", "_low", "_high"))
    cell = "" if f"{low:.3f}" == f"{high:.3f}" else f" ({low:.3f} to {high:.3f})"
    return f"{name} {value:.3f}{cell}"


def _aside(known: Known) -> str:
    """Which members of the compound family are not along the found coefficients; empty if none."""
    found = _shares(known.members[1])
    compound = [member for member in known.members if member.name.startswith("compound-")]
    away = {m.name: _shares(m).distance(found) for m in compound}
    others = {name: distance for name, distance in away.items() if distance > ON_RAY}
    if not others:
        return ""
    named = ", ".join(f"{name} ({distance:.2f} away)" for name, distance in others.items())
    return f"Of the compound family these split the cost otherwise than the found network: {named}."


def _shares(member: Member) -> Shares:
    return Shares(*(member.number(f"{dimension}_share") for dimension in DIMENSIONS))


def _block(options: Mapping[str, object]) -> str:
    """Options as YAML, one a line."""
    text = ""
    for key, value in options.items():
        held = plain(value)
        style = None if isinstance(held, list | dict) else False
        text += yaml.safe_dump({key: held}, default_flow_style=style, width=100, allow_unicode=True)
    return text


def _listed(seeds: Sequence[int]) -> str:
    if len(seeds) > 2 and seeds == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]} to {seeds[-1]}"
    return ", ".join(map(str, seeds))


def _table(cells: Iterable[Sequence[str]]) -> str:
    """A Markdown table: a header and lines, the first column to the left."""
    header, *lines = ([one.replace("|", "\\|").replace("\n", " ") for one in c] for c in cells)
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join(f"| {' | '.join(line)} |" for line in (header, rule, *lines))
