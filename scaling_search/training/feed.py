"""Batches of images in the host's memory, copied to the device ahead of the steps."""

import functools
from concurrent.futures import Future, ThreadPoolExecutor, wait

import torch
from torch import Tensor

AHEAD = 2
"""Batches in flight: while one is copied to the device, the next is gathered."""


class Feed:
    """Batches of images from the host's memory, in a given order.

    A thread gathers them into pinned memory, and a stream of its own copies them to the device,
    while earlier batches are computed with. On a CPU there is nothing to pin and no stream.
    """

    def __init__(self, images: Tensor, batch_size: int, device: torch.device) -> None:
        """Makes the buffers; ``images`` (N, C, H, W) are all images, in the host's memory."""
        self._images, self._batch_size = images, batch_size
        is_cuda = device.type == "cuda"
        self._stream = _copying(device) if is_cuda else None
        empty = functools.partial(torch.empty, (batch_size, *images.shape[1:]), dtype=images.dtype)
        self._near = [empty(device=device) for _ in range(AHEAD)]
        # One more than that: the thread gathers into it while the others are copied.
        self._pinned = [empty(pin_memory=True) for _ in range(AHEAD + 1) if self._stream]
        self._used: list[torch.cuda.Event | None] = [None] * len(self._near)
        self._copied: list[torch.cuda.Event | None] = [None] * len(self._pinned)
        # A thread begins with the first device, and would take memory of it.
        begin = (torch.cuda.set_device, (device,)) if is_cuda else (None, ())
        self._thread = ThreadPoolExecutor(1, "feed", *begin)
        self._order = torch.empty(0, dtype=torch.int64)
        self._coming: list[Future[torch.cuda.Event | None]] = []
        self._taken = 0
        if self._stream is not None:  # earlier tensors in that memory may still be read
            self._stream.wait_stream(torch.cuda.current_stream(device))

    def begin(self, order: Tensor, first: int = 0) -> None:
        """Starts with the images in a new order; batches in flight are dropped.

        Args:
            order: Indices (N,) of the images, in the host's memory; only whole batches are used.
            first: Number of the first batch, from 0.
        """
        self._forget()
        self._order, self._taken = order, first
        for number in range(first, first + AHEAD):
            self._ask(number)

    def next(self, batch: Tensor) -> None:
        """Fills a tensor (B, C, H, W) on the device with the next batch.

        Raises:
            RuntimeError: The images cannot be read or copied.
        """
        filled = self._coming.pop(0).result()
        place = self._taken % AHEAD
        if filled is not None:
            filled.wait()  # the present stream, not this thread
        batch.copy_(self._near[place], non_blocking=True)
        if filled is not None:
            self._used[place] = torch.cuda.current_stream(batch.device).record_event()
        self._ask(self._taken + AHEAD)
        self._taken += 1

    def close(self) -> None:
        """Ends the thread."""
        self._forget()
        self._thread.shutdown()
        if self._stream is not None:
            self._stream.synchronize()  # else it would write into memory that is given away

    def _forget(self) -> None:
        for future in self._coming:
            future.cancel()
        wait(self._coming)
        self._coming.clear()

    def _ask(self, number: int) -> None:
        start = number * self._batch_size
        chosen = self._order[start : start + self._batch_size]
        if len(chosen) == self._batch_size:
            self._coming.append(self._thread.submit(self._brought, number, chosen))

    def _brought(self, number: int, chosen: Tensor) -> torch.cuda.Event | None:
        """Copies a batch to the device and returns the event of its end; None on a CPU."""
        near = self._near[number % AHEAD]
        if self._stream is None:
            torch.index_select(self._images, 0, chosen, out=near)
            return None
        place = number % len(self._pinned)
        if (copied := self._copied[place]) is not None:
            copied.synchronize()
        # Many times as fast as indexing, which makes a tensor first.
        torch.index_select(self._images, 0, chosen, out=self._pinned[place])
        with torch.cuda.stream(self._stream):
            if (used := self._used[number % AHEAD]) is not None:
                self._stream.wait_event(used)
            near.copy_(self._pinned[place], non_blocking=True)
            filled: torch.cuda.Event = self._stream.record_event()
        self._copied[place] = filled
        return filled


@functools.cache
def _copying(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch's
