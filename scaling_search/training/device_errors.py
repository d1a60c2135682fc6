"""Errors of a device: out of memory, and errors after which it needs a new process."""

import re

import torch

from scaling_search.training.cuda_graphs import CaptureError

_SHORT = re.compile(
    r"(CUDA error|CUDA driver error|Triton Error \[CUDA\]): out of memory"
    r"|(CUBLAS|CUDNN)_STATUS_\w*ALLOC"
)
"""Out-of-memory errors of libraries that do not allocate with torch."""

_BROKEN = re.compile(
    r"CUDA (driver |unknown )?error|Triton Error|cuDNN error|CUBLAS_STATUS|CUDNN_STATUS"
    r"|device-side assert"
)
"""Other errors of CUDA and its libraries; after most, every further call fails."""


def is_out_of_memory(error: BaseException) -> bool:
    """True if the error or its cause is out-of-memory.

    Not during CUDA-graph capture: the process would have less memory than before.
    """
    errors = _with_causes(error)
    return not any(isinstance(e, CaptureError) for e in errors) and any(
        isinstance(e, torch.OutOfMemoryError)
        or (isinstance(e, RuntimeError) and _SHORT.search(str(e)) is not None)
        for e in errors
    )


def needs_new_process(error: BaseException) -> bool:
    """True if a process can no longer use its device after an error of a training.

    Out-of-memory is no such error.
    """
    accelerator = getattr(torch, "AcceleratorError", CaptureError)  # absent before torch 2.8
    return not is_out_of_memory(error) and any(
        isinstance(e, (CaptureError, accelerator))
        or (isinstance(e, RuntimeError) and _BROKEN.search(str(e)) is not None)
        for e in _with_causes(error)
    )


def _with_causes(error: BaseException) -> list[BaseException]:
    """An error and its causes, the latest first."""
    found: list[BaseException] = []
    following: BaseException | None = error
    while following is not None:
        found.append(following)
        following = following.__cause__ or following.__context__
    return found
