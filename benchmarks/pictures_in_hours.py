"""From a folder of pictures to an answer: the time of `scaling-search run` over the hours given.

    python benchmarks/pictures_in_hours.py [--pictures 3000] [--hours 0.2] [--out D] [KEY=VALUE ...]

Writes training images of Fashion-MNIST as PNG files, a folder for each class, and runs the whole
way on them. Fails where the command fails, or takes over 1.2 times its hours.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

from scaling_search.datasets.fashion_mnist_small import FashionMnistSmall


def write_pictures(folder: Path, number: int) -> None:
    """Writes as many pictures of each class."""
    dataset = FashionMnistSmall(num_train=number)
    train = dataset.splits(dataset.folder()).train
    for i, (image, label) in enumerate(zip(train.images, train.labels.tolist(), strict=True)):
        path = folder / f"class_{label}" / f"{i:05d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[0].numpy()).save(path)


def main() -> None:
    """Runs and says how long it took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=3000)
    parser.add_argument("--hours", type=float, default=0.2)
    parser.add_argument("--out", help="keep pictures and run here, instead of a temporary folder")
    parser.add_argument("overrides", nargs="*", help="options of the run")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(options.out or temporary)
        write_pictures(folder / "photos", options.pictures)
        command = ["run", "dataset=imagefolder", "dataset.path=photos", f"hours={options.hours:g}"]
        command += options.overrides
        since = time.monotonic()
        subprocess.run([sys.executable, "-m", "scaling_search", *command], cwd=folder, check=True)
        taken = (time.monotonic() - since) / 3600
    part = taken / options.hours
    print(f"\n{60 * taken:.1f} minutes, {part:.0%} of hours={options.hours:g}")
    sys.exit(part > 1.2)


if __name__ == "__main__":
    main()
