"""The `evenhand` command. Commands import their libraries when they run, so that `--help` is fast."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Annotated

import typer

from flows.commands import (
    check,
    compare,
    data,
    doctor,
    evaluate_predictions,
    export,
    history,
    notify,
    plugins,
    run,
    schedule,
    show,
    stack,
    store,
    study,
    sweep,
    track,
)

BAD_PATH = 2
"""Exit code for an unusable path, as of other bad input."""
PATH_ERRORS = frozenset(
    {
        *(errno.ENAMETOOLONG, errno.ELOOP, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST),
        *(errno.EACCES, errno.EPERM, errno.EROFS),
    }
)
app = typer.Typer(
    name="evenhand",
    help="Measure and reduce social bias in language models: base, extend, reward, policy, evaluate, report.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command("run")(run.run)
app.command("sweep")(sweep.sweep)
app.command("check")(check.check)
app.add_typer(plugins.app, name="plugins")
app.add_typer(data.app, name="data")
app.command("show")(show.show)
app.command("compare")(compare.compare)
app.command("evaluate-predictions")(evaluate_predictions.evaluate_predictions)
app.command("up")(stack.up)
app.command("down")(stack.down)
app.command("status")(stack.status)
app.add_typer(schedule.app, name="schedule")
app.add_typer(notify.app, name="notify")
app.command("history")(history.history)
app.command("track")(track.track)
app.command("export")(export.export)
app.add_typer(store.app, name="store")
app.add_typer(study.app, name="study")
app.command("doctor")(doctor.doctor)


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks; allowed anywhere on the line.")] = False,
) -> None:
    """Options of all commands."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; exits with 0, 1 (a stage failed), 2 (bad input) or 3 (a gate was not passed)."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given or bool(os.environ.get("EVENHAND_DEBUG"))
    try:
        # Typer takes an option at its own command alone.
        app(args=[word for word in given if word != "--debug"], prog_name="evenhand")
    except Exception as error:
        if debug:
            raise
        message = _message(error)
        if message is None:
            raise
        print(f"error: {message}", file=sys.stderr)
        sys.exit(getattr(error, "exit_code", BAD_PATH if _is_bad_path(error) else 1))


def _message(error: Exception) -> str | None:
    """Message for the user, or None for a defect of Evenhand, whose traceback is shown."""
    from pipeline_core.errors import EvenhandError, shortened

    if isinstance(error, EvenhandError):
        return str(error)
    if any(map(_no_space, _chain(error))):
        from pipeline_core.store.places import Places

        return (
            f"the disk is full: {Places.from_environment().home} or one of the places it names. Finished stages are "
            "kept; make room, and the same command goes on from there"
        )
    if isinstance(error, OSError) and error.filename:
        is_path = isinstance(error.filename, (str, bytes, os.PathLike))
        return f"{error.strerror}: {shortened(os.fsdecode(error.filename) if is_path else '')}"
    return None


def _is_bad_path(error: Exception) -> bool:
    """True if the system rejects this path itself, so that a retry does not help but another path may."""
    return isinstance(error, OSError) and error.errno in PATH_ERRORS


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An exception, then its causes or contexts."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _no_space(error: BaseException) -> bool:
    # SQLite's error has no errno, only these words.
    return (isinstance(error, OSError) and error.errno == errno.ENOSPC) or "database or disk is full" in str(error)


if __name__ == "__main__":
    main()
