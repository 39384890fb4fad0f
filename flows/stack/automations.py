"""Automations of a stack's Prefect server."""

from __future__ import annotations

from datetime import timedelta

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateType
from prefect.events import AutomationCore, ChangeFlowRunState, EventTrigger, Posture, ResourceSpecification

from flows.notify.kinds import GATE_BROKEN
from flows.stage import BAD_INPUT

SILENT_SECONDS = 180
"""Seconds without a heartbeat after which a run counts as dead: longer than a restart of the server takes."""
NAME = "evenhand: runs without a heartbeat"
HEARTBEAT = "prefect.flow-run.heartbeat"
ENDS = tuple(
    f"prefect.flow-run.{state}" for state in ("Completed", "Failed", "Cancelled", "Crashed", GATE_BROKEN, BAD_INPUT)
)
"""Events of final states; Prefect names an event after the state's name, so each name of our own is listed."""


def end_silent_runs() -> AutomationCore:
    """Automation for runs that were killed together with their worker: it sets them to Crashed (R18)."""
    words = f"no heartbeat for {SILENT_SECONDS} seconds: worker and run are gone"
    about = "Sets a run to Crashed if its heartbeat stops before it ends."
    return crash_unless(NAME, about, {HEARTBEAT}, {HEARTBEAT, *ENDS}, SILENT_SECONDS, words)


def crash_unless(
    name: str, about: str, after: set[str], expect: set[str], seconds: float, words: str
) -> AutomationCore:
    """Automation that sets a run to Crashed if no event of `expect` comes within `seconds` of one of `after`."""
    return AutomationCore(
        name=name,
        description=about,
        trigger=EventTrigger(
            after=after,
            expect=expect,
            match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=timedelta(seconds=seconds),
        ),
        actions=[ChangeFlowRunState(state=StateType.CRASHED, message=words)],
    )


def create_automations() -> None:
    """Create the automations that are missing; one that somebody has changed or paused stays as it is.

    Only final states that it does not know yet are added.
    """
    with get_client(sync_client=True) as client:
        present = client.read_automations_by_name(NAME)
        if not present:
            client.create_automation(end_silent_runs())
        for automation in present:
            trigger = automation.trigger
            if (
                isinstance(trigger, EventTrigger)
                and HEARTBEAT in trigger.expect
                and not trigger.expect.issuperset(ENDS)
            ):
                trigger.expect |= {*ENDS}
                client.update_automation(automation.id, AutomationCore(**automation.model_dump(exclude={"id"})))
