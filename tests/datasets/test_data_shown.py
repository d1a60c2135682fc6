"""The data in plan, search and report: what was read, what is wrong, and what is refused."""

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageDraw

from scaling_search.commands.data_sheet import kept
from tests.cli import Cli
from tests.datasets.pictures_of import write_tree

TINY = (
    "recipe.epochs=1",
    "recipe.batch_size=20",
    "candidates.max_networks=1",
    "executor=inline",
    "limits.trainings=1",
    "timed=false",
)
OWN = ("dataset=imagefolder", "dataset.path=photos", *TINY)


def photos(place: Path, of_each: int = 40) -> Path:
    """Two classes of grey pictures, 28 px."""
    return write_tree(place / "photos", of_each, 2, suffixes=("png",))


def test_a_plan_says_what_the_data_are_without_being_told_a_number(
    cli: Cli, tmp_path: Path
) -> None:
    photos(tmp_path)
    outcome = cli("plan", *OWN)
    assert outcome.code == 0, outcome.err
    assert "0 'class 0'       32    4     4" in outcome.out
    assert "all 2 classes     64    8     8" in outcome.out
    assert "80 images of 28 x 28 px with 1 channel" in outcome.out
    assert "The base network takes 20 x 20 px" in outcome.out
    assert "Mean pixel of train: not read yet" in outcome.out


def test_a_search_shows_the_data_first_and_the_report_keeps_them(cli: Cli, tmp_path: Path) -> None:
    root = photos(tmp_path)
    (root / "class 1" / "copy.png").write_bytes(min((root / "class 0").iterdir()).read_bytes())
    outcome = cli("search", *OWN, "out=o")
    assert outcome.code == 0, outcome.err
    assert outcome.out.index("The data") < outcome.out.index("base network seed 0")
    assert "Warning: 1 image has more than one label" in outcome.out
    found = kept(tmp_path / "o", {})
    assert found is not None
    about, sheet = found
    assert about.classes == ("class 0", "class 1")
    assert sum(map(sum, about.counts.values())) == 81
    assert sheet.startswith(b"\x89PNG")
    assert cli("report", "out=o").code == 0
    page = (tmp_path / "o" / "report.html").read_text()
    assert "<h2>The data</h2>" in page
    assert "1 image has more than one label" in page
    written = pd.read_csv(tmp_path / "o" / "data.csv")
    assert written["class"].tolist() == ["class 0", "class 1"]
    assert written[["train", "val", "test"]].to_numpy().sum() == 81


@pytest.mark.slow
def test_a_folder_from_before_has_a_report_without_its_data(cli: Cli, tmp_path: Path) -> None:
    photos(tmp_path)
    assert cli("search", *OWN, "out=o").code == 0
    (tmp_path / "o" / "data.json").unlink()
    assert cli("report", "out=o").code == 0
    assert "<h2>The data</h2>" not in (tmp_path / "o" / "report.html").read_text()
    (tmp_path / "o" / "data.json").write_text("[]", encoding="utf-8")
    spoiled = cli("report", "out=o")
    assert spoiled.code == 2
    assert "must be what the search has written" in spoiled.err


@pytest.mark.parametrize("name", ["data.json", "figures/contact_sheet.png"])
def test_shown_data_that_were_changed_are_refused_until_the_search_shows_them_again(
    cli: Cli, tmp_path: Path, name: str
) -> None:
    photos(tmp_path)
    assert cli("search", *OWN, "out=o").code == 0
    file = tmp_path / "o" / name
    whole = file.read_bytes()
    for content in (b"", whole[:-1], whole.replace(b"1", b"2", 1)):
        file.write_bytes(content)
        refused = cli("report", "out=o")
        assert (refused.code, refused.err.count("\n")) == (2, 1)
        assert f"o/{name} must be what the search has written" in refused.err
    assert cli("search", *OWN, "out=o").code == 0
    assert file.read_bytes() == whole
    assert cli("report", "out=o").code == 0


def ink(root: Path, paper: tuple[int, int, int, int], of_each: int = 60) -> None:
    """Circles and squares drawn in black, or in white where the paper is black."""
    pen = (255, 255, 255, 255) if paper == (255, 255, 255, 0) else (0, 0, 0, 255)
    for kind in ("circle", "square"):
        (root / kind).mkdir(parents=True)
        for number in range(of_each):
            image = Image.new("RGBA", (40, 40), paper)
            corner = 4 + number % 8, 4 + number // 8
            box = (*corner, corner[0] + 18, corner[1] + 18)
            draw = ImageDraw.Draw(image)
            (draw.ellipse if kind == "circle" else draw.rectangle)(box, fill=pen)
            image.save(root / kind / f"{number}.png")


def test_black_ink_on_transparent_paper_is_seen(cli: Cli, tmp_path: Path) -> None:
    ink(tmp_path / "photos", (0, 0, 0, 0))
    outcome = cli("search", *OWN, "out=o")
    assert outcome.code == 0, outcome.err
    mean = float(outcome.out.split("Mean pixel of train: ")[1].split()[0])
    assert 190 < mean < 225  # white paper and a fifth of ink
    on_black = cli("search", *OWN, "dataset.background=black", "out=p")
    assert on_black.code == 2
    assert "must hold images that differ, got all images nearly one colour" in on_black.err


def test_white_ink_on_transparent_paper_is_refused_with_the_way_out(
    cli: Cli, tmp_path: Path, own_cache: Path
) -> None:
    ink(tmp_path / "photos", (255, 255, 255, 0))
    outcome = cli("search", *OWN, "out=o")
    assert outcome.code == 2
    assert outcome.err.rstrip().endswith("needs dataset.background=black)")
    assert not (tmp_path / "o").exists()
    assert not list(own_cache.glob("*/"))
    assert cli("search", *OWN, "dataset.background=black", "out=o").code == 0


def deep(root: Path, of_each: int = 40) -> None:
    """The pictures as 12 bits in files of 16, as cameras and microscopes write them."""
    for path in sorted(write_tree(root, of_each, 2, suffixes=("png",)).rglob("*.png")):
        values = np.asarray(Image.open(path)).astype(np.uint16) * 8
        path.unlink()
        Image.fromarray(values).save(path.with_suffix(".tif"))


@pytest.mark.slow
def test_deep_pictures_are_scaled_by_their_own_range(cli: Cli, tmp_path: Path) -> None:
    deep(tmp_path / "photos")
    write_tree(tmp_path / "shallow", 40, 2, suffixes=("png",))
    outcome = cli("search", *OWN, "out=o")
    assert outcome.code == 0, outcome.err
    assert "Values of more than 8 bits are scaled from 0 to 2,040" in outcome.out
    shallow = cli("search", *OWN, "dataset.path=shallow", "out=p")
    means = [out.split("Mean pixel of train: ")[1].split()[0] for out in (outcome.out, shallow.out)]
    assert means[0] == means[1]


def test_one_deep_picture_among_many_is_scaled_too(cli: Cli, tmp_path: Path) -> None:
    root = photos(tmp_path, 200)
    last = max((root / "class 1").iterdir())
    Image.fromarray(np.asarray(Image.open(last)).astype(np.uint16) * 8).save(last)
    outcome = cli("search", *OWN, "out=o")
    assert outcome.code == 0, outcome.err
    assert "Values of more than 8 bits are scaled from" in outcome.out


@pytest.mark.slow
def test_a_copied_test_split_is_said_loudly_and_can_be_mended(cli: Cli, tmp_path: Path) -> None:
    root = photos(tmp_path)
    shutil.move(root, tmp_path / "x")
    for name in ("train", "test"):
        shutil.copytree(tmp_path / "x", root / name)
    outcome = cli("search", *OWN, "out=o")
    assert outcome.code == 0
    assert "THE TEST SPLIT IS A COPY OF TRAIN: " in outcome.out
    for name in ("class 0", "class 1"):
        for path in sorted((root / "test" / name).iterdir())[10:]:
            path.unlink()
    options = ("dataset.duplicates=drop", "dataset.val_share=0.25", "out=p")
    mended = cli("search", *OWN, *options)
    assert mended.code == 0, mended.err
    assert "COPY OF" not in mended.out
    assert "Exact copies of other images are dropped: " in mended.out
    about, _ = kept(tmp_path / "p", {}) or pytest.fail("nothing kept")
    assert about.counts["test"] == (10, 10)
    assert sum(about.counts["train"]) + sum(about.counts["val"]) == 60


def test_a_split_that_is_all_copies_cannot_be_dropped(cli: Cli, tmp_path: Path) -> None:
    root = photos(tmp_path)
    shutil.move(root, tmp_path / "x")
    for name in ("train", "test"):
        shutil.copytree(tmp_path / "x", root / name)
    outcome = cli("search", *OWN, "dataset.duplicates=drop", "out=o")
    assert outcome.code == 2
    assert "dataset.duplicates must be keep where a class would be lost, got 'drop'" in outcome.err
    assert "all images of 'class 0' in train are copies of others" in outcome.err


def test_a_plan_warns_of_what_counts_and_sizes_show(cli: Cli, tmp_path: Path) -> None:
    write_tree(tmp_path / "photos", 40, 2, suffixes=("png",), size=(30, 28))
    for path in sorted((tmp_path / "photos" / "class 1").iterdir())[3:]:
        path.unlink()
    shares = ("dataset.val_share=0.2", "dataset.test_share=0.2")
    outcome = cli("plan", *OWN, *shares, "recipe.batch_size=65")
    assert outcome.code == 0, outcome.err
    said = " ".join(outcome.out.split())
    assert "checked images are not square: their centres are cropped" in said
    assert "Warning: Classes are imbalanced: train has 2" in said
    assert "Warning: recipe.batch_size must be at most the 25 images of train, got 65" in said


def test_the_shares_that_an_error_names_give_each_split_each_class(
    cli: Cli, tmp_path: Path
) -> None:
    photos(tmp_path)
    for path in sorted((tmp_path / "photos" / "class 1").iterdir())[5:]:
        path.unlink()
    refused = cli("plan", *OWN)
    assert refused.code == 2
    remedy = refused.err.split("; add ")[1].split(", add images")[0].split()
    assert {option.split("=")[0] for option in remedy} == {
        "dataset.val_share",
        "dataset.test_share",
    }
    assert cli("plan", *OWN, *remedy).code == 0


def test_a_base_network_leaves_room_below_the_largest_allowed(cli: Cli, tmp_path: Path) -> None:
    photos(tmp_path)
    outcome = cli("plan", *OWN, "candidates.max_resolution=22")
    assert outcome.code == 0, outcome.err
    assert "The base network takes 15 x 15 px" in outcome.out


def test_no_size_is_advised_that_the_base_network_cannot_see(cli: Cli, tmp_path: Path) -> None:
    photos(tmp_path)
    tiny = cli("plan", *OWN, "base_network=efficientnet_b0")
    assert "it needs at least 32 px: use larger images, or a network for small ones" in tiny.err
    write_tree(tmp_path / "wide", 40, 2, suffixes=("png",), size=(33, 33))
    wide = (*OWN, "dataset.path=wide", "base_network=efficientnet_b0")
    assert "add base_network.resolution=32," in cli("plan", *wide).err
    assert cli("plan", *wide, "base_network.resolution=32").code == 0


def few(root: Path) -> None:
    for path in sorted(root.glob("*/*.png"))[3::4]:
        path.unlink()


def test_fewer_images_than_a_batch_are_refused(cli: Cli, tmp_path: Path) -> None:
    photos(tmp_path)
    outcome = cli("search", *OWN, "recipe.batch_size=65", "out=o")
    assert outcome.code == 2
    assert "recipe.batch_size must be at most the 64 images of train, got 65" in outcome.err
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("dataset.num_classes=3", "dataset.num_classes must be 2 as in 'photos', got 3"),
        ("dataset.resolution=29", "dataset.resolution must be at most 28, the shorter side"),
        (
            "base_network.resolution=30",
            (
                "base_network.resolution must be at most the 28 px that the data have, got 30: "
                "larger images would only be upsampled; add base_network.resolution=20, or "
                "candidates.max_resolution=null"
            ),
        ),
        (
            "base_network=efficientnet_b0",
            "at most the 28 px that the data have, got 224: larger images",
        ),
    ],
)
@pytest.mark.parametrize("command", ["plan", "search"])
def test_plan_and_search_stop_at_what_does_not_fit(
    cli: Cli, tmp_path: Path, command: str, option: str, said: str
) -> None:
    photos(tmp_path)
    outcome = cli(command, *OWN, option)
    assert outcome.code == 2
    assert said in outcome.err
    assert outcome.err.count("\n") == 1
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("size", "target", "base"),
    [((96, 96), 2.0, 69), ((120, 50), 2.0, 36), ((64, 64), 4.0, 32), ((30, 30), 0.5, 30)],
)
def test_the_base_network_leaves_room_for_the_target(
    cli: Cli, tmp_path: Path, size: tuple[int, int], target: float, base: int
) -> None:
    # The largest number from which its square times the band's lower edge is at most the
    # data's: 96 / sqrt(1.9) = 69.6.
    write_tree(tmp_path / "photos", 10, 2, suffixes=("png",), size=size)
    outcome = cli("plan", *OWN, f"candidates.target={target}")
    assert outcome.code == 0, outcome.err
    assert f"The base network takes {base} x {base} px" in outcome.out


@pytest.mark.slow
def test_pictures_that_are_not_square_are_cropped_or_stretched_and_it_is_said(
    cli: Cli, tmp_path: Path
) -> None:
    root = tmp_path / "photos"
    for kind, bright in (("left", slice(0, 40)), ("right", slice(80, 120))):
        (root / kind).mkdir(parents=True)
        for number in range(30):
            pixels = np.random.default_rng(number).integers(0, 60, (40, 120), np.uint8)
            pixels[:, bright] += 150
            Image.fromarray(pixels).save(root / kind / f"{number}.png")
    means = {}
    for aspect, said in (("crop", "their centres are cropped"), ("stretch", "they are stretched")):
        outcome = cli("search", *OWN, f"dataset.aspect={aspect}", f"out={aspect}")
        assert outcome.code == 0, outcome.err
        assert f"60 of 60 checked images are not square: {said} (dataset.aspect)." in outcome.out
        means[aspect] = float(outcome.out.split("Mean pixel of train: ")[1].split()[0])
    assert means["crop"] == pytest.approx(29.5, abs=1)  # the dark middle alone
    assert means["stretch"] == pytest.approx(29.5 + 50, abs=1)  # a third is bright


@pytest.mark.parametrize("spoil", [few])
def test_imbalance_is_said_with_its_numbers(
    cli: Cli, tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    root = photos(tmp_path, 80)
    for path in sorted((root / "class 1").iterdir())[4:]:
        path.unlink()
    spoil(root / "class 0")
    outcome = cli("search", *OWN, "dataset.test_share=0.25", "dataset.val_share=0.25", "out=o")
    assert outcome.code == 0, outcome.err
    assert "Classes are imbalanced: train has 40 images of 'class 0' and 2 of" in outcome.out


def test_names_that_are_long_or_in_another_script_leave_the_numbers_in_sight(
    cli: Cli, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    root = photos(tmp_path)
    (root / "class 0").rename(root / f"{'a' * 100}z")
    (root / "class 1").rename(root / "日本")
    outcome = cli("search", *OWN, "out=o")
    assert outcome.code == 0, outcome.err
    lines = outcome.out.splitlines()
    first = next(line for line in lines if line.startswith("0 'aaa"))
    assert first.split()[1].endswith("az'")
    assert first.split()[2:] == ["32", "4", "4"]
    assert not [str(w.message) for w in recwarn if "missing from font" in str(w.message)]


def test_many_classes_of_one_size_are_told_by_one(cli: Cli, tmp_path: Path) -> None:
    root = photos(tmp_path)
    for number in range(2, 14):
        shutil.copytree(root / "class 0", root / f"class {number}")
    outcome = cli("plan", *OWN)
    assert "one of equal size: 0 'class 0'" in outcome.out
    assert "smallest" not in outcome.out


@pytest.mark.slow
def test_a_run_from_before_an_option_takes_what_was_done_then(cli: Cli, tmp_path: Path) -> None:
    photos(tmp_path)
    assert cli("search", *OWN, "out=o").code == 0
    config = tmp_path / "o" / "config.yaml"
    lines = config.read_text(encoding="utf-8").splitlines(keepends=True)
    later = ("splits:", "duplicates:", "background:", "aspect:")
    left = [line for line in lines if not line.strip().startswith(later)]
    assert len(left) == len(lines) - len(later)
    config.write_text("".join(left), encoding="utf-8")
    database = sqlite3.connect(tmp_path / "o" / "study.db")
    with database:
        database.execute("delete from study_user_attributes where key like 'options%'")
    database.close()
    outcome = cli("report", "out=o")
    assert outcome.code == 0, outcome.err
    assert "background=&#39;black&#39;" in (tmp_path / "o" / "report.html").read_text()
