"""Exports of whole runs on real images: weights, programs, ONNX, and the card."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml
from omegaconf import OmegaConf
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import scaling_search as ss
from scaling_search.answer.stopping import Limits
from scaling_search.commands.confirm import confirm
from scaling_search.commands.export import export
from scaling_search.commands.run import Run
from scaling_search.commands.scale import scale
from scaling_search.commands.search import search
from scaling_search.core.metric import VAL_ACCURACY, VAL_LOSS
from scaling_search.display.formatting import plus_minus, rounded
from scaling_search.experiment.options import Confirm, Export, Scale
from scaling_search.exports import programs
from scaling_search.exports.programs import ONNX, PROGRAM, Format, checked
from scaling_search.training.batches import load
from scaling_search.training.evaluation import Evaluation
from scaling_search.training.weights import file_name
from tests.cli import Cli
from tests.composed import PARTS, part
from tests.in_process import Executing, printed
from tests.tiny import tiny_network, tiny_recipe, tiny_run, tiny_trial

PLAIN = Export(programs=False)

ALONE = """
import sys
sys.modules["scaling_search"] = None  # cannot be imported
images = __import__("torch").load(sys.argv[1])
{lines}
torch.save(logits.detach(), sys.argv[2])
"""
"""Runs lines of the card on images."""


FAMILIES = Scale(families=("compound", "width"), phis=(0, 1, 2), num_seeds=2, tolerance=0.2)


def run_in(folder: Path, **changes: Any) -> Run:
    """A search among three networks with two seeds."""
    return tiny_run(folder, num_seeds=2, recipe=tiny_recipe(averaging=0.5), **changes)


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of that search, whose weights are kept, and of its families, without them."""
    folder = tmp_path_factory.mktemp("searched")
    printed(search, run_in(folder, keep_weights=True))
    printed(scale, run_in(folder), FAMILIES)
    printed(export, run_in(folder))
    return folder


@pytest.fixture
def run(searched: Path, tmp_path: Path) -> Run:
    """The same in a folder of its own."""
    shutil.copytree(searched, tmp_path / "run")
    return run_in(tmp_path / "run")


class Exported:
    """The export of an run, read."""

    def __init__(self, run: Run) -> None:
        self.folder = run.folder / "export"
        content = json.loads((self.folder / "family.json").read_text("utf-8"))
        self.members, self.files = content["members"], content["files"]
        self.weights = {n: one for n, one in self.files.items() if n.startswith("weights/")}
        self.card = (self.folder / "README.md").read_text("utf-8")
        self.found = yaml.safe_load((self.folder / "coefficients.yaml").read_text("utf-8"))

    def network(self, name: str, weights: str) -> nn.Module:
        """A member built from its JSON, with weights."""
        network = ss.from_json(self.members[name]["architecture"]).build()
        network.load_state_dict(load_file(self.folder / weights))
        return network.eval()


def test_it_has_all_files_that_the_family_names_and_no_other(run: Run) -> None:
    it = Exported(run)
    there = [p.relative_to(it.folder).as_posix() for p in it.folder.rglob("*") if p.is_file()]
    assert sorted(there) == sorted([*it.files, "family.json"])
    assert {"README.md", "coefficients.yaml", *(f"programs/{n}.pt2" for n in it.members)} <= {
        *there
    }
    for name, details in it.files.items():
        content = (it.folder / name).read_bytes()
        assert details["bytes"] == len(content)
        assert details["sha256"] == hashlib.sha256(content).hexdigest()


def test_members_and_coefficients_are_those_of_the_tables(run: Run) -> None:
    it = Exported(run)
    table = pd.read_csv(run.folder / "candidates.csv").set_index("network")
    for name in ("base", "found"):
        member, row = it.members[name], table.loc[it.members[name]["network"]]
        assert member["coefficients"] == {c: row[c] for c in ("alpha", "beta", "gamma")}
        assert all(member[c] == row[c] for c in ("resolution", "flops", "params"))
        assert ss.from_json(member["architecture"]).name == member["network"]
    for name, cell in it.found["found"]["coefficients"].items():
        expected = {
            "value": row[name],
            "lowest": row[f"{name}_low"],
            "highest": row[f"{name}_high"],
        }
        assert cell == pytest.approx(expected, abs=1e-6)
    assert it.found["found"]["candidate"] == row["candidate"]
    assert it.found["found"]["cost"]["ratio"] == pytest.approx(row["cost_ratio"], abs=1e-6)


def test_kept_weights_load_into_the_architecture_and_give_the_losses_of_the_record(
    run: Run,
) -> None:
    it = Exported(run)
    rows = {(str(row["network"]), row["seed"]): row for row in run.record.rows()}
    assert {one["members"][0] for one in it.weights.values()} >= {"base", "found"}
    trial = tiny_trial()
    for file, details in it.weights.items():
        name = details["members"][0]
        member = it.members[name]
        row = rows[member["network"], details["seed"]]
        data = load(trial.dataset, member["resolution"], "cpu")
        loss, accuracy = Evaluation(it.network(name, file), data, trial.recipe).scores(
            data.splits.val
        )
        assert details["val_loss"] == details["recorded_val_loss"] == row["val_loss"]
        assert details["val_accuracy"] == details["recorded_val_accuracy"] == row["val_accuracy"]
        assert loss == pytest.approx(row["val_loss"], rel=1e-6)  # another memory layout
        assert accuracy == row["val_accuracy"]
        images = data.splits.val.images
        mean, std = (torch.tensor(member["input"][key])[:, None, None] for key in ("mean", "std"))
        torch.testing.assert_close((images.float() - mean) / std, data.normalised(images))


def test_the_lines_of_the_card_give_a_trained_network_to_train_further(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    it = Exported(run)
    (lines,) = (
        block for block in re.findall(r"```python\n(.*?)```", it.card, re.DOTALL) if "json" in block
    )
    monkeypatch.chdir(it.folder)
    names: dict[str, Any] = {}
    exec(lines, names)  # the lines that a reader pastes
    (weights,) = re.findall(r'load_file\("(.*?)"\)', lines)
    member = it.files[weights]["members"][0]
    expected = it.network(member, weights).state_dict()
    assert all(
        torch.equal(one, expected[name]) for name, one in names["network"].state_dict().items()
    )


@pytest.mark.slow
def test_the_lines_of_the_card_give_the_trained_networks_answers_without_this_package(
    run: Run, tmp_path: Path
) -> None:
    it = Exported(run)
    size, weights = it.members["found"]["resolution"], it.files["programs/found.pt2"]["weights"]
    assert weights == next(n for n, one in it.weights.items() if "found" in one["members"])
    torch.manual_seed(0)
    images = torch.randn(5, 1, size, size)
    torch.save(images, tmp_path / "images.pt")
    lines = it.card.split("```python\n")[1].split("```")[0]
    subprocess.run(
        [sys.executable, "-c", ALONE.format(lines=lines), tmp_path / "images.pt", tmp_path / "out"],
        cwd=it.folder,
        check=True,
    )
    expected = it.network("found", weights)(images).detach()
    # Other numbers of threads add in another order.
    torch.testing.assert_close(torch.load(tmp_path / "out"), expected, rtol=1e-5, atol=1e-5)
    untrained = [n for n in it.members if it.files[f"programs/{n}.pt2"]["weights"] is None]
    assert f"No weights were kept of {', '.join(untrained)}, so their programs are not" in it.card


def test_numbers_of_the_card_are_those_of_the_tables(run: Run) -> None:
    printed(Run.report, run)
    it = Exported(run)
    lines = {
        line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")[2:-1]]
        for line in it.card.splitlines()
        if line.startswith("| ")
    }
    families, candidates = (
        pd.read_csv(run.folder / f"{name}.csv").to_dict("records")
        for name in ("families", "coefficients")
    )
    rows = {f"{row['family']}-{row['phi']:g}": row for row in families if row["phi"] != 0}
    by_number = {row["candidate"]: row for row in candidates}
    rows |= {"base": by_number[0], "found": by_number[it.found["found"]["candidate"]]}
    assert set(rows) == set(lines) - {"member", "---"}
    for name, row in rows.items():
        means = [
            plus_minus(row[f"{metric}_mean"], row[f"{metric}_sd"], metric)
            for metric in (VAL_ACCURACY, VAL_LOSS)
        ]
        assert lines[name][1:9] == [
            *(f"{row['resolution']}", f"{row['cost_ratio']:.3f}x"),
            *(f"{row['flops']:,}", f"{row['params']:,}", *means),
            *(f"{row['num_seeds']}", f"{row['num_failed']}"),
        ]


def test_the_gain_is_within_seeds(answered: Run) -> None:
    printed(export, answered, PLAIN)
    said = Exported(answered).found
    results = pd.DataFrame(answered.record.rows())
    losses = results.pivot_table(index="seed", columns="candidate", values="val_loss")
    gains = losses[0] - losses[said["found"]["candidate"]]
    (gain,) = [one for one in said["gains"] if one["measure"] == "loss"]
    assert (gain["over"], gain["seeds"]) == ("base", 2)
    assert gain["mean"] == pytest.approx(gains.mean(), rel=1e-6)
    half = 12.706 * gains.std() / 2**0.5  # Student's t, one degree of freedom, 95 %
    assert gain["high"] - gain["mean"] == pytest.approx(half, rel=1e-4)
    front = yaml.safe_load(Exported(answered).card.split("---\n")[1])
    (metric,) = front["model-index"][0]["results"][0]["metrics"]
    assert metric["name"] == "validation accuracy, mean of 2 seeds"


def test_the_values_are_the_records(run: Run) -> None:
    said = Exported(run).found
    assert said["data"]["licence"] == "MIT"
    assert said["data"]["images"] == {"train": 100, "val": 50, "test": 5000}
    assert said["data"]["fingerprint"] == run.record.fingerprint
    assert said["seeds"] == {"search": [0, 1], "families": [0, 1], "confirm": []}
    assert said["trainings"] == {"planned": 8, "ended": 8, "failed": 0}
    front = yaml.safe_load(Exported(run).card.split("---\n")[1])
    assert (front["library_name"], front["pipeline_tag"]) == ("pytorch", "image-classification")


def test_the_same_export_again_has_the_same_bytes_and_leaves_what_is_not_its_own(
    run: Run,
) -> None:
    it = Exported(run)
    before = {path: path.read_bytes() for path in it.folder.rglob("*") if path.is_file()}
    kept = [it.folder / "mine.txt", run.folder / "outside.txt"]
    stale = it.folder / "weights" / "stale.safetensors"
    for path in (*kept, stale):
        path.write_text("keep")
    names = [*it.files, "weights/stale.safetensors", "../outside.txt"]
    (it.folder / "family.json").write_text(json.dumps({"files": names}))
    printed(export, run)
    assert {path: path.read_bytes() for path in before} == before
    assert all(path.read_text() == "keep" for path in kept)
    assert not stale.exists()


def test_weights_of_another_network_are_refused_and_nothing_is_written(
    run: Run,
) -> None:
    path = run.folder / next(iter(Exported(run).weights))
    tensors, content = load_file(path), path.read_bytes()
    metadata = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
    del metadata["sha256"]  # as in files of older versions
    first = next(iter(tensors))
    before = (run.folder / "export" / "family.json").read_bytes()
    other_names = {f"{name}.other": tensor for name, tensor in tensors.items()}
    for others in (tensors | {first: torch.zeros(3)}, other_names, {first: tensors[first]}):
        save_file(others, path, metadata)
        with pytest.raises(RuntimeError, match="weights of base seed 0 must fit the network, got"):
            printed(export, run, PLAIN)
        assert (run.folder / "export" / "family.json").read_bytes() == before


def test_weights_of_another_run_are_told_by_their_losses(run: Run, tmp_path: Path) -> None:
    assert "another loss" not in printed(export, run, PLAIN)
    other = tiny_run(tmp_path / "other", num_seeds=2, keep_weights=True)  # the same networks
    printed(search, other)
    shutil.copytree(other.folder / "weights", run.folder / "weights", dirs_exist_ok=True)
    out = " ".join(printed(export, run, PLAIN).split())
    assert "4 files of weights, of base, found, gave another loss than the record" in out


@pytest.mark.parametrize("damage", ["empty", "nonsense", "cut", "flipped"])
def test_damaged_weights_are_refused_by_name_and_nothing_is_written(run: Run, damage: str) -> None:
    path = run.folder / next(iter(Exported(run).weights))
    content = path.read_bytes()
    damaged = {"empty": b"", "nonsense": b"nothing", "cut": content[:-9]}
    damaged["flipped"] = content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]
    path.write_bytes(damaged[damage])
    before = (run.folder / "export" / "family.json").read_bytes()
    for options in (PLAIN, replace(PLAIN, train=True)):
        with pytest.raises(RuntimeError, match=f"{path.name} must hold weights as they were writt"):
            printed(export, run, options)
    assert (run.folder / "export" / "family.json").read_bytes() == before


def test_weights_that_are_gone_are_counted(run: Run) -> None:
    names = list(Exported(run).weights)
    (run.folder / names[0]).unlink()
    out = printed(export, run, PLAIN)
    assert list(Exported(run).weights) == names[1:]
    assert " trainings, of base, " in out
    assert ", left no weights; to train them again: " in out
    assert f"scaling-search export out={run.out} export.train=true" in out


def test_missing_weights_are_trained_again_and_the_record_stays(run: Run) -> None:
    records = [run.record, run.studies.begun("scale")]
    rows = [record.rows() for record in records]
    before = set(Exported(run).weights)
    executor = Executing()
    train = Export(programs=False, train=True)
    again = replace(run, executor=executor)
    out = printed(export, again, train, price_only=True)
    assert out.startswith("To train again for weights: ")
    assert not executor.submitted
    out = printed(export, again, train)
    assert "To train again for weights: " in out
    assert "gave another loss" not in out
    # Numbers of a family's networks are not those of the search.
    for name, one in run.members().items():
        if one.number and any(t.candidate.network == one.network for t in executor.submitted):
            alike = {other for other, its in run.members().items() if its.network == one.network}
            alpha = rounded(one.coefficients.alpha)
            assert re.search(rf"  ({'|'.join(alike)}) \({alpha} ", out), name
    names = {f"weights/{file_name(t.candidate.network, t.seed)}" for t in executor.submitted}
    assert names
    assert not names & before
    weights = Exported(run).weights
    assert set(weights) == names | before
    assert [record.rows() for record in records] == rows
    assert all(one["val_loss"] == one["recorded_val_loss"] for one in weights.values())
    done = len(executor.submitted)
    assert "All members have weights." in printed(export, again, train)
    assert len(executor.submitted) == done


def test_without_any_weights_all_else_is_there(run: Run) -> None:
    shutil.rmtree(run.folder / "weights")
    printed(export, run, PLAIN)
    it = Exported(run)
    assert set(it.files) == {"README.md", "coefficients.yaml"}
    assert "No weights were kept of base, found, " in it.card
    assert "load" not in it.card.split("## Use")[1].split("##")[0]
    assert it.members["base"]["input"] is it.members["base"]["program"] is None


def test_a_look_at_the_test_split_is_in_the_card(run: Run) -> None:
    assert "The accuracy on the test split, which was not used." in Exported(run).card
    printed(confirm, replace(run, keep_weights=True), Confirm(num_seeds=2))
    printed(export, run, PLAIN)
    it = Exported(run)
    assert "The test split was used once." in it.card
    table = pd.read_csv(run.folder / "confirm.csv")
    row = table[(table["against"] == "base") & (table["split"] == "test")].iloc[0]
    gain = next(one for one in it.found["gains"] if one["over"] == "base")
    assert (gain["split"], gain["by"], gain["seeds"]) == ("test", "fresh seeds", 2)
    for key, column in (("mean", "better_by"), ("low", "low"), ("high", "high")):
        assert gain[key] == pytest.approx(row[column], rel=1e-6)
    assert it.found["seeds"]["confirm"] == [2, 3]
    seeds = {one["seed"] for one in it.weights.values() if "found" in one["members"]}
    assert seeds == {0, 1, 2, 3}


def test_failed_and_missing_trainings_are_told(tmp_path: Path) -> None:
    limits = Limits(trainings=6, failed_share=1.0)
    run = run_in(tmp_path, executor=Executing(lost=((0, 2),)), limits=limits)
    printed(search, run)
    printed(export, run, PLAIN)
    card = Exported(run).card
    assert "The results of 2 of the search's 8 planned trainings, which were not done." in card
    assert "The results of 1 of 6 trainings, which failed" in card
    assert "5 ended and 1 failed of 8 planned" in card


def test_what_cannot_be_exported_is_told(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = run_in(tmp_path / "begun", limits=Limits(trainings=1))
    printed(search, begun)
    with pytest.raises(ValueError, match="out must hold a finished training of a scaled network"):
        printed(export, begun)
    assert not (tmp_path / "begun" / "export").exists()
    with pytest.raises(RuntimeError, match=r"out must hold the record of 'tiny', got .* without"):
        printed(export, run_in(tmp_path / "empty"))
    assert not (tmp_path / "empty").exists()
    monkeypatch.setattr(programs, "PACKAGES", ("onnx", "no_such_package"))
    with pytest.raises(ValueError, match="got no no_such_package; run: pip install 'scaling-sea"):
        printed(export, run, Export(onnx=True))


@pytest.mark.slow
def test_onnx_is_written_for_each_member_and_goes_with_the_option(run: Run) -> None:
    printed(export, run, Export(programs=False, onnx=True))
    it = Exported(run)
    files = {name: one for name, one in it.files.items() if name.startswith("onnx/")}
    assert sorted(files) == sorted(f"onnx/{name}.onnx" for name in it.members)
    assert all(0 <= details["largest_difference"] <= 1e-6 for details in files.values())
    assert {details["weights"] is None for details in files.values()} == {True, False}
    for name, details in files.items():
        assert f"| {name} | {details['largest_difference']:.1e} |" in it.card
    printed(export, run, PLAIN)
    assert not (it.folder / "onnx").exists()


SMALL = [name for kind, name in PARTS if kind == "base_network" and name.endswith("_small")]


@pytest.mark.slow
@pytest.mark.parametrize("form", [PROGRAM, ONNX], ids=lambda form: form.option)
@pytest.mark.parametrize("name", [*SMALL, "custom"])
def test_every_kind_of_network_can_be_written_and_answers_the_same(name: str, form: Format) -> None:
    architecture = part("base_network", name)
    content, difference = checked(form, architecture.build(), architecture, name)
    assert difference < 1e-5
    assert os.fsencode(Path(__file__).parents[2]) not in content or form is ONNX


class Undecided(nn.Module):
    """A network whose layers depend on the pixels."""

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, C)."""
        return images.amax((2, 3)) if images.mean() > 0 else images.amin((2, 3))


@pytest.mark.parametrize("form", [PROGRAM, pytest.param(ONNX, marks=pytest.mark.slow)])
def test_wrong_answers_and_networks_that_cannot_be_written_are_refused(form: Format) -> None:
    one, other = (tiny_network().build().eval() for _ in range(2))
    wrong = replace(form, write=lambda _, images: form.write(other, images))
    with pytest.raises(
        RuntimeError, match=rf"base must give the network's logits .* export\.{form.option}=false"
    ):
        checked(wrong, one, tiny_network(), "base")
    broken = replace(form, write=lambda network, images: form.write(network, images)[:-1000])
    for kind, network in ((broken, one), (form, Undecided())):
        with pytest.raises(RuntimeError, match="base must be written and run without error, got '"):
            checked(kind, network, tiny_network(), "base")


@pytest.mark.slow
def test_it_is_a_command(cli: Cli, tmp_path: Path) -> None:
    refused = cli("export", "out=nowhere")
    assert refused.code == 2
    assert refused.err.startswith("scaling-search: out must be a folder that a search has made")
    tiny = ("dataset.num_train=100", "dataset.num_val=50", "recipe.epochs=1", "executor=inline")
    one = ("candidates.max_networks=1", "keep_weights=true")
    assert cli("search", "out=mine", *one, *tiny).code == 0
    assert cli("confirm", "out=mine", "decide.delta=0.01", "confirm.num_seeds=2").code == 0
    assert len(list((tmp_path / "mine" / "weights").iterdir())) == 2  # of the search alone
    # A folder that is older than the options that it lacks.
    path = tmp_path / "mine" / "config.yaml"
    options: Any = OmegaConf.load(path)
    for key in ("export", "keep_weights", "audit"):
        del options[key]
    OmegaConf.save(options, path)
    exported = cli("export", "out=mine")
    assert exported.code == 0, exported.err
    assert "measured with 2 fresh seeds." in (tmp_path / "mine" / "export" / "README.md").read_text(
        "utf-8"
    )
    lines = exported.out.splitlines()
    assert [line.split()[0] for line in lines[2:4]] == ["base", "found"]
    assert 'network = torch.export.load("mine/export/programs/found.pt2").module()' in lines
    options.base_network.dropout = 0.4
    OmegaConf.save(options, path)
    refused = cli("export", "out=mine")
    assert refused.code == 2
    said = "scaling-search: base_network.dropout must be 0.1 as in this folder's"
    assert refused.err.startswith(said)


def test_a_search_whose_weights_were_not_kept_says_how_to_get_them(tmp_path: Path) -> None:
    run = tiny_run(tmp_path)
    assert "left no weights" not in printed(search, run)
    executor = Executing()
    out = printed(search, replace(run, keep_weights=True, executor=executor))
    assert not executor.submitted  # what is trained is never trained twice
    assert "4 of 4 finished trainings left no weights in this folder" in out
    assert f"scaling-search export out={tmp_path} export.train=true" in out
    printed(export, run, PLAIN)
    card = Exported(run).card
    assert "measured with 1 seed of the search, which also chose the network." in card
