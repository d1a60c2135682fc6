"""Which errors leave a process without the use of its device, and which are short memory."""

import pytest
import torch

from scaling_search.training.cuda_graphs import CaptureError
from scaling_search.training.device_errors import is_out_of_memory, needs_new_process

ACCELERATOR = getattr(torch, "AcceleratorError", RuntimeError)  # absent before torch 2.8


def following(error: BaseException, *later: BaseException) -> BaseException:
    """The last of some errors, each raised while the one before was handled."""
    for following in later:
        following.__context__ = error
        error = following
    return error


def caused(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [
        ACCELERATOR("CUDA error: an illegal memory access was encountered"),
        RuntimeError("CUDA error: device-side assert triggered\nCUDA kernel errors might be"),
        RuntimeError("CUDA error: uncorrectable ECC error encountered"),
        RuntimeError("CUDA error: operation failed due to a previous error during capture"),
        RuntimeError("CUDA driver error: unknown error"),
        RuntimeError("CUDA unknown error - this may be due to an incorrectly set up environment"),
        RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
        RuntimeError("Triton Error [CUDA]: an illegal memory access was encountered"),
        CaptureError("a step"),
        following(RuntimeError("CUDA error: unspecified launch failure"), ValueError("later")),
        caused(ValueError("later"), CaptureError("a step")),
    ],
)
def test_after_an_error_of_cuda_a_new_process_is_needed(error: BaseException) -> None:
    assert needs_new_process(error)
    assert not is_out_of_memory(error)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        ACCELERATOR("CUDA error: out of memory\nCUDA kernel errors might be"),
        RuntimeError("CUDA driver error: out of memory"),
        RuntimeError("Triton Error [CUDA]: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
        following(
            torch.OutOfMemoryError("CUDA out of memory"),
            RuntimeError("CUDA error: operation failed due to a previous error during capture"),
        ),
    ],
)
def test_after_short_memory_a_process_goes_on(error: BaseException) -> None:
    assert is_out_of_memory(error)
    assert not needs_new_process(error)


@pytest.mark.parametrize("between", [[], [RuntimeError("CUDA error: the recording is invalid")]])
def test_a_recording_that_broke_off_for_want_of_memory_needs_one_too(
    between: list[Exception],
) -> None:
    short = torch.OutOfMemoryError("CUDA out of memory")
    error = following(short, *between, CaptureError("a step"))
    assert needs_new_process(error)
    assert not is_out_of_memory(error)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
        ValueError("CUDA error: of somebody who read about one"),
        FloatingPointError("the training loss must be finite, got nan"),
    ],
)
def test_other_errors_are_neither(error: BaseException) -> None:
    assert not needs_new_process(error)
    assert not is_out_of_memory(error)
