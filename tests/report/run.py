"""A small run's artifacts as its stages would leave them, with known figures."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path

from pipeline_core.evaluation.measures import write_evaluation
from pipeline_core.plugin.figures import Measure, Score
from pipeline_core.stage.run import StageResult

BIAS = Measure("world/bias", "stereotyped", "distance_from_half", "lower", "points", group_by="group")
FACTS = Measure("world/knowledge", "right", "share", "higher", "%")
MARGIN = Measure("world/reward_accuracy", "margin", "share", "higher", "%")
DETAIL = Measure(
    "world/race/bias", "stereotyped", "distance_from_half", "lower", "points", False, (("domain", "race"),)
)
STEREOTYPED = {"base": 36, "dpo": 24, "grpo": 20}
"""Stereotyped answers out of 40, before the seed shifts them by one each."""


class FakeRun:
    """Builds artifacts below `root` and the stage results that point at them."""

    def __init__(self, root: Path, seeds=(0,), labels=("dpo", "grpo")):
        self.root, self.seeds, self.results = root, seeds, {}
        self.base = self.stage("base", "tiny_lm", "tiny_lm", 0, reused=True, history=[{"step": 1, "loss": 3.0}])
        self.evaluate("base", None, self.base)
        for label in labels:
            for seed in seeds:
                model = self.stage(
                    "policy", label, label, seed, {"model": self.base.digest}, history=curve(label, seed)
                )
                self.evaluate(label, seed, model)

    def stage(self, stage, plugin, label, seed, inputs=None, reused=False, history=None):
        key = hashlib.sha256(repr((stage, plugin, label, seed, inputs)).encode()).hexdigest()
        folder = self.root / stage / key
        folder.mkdir(parents=True)
        manifest = {"inputs": inputs or {}, "data": {'{"entry":"pairs"}': "f"}, "versions": {"torch": "2.13.0"}}
        (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
        if history:
            lines = "\n".join(json.dumps(point) for point in history)
            (folder / "history.jsonl").write_text(lines, encoding="utf-8")
        facts = {"stage": stage, "plugin": plugin, "label": label, "seed": seed, "kind": stage, "reused": reused}
        result = StageResult(**facts, key=key, digest=key[::-1], seconds=83.0, metrics={}, path=folder)
        self.results[f"{stage}:{label}" + (f":seed{seed}" if stage == "policy" else "")] = result
        return result

    def evaluate(self, label, seed, model):
        suffix = "" if seed is None else f":seed{seed}"
        self.suite("world", label, model, scores(label, seed or 0), [BIAS, FACTS, MARGIN, DETAIL], suffix=suffix)

    def suite(self, plugin, label, model, values, measures, name="", suffix=""):
        made = self.stage("evaluate", plugin, label, 0, {"model": model.digest, "name": name})
        del self.results[f"evaluate:{label}"]
        metrics = write_evaluation(made.path, values, measures) if measures else {f"{plugin}/score": 0.25}
        self.results[f"evaluate:{name or plugin}:{label}{suffix}"] = made.model_copy(update={"metrics": metrics})


def scores(label, seed):
    return list(_scores(label, seed))


def _scores(label, seed):
    for index in range(40):
        group = "old" if index % 2 else "young"
        value = float(index < STEREOTYPED[label] + seed)
        yield Score(f"p{index:02d}", "stereotyped", value, group, "age" if index < 20 else "race")
        yield Score(f"f{index:02d}", "right", float(index % 10 != 0))
        if label != "base":
            yield Score(f"m{index:02d}", "margin", float(index % 3 > 0))


def _curve_point(step, label, seed):
    point = {"step": step, "loss": 0.7 * math.exp(-step / 5) + 0.01 * seed, "kl": step / 100}
    return point | ({"reward/mean": step / 10, "reward/std": 0.5} if label == "grpo" else {})


def curve(label, seed):
    return [_curve_point(step, label, seed) for step in range(1, 13)]
