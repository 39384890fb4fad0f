"""Kinds of notifications: the events that cause them, and the templates of their messages.

Prefect's server renders the templates (Jinja in a sandbox) with the event and the flow run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipeline_core.errors import BadInput, check_known

GATE_BROKEN = "GateBroken"
"""Name of the final state of a run whose only failure is its gate; it makes the event `prefect.flow-run.GateBroken`."""
WORSENED = "evenhand.measure.worsened"
"""Event of a scheduled run with a figure that is worse than before by more than its interval."""
TEST = "evenhand.notify.test"
FLOWS = ("pipeline", "log-linear-study")
"""Flows that are told about; a failed `stage` fails the pipeline that it belongs to."""
MOST_TEXT = 1500
"""Characters of the reason in a message; chats refuse longer ones."""
PRESET = (
    "{% for tag in flow_run.tags if tag.startswith('preset:') %}{{ tag[7:] }}"
    "{% else %}{{ flow_run.parameters.preset or 'a configuration' }}{% endfor %}"
)


@dataclass(frozen=True)
class NotificationKind:
    """Events of a kind, and what a message says: a title after the run's name, and the template of the reason."""

    name: str
    events: tuple[str, ...]
    title: str
    reason: str = (
        "{{ flow_run.state.message | replace('Flow run encountered an exception: ', '') | replace('RunFailed: ', '') }}"
    )


KINDS = {
    kind.name: kind
    for kind in (
        NotificationKind("failed", ("prefect.flow-run.Failed",), "the run failed"),
        NotificationKind("gate", (f"prefect.flow-run.{GATE_BROKEN}",), "the gate was not passed"),
        NotificationKind("dead", ("prefect.flow-run.Crashed",), "the run's process has died"),
        NotificationKind("worsened", (WORSENED,), "a figure got worse", "{{ event.payload.worsened | join('\n') }}"),
    )
}


def chosen(names: Sequence[str]) -> list[NotificationKind]:
    """Kinds by name, all of them if none is named. Raises `UnknownName`."""
    check_known("kind of notification", names, KINDS, "--on")
    return [kind for name, kind in KINDS.items() if not names or name in names]


def subject(kind: NotificationKind) -> str:
    """Template of a message's title: `sandbox-2026-11-29-1: the run failed`."""
    return _unless_test(f"{{{{ flow_run.name }}}}: {kind.title}", f"evenhand: test of notifications: {kind.title}")


def body(kind: NotificationKind, page: Callable[[str], str | None]) -> str:
    """Template of a message: preset, reason, and the address of the run's page, which `page` gives for an id."""
    link = page("{{ flow_run.id }}") or ""
    reason = kind.reason.replace("}}", f"| truncate({MOST_TEXT}) }}}}")
    return _unless_test(f"preset {PRESET}\n{reason}\n{link}".rstrip(), "This is a test: no run has done so.")


def _unless_test(template: str, text: str) -> str:
    return f"{{% if event.event == '{TEST}' %}}{text}{{% else %}}{template}{{% endif %}}"


def check_name(name: str) -> str:
    """Name that Prefect takes for a block. Raises `BadInput`."""
    if not name or set(name) - set("abcdefghijklmnopqrstuvwxyz0123456789-") or name.strip("-") != name:
        raise BadInput(f"{name!r}: a notification's name has lower-case letters, digits and dashes between them")
    return name
