"""The Ray executor on a Ray that it starts, and whole searches in a cluster of three nodes."""

import contextlib
import importlib.util
import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pydantic import ValidationError

from scaling_search.core.metric import VAL_LOSS
from scaling_search.core.trial import Trial
from scaling_search.data import cache as data_cache
from scaling_search.executors.ray import Ray, room
from scaling_search.record.record import Record
from scaling_search.record.results import curves_table, results_table
from scaling_search.runtime.cores import usable_cores
from scaling_search.runtime.interruption import EXIT_CODE
from scaling_search.training.device_sharing import DeviceLock, num_workers
from scaling_search.training.engine import train_trial
from tests.composed import CONF
from tests.faults import Faulty
from tests.tables import VOLATILE
from tests.tiny import tiny_trial

pytestmark = pytest.mark.alone

PATIENCE_SECONDS = 60
"""Limit for a process to start or to end, which takes seconds, and longer on a busy machine."""

PROGRAM = str(Path(sys.executable).parent / "scaling-search")


def executor(**changes: Any) -> Ray:
    """An executor on this machine's CPUs, of two trainings at a time if it has two cores."""
    cores = usable_cores()
    cpus = float(cores // 2) if cores > 1 else 0.5
    options: dict[str, Any] = {"device": "cpu", "cpus_per_training": cpus}
    return Ray(**options | changes)


# Without Ray.


@pytest.mark.parametrize(
    ("node", "cpus", "gpus", "number"),
    [
        ({"CPU": 4.0}, 1.0, 0.0, 4),
        ({"CPU": 4.0}, 3.0, 0.0, 1),
        ({"CPU": 1.0}, 0.1, 0.0, 10),
        ({"CPU": 4.0, "GPU": 2.0}, 1.0, 1.0, 2),
        ({"CPU": 16.0, "GPU": 2.0}, 1.0, 0.25, 8),
        ({"CPU": 3.0, "GPU": 2.0}, 1.0, 0.25, 3),
        ({"CPU": 16.0, "GPU": 3.0}, 1.0, 0.6, 3),
        ({"CPU": 16.0, "GPU": 1.0}, 1.0, 1 / 3, 3),
        ({"CPU": 16.0, "GPU": 1.0}, 1.0, 1 / 6, 5),  # Ray takes 0.1667
        ({"CPU": 16.0}, 1.0, 0.5, 0),
        ({"GPU": 1.0}, 1.0, 1.0, 0),
        ({}, 1.0, 0.0, 0),
    ],
)
def test_a_node_has_room_for_whole_shares(
    node: Mapping[str, float], cpus: float, gpus: float, number: int
) -> None:
    assert room(node, cpus, gpus) == number


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("address", "ray://127.0.0.1:10001"),
        ("address", "somewhere"),
        ("device", "cuda:1"),
        ("cpus_per_training", 1.5),
        ("gpus_per_training", 2.0),
    ],
)
def test_options_that_ray_cannot_meet_are_refused(option: str, value: object) -> None:
    with pytest.raises(ValidationError, match=option):
        executor(**{option: value})


def test_without_the_package_the_command_that_installs_it_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)  # noqa: ARG005 - as if it were not there
    with pytest.raises(ValueError, match=r"^executor=ray .*; pip install 'scaling-search\[ray\]'$"):
        executor().check()


def test_the_slots_of_this_machine_are_known_before_ray_starts() -> None:
    share = executor(cpus_per_training=0.5)
    assert share.slots == 0
    share.check()
    assert share.slots == 2 * usable_cores()
    assert share.device_share == 1 / share.slots


def test_more_than_there_is_is_refused_by_a_check() -> None:
    with pytest.raises(ValueError, match="must find a node with 10000 CPUs and 0 GPUs"):
        executor(cpus_per_training=10_000.0).check()


def test_an_address_that_does_not_answer_is_named() -> None:
    with pytest.raises(RuntimeError, match=r"^executor.address=127.0.0.1:1 must answer, got Conn"):
        executor(address="127.0.0.1:1").check()


# A Ray that this process starts.


def divided(number: int, device: str) -> tuple[float, str]:
    return 1 / number, device


def process(argument: object, device: str) -> int:
    del argument, device
    return os.getpid()


def killed(number: signal.Signals, device: str) -> None:
    del device
    os.kill(os.getpid(), number)


def opened(pipe: str, device: str) -> str:
    """Read a named pipe, which lasts until something is written into it."""
    del device
    return Path(pipe).read_text(encoding="utf-8")


def mappings_of_images(trial: Trial, device: str) -> list[tuple[str, bool]]:
    """The mapping of this process that holds a trial's images, and True if they are the right ones.

    Once at the size that its network sees, and once at the data's own, of which crops are taken.
    """
    del device
    assert trial.dataset is not None
    found = []
    for size in (trial.candidate.architecture.resolution, data_cache.native_size(trial.dataset)):
        images = data_cache.mapped(trial.dataset, size).train.images
        is_right = bool((images == trial.dataset.load(size, "cpu").train.images).all())
        for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
            first, last = (int(part, 16) for part in line.split()[0].split("-"))
            if first <= images.data_ptr() < last:
                found.append((line.split(maxsplit=5)[-1], is_right))
    return found


def listening(pids: set[int]) -> set[str]:
    """Addresses at which processes listen for TCP, in the kernel's notation."""
    sockets = {
        str(link.readlink())
        for pid in pids
        for link in Path(f"/proc/{pid}/fd").iterdir()
        if link.is_symlink()
    }
    lines = itertools.chain(
        *(Path(f"/proc/net/tcp{v}").read_text("ascii").splitlines()[1:] for v in ("", "6"))
    )
    fields = [line.split() for line in lines]
    return {f[1].split(":")[0] for f in fields if f[3] == "0A" and f"socket:[{f[9]}]" in sockets}


def descendants(pid: int) -> set[int]:
    """All children of a process, their children included."""
    parents = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal() and (folder / "stat").is_file():
            state = (folder / "stat").read_text("utf-8").rpartition(")")[2].split()
            parents[int(folder.name)] = int(state[1])
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {pid}


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ray]:
    """A Ray of this process with a warm worker; it is left with all workers busy."""
    handler = signal.getsignal(signal.SIGTERM)
    before = descendants(os.getpid())
    pipe = tmp_path_factory.mktemp("own") / "pipe"
    os.mkfifo(pipe)
    with executor(timeout_minutes=0.1) as entered:
        assert signal.getsignal(signal.SIGTERM) == handler
        entered.call(train_trial, tiny_trial()).result(PATIENCE_SECONDS)
        yield entered
        in_flight = [entered.call(opened, str(pipe)) for _ in range(entered.slots + 1)]
    assert descendants(os.getpid()) == before
    assert all(future.done() for future in in_flight)


@pytest.mark.slow
def test_images_lie_once_in_the_memory_of_a_node(own: Ray) -> None:
    found = own.call(mappings_of_images, tiny_trial()).result(PATIENCE_SECONDS)
    assert len(found) == 2
    for mapping, are_right in found:
        assert "plasma" in mapping  # Ray's shared memory
        assert are_right


@pytest.mark.slow
def test_a_killed_worker_ends_its_own_call_only_and_is_replaced(own: Ray, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    others = [own.call(opened, str(pipe))] if own.slots > 1 else []
    lost = own.call(killed, signal.SIGKILL)
    later = own.call(divided, 4)
    error = lost.exception(PATIENCE_SECONDS)
    assert isinstance(error, RuntimeError)
    assert re.match(r"process \d+ on \S+ died: ", str(error))
    assert later.result(PATIENCE_SECONDS) == (0.25, "cpu")
    for other in others:
        pipe.write_text("seen", encoding="utf-8")
        assert other.result(PATIENCE_SECONDS) == "seen"


@pytest.mark.slow
def test_a_worker_that_dies_idle_fails_no_call(own: Ray) -> None:
    lost = own.call(process, 0).result(PATIENCE_SECONDS)
    os.kill(lost, signal.SIGKILL)
    assert own.call(process, 0).result(PATIENCE_SECONDS) != lost


@pytest.mark.slow
def test_a_worker_whose_device_fails_is_replaced(own: Ray) -> None:
    broken = own.submit(replace(tiny_trial(), dataset=Faulty("break"))).result(PATIENCE_SECONDS)
    assert (broken.state, broken.needs_new_process) == ("FAIL", True)
    failed = int(broken.reason.rpartition(" ")[2])
    others = [own.call(process, 0) for _ in range(own.slots)]
    assert failed not in {future.result(PATIENCE_SECONDS) for future in others}


@pytest.mark.slow
def test_an_overdue_training_is_ended_and_its_worker_replaced(own: Ray) -> None:
    endless = own.submit(tiny_trial(epochs=10_000_000))
    with pytest.raises(TimeoutError, match=r"process \d+ on \S+ took more than 6 s"):
        endless.result(PATIENCE_SECONDS)
    assert own.call(divided, 4).result(PATIENCE_SECONDS) == (0.25, "cpu")


def shared_device(argument: object, device: str) -> tuple[int, str]:
    """Number of workers of this one's device, and the file that a training locks."""
    del argument, device
    with DeviceLock():
        held = [
            str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()
        ]
    return num_workers(), next((name for name in held if name.endswith(".lock")), "")


@pytest.mark.slow
def test_a_worker_with_a_device_of_its_own_waits_for_nobody(own: Ray) -> None:
    assert own.call(shared_device, 0).result(PATIENCE_SECONDS) == (1, "")


QUARTERS = """
import torch
from tests.executors.test_ray import PATIENCE_SECONDS, executor, shared_device

torch.cuda.device_count = lambda: 1
if __name__ == "__main__":
    shares = executor(device="cuda", gpus_per_training=0.25, cpus_per_training=0.1)
    with shares as entered:
        for future in [entered.call(shared_device, 0) for _ in range(2)]:
            print(*future.result(2 * PATIENCE_SECONDS))
"""
"""Calls for a quarter of a GPU, which this machine need not have: only a training would use it."""


@pytest.mark.slow
def test_workers_that_share_a_gpu_lock_a_file_of_it(tmp_path: Path) -> None:
    script = tmp_path / "quarters.py"
    script.write_text(QUARTERS, encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:  # Ray's paths may not be long
        out = subprocess.check_output(
            [sys.executable, str(script)], env=environment(TMPDIR=folder), text=True
        )
        one, other = out.splitlines()
        assert one == other
        assert re.fullmatch(rf"4 {folder}/scaling-search-[0-9a-f]{{32}}-0\.lock", one)


@pytest.mark.slow
def test_nothing_of_it_listens_beyond_this_machine(own: Ray) -> None:
    own.call(process, 0).result(PATIENCE_SECONDS)
    addresses = listening(descendants(os.getpid()) | {os.getpid()})
    assert addresses <= {"0100007F", "0000000000000000FFFF00000100007F"}
    assert addresses


@pytest.mark.slow
def test_an_interrupt_of_the_terminal_loses_nothing_that_ended(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with subprocess.Popen(
        [*searching(out), "executor=ray", "executor.device=cpu"],
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as search:
        lines_until(search, 2)
        os.killpg(search.pid, signal.SIGINT)  # Ray's processes get it too
        search.communicate(timeout=PATIENCE_SECONDS)
    assert search.returncode == EXIT_CODE
    results, _ = tables(out)
    assert len(results) >= 2
    assert set(results["state"]) == {"COMPLETE"}


@pytest.mark.slow
def test_no_module_of_the_current_folder_is_run(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    (tmp_path / "yaml.py").write_text(f"open({str(ran)!r}, 'w')\n", encoding="utf-8")
    command = [*searching(tmp_path / "out"), "executor=ray", "executor.device=cpu", "timed=false"]
    subprocess.run(
        [*command, "limits.trainings=1"], cwd=tmp_path, env=environment(), check=True, timeout=240
    )
    assert not ran.exists()


# A cluster on this machine, in a network namespace that has nothing but loopback.

NAMESPACE = ["--net", *([] if os.geteuid() == 0 else ["--map-root-user"])]


def environment(**more: str) -> dict[str, str]:
    """This process's environment without what `own` set for its Ray."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return kept | {"RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": str(CONF.parent)} | more


def namespaces_are_permitted() -> bool:
    if not all(map(shutil.which, ("unshare", "nsenter", "ip"))):
        return False
    tried = ["unshare", *NAMESPACE, "ip", "link", "set", "lo", "up"]
    return subprocess.run(tried, capture_output=True, check=False).returncode == 0


needs_a_namespace = pytest.mark.skipif(
    not namespaces_are_permitted(), reason="needs unshare, nsenter, ip and network namespaces"
)


def within_patience(is_so: Callable[[], bool]) -> bool:
    """True if a condition comes true in time."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def asked(process: "subprocess.Popen[str]", line: str = "") -> list[str]:
    """The words of a process's answer to a line."""
    assert process.stdin is not None
    assert process.stdout is not None
    print(line, file=process.stdin, flush=True)
    answer = process.stdout.readline().split()
    assert answer, f"the process ended with {process.wait(PATIENCE_SECONDS)}"
    return answer


@dataclass
class Cluster:
    """A process of `ray_cluster`, which starts and ends nodes.

    Attributes:
        folder: Cache of this cluster's nodes, where they would keep data that they read.
    """

    process: "subprocess.Popen[str]"
    folder: Path
    address: str = ""

    def kill(self, number: int) -> None:
        """End a node as if its power had failed."""
        asked(self.process, f"kill {number}")

    def add(self, cpus: int, gpus: int = 0, *folders: Path) -> int:
        """Start a node, with these folders on its import path, and return its number."""
        command = " ".join(map(str, ("add", cpus, gpus, *folders)))
        number, self.address = asked(self.process, command)
        return int(number)

    @contextlib.contextmanager
    def run(self, *command: str) -> Iterator["subprocess.Popen[str]"]:
        """A process in the cluster's network, killed at the end."""
        entered = ["nsenter", "--net", f"--target={self.process.pid}"]
        if os.geteuid() != 0:
            entered += ["--user", "--preserve-credentials"]
        with subprocess.Popen(
            [*entered, *command],
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as run:
            try:
                yield run
            finally:
                run.kill()

    def search(self, out: Path) -> AbstractContextManager["subprocess.Popen[str]"]:
        """A search in this cluster."""
        return self.run(*searching(out), "executor=ray", f"executor.address={self.address}")

    def comes_to(self, num_actors: int) -> bool:
        """True if so many actors live in time."""
        return within_patience(lambda: asked(self.process, "actors") == [str(num_actors)])


def searching(out: Path) -> list[str]:
    """Command of a search of twelve trainings on a hundred real images."""
    return [
        *(PROGRAM, "search", f"out={out}", "num_seeds=4", "candidates.max_networks=2"),
        *("dataset.num_train=100", "dataset.num_val=50", "recipe.epochs=2", "recipe.batch_size=20"),
    ]


def tables(out: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A search's results with all columns, and its curves."""
    rows = Record(f"sqlite:///{out / 'study.db'}", "default", VAL_LOSS).rows()
    return results_table(rows), curves_table(rows)


def assert_as_if_alone(out: Path, alone: Path) -> None:
    """Check that two searches have the same trainings, each once, with the same numbers."""
    (results, curves), (expected, expected_curves) = tables(out), tables(alone)
    pd.testing.assert_frame_equal(
        results.drop(columns=list(VOLATILE)), expected.drop(columns=list(VOLATILE))
    )
    pd.testing.assert_frame_equal(curves, expected_curves)


def lines_until(process: "subprocess.Popen[str]", number: int) -> None:
    """Read a search's output until so many trainings have ended."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(f"{number}/12 "):
            return
    raise AssertionError(f"ended with {process.wait(PATIENCE_SECONDS)}")


def succeeds(process: "subprocess.Popen[str]") -> str:
    """The rest of the output of a process that must succeed."""
    out, _ = process.communicate(timeout=2 * PATIENCE_SECONDS)
    assert process.returncode == 0, out
    return out


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster of three nodes with one CPU each."""
    folder = tmp_path_factory.mktemp("nodes")
    command = ["unshare", *NAMESPACE, "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    process = subprocess.Popen(
        [*command, sys.executable, "-m", "tests.executors.ray_cluster"],
        env=environment(SCALING_SEARCH_CACHE=str(folder)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with process:
        started = Cluster(process, folder)
        for _ in range(3):
            started.add(1)
        try:
            yield started
            process.communicate(timeout=PATIENCE_SECONDS)
            assert process.returncode == 0
        finally:
            process.kill()


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the same search by one process."""
    out = tmp_path_factory.mktemp("alone") / "out"
    command = [*searching(out), "executor=inline", "executor.device=cpu"]
    subprocess.run(command, env=environment(), check=True, capture_output=True)
    return out


@pytest.mark.slow
@needs_a_namespace
def test_a_search_goes_on_after_its_coordinator_was_killed(
    cluster: Cluster, alone: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with cluster.search(out) as first:
        lines_until(first, 3)
        first.kill()
    before, _ = tables(out)
    assert 3 <= len(before) < 12
    assert cluster.comes_to(0)
    with cluster.search(out) as second:
        assert "all trainings are done" in succeeds(second)
    assert_as_if_alone(out, alone)
    after, _ = tables(out)
    kept = after.merge(before[["candidate", "seed"]], on=["candidate", "seed"])
    pd.testing.assert_frame_equal(kept, before)  # to the second at which they ended
    assert cluster.comes_to(0)
    assert list(cluster.folder.iterdir()) == []  # no node has looked for data of its own


@pytest.mark.slow
@needs_a_namespace
def test_a_node_that_dies_loses_nothing(cluster: Cluster, alone: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with cluster.search(out) as search:
        lines_until(search, 2)
        cluster.kill(1)
        succeeds(search)
    assert_as_if_alone(out, alone)
    results, _ = tables(out)
    assert set(results["attempts"]) == {1}  # a node's death is no failure of a training
    # Lost workers are logged only if the node was training when it died.
    assert "the cluster has 3 nodes" in (out / "search.log").read_text(encoding="utf-8")


COORDINATOR = """
import sys, time
from tests.executors.test_ray import executor, opened

address, pipe = sys.argv[1:]
in_cluster = {"address": address, "cpus_per_training": 1.0}
if __name__ == "__main__":
    with executor(**in_cluster) as entered:
        in_flight = [entered.call(opened, pipe) for _ in range(entered.slots + 2)]
        for line in sys.stdin:
            if line == "leave\\n":
                break
            print(entered.slots, flush=True)
        assert not any(future.done() for future in in_flight)
        started = time.monotonic()
    assert time.monotonic() - started < 10
    assert all(future.done() for future in in_flight)
    quarters = executor(device="cuda", gpus_per_training=0.25, **in_cluster)
    quarters.check()
    print(quarters.slots, quarters.device_share)
"""
"""A coordinator with calls for all slots and two more, which answers each line with its number of
slots; told to leave, it looks for GPUs."""


@pytest.mark.slow
@needs_a_namespace
def test_slots_follow_the_nodes(cluster: Cluster, tmp_path: Path) -> None:
    script, pipe = tmp_path / "coordinator.py", tmp_path / "pipe"
    script.write_text(COORDINATOR, encoding="utf-8")
    os.mkfifo(pipe)
    with cluster.run(sys.executable, str(script), cluster.address, str(pipe)) as coordinator:

        def slots_now() -> int:
            return int(asked(coordinator)[0])

        slots = slots_now()
        assert cluster.comes_to(slots)
        joined = cluster.add(2, gpus=3)
        assert cluster.comes_to(slots + 2)
        assert slots_now() == slots + 2
        cluster.kill(joined)
        assert within_patience(lambda: slots_now() == slots)
        cluster.add(2, gpus=3)
        assert within_patience(lambda: slots_now() == slots + 2)
        assert cluster.comes_to(slots + 2)
        out, _ = coordinator.communicate("leave\n", timeout=PATIENCE_SECONDS)
    assert out.split() == ["2", "0.25"]
    assert coordinator.returncode == 0
    assert cluster.comes_to(0)


LARGE = """
import sys
from tests.executors.test_ray import executor, process

if __name__ == "__main__":
    with executor(address=sys.argv[1], cpus_per_training=3.0) as entered:
        for _ in sys.stdin:
            try:
                entered.call(process, 0).result()
                print(entered.slots, flush=True)
            except RuntimeError as error:
                print(error, flush=True)
"""
"""A coordinator that answers each line with its number of slots after a call of three CPUs, or with
why there are none."""


@pytest.mark.slow
@needs_a_namespace
def test_a_node_with_other_versions_trains_nothing(cluster: Cluster, tmp_path: Path) -> None:
    script, folder = tmp_path / "large.py", tmp_path / "other"
    script.write_text(LARGE, encoding="utf-8")
    folder.mkdir()
    (folder / "sitecustomize.py").write_text("import numpy\nnumpy.__version__ = '2.99'\n", "utf-8")
    other = cluster.add(3, 0, folder)
    with cluster.run(sys.executable, str(script), cluster.address) as coordinator:
        refused = " ".join(asked(coordinator))
        assert re.fullmatch(
            r"process \d+ on \S+ must have the coordinator's versions, got numpy 2\.99, not \S+; "
            "install the same on all nodes; restart a notebook after its own modules change",
            refused,
        )
        same = cluster.add(3)
        assert within_patience(lambda: asked(coordinator) == ["1"])
    for number in (other, same):
        cluster.kill(number)


BUSY = """
import logging, sys, threading
import ray
from scaling_search.executors import ray_workers
from tests.executors.test_ray import executor, process

logging.basicConfig(stream=sys.stdout, level=logging.WARNING)
ray_workers.WAIT_SECONDS = 1.0
if __name__ == "__main__":
    with executor(address=sys.argv[1], cpus_per_training=4.0) as entered:
        other = ray.remote(num_cpus=4)(threading.Event).remote()
        ray.get(other.is_set.remote())
        waiting = entered.call(process, 0)
        sys.stdin.readline()
        ray.kill(other)
        waiting.result()
        print("done", flush=True)
"""
"""A coordinator on a cluster whose one node of four CPUs others use until it gets a line."""


@pytest.mark.slow
@needs_a_namespace
def test_a_wait_for_room_that_others_use_is_logged(cluster: Cluster, tmp_path: Path) -> None:
    script = tmp_path / "busy.py"
    script.write_text(BUSY, encoding="utf-8")
    number = cluster.add(4)
    with cluster.run(sys.executable, str(script), cluster.address) as coordinator:
        assert coordinator.stdout is not None
        said = next(line for line in coordinator.stdout if "has not started" in line)
        assert "a worker has not started for 1 s: others may use its room, see ray status" in said
        out, _ = coordinator.communicate("\n", timeout=PATIENCE_SECONDS)
    assert "done\n" in out  # among what Ray itself says of nodes that have left
    cluster.kill(number)
