"""The worker process: `python -m pipeline_core.stage.worker order.json`, alone or as one rank under torchrun."""

from __future__ import annotations

import json
import os
import sys
import threading
import traceback
from pathlib import Path

from pipeline_core.errors import EvenhandError
from pipeline_core.models.ending import leave


def main(arguments: list[str]) -> int:
    """Execute the work order; write `metrics.json`, or `error.json` with the error."""
    # Imported here so that a broken installation is reported like any other failure.
    from pipeline_core.models.devices import leave_group
    from pipeline_core.plugin.registry import load_registry
    from pipeline_core.ranks.stacks import leave_stack_on_signal
    from pipeline_core.stage.execute import WorkOrder, execute

    order = WorkOrder.model_validate_json(Path(arguments[0]).read_text(encoding="utf-8"))
    leave_stack_on_signal(order.attempt)
    if os.environ.get("EVENHAND_WATCH_PARENT"):
        threading.Thread(target=_die_with_parent, daemon=True, name="parent-watch").start()
    try:
        metrics = execute(order, load_registry())
    except BaseException as error:
        _leave_error(order.attempt, error)
        leave_group()
        raise  # a traceback in the log, and an exit code that ends the other ranks
    if int(os.environ.get("RANK", "0")) == 0:
        (order.attempt / "metrics.json").write_text(json.dumps(metrics, allow_nan=False), encoding="utf-8")
    return 0


def _die_with_parent() -> None:
    # The parent holds the other end of stdin and never writes: end of file means that the parent has ended.
    # os.read, not sys.stdin: the lock of a buffered reader would block the interpreter's shutdown.
    os.read(0, 1)
    os._exit(75)  # EX_TEMPFAIL; `sys.exit` would end this thread alone


def _leave_error(attempt: Path, error: BaseException) -> None:
    """Write `error.json`, or `error.<rank>.json` if another rank failed before: the first error is the cause."""
    rank = int(os.environ.get("RANK", "0"))
    record = {
        "type": type(error).__name__,
        "message": str(error),
        "notes": list(getattr(error, "__notes__", ())),
        "exit_code": error.exit_code if isinstance(error, EvenhandError) else None,
        "traceback": "".join(traceback.format_exception(error)),
        "rank": rank,
    }
    try:
        try:
            file = (attempt / "error.json").open("x", encoding="utf-8")
        except FileExistsError:
            file = (attempt / f"error.{rank}.json").open("w", encoding="utf-8")
        with file:
            json.dump(record, file)
    except OSError as failure:
        print(f"the error could not be written to {attempt}: {failure}", file=sys.stderr)


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
