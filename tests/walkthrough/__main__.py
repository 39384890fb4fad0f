"""`python -m tests.walkthrough`: run the commands of the pages in a fresh clone, and say of each what came of it."""

import argparse
import fcntl
import os
import sys
import tempfile
from pathlib import Path

from tests.walkthrough.pages import MOST_LEFT_OUT, PAGES, left_out, read_all
from tests.walkthrough.walk import Plan, Walk


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.walkthrough", description=__doc__)
    parser.add_argument("--list", action="store_true", help="print the commands and run none")
    parser.add_argument("--page", action="append", default=[], choices=PAGES, help="only this page (may be repeated)")
    parser.add_argument("--match", help="only commands in which this pattern is found")
    parser.add_argument("--again", action="store_true", help="also what has succeeded before")
    parser.add_argument("--minutes", type=float, default=80, help="end after so many minutes; the next call goes on")
    parser.add_argument("--limit", type=float, default=20, help="minutes that one command may take")
    parser.add_argument("--here", action="store_true", help="in this Python's environment; nothing is installed")
    parser.add_argument("--cheap", action="store_true", help="only commands that train nothing and install nothing")
    parser.add_argument("--folder", type=Path, help="of clone, home, logs and record; by default in the temporary one")
    return parser.parse_args()


def _print_list(pages: list[str]) -> None:
    for page in read_all():
        for command in page.commands if page.name in (pages or PAGES) else []:
            run = "" if command.run == command.text else f"  -> {command.run or 'left out'}"
            reason = f"  ({command.reason})" if command.reason else ""
            print(f"{command.name:28} {command.text}{run}{reason}")


def main() -> int:
    given = _arguments()
    missing = left_out(read_all())
    print(f"{len(missing)} commands of all pages are left out or replaced; at most {MOST_LEFT_OUT} may be")
    if given.list:
        _print_list(given.page)
        return 0
    if not Path(os.environ.get("EVENHAND_DATA", "/nowhere")).is_dir():
        print("EVENHAND_DATA has to name the folder with the benchmark files", file=sys.stderr)
        return 2
    folder = given.folder or Path(tempfile.gettempdir()) / "evenhand-walkthrough"
    plan = Plan(
        folder.resolve(),
        given.here,
        given.cheap,
        given.minutes,
        given.limit,
        tuple(given.page),
        given.again,
        given.match,
    )
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"another walk is under way in {folder}; end it, or name another --folder", file=sys.stderr)
            return 2
        walk = Walk(plan, lambda line: print(line, flush=True))
        walk.go()
    states = [outcome.state for outcome in walk.record.outcomes.values()]
    print(", ".join(f"{states.count(state)} {state}" for state in ("ok", "failed", "left out")) + f" by {folder}")
    print(f"{walk.failures} failed in this piece, {walk.unfinished} remain for the next")
    return 1 if walk.failures or len(missing) > MOST_LEFT_OUT else 0


sys.exit(main())
