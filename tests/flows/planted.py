"""Runs as schedules leave them: records, reports and artifacts, planted with dates of their own."""

import json
import os
import time
from dataclasses import dataclass, field

from flows.records import RunRecord, StageRecord
from pipeline_core.store.artifacts import Store
from pipeline_core.store.places import Places

DAY = 86400.0
NOW = time.time()


def stage(key, *, reused=False, **facts):
    """Record of a stage; `facts` replace those of a policy `dpo`."""
    usual = {"stage": "policy", "plugin": "dpo", "label": "dpo", "seed": 0, "digest": f"d-{key}", "seconds": 1.0}
    return StageRecord(**usual | facts, key=key, reused=reused, metrics={})


def cell(model, value, half=2.0, **facts):
    """Figure of a report with an interval of plus and minus `half`."""
    return {"model": model, "value": value, "low": value - half, "high": value + half, "n": 100, **facts}


def row(*cells, title="sandbox/bias", better="lower", unit="pp", **facts):
    """Row of a report, with fields that a reader of figures does not know."""
    known = {"suite": "sandbox", "measure": title, "title": title, "unit": unit, "better": better}
    return known | {"statistic": "mean", "cells": list(cells)} | facts


@dataclass
class Planted:
    """Plants runs and artifacts in a home."""

    places: Places = field(default_factory=Places.from_environment)

    def artifact(self, key, days, kind="model", size=100):
        """An artifact that was last used `days` ago."""
        store = Store(self.places.store)
        store.prepare()
        folder = store.partial(key)
        folder.mkdir(parents=True)
        (folder / "weights").write_bytes(b"x" * size)
        facts = {"plugin": "dpo", "config": {}, "inputs": {}, "data": {}, "seconds": 1.0, "metrics": {}}
        store.commit(kind, key, folder, stage="policy", label="dpo", seed=0, **facts)
        then = NOW - days * DAY
        os.utime(store.folder(kind, key), (then, then))

    def run(self, run_id, days, *, stages=(), rows=(), report=True, **facts):
        """A run that a schedule started `days` ago; without `report` none was written."""
        usual = {"run_name": f"smoke-{run_id}", "deployment": "nightly", "scheduled": True, "status": "completed"}
        folder = self.places.runs / run_id
        folder.mkdir(parents=True)
        usual["report"] = str(folder / "report.html") if report else None
        record = RunRecord(
            run_id=run_id, name="smoke", started=NOW - days * DAY, seconds=60.0, stages=list(stages), **usual | facts
        )
        record.write(self.places.runs)
        if report:
            (folder / "report.json").write_text(json.dumps({"rows": list(rows), "details": [], "name": "smoke"}))
        return record

    def left(self):
        """Ids of the runs that are still there."""
        return {file.parent.name for file in self.places.runs.glob("*/run.json")}
