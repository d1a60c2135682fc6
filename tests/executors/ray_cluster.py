"""A Ray cluster on loopback that reads commands from its input; `test_ray` starts it.

``add CPUS GPUS FOLDERS`` starts a node, whose processes look for modules in these folders first,
and ``kill NUMBER`` ends one as if its power had failed; both answer the node's number and the
cluster's address. ``actors`` answers how many live. At the end of its
input it ends all nodes.
"""

import contextlib
import os
import sys
from typing import Any

from ray.cluster_utils import Cluster

MOST_TRIES = 3
"""Tries to start a node: Ray gives up after 15 s, which are too few on a busy machine."""


def added(cluster: Cluster, cpus: int, gpus: int) -> Any:
    """Start a node. Its GPUs need not exist, since only a training would use them."""
    options: dict[str, Any] = {"num_cpus": cpus, "num_gpus": gpus, "include_dashboard": False}
    for _ in range(MOST_TRIES - 1):
        with contextlib.suppress(Exception):
            return cluster.add_node(include_log_monitor=False, no_monitor=True, **options)
    return cluster.add_node(include_log_monitor=False, no_monitor=True, **options)


def answer(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def main() -> None:
    cluster = Cluster()
    nodes: list[Any] = []
    for words in map(str.split, sys.stdin):
        match words:
            case ["add", cpus, gpus, *folders]:
                before = os.environ.get("PYTHONPATH", "")
                os.environ["PYTHONPATH"] = os.pathsep.join([*folders, before])
                nodes.append(added(cluster, int(cpus), int(gpus)))
                os.environ["PYTHONPATH"] = before
                answer(len(nodes) - 1, cluster.address)
            case ["kill", number]:
                cluster.remove_node(nodes[int(number)], allow_graceful=False)
                answer(number, cluster.address)
            case ["actors"]:
                table = cluster.global_state.actor_table(None)
                answer(sum(actor["State"] != "DEAD" for actor in table.values()))
    cluster.shutdown()  # type: ignore[no-untyped-call]  # Ray's


if __name__ == "__main__":
    main()
