"""Tries a case in this process and says what is wrong with the answer."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.cases import CATALOG, Case

MOST_WORDS = 2300
"""Characters that refusing may take: two kilobytes, and the paths of the folder in them."""
MOST_SECONDS = 30.0


@dataclass(frozen=True)
class Outcome:
    """The exit code, what was said, and what is wrong with that; empty where nothing is."""

    code: int | None
    said: str
    wrong: str
    seconds: float


def attempt(case: Case, folder: Path) -> Outcome:
    """Run a case in an empty folder."""
    for name, content in case.files.items():
        (folder / name).write_bytes(content)
    started = time.monotonic()
    out, err = io.StringIO(), io.StringIO()
    with _in(folder, case), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code, raised = _load(case) if case.document is not None else _call(case)
    seconds = time.monotonic() - started
    said = err.getvalue()
    return Outcome(code, said, raised or _wrong(code, said, seconds), seconds)


@contextlib.contextmanager
def _in(folder: Path, case: Case) -> Iterator[None]:
    before, kept = Path.cwd(), {name: os.environ.get(name) for name in ("EVENHAND_DATA", "EVENHAND_CATALOG")}
    os.environ["EVENHAND_DATA"] = str(folder)
    os.environ["EVENHAND_CATALOG"] = str(folder / CATALOG) if CATALOG in case.files else ""
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
        for name, value in kept.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _call(case: Case) -> tuple[int | None, str]:
    from flows.cli import main

    try:
        main(case.arguments)
    except SystemExit as ended:
        return (ended.code if isinstance(ended.code, int) else 0), ""
    except BaseException:
        return None, f"an exception: {traceback.format_exc()[-1500:]}"
    return 0, ""


def _load(case: Case) -> tuple[int | None, str]:
    from pipeline_core.checks.whole import load_config
    from pipeline_core.errors import BadInput

    try:
        load_config(case.document if isinstance(case.document, dict) else {"document": case.document})
    except BadInput as error:
        print(f"error: {error}", file=sys.stderr)
        return 2, ""
    except BaseException:
        return None, f"an exception: {traceback.format_exc()[-1500:]}"
    return 0, ""


def _wrong(code: int | None, said: str, seconds: float) -> str:
    if code not in (0, 2):
        return f"exit code {code}"
    if "Traceback" in said:
        return "a traceback"
    if code == 2 and "error: " not in said and "Usage" not in said:
        return "no reason"
    if code == 2 and len(said) > MOST_WORDS:
        return f"{len(said)} characters"
    if seconds > MOST_SECONDS:
        return f"{seconds:.0f} seconds"
    return ""
