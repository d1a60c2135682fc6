"""Small disks in a mount namespace of their own, which nobody else on the machine sees."""

import contextlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HOLD = 'mount -t tmpfs -o "size=$1" tmpfs "$2" && echo mounted && exec cat'


def can_mount() -> bool:
    """Whether this user may mount."""
    tried = subprocess.run(
        ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"],
        capture_output=True,
        check=False,
    )
    return tried.returncode == 0


@dataclass(frozen=True)
class Disk:
    """A disk in memory.

    Attributes:
        pid: Of a process in its namespace.
        path: Where it is mounted there.
    """

    pid: int
    path: Path

    @property
    def seen(self) -> Path:
        """Its folder as it is seen from here."""
        return Path(f"/proc/{self.pid}/root{self.path}")

    @property
    def inside(self) -> tuple[str, ...]:
        """What runs a program in its namespace, in its folder."""
        return ("nsenter", f"--target={self.pid}", "--mount", f"--wdns={self.path}")

    def fill(self) -> None:
        """Takes all the space that is left."""
        with contextlib.suppress(OSError), (self.seen / "filler").open("wb", buffering=0) as file:
            for size in (1 << 16, 1 << 12, 1):
                with contextlib.suppress(OSError):
                    while file.write(bytes(size)):
                        pass

    def free(self) -> None:
        """Gives it back."""
        (self.seen / "filler").unlink()

    def remount(self, how: str) -> None:
        """Makes it read-only (``ro``) or writable (``rw``)."""
        command = ["mount", "-o", f"remount,{how}", str(self.path)]
        subprocess.run([*self.inside, *command], check=True, capture_output=True)


@contextlib.contextmanager
def small_disk(path: Path, size: str) -> Iterator[Disk]:
    """A disk of so many bytes (``2m``), gone with the context."""
    path.mkdir()
    process = subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", HOLD, "sh", size, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"mounted\n"
        yield Disk(process.pid, path)
    finally:
        process.communicate()
