"""A Ray cluster on loopback that is told what to do by lines; `test_ray` starts it.

``add CPUS GPUS`` starts a node, ``kill NUMBER`` ends one as if its power had failed; the answer to
both is the node's number and the cluster's address. ``actors`` answers how many live. When no line
can come any more it ends, and all nodes with it.
"""

import contextlib
import sys
from typing import Any

from ray.cluster_utils import Cluster

MOST_TRIES = 3
"""Ray gives up a node that does not start in 15 s, which on a busy machine happens."""


def added(cluster: Cluster, cpus: int, gpus: int) -> Any:
    """A new node; the GPUs need not be there, since only a training would look."""
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
            case ["add", cpus, gpus]:
                nodes.append(added(cluster, int(cpus), int(gpus)))
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
