"""`evenhand track`: sends to tracking what a server did not take while it was away."""

from __future__ import annotations

import typer

from flows.output import say


def track() -> None:
    """Send what runs could not send to tracking; what runs that go on have kept stays with them."""
    from flows.environment import prepare
    from pipeline_core.store.places import Places
    from pipeline_core.tracking.opening import open_tracking
    from pipeline_core.tracking.protocol import in_words

    prepare()
    with open_tracking(Places.from_environment()) as tracking:  # opening sends
        if tracking.left:
            say(f"{tracking.place} has not taken: {in_words(tracking.left)}")
            raise typer.Exit(1)
        say(f"{tracking.place} has all that ended runs have left")
