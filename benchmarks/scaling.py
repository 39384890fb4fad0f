"""Simulated schedule of many stage runs over many workers, with costs that are measured on this machine.

    python -m benchmarks.scaling --runs 1000 --workers 64

The simulation is one of discrete events. Pipelines of 50 stage runs are submitted at once: a base, an extension, a
reward, three policies with five seeds each, and two evaluations of each policy and of the base. A stage starts when
its inputs are made and a worker is free. Its time on the worker is: the wait for the worker's next poll, the start of
its processes, reading and checking its inputs from the shared store, its work, hashing and writing its artifact. The
store's bandwidth is shared; both servers are queues with one processor each. Work times are log-normal around the
medians of `--hours`.

Measured here, at each call: the start of a stage's processes and the speed of hashing. Given, with measured defaults:
what a stage run costs the servers (`benchmarks.server_load`) and its books (`benchmarks.stage_overhead`). Assumed:
the store's bandwidth and the work.
"""

from __future__ import annotations

import argparse
import hashlib
import heapq
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from benchmarks.interleaved import machine

GB = 1e9
WAITS = ("median wait for a worker, s", "longest wait for a server, s", "mean wait for inputs, s")


@dataclass(frozen=True)
class Costs:
    """Costs of one stage run besides its work; seconds, and bytes per second."""

    start: float
    """From the worker's decision until the stage works: Prefect's process and the stage's."""
    books: float
    """Key, lock, manifest and tracking."""
    hashing: float
    """Bytes hashed per second by one worker."""
    store: float
    """Bytes per second of the shared store, for all workers together."""
    poll: float
    """Seconds between two looks of a worker for new runs."""
    prefect: float
    """Processor seconds of the Prefect server for one stage run."""
    mlflow: float
    """Processor seconds of the MLflow server for one stage run."""


@dataclass
class Stage:
    """One stage run of the simulation."""

    kind: str
    work: float
    reads: float
    """Bytes of its inputs."""
    writes: float
    """Bytes of its artifact."""
    needs: int = 0
    """Inputs that are not made yet."""
    feeds: list[Stage] = field(default_factory=list)
    ready: float = 0.0
    """Time at which its inputs were made."""
    tail: float = 0.0
    """Seconds of the longest chain of work from its start to the pipeline's end."""


POLICIES, SEEDS, SUITES = 3, 5, 2


def pipeline(hours: dict[str, float], model: float, spread: float, draw: random.Random) -> list[Stage]:
    """The 50 stages of a pipeline in an order in which inputs come first; `model` in bytes."""

    def stage(kind: str, inputs: Sequence[Stage], reads: float, writes: float) -> Stage:
        made = Stage(kind, hours[kind] * 3600 * draw.lognormvariate(0, spread), reads, writes, len(inputs))
        for needed in inputs:
            needed.feeds.append(made)
        stages.append(made)
        return made

    stages: list[Stage] = []
    base = stage("base", [], 0, model)
    rows = stage("extend", [], 0, GB / 10)
    reward = stage("reward", [rows], GB / 10, model / 4)
    policies = [stage("policy", [base, rows, reward], 1.25 * model, model) for _ in range(POLICIES * SEEDS)]
    for measured in (base, *policies):
        for _ in range(SUITES):
            stage("evaluate", [measured], model, GB / 100)
    for one in reversed(stages):
        one.tail = one.work + max((fed.tail for fed in one.feeds), default=0.0)
    return stages


def simulate(stages: list[Stage], workers: int, costs: Costs, draw: random.Random) -> dict[str, float]:
    """Makespan and waiting times of the stages, in seconds; long chains first where several are ready."""
    ready = [(-one.tail, number) for number, one in enumerate(stages) if not one.needs]
    heapq.heapify(ready)
    numbers = {id(one): number for number, one in enumerate(stages)}
    free, now, ends = workers, 0.0, list[tuple[float, int]]()
    store_free = server_free = worked = busy = longest_queue = store_waited = 0.0
    waits: list[float] = []
    while ready or ends:
        while ready and free:
            one = stages[heapq.heappop(ready)[1]]
            free -= 1
            waits.append(now - one.ready)
            asked = max(now, server_free)
            server_free = asked + max(costs.prefect, costs.mlflow)
            longest_queue = max(longest_queue, asked - now)
            begun = server_free + draw.uniform(0, costs.poll) + costs.start
            store_free = max(begun, store_free) + one.reads / costs.store
            read = max(store_free, begun + one.reads / costs.hashing)
            worked_until = read + one.work
            end = worked_until + costs.books + one.writes / costs.hashing + one.writes / costs.store
            store_waited += read - begun
            worked, busy = worked + one.work, busy + end - now
            heapq.heappush(ends, (end, numbers[id(one)]))
        now, number = heapq.heappop(ends)
        free += 1
        for fed in stages[number].feeds:
            fed.needs -= 1
            if not fed.needs:
                fed.ready = now
                heapq.heappush(ready, (-fed.tail, numbers[id(fed)]))
    return {
        "makespan": now,
        "bound": max(worked / workers, *(one.tail for one in stages)),
        "busy": busy / (now * workers),
        "useful": worked / (now * workers),
        "wait": statistics.median(waits),
        "longest queue": longest_queue,
        "reading": store_waited / len(stages),
    }


def _measured(arguments: argparse.Namespace) -> Costs:
    start = _seconds_of("import prefect, flows.stage") + _seconds_of("import pipeline_core.stage.worker, torch")
    block, began = os.urandom(1 << 24), time.perf_counter()
    hashlib.sha256(block).digest()
    hashing = len(block) / (time.perf_counter() - began)
    return Costs(
        start=start,
        books=arguments.books,
        hashing=hashing,
        store=arguments.store * GB,
        poll=10.0,
        prefect=arguments.prefect,
        mlflow=arguments.mlflow,
    )


def _seconds_of(code: str) -> float:
    """Median of three starts of a process that runs `code`."""

    def once() -> float:
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        return time.perf_counter() - began

    return statistics.median(once() for _ in range(3))


def _rows(arguments: argparse.Namespace, costs: Costs) -> Iterator[str]:
    hours = dict(zip(("base", "extend", "reward", "policy", "evaluate"), arguments.hours, strict=True))
    for workers in arguments.workers:
        draw = random.Random(arguments.seed)
        stages: list[Stage] = []
        while len(stages) < arguments.runs:
            stages += pipeline(hours, arguments.model * GB, arguments.spread, draw)
        found = simulate(stages[: arguments.runs], workers, costs, draw)
        yield (
            f"| {workers} | {len(stages)} | {found['makespan'] / 3600:.2f} | {found['bound'] / 3600:.2f} "
            f"| {100 * found['busy']:.1f} % | {100 * found['useful']:.1f} % | {found['wait']:.0f} "
            f"| {found['longest queue']:.1f} | {found['reading']:.1f} |"
        )


def main() -> None:
    """Print the assumptions and the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--workers", type=int, nargs="+", default=[64])
    parser.add_argument(
        "--hours", type=float, nargs=5, default=[0.1, 0.3, 0.5, 2.0, 0.4], metavar="H",
        help="median hours of base, extend, reward, policy and evaluate",
    )  # fmt: skip
    parser.add_argument("--spread", type=float, default=0.3, help="standard deviation of the logarithm of work times")
    parser.add_argument("--model", type=float, default=14.0, help="gigabytes of a model")
    parser.add_argument("--store", type=float, default=2.0, help="gigabytes per second of the shared store")
    parser.add_argument("--books", type=float, default=0.05, help="seconds for key, lock, manifest and tracking")
    parser.add_argument("--prefect", type=float, default=0.77, help="its processor seconds for a stage run")
    parser.add_argument("--mlflow", type=float, default=0.21, help="the MLflow server's processor seconds a stage run")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    costs = _measured(arguments)
    print(machine())
    print(f"start of a stage's processes {costs.start:.1f} s, hashing {costs.hashing / GB:.2f} GB/s (measured now)\n")
    columns = ("workers", "stage runs", "makespan, h", "lower bound, h", "busy", "useful", *WAITS)
    print("| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|")
    print("\n".join(_rows(arguments, costs)))


if __name__ == "__main__":
    main()
