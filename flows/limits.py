"""Slots of Prefect's global concurrency limits, held by leases while a worker makes a stage.

A lease ends by itself: the slot of a process that was killed is free again after `LEASE_SECONDS` and the server's next
look for ended leases. A limit without a lease, such as that of a tag, keeps the slots of killed runs (prefect#17415).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from uuid import UUID

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import ConcurrencyLeaseHolder
from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError
from prefect.concurrency.sync import concurrency
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.runtime import flow_run

from pipeline_core.errors import BadInput, StageFailed

log = logging.getLogger(__name__)
LIMITS = "EVENHAND_LIMITS"
"""Variable with the names of limits, separated by commas, of which every stage of a worker takes a slot."""
LEASE_SECONDS = 60.0
"""Seconds after which the slot of a process that no longer renews it is free; Prefect takes no fewer."""


@contextmanager
def limits_held(stage: str) -> Iterator[None]:
    """Hold a slot of each limit that the environment names; waits until they are free.

    Raises:
        BadInput: the server has no such limit. StageFailed: it did not answer.
    """
    names = [name for part in os.environ.get(LIMITS, "").split(",") if (name := part.strip())]
    if not names:
        yield
        return
    holder = ConcurrencyLeaseHolder(type="flow_run", id=UUID(str(flow_run.id))) if flow_run.id else None
    # A server that is away ends no stage: the slot may then be given to another, and GPUs have leases of their own.
    slots = concurrency(
        names, lease_duration=LEASE_SECONDS, strict=True, holder=holder, raise_on_lease_renewal_failure=False
    )
    _check(names, stage)
    try:
        slots.__enter__()
    except ConcurrencySlotAcquisitionError as error:
        # A request that failed, and no answer: another attempt may get the slot.
        raise StageFailed(f"{stage} got no slot of {', '.join(names)}: {error}") from error
    try:
        yield
    finally:
        try:
            slots.__exit__(None, None, None)
        except Exception as error:  # the lease ends by itself, and the stage's work is done
            log.warning("a slot of %s is free when its lease has ended: %s", ", ".join(names), error)


def _check(names: Sequence[str], stage: str) -> None:
    """Refuse names that the server does not know: of several, Prefect passes over those that it lacks."""
    with get_client(sync_client=True) as client:
        for name in names:
            try:
                client.read_global_concurrency_limit_by_name(name)
            except ObjectNotFound:
                raise BadInput(
                    f"{LIMITS}: {stage} needs a slot of {name}, and the Prefect server has no such limit; "
                    f"`prefect gcl create {name} --limit 1` makes one"
                ) from None
            except (httpx.HTTPError, PrefectHTTPStatusError) as error:
                raise StageFailed(f"{stage} got no slot of {name}: {error}") from error
