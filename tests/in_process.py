"""What executors in tests have in common beside `submit`: all is done at once, in this process."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future

from scaling_search.protocols import Argument, T
from scaling_search.training.trial import Trial


class InProcess:
    """Has nothing to settle, and calls functions at once."""

    retries: int = 0

    def prepare(self, trials: Sequence[Trial]) -> None:
        """Settles nothing."""

    def call(self, function: Callable[[Argument, str], T], argument: Argument) -> Future[T]:
        """The finished future."""
        future: Future[T] = Future()
        future.set_result(function(argument, "cpu"))
        return future
