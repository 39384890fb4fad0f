"""Worlds that several tests share, and the study's methods as plain loops in float64, one seed at a time."""

import math

import numpy as np
import pytest

from pipeline_core.studies.log_linear.settings import StudySettings
from pipeline_core.studies.log_linear.training import Worlds


def naive(world, method, chi, iterations):
    """Theta and the weights after training as the paper writes it, pair by pair; uses nothing of what is tested."""
    family, kind = method[-3:], method[:-3]
    beta, ascent = {"dpo": (1.0, 0.5), "ipo": (0.1, 0.01)}[family]
    rows, group = world.training.difference, world.training.group
    sizes = np.bincount(group)
    alpha = np.full(len(sizes), 1 / len(sizes)) if kind else sizes / sizes.sum()
    theta = world.start.copy()
    for _ in range(iterations):
        sums = np.zeros(len(sizes))
        for row, g in zip(rows, group, strict=True):
            h = float(row @ theta)
            sums[g] += math.log1p(math.exp(-beta * h)) if family == "dpo" else (h - 1 / (2 * beta)) ** 2
        if kind == "gr_":
            alpha = alpha * np.exp(ascent * chi * sums / sizes)
            alpha = alpha / alpha.sum()
        share = (1 - chi) / len(sizes) + chi * alpha if kind == "gr_" else alpha
        weight = np.array([share[g] / sizes[g] for g in group])
        if family == "dpo":
            gradient = np.zeros(len(theta))
            for row, w in zip(rows, weight, strict=True):
                gradient -= w * beta / (1 + math.exp(beta * float(row @ theta))) * row
            theta = theta - 0.9 * gradient
        else:
            left = rows.T @ np.diag(weight) @ rows
            theta = np.linalg.inv(left) @ (rows.T @ weight) / (2 * beta)
    return theta, share


def naive_measures(world, theta, family):
    """The four measures of a theta in a world, pair by pair and state by state."""
    losses, errors, best = ([[], []] for _ in range(3))
    for row, group in zip(world.validation.difference, world.validation.group, strict=True):
        h = float(row @ theta)
        losses[group].append(math.log1p(math.exp(-h)) if family == "dpo" else (h - 5) ** 2)
    for state in world.test:
        for group, phi in enumerate(state):
            true = phi @ ((1, 3, 1, 3), (3, 1, 3, 1))[group]
            errors[group].append(true.max() - true[(phi @ theta).argmax()])
            best[group].append(true.max())
    means = [sum(one) / len(one) for one in losses]
    lost = [sum(one) / len(one) for one in errors]
    return {
        "max_validation_loss": max(means),
        "mean_validation_loss": sum(means) / 2,
        "max_reward_error_absolute": max(lost),
        "max_reward_error_relative": max(sum(errors[g]) / sum(best[g]) for g in (0, 1)),
    }


class Recorder:
    """Keeps what is logged: values by name and step."""

    def __init__(self):
        self.metrics = {}

    def log_metrics(self, metrics, step=0):
        for name, value in metrics.items():
            assert step not in self.metrics.setdefault(name, {}), f"{name} is logged twice"
            self.metrics[name][step] = value


@pytest.fixture(scope="session")
def settings():
    return StudySettings(features=("swapped", "flipped"), scenarios=("uneven-balanced", "uneven-imbalanced"), seeds=2)


@pytest.fixture(scope="session")
def worlds(settings):
    return Worlds.draw(settings)
