"""Faults other than kills, by name. Each is made for real; then a run must complete."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from benchmarks.chaos import corruption, disks, network, suspended, together
from benchmarks.chaos.checks import Expected
from benchmarks.chaos.place import Place
from flows.records import RunRecord

Fault = Callable[[Place, Expected, Random], RunRecord]
"""Makes the fault in an empty store, and returns the record of the run that completed after it."""

FAULTS: dict[str, Fault] = {
    "stopped_owner": suspended.owner,
    "stopped_rank": suspended.rank,
    "disk_full": disks.full,
    "store_read_only": disks.read_only,
    "corrupted_artifact": corruption.artifact,
    "corrupted_checkpoint": corruption.checkpoint,
    "corrupted_cache": corruption.cache,
    **{f"{server}_{manner}": network.fault(server, manner) for server in network.SERVERS for manner in network.MANNERS},
    "two_at_once": together.runs(2),
    "four_at_once": together.runs(4),
}
