"""Commands and markers of the pages."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PAGES = ["README.md", "CONTRIBUTING.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
PROGRAMS = ("evenhand", ".venv/bin/evenhand", "make", "pip", "python", "prefect", "mlflow")
BUILT_IN = (".", "export")
REASONS = ("hub", "GPU", "over ten minutes")
MOST_LEFT_OUT = 12
"""How many commands of all pages may be skipped or replaced."""

MARKER = re.compile(r"<!-- walkthrough: (.*?) -->", re.DOTALL)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SPAN = re.compile(r"(?<![`\w])`([^`]+)`(?!`)")
VARIABLES = re.compile(r"^(?:[A-Z_]+=(?:'[^']*'|\"[^\"]*\"|\S*)\s+)*")
PLACEHOLDER = re.compile(r"(?<![\w=$./\"'-])[A-Z](?:[A-Z_|]*[A-Z])?(?![\w=:])")
"""A word in capitals that the reader replaces: KEY, DIR, RUN_OR_KEY."""


class PageError(ValueError):
    """A marker or a command that cannot be understood, with page and line."""


@dataclass(frozen=True)
class Command:
    """`text` as it is typed; `run` what the walk runs for it, nothing where it is left out for `reason`."""

    page: str
    line: int
    text: str
    run: str | None
    reason: str = ""
    in_sentence: bool = False
    prepares: bool = False

    @property
    def name(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass
class Page:
    """A page's commands in order, and what it needs: files, placeholders, the word for PostgreSQL's address."""

    name: str
    commands: list[Command] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    fills: dict[str, str] = field(default_factory=dict)
    postgres: str | None = None


@dataclass(frozen=True)
class _Found:
    at: int
    kind: str
    text: str
    language: str = ""


def program(text: str) -> str:
    """The program that a line runs, after variables that are set for it."""
    return re.split(r"\s", VARIABLES.sub("", text, count=1), maxsplit=1)[0]


def _spaces(match: re.Match[str]) -> str:
    """As much white space as the text of `match`, so that places and lines stay."""
    return re.sub(r"[^\n]", " ", match[0])


def _tokens(text: str) -> list[_Found]:
    """Markers, blocks and code spans in order of place."""
    markers = [_Found(one.start(), "marker", " ".join(one[1].split())) for one in MARKER.finditer(text)]
    blocks = [_Found(one.start(2), "block", one[2], one[1]) for one in FENCE.finditer(text)]
    rest = FENCE.sub(_spaces, re.sub(r"<!--.*?-->", _spaces, text, flags=re.DOTALL))
    spans = [_Found(one.start(), "span", " ".join(one[1].split())) for one in SPAN.finditer(rest)]
    return sorted([*markers, *blocks, *spans], key=lambda one: one.at)


def _typed(block: str) -> Iterator[tuple[int, str]]:
    """The commands of a block without comments, each with the number of lines before it."""
    joined = ""
    for number, line in enumerate(block.split("\n")):
        bare = re.sub(r"(^|\s+)#\s.*$", "", line)
        joined = f"{joined} {bare.strip()}".strip()
        if joined.endswith("\\"):
            joined = joined[:-1].rstrip()
        elif joined:
            yield number, joined
            joined = ""


class _Reader:
    """Reads one page; markers wait in `pending` for the command they are about."""

    def __init__(self, name: str, text: str) -> None:
        self.page = Page(name)
        self.text = text
        self.pending: list[tuple[str, str | None, str]] = []
        self.file: str | None = None

    def read(self) -> Page:
        for token in _tokens(self.text):
            line = self.text.count("\n", 0, token.at) + 1
            getattr(self, f"_{token.kind}")(token, line)
        if self.pending or self.file:
            raise PageError(f"{self.page.name}: a marker about {self.pending or self.file} finds nothing after it")
        return self.page

    def _marker(self, token: _Found, line: int) -> None:
        where = f"{self.page.name}:{line}"
        if match := re.fullmatch(r"skip `([^`]+)`, (.+)", token.text):
            self.pending.append((match[1], None, _reason(match[2], where)))
        elif match := re.fullmatch(r"instead of `([^`]+)`, `([^`]+)`, (.+)", token.text):
            self.pending.append((match[1], match[2], _reason(match[3], where)))
        elif match := re.fullmatch(r"fill `([^`]+)` with `([^`]+)`", token.text):
            self.page.fills[match[1]] = match[2]
        elif match := re.fullmatch(r"first `([^`]+)`", token.text):
            self.page.commands.append(Command(self.page.name, line, match[1], match[1], prepares=True))
        elif match := re.fullmatch(r"file `([^`]+)`", token.text):
            self.file = match[1]
        elif match := re.fullmatch(r"postgres `([^`]+)`", token.text):
            self.page.postgres = match[1]
        else:
            raise PageError(f"{where}: {token.text!r} is no marker of the walk")

    def _block(self, token: _Found, line: int) -> None:
        if self.file:
            self.page.files[self.file] = token.text
            self.file = None
        elif not token.language:
            for offset, text in _typed(token.text):
                if program(text) not in (*PROGRAMS, *BUILT_IN):
                    raise PageError(f"{self.page.name}:{line + offset}: {text!r} begins with no known program")
                self._command(text, line + offset)

    def _span(self, token: _Found, line: int) -> None:
        if program(token.text) in PROGRAMS and " " in token.text:
            self._command(token.text, line, in_sentence=True)

    def _command(self, text: str, line: int, in_sentence: bool = False) -> None:
        run, reason = text, ""
        for marker in self.pending:
            if text.startswith(marker[0]):
                _, run, reason = marker
                self.pending.remove(marker)
                break
        if run:
            for word, filling in self.page.fills.items():
                run = _filled(run, word, filling)
        self.page.commands.append(Command(self.page.name, line, text, run, reason, in_sentence))


def _filled(text: str, word: str, filling: str) -> str:
    return re.sub(rf"(?<![A-Za-z_]){re.escape(word)}(?![A-Za-z_])", lambda _: filling, text)


def _reason(text: str, where: str) -> str:
    if text.partition(":")[0] not in REASONS:
        raise PageError(f"{where}: {text!r} is no reason to leave a command out; {', '.join(REASONS)} are")
    return text


def read(name: str, text: str) -> Page:
    """The commands of one page.

    Raises:
        PageError: a marker without its command, an unknown marker or reason, a line that is no command.
    """
    return _Reader(name, text).read()


def read_all(root: Path = ROOT) -> list[Page]:
    """All pages. A command in a sentence that a block or an earlier sentence has too is left to that place."""
    pages = [read(name, (root / name).read_text(encoding="utf-8")) for name in PAGES]
    everything = [command for page in pages for command in page.commands]
    seen = {command.text for command in everything if not command.in_sentence}
    for page in pages:
        kept = []
        for command in page.commands:
            if command.in_sentence and not command.reason and command.text in seen:
                continue
            seen.add(command.text)
            kept.append(_asked_for_help(command) if command.in_sentence else command)
        page.commands = kept
    return pages


def _asked_for_help(command: Command) -> Command:
    """A command of Evenhand that is only named, without an argument it needs, as a question for its help."""
    words = command.text.split()
    if command.run is None or words[0] != "evenhand":
        return command
    names, needs = _named(words[1:])
    given = [word for word in words[1 + len(names) :] if not word.startswith("-")]
    if given or not needs:
        return command
    return replace(command, run=" ".join(["evenhand", *names, "--help"]))


def _named(words: list[str]) -> tuple[list[str], bool]:
    """The names of group and command among `words`, and whether that command needs more to run."""
    import typer

    from flows.cli import app

    found, names = typer.main.get_command(app), []
    for word in words:
        if word not in getattr(found, "commands", {}):
            break
        found = found.commands[word]
        names.append(word)
    needs_more = any(one.required for one in found.params if one.param_type_name == "argument")
    return names, needs_more or (hasattr(found, "commands") and not found.invoke_without_command)


def left_out(pages: list[Page]) -> list[Command]:
    """The commands that are skipped or replaced."""
    return [command for page in pages for command in page.commands if command.reason]


def unfilled(command: Command) -> list[str]:
    """Words in capitals for which the page says no filling."""
    return PLACEHOLDER.findall(re.sub(r"\$\([^)]*\)|\$\w+", "", command.run or ""))
