"""Starts a Ray cluster of several nodes on this machine, on loopback alone, and keeps it until it is interrupted.

`ray start` binds all interfaces, unless RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0 keeps it on loopback, and then refuses a
second node. Processes that use this cluster have that variable too.

    RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0 python -m benchmarks.ray_nodes --nodes 2 --cpus 1 --port 6390
"""

from __future__ import annotations

import argparse
import os
import signal
import sys

os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", type=int, default=2)
    parser.add_argument("--cpus", type=int, default=1, help="CPUs of each node")
    parser.add_argument("--port", type=int, default=6390)
    parser.add_argument("--memory", type=int, default=100_000_000, help="bytes of each node's object store")
    given = parser.parse_args()

    from ray.cluster_utils import Cluster

    shared = {"num_cpus": given.cpus, "object_store_memory": given.memory, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args={**shared, "gcs_server_port": given.port})
    for _ in range(given.nodes - 1):
        cluster.add_node(**shared)
    cluster.wait_for_nodes()
    print(f"127.0.0.1:{given.port} has {given.nodes} nodes of {given.cpus} CPUs", flush=True)
    try:
        signal.sigwait({signal.SIGINT, signal.SIGTERM})
    finally:
        cluster.shutdown()


if __name__ == "__main__":
    sys.exit(main())
