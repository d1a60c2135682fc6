"""Errors of a device: memory that was short, and those after which a process is of no use."""

import re

import torch

from scaling_search.training.recorded import RecordingError

_SHORT = re.compile(
    r"(CUDA error|CUDA driver error|Triton Error \[CUDA\]): out of memory"
    r"|(CUBLAS|CUDNN)_STATUS_\w*ALLOC"
)
"""Memory that was short, as libraries say it that do not ask torch for theirs."""

_BROKEN = re.compile(
    r"CUDA (driver |unknown )?error|Triton Error|cuDNN error|CUBLAS_STATUS|CUDNN_STATUS"
    r"|device-side assert"
)
"""All other errors of CUDA and its libraries. Most stay with the process until it ends."""


def is_out_of_memory(error: BaseException) -> bool:
    """True if the device's memory was short, also where this error followed from that.

    Not where a recording broke off for it: the process would have less memory than before.
    """
    errors = _with_causes(error)
    return not any(isinstance(e, RecordingError) for e in errors) and any(
        isinstance(e, torch.OutOfMemoryError)
        or (isinstance(e, RuntimeError) and _SHORT.search(str(e)) is not None)
        for e in errors
    )


def needs_new_process(error: BaseException) -> bool:
    """True if a process can use its device no more after an error of a training.

    After most errors of CUDA each further call in the process fails, whatever it does. Memory that
    was short is no such error.
    """
    accelerator = getattr(torch, "AcceleratorError", RecordingError)  # absent before torch 2.8
    return not is_out_of_memory(error) and any(
        isinstance(e, (RecordingError, accelerator))
        or (isinstance(e, RuntimeError) and _BROKEN.search(str(e)) is not None)
        for e in _with_causes(error)
    )


def _with_causes(error: BaseException) -> list[BaseException]:
    """An error and those that it followed from, the latest first."""
    found: list[BaseException] = []
    following: BaseException | None = error
    while following is not None:
        found.append(following)
        following = following.__cause__ or following.__context__
    return found
