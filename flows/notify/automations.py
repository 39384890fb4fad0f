"""Notifications in a Prefect server: a block that holds the address, and an automation for each kind of event.

The address may hold a token. It lies in the block, which the server encrypts, and is shown nowhere in full.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import BlockDocument
from prefect.events import AutomationCore, EventTrigger, Posture, ResourceSpecification
from prefect.events.actions import CallWebhook, SendNotification
from prefect.events.schemas.automations import Automation
from prefect.exceptions import ObjectNotFound
from prefect.types import SecretDict
from prefect.utilities.urls import url_for
from pydantic import BaseModel, SecretStr

from flows.notify.kinds import FLOWS, KINDS, TEST, NotificationKind, body, check_name, chosen, subject
from pipeline_core.errors import BadInput, EvenhandError, UnknownName, quoted

PREFIX = "evenhand notify "
"""Beginning of the automations' names: `evenhand notify NAME: KIND`."""
OWN_BLOCK = "evenhand-notify-"
"""Beginning of the names of blocks that `add` has made; `remove` deletes no others."""
ANSWER_SECONDS = 60.0
POLL_SECONDS = 0.5
WEBHOOK = "webhook"


class Notification(BaseModel):
    """A notification: its block (`TYPE/NAME`), and its automations by kind, true where they are enabled."""

    name: str
    block: str
    to: str
    """Host of the address, without what follows it."""
    kinds: dict[str, bool]


class TestAnswer(BaseModel):
    """Result of a test message: empty if it was taken, else the fault."""

    kind: str
    fault: str = ""


def add(name: str, address: str | None, block: str | None, on: Sequence[str]) -> Notification:
    """Create the automations of a notification; with an `address` also the block that holds it.

    Raises:
        BadInput: a name, kind, block or address that cannot be used, or the name is taken.
    """
    check_name(name)
    kinds = chosen(on)
    with get_client(sync_client=True) as client:
        if _of(client, name):
            raise BadInput(f"a notification {quoted(name)} is there already; `evenhand notify rm {name}` removes it")
        document = _found_block(client, block) if block else _new_block(client, name, address or "")
        for kind in kinds:
            client.create_automation(_automation(name, kind, document))
    return find(name)


def _new_block(client: SyncPrefectClient, name: str, address: str) -> BlockDocument:
    try:
        parts = urlsplit(address)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or any(char.isspace() for char in address):
        raise BadInput("the webhook's address must begin with http:// or https:// and a host")  # it may be a secret
    # Private addresses are allowed: a receiver on loopback or in the own network is the usual one of a local stack.
    webhook = Webhook(
        url=SecretStr(address), headers=SecretDict({"Content-Type": "application/json"}), allow_private_urls=True
    )
    webhook.save(OWN_BLOCK + name, overwrite=True)
    return client.read_block_document_by_name(OWN_BLOCK + name, WEBHOOK)


def _found_block(client: SyncPrefectClient, block: str) -> BlockDocument:
    slug, _, name = block.partition("/")
    if not name:
        raise BadInput(f"--block: {quoted(block)} is not of the form TYPE/NAME, such as slack-webhook/team")
    try:
        document = client.read_block_document_by_name(name, slug)
    except ObjectNotFound:
        raise BadInput(
            f"--block: the server has no block {quoted(block)}; `prefect block ls` lists those it has"
        ) from None
    capabilities = document.block_schema.capabilities if document.block_schema else []
    if slug != WEBHOOK and "notify" not in capabilities:
        raise BadInput(f"--block: {quoted(block)} sends no notifications; webhooks and notification blocks do")
    return document


def _automation(name: str, kind: NotificationKind, document: BlockDocument) -> AutomationCore:
    return AutomationCore(
        name=f"{PREFIX}{name}: {kind.name}",
        description=f"Tells {_shown(document)}: {kind.title}.",
        trigger=EventTrigger(
            expect={*kind.events, TEST},
            match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*", _test_resource(name)]}),
            match_related=ResourceSpecification({"prefect.resource.role": ["flow"], "prefect.resource.name": [*FLOWS]}),
            posture=Posture.Reactive,
            threshold=1,
            within=timedelta(0),
        ),
        actions=[_action(kind, document)],
    )


def _action(kind: NotificationKind, document: BlockDocument) -> CallWebhook | SendNotification:
    title, text = subject(kind), body(kind, lambda run_id: url_for("flow-run", obj_id=run_id))
    if document.block_type and document.block_type.slug == WEBHOOK:
        # `text` alone: Slack, Mattermost, Teams and Google Chat read it, and some refuse other fields.
        payload = f'{{% set text %}}{title}\n{text}{{% endset %}}{{"text": {{{{ text | string | tojson }}}}}}'
        return CallWebhook(block_document_id=document.id, payload=payload)
    return SendNotification(block_document_id=document.id, subject=title, body=text)


def _test_resource(name: str) -> str:
    return f"evenhand.notify.{name}"


def find_all() -> list[Notification]:
    """All notifications, by name."""
    with get_client(sync_client=True) as client:
        found: dict[str, list[Automation]] = {}
        for automation in client.read_automations():
            name, _, kind = automation.name.removeprefix(PREFIX).partition(": ")
            if automation.name.startswith(PREFIX) and kind in KINDS:
                found.setdefault(name, []).append(automation)
        return [_described(client, name, automations) for name, automations in sorted(found.items())]


def find(name: str) -> Notification:
    """A notification by its name. Raises `UnknownName`."""
    notifications = {one.name: one for one in find_all()}
    if name not in notifications:
        raise UnknownName("notification", name, list(notifications), "evenhand notify")
    return notifications[name]


def _of(client: SyncPrefectClient, name: str) -> list[Automation]:
    return [one for one in client.read_automations() if one.name.startswith(f"{PREFIX}{name}: ")]


def _described(client: SyncPrefectClient, name: str, automations: Sequence[Automation]) -> Notification:
    kinds = {one.name.rpartition(": ")[2]: one.enabled for one in automations}
    document = _block_of(client, automations)
    if document is None:
        return Notification(name=name, block="deleted", to="", kinds=kinds)
    slug = document.block_type.slug if document.block_type else "?"
    return Notification(name=name, block=f"{slug}/{document.name}", to=_shown(document), kinds=kinds)


def _block_of(client: SyncPrefectClient, automations: Sequence[Automation]) -> BlockDocument | None:
    wanted = next((getattr(action, "block_document_id", None) for one in automations for action in one.actions), None)
    try:
        return client.read_block_document(wanted, include_secrets=True) if wanted else None
    except ObjectNotFound:
        return None


def _shown(document: BlockDocument) -> str:
    """Host of a block's address: a path or a parameter may be a secret."""
    host = urlsplit(str(document.data.get("url", ""))).hostname or ""
    return host if host.strip("*") else str(document.name)


def remove(name: str) -> None:
    """Delete a notification's automations, and its block if `add` has made it. Raises `UnknownName`."""
    find(name)
    with get_client(sync_client=True) as client:
        automations = _of(client, name)
        document = _block_of(client, automations)
        for automation in automations:
            client.delete_automation(automation.id)
        if document is not None and document.name == OWN_BLOCK + name:
            client.delete_block_document(document.id)


def test(name: str) -> list[TestAnswer]:
    """Send a message of every kind on its real way: an event, the server's automation, the webhook.

    Raises:
        UnknownName: no such notification.
        EvenhandError: the server has not acted within a minute.
    """
    find(name)
    with get_client(sync_client=True) as client:
        waiting = {one.id: one.name.rpartition(": ")[2] for one in _of(client, name) if one.enabled}
        since = datetime.now(UTC)
        client.request("POST", "/events", json=[_test_event(name, since)]).raise_for_status()
        answers, end = [], time.monotonic() + ANSWER_SECONDS
        while waiting:
            for automation_id in list(waiting):
                if (payload := _acted(client, automation_id, since)) is not None:
                    answers.append(TestAnswer(kind=waiting.pop(automation_id), fault=_fault(payload)))
            if time.monotonic() > end:
                raise EvenhandError(
                    f"the server has not acted within {ANSWER_SECONDS:.0f} s: {', '.join(waiting.values())}"
                )
            time.sleep(POLL_SECONDS)
    return sorted(answers, key=lambda answer: list(KINDS).index(answer.kind))


def _test_event(name: str, now: datetime) -> dict[str, Any]:
    flow = {"prefect.resource.id": "evenhand.test", "prefect.resource.role": "flow", "prefect.resource.name": FLOWS[0]}
    resource = {"prefect.resource.id": _test_resource(name), "prefect.resource.name": name}
    facts = {"event": TEST, "resource": resource, "related": [flow], "payload": {}}
    return {**facts, "id": str(uuid.uuid4()), "occurred": now.isoformat()}


def _acted(client: SyncPrefectClient, automation_id: UUID, since: datetime) -> dict[str, Any] | None:
    ends = ["prefect.automation.action.executed", "prefect.automation.action.failed"]
    wanted = {
        "occurred": {"since": (since - timedelta(seconds=5)).isoformat()},
        "event": {"name": ends},
        "resource": {"id": [f"prefect.automation.{automation_id}"]},
    }
    answer = client.request("POST", "/events/filter", json={"filter": wanted, "limit": 1})
    answer.raise_for_status()
    events = answer.json()["events"]
    return dict(events[0]["payload"]) if events else None


def _fault(payload: dict[str, Any]) -> str:
    """Reason of a failed action, or the refusal of the receiver; empty if it took the message."""
    if reason := payload.get("reason"):
        return str(reason)
    status = int(payload.get("status_code") or 200)  # Prefect counts any answer as success
    return f"the receiver answered {status}" if status >= 300 else ""
