"""The walk itself: a clone, its commands page by page, and a record of what was done."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.flows.postgres import NoPostgres, cluster
from tests.walkthrough.pages import ROOT, Command, Page, program, read_all
from tests.walkthrough.session import Session, WalkFailed, server_of

FORGOTTEN = ("EVENHAND_", "PREFECT_", "MLFLOW_", "PG", "VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "MAKE", "MFLAGS")
"""Beginnings of variables that a fresh machine does not have."""
LEARNS = (
    "evenhand run", "evenhand study", "evenhand compare", "evenhand show", "evenhand export",
    "prefect worker", "prefect deployment run", "python -m benchmarks", "tests.walkthrough.newest", "$HOME/.evenhand",
)  # fmt: skip
"""Commands that train, or need what others have trained."""
INSTALLS = ("make", "pip")


@dataclass
class Outcome:
    """What came of a command: `ok`, `failed` or `left out`."""

    text: str
    run: str | None
    state: str
    seconds: float = 0.0
    words: str = ""


@dataclass
class Record:
    """Outcomes by page and number of the command, in a file."""

    path: Path
    outcomes: dict[str, Outcome] = field(default_factory=dict)

    @classmethod
    def at(cls, path: Path) -> "Record":
        record = cls(path)
        if path.is_file():
            read = json.loads(path.read_text(encoding="utf-8"))
            record.outcomes = {name: Outcome(**outcome) for name, outcome in read.items()}
        return record

    def done(self, key: str, command: Command) -> bool:
        """Whether the command, as it stands now, has succeeded or was left out."""
        outcome = self.outcomes.get(key)
        return bool(
            outcome and (outcome.text, outcome.run) == (command.text, command.run) and outcome.state != "failed"
        )

    def note(self, key: str, outcome: Outcome) -> None:
        self.outcomes[key] = outcome
        fresh = self.path.with_suffix(".new")
        fresh.write_text(json.dumps({name: asdict(one) for name, one in self.outcomes.items()}, indent=1))
        fresh.replace(self.path)

    def forget(self, page: str) -> None:
        self.outcomes = {key: one for key, one in self.outcomes.items() if not key.startswith(f"{page}#")}


@dataclass(frozen=True)
class Plan:
    """What a walk is to do. `here`: with the packages of the present environment, installing nothing."""

    folder: Path
    here: bool = False
    cheap: bool = False
    minutes: float = 80.0
    limit_minutes: float = 20.0
    pages: tuple[str, ...] = ()
    again: bool = False
    match: str | None = None


class Walk:
    """One walk below `plan.folder`: `checkout`, `home`, `logs` and the record."""

    def __init__(self, plan: Plan, say: Callable[[str], object] = print) -> None:
        self.plan, self.say = plan, say
        self.begun = time.monotonic()
        self.checkout = plan.folder / "checkout"
        self.files: dict[str, str] = {}
        self.record = Record.at(plan.folder / "walk.json")
        self.failures = 0
        self.unfinished = 0

    def go(self) -> None:
        """Run what has not been run yet; pages whose commands are all done are passed over."""
        self._clone()
        pages = read_all(self.checkout)
        self.files = {name: content for page in pages for name, content in page.files.items()}
        for page in pages:
            if self.plan.pages and page.name not in self.plan.pages:
                continue
            if self.plan.again:
                self.record.forget(page.name)
            self._walk(page)

    def _clone(self) -> None:
        """A clone of the commit that is checked out, put back to it."""
        commit = _git(ROOT, "rev-parse", "HEAD")
        if not self.checkout.is_dir():
            self.plan.folder.mkdir(parents=True, exist_ok=True)
            _git(self.plan.folder, "clone", "--quiet", "--no-checkout", str(ROOT), str(self.checkout))
        _git(self.checkout, "fetch", "--quiet", "origin", commit)
        _git(self.checkout, "checkout", "--quiet", "--force", "--detach", commit)
        if self.plan.here and not (self.checkout / ".venv").exists():
            (self.checkout / ".venv").symlink_to(sys.prefix)
        for name in ("home", "logs"):
            (self.plan.folder / name).mkdir(exist_ok=True)

    def _tidy(self) -> None:
        """Take back what a page has written into the checkout; ignored folders such as `.venv` stay."""
        _git(self.checkout, "checkout", "--quiet", "--force", "HEAD")
        _git(self.checkout, "clean", "-fdq", "--exclude", ".venv")

    def _walk(self, page: Page) -> None:
        wanted = [(f"{page.name}#{number}", one) for number, one in enumerate(page.commands) if self._wants(one)]
        left = [key for key, command in wanted if not self.record.done(key, command)]
        if not left:
            return
        goes_on = len(left) < len(wanted)
        with self._session(page, goes_on) as session:
            for key, command in wanted:
                if key not in left:
                    self._restart(session, command, key)
                elif self._is_time_up():
                    self.unfinished += 1
                else:
                    self._step(session, command, key)
                    left = [one for one in left if one != key]
        if not left:
            self._tidy()

    def _wants(self, command: Command) -> bool:
        run = command.run or ""
        if self.plan.here and (program(run) in INSTALLS or run.startswith(INSTALLS)):
            return False
        if self.plan.match and not re.search(self.plan.match, run or command.text):
            return False
        return not (self.plan.cheap and (command.prepares or any(beginning in run for beginning in LEARNS)))

    def _is_time_up(self) -> bool:
        used = (time.monotonic() - self.begun) / 60
        return used + min(self.plan.limit_minutes, self.plan.minutes / 2) > self.plan.minutes

    @contextmanager
    def _session(self, page: Page, goes_on: bool) -> Iterator[Session]:
        session = Session(self.checkout, self.plan.folder / "sessions" / _plain(page.name), self._environment())
        if not goes_on:
            session.begin()
        for name, content in self.files.items():
            (self.checkout / name).write_text(content, encoding="utf-8")
        with ExitStack() as stack:
            if page.postgres:
                try:
                    session.words[page.postgres] = stack.enter_context(cluster("prefect", "mlflow"))
                except NoPostgres as error:
                    session.lacks[page.postgres] = str(error)
            stack.callback(session.end)
            yield session

    def _environment(self) -> dict[str, str]:
        """That of a fresh machine with the data: a home of the walk's own, and the checkout's environment in PATH."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(FORGOTTEN)}
        if data := os.environ.get("EVENHAND_DATA"):
            kept["EVENHAND_DATA"] = data
        folders = [one for one in kept["PATH"].split(os.pathsep) if one != str(Path(sys.prefix) / "bin")]
        kept["PATH"] = os.pathsep.join([str(self.checkout / ".venv" / "bin"), *folders])
        kept["HOME"] = str(self.plan.folder / "home")
        kept["PYTHON"] = sys._base_executable  # what the Makefile makes the environment with
        if self.plan.here:
            kept["PYTHONPATH"] = str(self.checkout)
        return kept

    def _restart(self, session: Session, command: Command, key: str) -> None:
        """Servers that a page began in an earlier piece of the walk."""
        if command.run and server_of(command.run) and not session.lacking(command.run):
            session.run(command.run, self._log(key), self.plan.limit_minutes * 60)

    def _step(self, session: Session, command: Command, key: str) -> None:
        if command.run is None or session.lacking(command.run):
            words = command.reason or session.lacking(command.text)
            self._note(command, key, Outcome(command.text, command.run, "left out", words=words))
            return
        begun, state, words = time.monotonic(), "ok", command.reason
        try:
            session.run(command.run, self._log(key), self.plan.limit_minutes * 60)
        except WalkFailed as error:
            self.failures += 1
            state, words = "failed", f"{error}; see {self._log(key)}"
        self._note(command, key, Outcome(command.text, command.run, state, time.monotonic() - begun, words))

    def _note(self, command: Command, key: str, outcome: Outcome) -> None:
        self.record.note(key, outcome)
        shown = command.text if command.run in (command.text, None) else f"{command.text} -> {command.run}"
        self.say(f"{outcome.state:8} {outcome.seconds:6.1f} s  {command.name:28} {shown}")
        if outcome.words:
            self.say(f"{'':19} {outcome.words}")

    def _log(self, key: str) -> Path:
        return self.plan.folder / "logs" / f"{_plain(key)}.log"


def _plain(name: str) -> str:
    """A name for a file."""
    return re.sub(r"[/#]", "-", name)


def _git(folder: Path, *arguments: str) -> str:
    git = shutil.which("git")
    assert git, "the walk clones the checkout with git"
    done = subprocess.run([git, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()
