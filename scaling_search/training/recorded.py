"""Work on a device that is recorded once and replayed."""


class CannotRecord(RuntimeError):  # noqa: N818  # says what this process cannot do
    """A piece of work could not be recorded as a CUDA graph; this process may not record again."""
