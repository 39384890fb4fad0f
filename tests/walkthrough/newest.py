"""What a reader would have at hand: keys and ids.

`python -m tests.walkthrough.newest STAGE` prints the key of the newest artifact of a stage,
`python -m tests.walkthrough.newest run NAME` the id of the newest completed run of a configuration.
"""

import sys

from flows.records import RunRecord
from pipeline_core.store.artifacts import Store
from pipeline_core.store.places import Places


def artifact(stage: str) -> str:
    return next(one.key for one in Store(Places.from_environment().store).ls() if one.stage == stage)


def run(name: str) -> str:
    files = Places.from_environment().runs.glob("*/run.json")
    records = [RunRecord.model_validate_json(file.read_text(encoding="utf-8")) for file in files]
    fitting = [one for one in records if one.status == "completed" and one.name == name]
    return max(fitting, key=lambda one: one.started).run_id


print(run(sys.argv[2]) if sys.argv[1] == "run" else artifact(sys.argv[1]))
