"""What a search leaves to take away, by whole runs on real images: weights, card, ONNX."""

import hashlib
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml
from omegaconf import OmegaConf
from safetensors.torch import load_file, save_file

from scaling_search.cli import main
from scaling_search.commands import confirm, export, report, scale, search
from scaling_search.commands.run_folder import record_of
from scaling_search.experiment import Confirm, Experiment, Export, Limits, Scale
from scaling_search.export import onnx_files
from scaling_search.export.family import imported
from scaling_search.formatting import plus_minus
from scaling_search.training.batches import load
from scaling_search.training.engine import train_trial
from scaling_search.training.evaluation import Evaluation
from scaling_search.training.weights import facts_of, file_name
from tests.in_process import Executing, printed
from tests.tiny import tiny_experiment, tiny_network, tiny_recipe, tiny_trial

OWN = ["README.md", "coefficients.yaml", "family.py", "manifest.json"]


def experiment_in(folder: Path, **changes: Any) -> Experiment:
    """A search among three networks with two seeds, and families up to twice the cost."""
    options: dict[str, Any] = {
        "num_seeds": 2,
        "recipe": tiny_recipe(averaging=0.5),
        "scale": Scale(
            coefficients=None,
            families=("compound", "width"),
            phis=(0, 1, 2),
            num_seeds=2,
            tolerance=0.2,
        ),
    }
    return tiny_experiment(folder, **options | changes)


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of that search, whose weights are kept, and of its families, without them."""
    folder = tmp_path_factory.mktemp("searched")
    printed(search.run, experiment_in(folder, keep_weights=True))
    printed(scale.run, experiment_in(folder))
    printed(export.run, experiment_in(folder))
    return folder


@pytest.fixture
def experiment(searched: Path, tmp_path: Path) -> Experiment:
    """The same in a folder of its own."""
    shutil.copytree(searched, tmp_path / "run")
    return experiment_in(tmp_path / "run")


def exported(experiment: Experiment) -> Path:
    return Path(experiment.out) / "export"


def manifest(experiment: Experiment) -> dict[str, dict[str, Any]]:
    files: dict[str, dict[str, Any]] = json.loads(
        (exported(experiment) / "manifest.json").read_text("utf-8")
    )["files"]
    return files


def kept(experiment: Experiment) -> dict[str, dict[str, Any]]:
    """The weights of an export, by file."""
    return {n: d for n, d in manifest(experiment).items() if n.startswith("weights/")}


def found(experiment: Experiment) -> dict[str, Any]:
    """What was found, as `coefficients.yaml` has it."""
    text = (exported(experiment) / "coefficients.yaml").read_text("utf-8")
    value: dict[str, Any] = yaml.safe_load(text)["found"]
    return value


def test_it_is_there_with_all_that_the_manifest_names(experiment: Experiment) -> None:
    folder = exported(experiment)
    files = manifest(experiment)
    there = [p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()]
    assert sorted(there) == sorted([*files, "manifest.json"])
    assert set(OWN) <= set(there)
    for name, details in files.items():
        content = (folder / name).read_bytes()
        assert details["bytes"] == len(content)
        assert details["sha256"] == hashlib.sha256(content).hexdigest()


def test_kept_weights_give_the_losses_of_the_record(experiment: Experiment) -> None:
    family: Any = imported(exported(experiment) / "family.py")
    rows = {(str(row["network"]), row["seed"]): row for row in record_of(experiment, "tiny").rows()}
    assert {one["members"][0] for one in kept(experiment).values()} >= {"base", "found"}
    for details in kept(experiment).values():
        name, seed = details["members"][0], details["seed"]
        member = family.MEMBERS[name]
        row = rows[member.network, seed]
        trial = tiny_trial()
        data = load(trial.dataset, member.resolution, "cpu")
        network = family.load(name, seed)
        loss, accuracy = Evaluation(network, data, trial.recipe).scores(data.splits.val)
        assert details["val_loss"] == details["recorded_val_loss"] == row["val_loss"]
        assert details["val_accuracy"] == details["recorded_val_accuracy"] == row["val_accuracy"]
        assert loss == pytest.approx(row["val_loss"], rel=1e-6)  # another memory layout
        assert accuracy == row["val_accuracy"]
        images = data.splits.val.images
        torch.testing.assert_close(
            family.normalised(images, name, seed), data.normalised(images), rtol=1e-6, atol=1e-6
        )


def test_keeping_weights_changes_no_bit(tmp_path: Path) -> None:
    trial = tiny_trial(1, seed=3, averaging=0.5)
    result = train_trial(replace(trial, weights=tmp_path / "weights"), "cpu")
    assert result.curve == train_trial(trial, "cpu").curve
    (path,) = (tmp_path / "weights").iterdir()
    assert path.name == file_name(trial.candidate.network, 3)
    facts = facts_of(path)
    assert facts is not None
    assert (facts.val_loss, facts.val_accuracy) == (
        result.curve[-1].val_loss,
        result.curve[-1].val_accuracy,
    )
    assert facts.images == {"train": 100, "val": 50, "test": 5000}


def test_weights_that_cannot_be_written_do_not_end_a_training(tmp_path: Path) -> None:
    (tmp_path / "weights").write_text("a file")
    result = train_trial(replace(tiny_trial(1), weights=tmp_path / "weights"), "cpu")
    assert result.state == "COMPLETE"


def test_a_training_that_fails_leaves_no_weights(tmp_path: Path) -> None:
    trial = replace(tiny_trial(1, learning_rate=1e30), weights=tmp_path / "weights")
    assert train_trial(trial, "cpu").state == "FAIL"
    assert not (tmp_path / "weights").exists()


def test_names_of_files_hold_no_path_and_have_an_end() -> None:
    assert file_name("2-3/8-8/20", 1) == "2-3_8-8_20-seed1.safetensors"
    long = file_name("1-" * 200, 0)
    assert len(long) < 160
    assert long != file_name("1-" * 200 + "2", 0)
    assert "/" not in file_name("../../a b", 0)


def test_numbers_of_the_card_are_those_of_the_tables(experiment: Experiment) -> None:
    printed(report.run, experiment)
    folder = Path(experiment.out)
    card = (exported(experiment) / "README.md").read_text("utf-8")
    lines = {
        line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")[2:-1]]
        for line in card.splitlines()
        if line.startswith("| ")
    }
    families, candidates = (
        pd.read_csv(folder / f"{name}.csv") for name in ("families", "coefficients")
    )
    rows = {
        f"{row['family']}-{row['phi']:g}": row
        for row in families.to_dict("records")
        if row["phi"] != 0
    }
    number = found(experiment)["candidate"]
    by_number = {row["candidate"]: row for row in candidates.to_dict("records")}
    rows |= {"base": by_number[0], "found": by_number[number]}
    assert set(rows) == set(lines) - {"member", "---"}
    for name, row in rows.items():
        _, px, cost, flops, params, accuracy, loss, seeds, failed, _ = lines[name]
        assert int(px) == row["resolution"]
        assert cost == f"{row['cost_ratio']:.3f}x"
        assert flops == f"{row['flops']:,}"
        assert params == f"{row['params']:,}"
        for cell, metric in ((accuracy, "val_accuracy"), (loss, "val_loss")):
            assert cell == plus_minus(row[f"{metric}_mean"], row[f"{metric}_sd"], metric)
        assert (int(seeds), int(failed)) == (row["num_seeds"], row["num_failed"])


def test_coefficients_are_those_of_the_table_and_the_gain_is_within_seeds(
    experiment: Experiment,
) -> None:
    text = (exported(experiment) / "coefficients.yaml").read_text("utf-8")
    said = yaml.safe_load(text)
    table = pd.read_csv(Path(experiment.out) / "candidates.csv").set_index("candidate")
    row = table.loc[said["found"]["candidate"]]
    for name, cell in said["found"]["coefficients"].items():
        assert cell["value"] == pytest.approx(row[name], abs=1e-6)
        assert cell["lowest"] == pytest.approx(row[f"{name}_low"], abs=1e-6)
        assert cell["highest"] == pytest.approx(row[f"{name}_high"], abs=1e-6)
    assert said["found"]["network"] == row["network"]
    assert said["found"]["cost"]["ratio"] == pytest.approx(row["cost_ratio"], abs=1e-6)
    results = pd.DataFrame(record_of(experiment, "tiny").rows())
    losses = results.pivot_table(index="seed", columns="candidate", values="val_loss")
    gains = losses[0] - losses[said["found"]["candidate"]]
    (gain,) = [one for one in said["gains"] if one["measure"] == "loss"]
    assert (gain["over"], gain["seeds"]) == ("base", 2)
    assert gain["mean"] == pytest.approx(gains.mean(), rel=1e-6)
    half = 12.706 * gains.std() / 2**0.5  # Student's t, one degree of freedom, 95 %
    assert gain["high"] - gain["mean"] == pytest.approx(half, rel=1e-4)
    assert said["data"]["licence"] == "MIT"
    assert said["data"]["images"] == {"train": 100, "val": 50, "test": 5000}
    assert said["data"]["fingerprint"] == record_of(experiment, "tiny").fingerprint
    assert said["seeds"] == {"search": [0, 1], "families": [0, 1], "confirm": []}
    assert said["trainings"] == {"planned": 8, "ended": 8, "failed": 0}


def test_the_front_matter_is_what_model_hubs_read(experiment: Experiment) -> None:
    text = (exported(experiment) / "README.md").read_text("utf-8")
    front = yaml.safe_load(text.split("---\n")[1])
    assert front["library_name"] == "pytorch"
    assert front["pipeline_tag"] == "image-classification"
    (metric,) = front["model-index"][0]["results"][0]["metrics"]
    assert metric["name"] == "validation accuracy, mean of 2 seeds"


def test_the_same_export_again_has_the_same_bytes_and_leaves_what_is_not_its_own(
    experiment: Experiment,
) -> None:
    folder = exported(experiment)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    (folder / "mine.txt").write_text("keep")
    stale = folder / "weights" / "stale.safetensors"
    files = json.loads((folder / "manifest.json").read_text("utf-8"))
    stale.write_text("of an earlier export")
    outside = Path(experiment.out) / "outside.txt"
    outside.write_text("keep")
    for name in ("weights/stale.safetensors", "../outside.txt"):
        files["files"][name] = {"sha256": "", "bytes": 0}
    (folder / "manifest.json").write_text(json.dumps(files), encoding="utf-8")
    printed(export.run, experiment)
    assert {path: path.read_bytes() for path in before} == before
    assert (folder / "mine.txt").read_text() == outside.read_text() == "keep"
    assert not stale.exists()


def test_weights_that_were_changed_are_refused(experiment: Experiment) -> None:
    folder = exported(experiment)
    name, details = next(iter(kept(experiment).items()))
    content = bytearray((folder / name).read_bytes())
    content[-1] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(ValueError, match="must be as it was exported, its SHA-256 differs"):
        imported(folder / "family.py").load(details["members"][0], details["seed"])


def test_weights_of_another_network_are_found_out(experiment: Experiment) -> None:
    name = next(iter(kept(experiment)))
    path = Path(experiment.out) / name
    tensors = load_file(path)
    length = int.from_bytes(path.read_bytes()[:8], "little")
    metadata = json.loads(path.read_bytes()[8 : 8 + length])["__metadata__"]
    first = next(iter(tensors))
    save_file(tensors | {first: torch.zeros(3)}, path, metadata)
    before = (exported(experiment) / "manifest.json").read_bytes()
    with pytest.raises(RuntimeError, match=r"weights of base seed 0 must fit the network, got .*"):
        printed(export.run, experiment)
    assert (exported(experiment) / "manifest.json").read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"nothing", None], ids=["empty", "nonsense", "gone"])
def test_weights_that_cannot_be_read_are_as_if_they_were_not_there(
    experiment: Experiment, content: bytes | None
) -> None:
    names = list(kept(experiment))
    path = Path(experiment.out) / names[0]
    path.unlink() if content is None else path.write_bytes(content)
    out = printed(export.run, experiment)
    assert list(kept(experiment)) == names[1:]
    assert "trainings left no weights, of base, " in out
    assert f"scaling-search export out={experiment.out} export.train=true" in out


def test_missing_weights_are_trained_again_and_the_record_stays(experiment: Experiment) -> None:
    records = [record_of(experiment, name) for name in ("tiny", "tiny-scale")]
    rows = [record.rows() for record in records]
    before = set(kept(experiment))
    executor = Executing()
    again = replace(experiment, executor=executor, export=Export(onnx=False, train=True))
    out = printed(export.run, again)
    assert "Again, for their weights: " in out
    assert "did not give the record's very loss" not in out
    names = {f"weights/{file_name(t.candidate.network, t.seed)}" for t in executor.submitted}
    assert names
    assert not names & before
    assert set(kept(experiment)) == names | before
    assert [record.rows() for record in records] == rows
    for details in kept(experiment).values():
        assert details["val_loss"] == details["recorded_val_loss"]
    done = len(executor.submitted)
    assert "The weights of all members are there." in printed(export.run, again)
    assert len(executor.submitted) == done


def test_the_price_of_missing_weights_is_told_and_nothing_else_done(experiment: Experiment) -> None:
    shutil.rmtree(exported(experiment))
    executor = Executing()
    train = Export(onnx=False, train=True)
    out = printed(export.run, replace(experiment, executor=executor, export=train, price_only=True))
    assert out.startswith("Again, for their weights: ")
    assert not executor.submitted
    assert not exported(experiment).exists()


def test_without_any_weights_all_else_is_there(experiment: Experiment) -> None:
    shutil.rmtree(Path(experiment.out) / "weights")
    printed(export.run, experiment)
    assert sorted(path.name for path in exported(experiment).iterdir()) == OWN
    card = (exported(experiment) / "README.md").read_text("utf-8")
    assert "No weights were kept of base, found, " in card
    assert "load(" not in card


def test_a_look_at_the_test_split_is_in_the_card(experiment: Experiment) -> None:
    card = exported(experiment) / "README.md"
    assert "the test split was not looked at" in card.read_text("utf-8")
    fresh = replace(experiment, confirm=Confirm(num_seeds=2, force=False), keep_weights=True)
    printed(confirm.run, fresh)
    printed(export.run, experiment)
    text = card.read_text("utf-8")
    assert "The test split was looked at once." in text
    table = pd.read_csv(Path(experiment.out) / "confirm.csv")
    row = table[(table["against"] == "base") & (table["split"] == "test")].iloc[0]
    said = yaml.safe_load((exported(experiment) / "coefficients.yaml").read_text("utf-8"))
    gain = said["gains"][[one["over"] for one in said["gains"]].index("base")]
    assert (gain["split"], gain["by"], gain["seeds"]) == ("test", "fresh seeds", 2)
    for key, column in (("mean", "better_by"), ("low", "low"), ("high", "high")):
        assert gain[key] == pytest.approx(row[column], rel=1e-6)
    assert said["seeds"]["confirm"] == [2, 3]
    seeds = {d["seed"] for d in kept(experiment).values() if "found" in d["members"]}
    assert seeds == {0, 1, 2, 3}


def test_failed_and_missing_trainings_are_told(tmp_path: Path) -> None:
    few = Limits(trainings=6, hours=None, gpu_hours=None, region=None, failed_share=1.0)
    experiment = experiment_in(tmp_path, executor=Executing(lost=((0, 2),)), limits=few)
    printed(search.run, experiment)
    printed(export.run, experiment)
    card = (exported(experiment) / "README.md").read_text("utf-8")
    assert "What 2 of the search's 8 planned trainings would have said" in card
    assert "What 1 of 6 trainings would have given: they failed" in card
    assert "5 ended and 1 failed of 8 planned" in card
    assert [line.split()[0] for line in (card.split("## Use")[0]).splitlines()[-8:] if line]


def test_a_search_without_a_finished_training_is_told(tmp_path: Path) -> None:
    none = Limits(trainings=1, hours=None, gpu_hours=None, region=None, failed_share=1.0)
    experiment = experiment_in(tmp_path, limits=none)
    printed(search.run, experiment)
    with pytest.raises(ValueError, match="out must hold a finished training of a scaled network"):
        printed(export.run, experiment)
    assert not exported(experiment).exists()


def test_a_folder_without_a_search_is_told(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"out must hold the record of 'tiny', got \[\] in"):
        printed(export.run, experiment_in(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_another_base_network_or_recipe_than_the_records_is_told(experiment: Experiment) -> None:
    other = replace(experiment, base_network=tiny_network(dropout=0.3))
    with pytest.raises(ValueError, match=r"base_network must be .* as in this folder's record"):
        printed(export.run, other)
    with pytest.raises(ValueError, match=r"recipe must be .* as in this folder's record"):
        printed(export.run, replace(experiment, recipe=tiny_recipe(epochs=3)))


def test_a_missing_package_is_told_first(
    experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_files, "PACKAGES", ("onnx", "no_such_package"))
    with pytest.raises(ValueError, match="got no no_such_package; run: pip install 'scaling-sea"):
        printed(export.run, replace(experiment, export=Export(onnx=True, train=False)))


@pytest.mark.slow
def test_onnx_answers_as_pytorch_does_and_others_are_found_out(experiment: Experiment) -> None:
    printed(export.run, replace(experiment, export=Export(onnx=True, train=False)))
    files = {n: d for n, d in manifest(experiment).items() if n.startswith("onnx/")}
    networks = {tuple(details["members"]) for details in files.values()}
    assert len(networks) == len(files)
    assert {name for one in networks for name in one} >= {"base", "found", "compound-2"}
    assert all(0 <= details["largest_difference"] <= 1e-6 for details in files.values())
    assert "onnx/base-seed0.onnx" in files
    assert any(name.endswith("-untrained.onnx") for name in files)
    folder = exported(experiment)
    card = (folder / "README.md").read_text("utf-8")
    assert all(f"| {name} | {d['largest_difference']:.1e} |" in card for name, d in files.items())
    family = imported(folder / "family.py")
    content = (folder / "onnx/base-seed0.onnx").read_bytes()
    architecture = experiment.base_network
    right, wrong = family.load("base", 0), family.load("base", 1)
    assert onnx_files.check_onnx(content, right, architecture, "base") <= 1e-6
    with pytest.raises(RuntimeError, match="base must answer as PyTorch does"):
        onnx_files.check_onnx(content, wrong, architecture, "base")
    with pytest.raises(RuntimeError, match="base must be run by onnxruntime"):
        onnx_files.check_onnx(content[:-1000], right, architecture, "base")
    printed(export.run, experiment)
    assert not (folder / "onnx").exists()


Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Runs a command line in an empty folder; its code, output and errors."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["scaling-search", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    return run


def test_it_is_a_command(cli: Cli, tmp_path: Path) -> None:
    code, _, err = cli("export", "out=nowhere")
    assert code == 2
    assert err.startswith("scaling-search: out must be a folder that a search has made")
    tiny = ("dataset.num_train=100", "dataset.num_val=50", "recipe.epochs=1", "executor=inline")
    code, _, err = cli(
        "search", "out=mine", "candidates.max_networks=1", "keep_weights=true", *tiny
    )
    assert code == 0, err
    assert len(list((tmp_path / "mine" / "weights").iterdir())) == 2
    code, _, err = cli("confirm", "out=mine", "decide.delta=0.01", "confirm.num_seeds=2")
    assert code == 0, err
    assert len(list((tmp_path / "mine" / "weights").iterdir())) == 2  # for the search alone
    # A folder that is older than the options that it lacks.
    path = tmp_path / "mine" / "config.yaml"
    options: Any = OmegaConf.load(path)
    for key in ("export", "keep_weights", "audit"):
        del options[key]
    OmegaConf.save(options, path)
    code, out, err = cli("export", "out=mine")
    assert code == 0, err
    assert "by 2 fresh seeds." in (tmp_path / "mine" / "export" / "README.md").read_text("utf-8")
    assert [line.split()[0] for line in out.splitlines()[1:3]] == ["base", "found"]
    options.base_network.dropout = 0.4
    OmegaConf.save(options, path)
    code, _, err = cli("export", "out=mine")
    assert code == 2
    assert err.startswith("scaling-search: base_network.dropout must be 0.1 as in this folder's")
    code, _, err = cli("export", "out=mine", "recipe.epochs=3")
    assert code == 2
    assert "export takes its choices from mine/config.yaml" in err


def test_a_search_whose_weights_were_not_kept_says_how_to_get_them(tmp_path: Path) -> None:
    experiment = tiny_experiment(tmp_path)
    assert "left no weights" not in printed(search.run, experiment)
    executor = Executing()
    out = printed(search.run, replace(experiment, keep_weights=True, executor=executor))
    assert not executor.submitted  # what is trained is never trained twice
    assert "4 of 4 finished trainings left no weights here" in out
    assert f"scaling-search export out={tmp_path} export.train=true" in out
    printed(export.run, experiment)
    card = (exported(experiment) / "README.md").read_text("utf-8")
    assert "by 1 seed of the search, which chose the network by it." in card
