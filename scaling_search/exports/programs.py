"""Networks as programs of PyTorch and as ONNX, each compared with the network itself."""

import importlib.util
import io
import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn
from torch.export import Dim

from scaling_search.core.network import Architecture

PACKAGES = ("onnx", "onnxscript", "onnxruntime")

LARGEST = 1e-4
"""Largest difference of logits by rounding, over the largest logit or 1."""

EXAMPLES = 2
BATCHES = (1, 3)
"""Images in the batches that are compared; files are made with `EXAMPLES`."""

DYNAMIC = ({0: Dim("batch")},)


@dataclass(frozen=True)
class Format:
    """A kind of file that runs a network in eval mode: images (N, C, H, W) to logits, any N.

    Attributes:
        option: Option of ``export`` that asks for it.
        suffix: Suffix of its files.
        write: Returns the content for a network and example images.
        read: Returns a function of images that runs a content.
    """

    option: str
    suffix: str
    write: Callable[[nn.Module, Tensor], bytes]
    read: Callable[[bytes], Callable[[Tensor], Tensor]]


def check_packages() -> None:
    """Checks that the packages for ONNX are installed.

    Raises:
        ValueError: One is not.
    """
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ValueError(
            f"export.onnx must find {', '.join(PACKAGES)}, got no {' and no '.join(missing)}; "
            "run: pip install 'scaling-search[onnx]'"
        )


def checked(
    form: Format, network: nn.Module, architecture: Architecture, name: str
) -> tuple[bytes, float]:
    """The content of a file, and the largest difference of a logit from the network's.

    The difference is over the largest logit or 1.

    Raises:
        RuntimeError: The network cannot be written or run so, or the difference is more than
            rounding.
    """
    size = (architecture.in_channels, architecture.resolution, architecture.resolution)
    network.eval()
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            content = form.write(network, torch.zeros(EXAMPLES, *size))
            answer = form.read(content)
            differences = [
                _difference(answer, network, torch.randn(number, *size)) for number in BATCHES
            ]
    except Exception as error:
        why = next(iter(str(error).splitlines()), type(error).__name__)
        raise RuntimeError(
            f"{name} must be written and run without error, got {why!r}; "
            f"export.{form.option}=false leaves it out"
        ) from error
    if not all(difference <= LARGEST for difference in differences):  # NaN is not
        raise RuntimeError(
            f"{name} must give the network's logits within {LARGEST:g} of the largest one, got a "
            f"difference of {max(differences):.2g}; export.{form.option}=false leaves it out"
        )
    return content, max(differences)


@torch.inference_mode()
def _difference(answer: Callable[[Tensor], Tensor], network: nn.Module, images: Tensor) -> float:
    expected = network(images)
    return float((answer(images) - expected).abs().max() / expected.abs().max().clamp(min=1))


def _program(network: nn.Module, images: Tensor) -> bytes:
    program = torch.export.export(network, (images,), dynamic_shapes=DYNAMIC, strict=False)
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # it has paths of this machine
    content = io.BytesIO()
    torch.export.save(program, content)
    return content.getvalue()


def _run_program(content: bytes) -> Callable[[Tensor], Tensor]:
    return torch.export.load(io.BytesIO(content)).module()


def _onnx(network: nn.Module, images: Tensor) -> bytes:
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it logs its own parts
    with TemporaryDirectory() as folder, warnings.catch_warnings(action="ignore"):
        path = Path(folder) / "network.onnx"
        program = torch.onnx.export(
            network,
            (images,),
            dynamo=True,
            verbose=False,
            input_names=["images"],
            output_names=["logits"],
            dynamic_shapes=DYNAMIC,
        )
        assert program is not None
        program.save(path)
        return path.read_bytes()


def _run_onnx(content: bytes) -> Callable[[Tensor], Tensor]:
    import onnxruntime  # noqa: PLC0415  # an extra

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(session.run(["logits"], {"images": images.numpy()})[0])


PROGRAM = Format("programs", "pt2", _program, _run_program)
ONNX = Format("onnx", "onnx", _onnx, _run_onnx)
