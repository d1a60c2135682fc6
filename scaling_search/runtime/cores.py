"""The number of cores that this process may use."""

from loky import cpu_count


def usable_cores() -> int:
    """Cores within the process's affinity and its container's CPU quota, rounded up."""
    return int(cpu_count())
