"""Networks as ONNX, compared with PyTorch before they are handed out."""

import importlib.util
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import nn

from scaling_search.export.family import images_for
from scaling_search.protocols import Architecture

PACKAGES = ("onnx", "onnxscript", "onnxruntime")

LARGEST = 1e-4
"""Difference of logits from PyTorch's that is rounding, over the largest logit or 1."""

BATCHES = (1, 3)
"""Images in the batches that are compared; the file was made with another number."""


def check_packages() -> None:
    """Looks whether all is installed that ONNX needs.

    Raises:
        ValueError: Something is not.
    """
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ValueError(
            f"export.onnx must find {', '.join(PACKAGES)}, got no {' and no '.join(missing)}; "
            "run: pip install 'scaling-search[onnx]'"
        )


def onnx_file(network: nn.Module, architecture: Architecture) -> bytes:
    """A network in eval mode as ONNX: ``images`` (batch, C, H, W) to ``logits``, any batch.

    Raises:
        RuntimeError: ONNX has no operator for what it does.
    """
    with TemporaryDirectory() as folder, torch.random.fork_rng(devices=[]), _quiet():
        path = Path(folder) / "network.onnx"
        try:
            program = torch.onnx.export(
                network.eval(),
                (images_for(architecture, 2),),
                dynamo=True,
                verbose=False,
                input_names=["images"],
                output_names=["logits"],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
            )
        except Exception as error:
            why = next(iter(str(error).splitlines()), type(error).__name__)
            raise RuntimeError(
                f"export.onnx must find an ONNX operator for all of the network, got {why!r}; "
                "export.onnx=false leaves it out"
            ) from error
        assert program is not None
        program.save(path)
        return path.read_bytes()


def check_onnx(content: bytes, network: nn.Module, architecture: Architecture, name: str) -> float:
    """The largest difference of a logit from PyTorch's, over the largest logit or 1.

    Raises:
        RuntimeError: It is more than rounding, or the file cannot be run.
    """
    import onnxruntime  # noqa: PLC0415  # an extra

    largest = 0.0
    try:
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        with torch.random.fork_rng(devices=[]), torch.inference_mode():
            torch.manual_seed(0)
            for number in BATCHES:
                images = images_for(architecture, number)
                expected = network.eval()(images)
                (logits,) = session.run(["logits"], {"images": images.numpy()})
                difference = (torch.from_numpy(logits) - expected).abs().max().item()
                largest = max(largest, difference / max(1.0, expected.abs().max().item()))
    except Exception as error:
        why = next(iter(str(error).splitlines()), type(error).__name__)
        raise RuntimeError(
            f"{name} must be run by onnxruntime, got {why!r}; export.onnx=false leaves it out"
        ) from error
    if not largest <= LARGEST:
        raise RuntimeError(
            f"{name} must answer as PyTorch does, to {LARGEST:g} of the largest logit, got a "
            f"difference of {largest:.2g}; export.onnx=false leaves it out"
        )
    return largest


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporter says of its own parts and of packages that nobody needs."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
