"""Images in memory: read from IDX files, split by class, resized, and told apart by a hash."""

import gzip
import hashlib
import io
import math
import random
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from scaling_search.core.dataset import Split, Splits

GZIP_MAGIC = b"\x1f\x8b"
MAX_CHUNK_ELEMENTS = 4_000_000
"""Pixels that are floats at one time while images are resized: 16 MB."""


def read_idx(path: Path, shape: tuple[int, ...], sha256: str, *, remedy: str) -> Tensor:
    """The uint8 values of an IDX file, gzip or plain.

    Args:
        path: The file; whether it is compressed is told by its first bytes, not by its name.
        shape: Shape that the file must name and hold.
        sha256: SHA-256 of the decompressed file.
        remedy: Remedy for a wrong file, the end of every message.

    Raises:
        RuntimeError: The file cannot be read or is not the one that is described.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RuntimeError(f"{path} must be readable, got {error.strerror!r}; {remedy}") from error
    return parse_idx(content, str(path), shape, sha256, remedy=remedy)


def parse_idx(
    content: bytes, source: str, shape: tuple[int, ...], sha256: str, *, remedy: str
) -> Tensor:
    """As `read_idx`, for the bytes of a file that came from ``source``.

    Raises:
        RuntimeError: The bytes are not the file that is described.
    """
    num_bytes = 4 + 4 * len(shape) + math.prod(shape)  # kind and number of axes, sizes, values
    if content.startswith(GZIP_MAGIC):
        try:
            with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
                # One byte more than wanted: a larger file shows, and is never unpacked whole.
                content = file.read(num_bytes + 1)
        except (EOFError, OSError, zlib.error) as error:
            raise RuntimeError(
                f"{source} must be whole, got {str(error)!r} from gzip; {remedy}"
            ) from error
    if (digest := hashlib.sha256(content).hexdigest()) != sha256:
        got = f"{len(content)} bytes that begin with {content[:8].hex()!r}"
        raise RuntimeError(
            f"{source} must have the SHA-256 {sha256} decompressed, {num_bytes} bytes, got "
            f"{digest!r} of {got}; {remedy}"
        )
    values = np.frombuffer(content, np.uint8, offset=num_bytes - math.prod(shape)).reshape(shape)
    return torch.from_numpy(values.copy())  # bytes cannot be written to, a tensor can


def stratified(labels: Tensor, sizes: Sequence[int | None], *, seed: int) -> list[Tensor]:
    """Disjoint indices, each ascending, that hold every class in proportion.

    The sizes are drawn one after the other: what one takes does not depend on those behind it,
    and a smaller last one is part of a larger. Classes differ by at most one image from their
    share of what is left.

    Args:
        labels: Classes as integers, (N,).
        sizes: Images wanted; None takes all that are left.
        seed: Seed of the draw, at least 0.

    Raises:
        ValueError: Fewer images are left than are wanted.
    """
    stream = random.Random(seed)
    # Python promises the stream of random() for all versions, which holds neither for its
    # shuffle() nor for NumPy's generators.
    keys = np.array([stream.random() for _ in range(len(labels))])
    classes = labels.numpy()
    pools = [np.flatnonzero(classes == label) for label in np.unique(classes)]
    pools = [pool[np.argsort(keys[pool], kind="stable")] for pool in pools]
    drawn = []
    for size in sizes:
        counts = _in_proportion([len(pool) for pool in pools], size)
        taken = [pool[:count] for pool, count in zip(pools, counts, strict=True)]
        pools = [pool[count:] for pool, count in zip(pools, counts, strict=True)]
        drawn.append(torch.from_numpy(np.sort(np.concatenate(taken))))
    return drawn


def _in_proportion(available: list[int], size: int | None) -> list[int]:
    """Numbers of each class that sum to ``size``; remainders go to the largest fractions."""
    total = sum(available)
    if size is None or size == total:
        return available
    if size > total:
        raise ValueError(f"size must be at most the {total} images left, got {size}; draw fewer")
    counts = [size * number // total for number in available]
    by_rest = sorted(range(len(available)), key=lambda i: -(size * available[i] % total))
    for i in by_rest[: size - sum(counts)]:
        counts[i] += 1
    return counts


def resize(images: Tensor, resolution: int) -> Tensor:
    """Images uint8 (N, C, H, W) at another size, bilinear with antialiasing; square.

    Images that have the size are returned as they are.
    """
    if images.shape[2:] == (resolution, resolution):
        return images
    num_images, channels = images.shape[:2]
    resized = torch.empty((num_images, channels, resolution, resolution), dtype=torch.uint8)
    largest = channels * max(math.prod(images.shape[2:]), resolution**2)
    step = max(1, MAX_CHUNK_ELEMENTS // largest)
    for start in range(0, num_images, step):
        chunk = functional.interpolate(
            images[start : start + step].float(),
            size=(resolution, resolution),
            mode="bilinear",
            antialias=True,
        )
        resized[start : start + step] = chunk.round_().clamp_(0, 255).to(torch.uint8)
    return resized


def prepared(splits: Splits, resolution: int, device: str) -> Splits:
    """The splits at a size, on a device; resized on the CPU, so that every device has the same."""

    def prepare(split: Split) -> Split:
        return Split(resize(split.images, resolution).to(device), split.labels.to(device))

    return Splits(prepare(splits.train), prepare(splits.val), prepare(splits.test))


def fingerprint(splits: Splits) -> str:
    """SHA-256 over the shapes and bytes of all splits, in hexadecimal."""
    digest = hashlib.sha256()
    for split in (splits.train, splits.val, splits.test):
        # One byte order, whatever the machine's.
        for values in (split.images.numpy(), split.labels.numpy().astype("<i8", copy=False)):
            digest.update(f"{' x '.join(map(str, values.shape))};".encode())
            digest.update(np.ascontiguousarray(values).data)
    return digest.hexdigest()
