"""Automation of a stack's server for runs that were taken by a worker and never began: both were killed before it."""

from __future__ import annotations

from prefect.client.orchestration import get_client
from prefect.events import AutomationCore

from flows.stack.automations import crash_unless

BEGIN_SECONDS = 600
"""Seconds in which a run that a worker of this machine has taken must begin; imports on a busy machine take minutes."""
NAME = "evenhand: runs that never began"
TAKEN = ("prefect.flow-run.Pending", "prefect.flow-run.Submitting")

FURTHER = tuple(
    f"prefect.flow-run.{state}"
    for state in (
        *("Running", "heartbeat", "InfrastructurePending", "Cancelling", "Completed", "Failed", "Cancelled", "Crashed"),
        *("Scheduled", "Late", "AwaitingConcurrencySlot", "AwaitingRetry"),
    )
)


def end_unbegun_runs() -> AutomationCore:
    """Automation that sets such a run to Crashed. It has no heartbeat whose end could be noticed."""
    words = f"not begun within {BEGIN_SECONDS} seconds: worker and run are gone"
    about = "Sets a run to Crashed if a worker has taken it and it does not begin."
    # Any further state: it begins, waits for its infrastructure elsewhere, or has ended.
    return crash_unless(NAME, about, {*TAKEN}, {*FURTHER}, BEGIN_SECONDS, words)


def create_automation() -> None:
    """Create the automation if it is missing; one that somebody has changed or paused stays as it is."""
    with get_client(sync_client=True) as client:
        if not client.read_automations_by_name(NAME):
            client.create_automation(end_unbegun_runs())
