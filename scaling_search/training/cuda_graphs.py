"""Repeated work on a device: on CUDA captured as a graph, then replayed."""

import contextlib
import functools
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

NUM_WARM_UP = 3
"""Runs before the capture; they create buffers and handles."""


class CaptureError(RuntimeError):
    """Work that cannot be captured as a CUDA graph; this process may not capture again."""


class CapturedWork:
    """Work that is repeated in the same way, by nothing but the device.

    On CUDA it runs `NUM_WARM_UP` times, is captured, and from then on replayed; elsewhere it simply
    runs. On CUDA it draws random numbers from a state of its own, a copy of the device's at the
    start. Graphs that share a state share its offset: two of them replayed at a time would draw
    wrong dropout, and a capture that fails would leave the state of all others unusable.

    Attributes:
        num_captures: Number of captures: 1 or 0.
    """

    def __init__(
        self,
        device: torch.device,
        *,
        is_wanted: bool = True,
        warm_up: int = NUM_WARM_UP,
        remedy: str = "",
    ) -> None:
        """Captures nothing yet.

        Args:
            device: The device that works.
            is_wanted: False to capture nothing.
            warm_up: Runs before the capture.
            remedy: Advice at the end of the error if it cannot be captured.
        """
        self.num_captures = 0
        self._device, self._remedy = device, remedy
        self._is_wanted = is_wanted and device.type == "cuda"
        self._warm_up_left = warm_up
        self._graph: torch.cuda.CUDAGraph | None = None
        self._random: torch.Generator | None = None
        if device.type == "cuda":
            self._random = torch.cuda.default_generators[device.index].clone_state()

    def run(self, work: Callable[[], None]) -> None:
        """Does the work, by replay once it is captured.

        Args:
            work: The same each time; not kept here, so that what owns both is freed with its last
                name.

        Raises:
            CaptureError: It waits for the host, or does what a graph cannot hold.
        """
        with capturable_stream(self._device):
            if self._graph is not None:
                self._graph.replay()
            elif not self._is_wanted or self._warm_up_left:
                self._warm_up_left = max(0, self._warm_up_left - 1)
                with self._own_random_state():
                    work()
            else:
                with self._own_random_state():
                    self._graph = self._captured(work)
                self._graph.replay()

    def random_state(self) -> Tensor | None:
        """The state that it draws from, in the host's memory; None if that is torch's own."""
        return None if self._random is None else self._random.get_state()

    def draw_from(self, state: Tensor) -> None:
        """Sets the state that it draws from to one of `random_state`."""
        assert self._random is not None
        self._random.set_state(state)

    @contextlib.contextmanager
    def _own_random_state(self) -> Iterator[None]:
        """Uses its own random state in place of the device's."""
        if self._random is None:
            yield
            return
        generator = torch.cuda.default_generators[self._device.index]
        before = generator.graphsafe_get_state()
        generator.graphsafe_set_state(self._random)
        try:
            yield
        finally:
            generator.graphsafe_set_state(before)

    def _captured(self, work: Callable[[], None]) -> torch.cuda.CUDAGraph:
        graph = torch.cuda.CUDAGraph()
        stream = torch.cuda.current_stream(self._device)
        try:
            # The stream twice: an interrupted capture leaves its own behind as the current one.
            # Other threads, such as one that fetches images, may go on meanwhile.
            with (
                torch.cuda.stream(stream),
                torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"),
            ):
                work()
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            first: BaseException = error  # the end of a capture that failed is an error too
            while first.__context__ is not None:
                first = first.__context__
            text = next(iter(str(first).splitlines()), type(first).__name__)
            raise CaptureError(
                f"the network must be recordable as a CUDA graph, got: {text}{self._remedy}"
            ) from error
        self.num_captures += 1
        return graph


@contextlib.contextmanager
def capturable_stream(device: torch.device) -> Iterator[None]:
    """Makes a stream that can be captured the current one, in order with the one before.

    Each device has one in a process, since each stream that multiplies matrices keeps a workspace.
    A current stream that is not the default one stays, as does everything that is not CUDA.
    """
    if device.type != "cuda":
        yield
        return
    present = torch.cuda.current_stream(device)
    if present != torch.cuda.default_stream(device):
        yield
        return
    stream = _stream(device)
    stream.wait_stream(present)
    with torch.cuda.device(device), torch.cuda.stream(stream):
        yield
    present.wait_stream(stream)


@functools.cache
def _stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch's
