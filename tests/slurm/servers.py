"""A SLURM of several nodes on this machine: a network of its own, loopback alone, no systemd."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "ip", "unshare", "nsenter")
PATIENCE_SECONDS = 120
"""For a server to start or to end; they take a second, on a machine that is busy more."""

HOST = "198.51.100.1"
"""The nodes' address; names are not looked up where there is none but 127.0.0.1."""

FIRST_PORT = 6817
"""SLURM's own; nobody else listens in a network that was made just now."""

NETWORK = f'ip link set lo up && ip address add {HOST}/32 dev lo && exec "$@"'

CONFIG = """\
ClusterName=tests
SlurmctldHost={host}({address})
SlurmctldPort={port}
SlurmUser=root
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
MpiDefault=none
MessageTimeout=60
KillWait=120
ReturnToService=2
"""


@dataclass(frozen=True)
class Slurm:
    """A SLURM that runs.

    Attributes:
        folder: Where all that it writes lies.
        inside: What to put before a command to run it in SLURM's network.
        network: What the kernel calls that network.
    """

    folder: Path
    inside: tuple[str, ...]
    network: str

    def said(self, *command: str, env: Mapping[str, str] | None = None) -> str:
        """What one of SLURM's commands printed, which must end well."""
        ran = subprocess.run(
            [*self.inside, *command],
            env={**os.environ, **(env or {}), "SLURM_CONF": str(self.folder / "slurm.conf")},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        assert ran.returncode == 0, (command, ran.stderr, self.logs())
        return ran.stdout

    def processes(self) -> dict[int, str]:
        """Every process in SLURM's network and the start of its command, by its id."""
        found = {}
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it may just have ended
                if str((process / "ns" / "net").readlink()) == self.network:
                    words = (process / "cmdline").read_bytes().replace(b"\0", b" ")
                    found[int(process.name)] = words[:100].decode(errors="replace")
        return found

    def logs(self) -> str:
        """The ends of what the servers wrote."""
        return "\n".join(
            f"{path.name}: {path.read_text(encoding='utf-8', errors='replace')[-2000:]}"
            for path in sorted(self.folder.glob("*.log"))
        )


def missing() -> str | None:
    """Why SLURM cannot be had here, in one line; None where it can."""
    for program in PROGRAMS:
        if shutil.which(program) is None:
            return f"needs {program}, of Debian's slurm-wlm, munge, iproute2 and util-linux"
    if subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False).returncode:
        return "needs the right to make a network, as root has it"
    return None


@contextlib.contextmanager
def slurm(folder: Path, *, num_nodes: int, cpus: int) -> Iterator[Slurm]:
    """An idle SLURM.

    Args:
        folder: Empty, with a short path; all that the servers write lies there.
        num_nodes: Nodes, each a slurmd of its own: ``n0``, ``n1``, ...
        cpus: What each node says that it has.
    """
    _configure(folder, num_nodes, cpus)
    with contextlib.ExitStack() as servers:
        key, other = folder / "munge.key", folder / "munge"
        munged = servers.enter_context(
            _server(
                folder,
                *("unshare", "--net", "sh", "-c", NETWORK, "sh"),
                *("munged", "--foreground", "--force", f"--socket={folder}/munge.socket"),
                *(f"--key-file={key}", f"--pid-file={other}.pid", f"--seed-file={other}.seed"),
                f"--origin={HOST}",
            )
        )
        # The network is there before its loopback is up, and that before the socket.
        _until((folder / "munge.socket").exists, munged, folder / "servers.log")
        network = f"/proc/{munged.pid}/ns/net"
        inside = ("nsenter", f"--net={network}")
        running = Slurm(folder, inside, str(Path(network).readlink()))
        servers.callback(_end_what_is_left, running, but=munged.pid)
        controller = servers.enter_context(_server(folder, *inside, "slurmctld", "-D", "-i"))
        for number in range(num_nodes):
            servers.enter_context(_server(folder, *inside, "slurmd", "-D", "-N", f"n{number}"))
        idle = ["idle"] * num_nodes
        _until(lambda: states(running) == idle, controller, folder / "servers.log")
        yield running


def states(running: Slurm) -> list[str]:
    """What each node does; none as long as nobody answers."""
    with contextlib.suppress(AssertionError):
        return running.said("sinfo", "--Node", "--noheader", "--format=%T").split()
    return []


def _end_what_is_left(running: Slurm, *, but: int) -> None:
    """Ends jobs that a test left behind; the network is ours alone."""
    while left := [process for process in running.processes() if process != but]:
        for process in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        time.sleep(0.1)


def _configure(folder: Path, num_nodes: int, cpus: int) -> None:
    key = folder / "munge.key"
    key.touch(mode=0o600)
    key.write_bytes(os.urandom(128))
    (folder / "state").mkdir()
    host = socket.gethostname().partition(".")[0]
    lines = CONFIG.format(folder=folder, host=host, address=HOST, port=FIRST_PORT)
    for number in range(num_nodes):
        (folder / f"spool.n{number}").mkdir()
        lines += (
            f"NodeName=n{number} NodeHostname={host} "
            f"NodeAddr={HOST} Port={FIRST_PORT + 1 + number} CPUs={cpus}\n"
        )
    lines += "PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP\n"
    (folder / "slurm.conf").write_text(lines, encoding="utf-8")


@contextlib.contextmanager
def _server(folder: Path, *command: str) -> "Iterator[subprocess.Popen[bytes]]":
    with (folder / "servers.log").open("ab") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, "SLURM_CONF": str(folder / "slurm.conf")},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _until(ready: Callable[[], bool], process: "subprocess.Popen[bytes]", log: Path) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not ready():
        said = f"{process.args!r}: {log.read_text(encoding='utf-8', errors='replace')[-4000:]}"
        assert process.poll() is None, said
        assert time.monotonic() < end, said
        time.sleep(0.1)
