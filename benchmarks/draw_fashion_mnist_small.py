"""Draws the subset of Fashion-MNIST that lies in the package, from the whole, and prints it.

    python benchmarks/draw_fashion_mnist_small.py [--root FOLDER] [--out FOLDER]

The same images come out whenever and wherever it runs: the seed is fixed, and so is the stream
that is drawn from. README.md and LICENSE beside the data are written by hand.
"""

import argparse
import gzip
import hashlib
from pathlib import Path

from torch import Tensor

from scaling_search.data.images import fingerprint
from scaling_search.datasets.fashion_mnist import FashionMnist
from scaling_search.datasets.fashion_mnist_small import FOLDER


def idx(values: Tensor) -> bytes:
    """An IDX file of unsigned bytes."""
    numbers = (0x0800 | values.ndim, *values.shape)
    header = b"".join(number.to_bytes(4, "big") for number in numbers)
    return header + values.byte().numpy().tobytes()


def main() -> None:
    """Reads the whole set, writes the six files and their checksums, prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", help="folder of the official files (default: as the dataset)")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder to write (%(default)s)")
    arguments = parser.parse_args()
    splits = FashionMnist(
        root=arguments.root, num_train=10_000, num_val=5_000, num_test=5_000
    ).load(28, "cpu")
    arguments.out.mkdir(parents=True, exist_ok=True)
    sums = []
    for name, split in (("train", splits.train), ("val", splits.val), ("test", splits.test)):
        for kind, values in (("images", split.images.squeeze(1)), ("labels", split.labels)):
            content = idx(values)
            # Without the time in its header, a file drawn again has the same bytes.
            compressed = gzip.compress(content, compresslevel=9, mtime=0)
            (arguments.out / f"{name}-{kind}.gz").write_bytes(compressed)
            digest = hashlib.sha256(content).hexdigest()
            sums.append(f"{digest}  {name}-{kind}\n")
            print(f"{name}-{kind}.gz  {len(compressed):>9,} bytes  {digest}")
    (arguments.out / "SHA256SUMS").write_text("".join(sums), encoding="utf-8")
    print(f"fingerprint {fingerprint(splits)}")


if __name__ == "__main__":
    main()
