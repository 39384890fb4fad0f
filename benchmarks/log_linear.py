"""The DPO family of the log-linear study: all trainings side by side against a loop over them, per method-seed-step.

The loops do what a script would: one training at a time, the same losses, weights and steps, with numpy and a gradient
by hand, or with torch and autograd. Ratios are to all trainings side by side in one thread, as the loops have one; two
threads, as a study uses them, stand below. `--total` times a whole study as well, which takes half a minute.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from benchmarks.interleaved import machine, measure, table
from pipeline_core.studies.log_linear.methods import METHODS, train
from pipeline_core.studies.log_linear.settings import StudySettings
from pipeline_core.studies.log_linear.study import compute
from pipeline_core.studies.log_linear.synthetic import world
from pipeline_core.studies.log_linear.training import Worlds, one_thread_each

STEPS = 200
ONE, AUTOGRAD = "side by side, 1 thread", "autograd loop, 1 thread"
METHODS_OF_DPO = tuple(name for name, method in METHODS.items() if method.family == "dpo")
SLOW = 30
"""The slow loop does one world in so many; its time is per training and step, as that of the others."""


def main() -> None:
    """Print the tables."""
    settings = StudySettings(methods=METHODS_OF_DPO)
    worlds = Worlds.draw(settings)
    keys = [(f, s, k) for f in settings.features for s in settings.scenarios for k in range(settings.seeds)]
    drawn = [world(*key) for key in keys]
    halves = [worlds.part(slice(0, len(keys) // 2)), worlds.part(slice(len(keys) // 2, None))]

    def batched(part: Worlds) -> None:
        train(part.training, part.start, "dpo", [METHODS[name].weighting() for name in METHODS_OF_DPO], STEPS)

    def in_two_threads() -> None:
        with one_thread_each(), ThreadPoolExecutor(2) as pool:
            list(pool.map(batched, halves))

    def loop(one_training: Callable[..., object], every: int = 1) -> None:
        for one in drawn[::every]:
            for method in METHODS_OF_DPO:
                one_training(one.training, one.start, method)

    torch.set_num_threads(1)
    print(machine())
    competitors = {
        ONE: lambda: batched(worlds),
        "numpy loop, 1 thread": lambda: loop(by_hand),
        AUTOGRAD: lambda: loop(by_autograd, SLOW),
        "side by side, 2 threads": in_two_threads,
    }
    seconds = measure(competitors, rounds=5, warm_up=1)
    done = {name: len(drawn) * len(METHODS_OF_DPO) * STEPS for name in competitors}
    done[AUTOGRAD] //= SLOW
    each = {name: [value / done[name] for value in values] for name, values in seconds.items()}
    print(table(f"{len(drawn) * len(METHODS_OF_DPO)} trainings: one step of one", each, unit="us"))
    if "--total" in sys.argv:
        started = time.perf_counter()
        study = compute(StudySettings())
        parts = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in study.seconds.items())
        print(f"whole study: {time.perf_counter() - started:.1f} s ({parts})")


def by_hand(pairs, start, method):
    rows, group, size = pairs.difference, pairs.group, np.bincount(pairs.group)
    alpha, theta = np.full(2, 0.5), start.copy()
    for _ in range(STEPS):
        margin = rows @ theta
        if method == "gr_dpo":
            loss = np.logaddexp(0, -margin)
            alpha = alpha * np.exp(0.5 * np.bincount(group, loss) / size)
            alpha = alpha / alpha.sum()
        weight = np.full(len(rows), 1 / len(rows)) if method == "dpo" else (alpha / size)[group]
        theta = theta + 0.9 * (weight / (1 + np.exp(margin))) @ rows
    return theta


def by_autograd(pairs, start, method):
    rows, group = torch.from_numpy(pairs.difference), torch.from_numpy(pairs.group)
    size, alpha = group.bincount().double(), torch.full((2,), 0.5, dtype=torch.float64)
    theta = torch.from_numpy(start).clone().requires_grad_()
    for _ in range(STEPS):
        loss = -torch.nn.functional.logsigmoid(rows @ theta)
        means = torch.zeros(2, dtype=torch.float64).index_add(0, group, loss) / size
        if method == "gr_dpo":
            alpha = alpha * torch.exp(0.5 * means.detach())
            alpha = alpha / alpha.sum()
        total = loss.mean() if method == "dpo" else (alpha * means).sum()
        (gradient,) = torch.autograd.grad(total, theta)
        theta = (theta.detach() - 0.9 * gradient).requires_grad_()
    return theta


if __name__ == "__main__":
    main()
