"""The number of cores that a process may use, as the kernel says it."""

import os
import shutil
import subprocess
import sys

import pytest

from scaling_search.runtime.cores import usable_cores

ASK = "from scaling_search.runtime.cores import usable_cores; print(usable_cores())"
CONTAINER = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c")
QUOTA = 'mount -t tmpfs tmpfs /sys/fs/cgroup && echo "$0" > /sys/fs/cgroup/cpu.max && "$@"'
"""A quota of control groups, version 2, as the processes of a container see it."""


@pytest.mark.skipif(sys.platform != "linux", reason="needs an affinity")
def test_cores_outside_the_affinity_do_not_count() -> None:
    before = os.sched_getaffinity(0)
    assert usable_cores() <= len(before)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert usable_cores() == 1
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.parametrize(("quota", "cores"), [("50000 100000", 1), ("max 100000", usable_cores())])
def test_a_containers_quota_limits_the_cores(quota: str, cores: int) -> None:
    container = [*CONTAINER, QUOTA, quota]
    if not shutil.which("unshare") or subprocess.run([*container, "true"], check=False).returncode:
        pytest.skip("needs unshare and namespaces")
    command = [*container, sys.executable, "-c", ASK]
    asked = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(asked.stdout) == cores
