"""Every command of the pages is recognised, complete, and run, unless the page says why not."""

import fcntl
import os
import re
import shlex
import subprocess
import sys

import pytest
import typer

from tests.walkthrough.pages import MOST_LEFT_OUT, REASONS, ROOT, PageError, left_out, read, read_all, unfilled
from tests.walkthrough.session import Session, WalkFailed, server_of
from tests.walkthrough.walk import Outcome, Record


@pytest.fixture(scope="module")
def pages():
    return read_all()


def test_few_commands_are_left_out_and_each_for_a_reason(pages):
    missing = left_out(pages)
    print(f"{len(missing)} commands of all pages are left out or replaced")
    assert 0 < len(missing) <= MOST_LEFT_OUT
    assert all(command.reason.startswith(REASONS) for command in missing)
    assert all(command.run for command in missing if command.reason.startswith("over ten minutes"))


def test_every_page_gives_what_its_commands_need(pages):
    assert [(command.name, command.text) for page in pages for command in page.commands if unfilled(command)] == []


def test_the_pages_hold_the_commands_that_people_come_for(pages):
    texts = [command.text for page in pages for command in page.commands]
    assert len(texts) > 60
    beginnings = [
        "make demo",
        "make test",
        "evenhand run",
        "evenhand export",
        "evenhand store gc",
        "prefect server start",
        "prefect --no-prompt deploy --all",
        "prefect worker start",
        "mlflow server",
        "pip install",
    ]
    assert [one for one in beginnings if not any(text.startswith(one) for text in texts)] == []


def test_the_command_line_understands_every_command_of_evenhand(pages):
    """Names, options and the number of arguments; nothing is run."""
    from flows.cli import app

    line = typer.main.get_command(app)
    for command in (command for page in pages for command in page.commands if command.run):
        for part in re.sub(r"\$\([^)]*\)", "x", command.run).split("&&"):
            words = shlex.split(part.strip())
            if words[0] == "evenhand" and "--help" not in words:
                found, rest = line, words[1:]
                while name := next((word for word in rest[:1] if word in getattr(found, "commands", {})), None):
                    found, rest = found.commands[name], rest[1:]
                found.make_context(command.name, rest)


def test_every_configuration_that_the_pages_run_is_valid(pages, tmp_path, monkeypatch):
    from pipeline_core.checks.whole import load_config

    monkeypatch.chdir(tmp_path)
    for name, content in ((name, content) for page in pages for name, content in page.files.items()):
        (tmp_path / name).write_text(content, encoding="utf-8")
    runs = [command.run for page in pages for command in page.commands if " run " in (command.run or "")]
    given = [shlex.split(run.partition("evenhand run ")[2]) for run in runs if "evenhand run " in run]
    settings = [[word for word in words if not word.startswith("--")] for words in given]
    assert len([load_config(words[0], words[1:]) for words in settings if words]) >= 10


def test_a_block_holds_lines_and_lines_that_go_on():
    text = "# T\n```\nmake demo    # a comment\n\nprefect deployment run a/b \\\n  --param 'x=#1'\n```\n"
    commands = read("p.md", text).commands
    assert [(one.line, one.text) for one in commands] == [
        (3, "make demo"),
        (6, "prefect deployment run a/b --param 'x=#1'"),
    ]
    assert all(one.run == one.text for one in commands)


def test_a_span_in_a_sentence_is_a_command_where_it_begins_with_a_program():
    text = (
        "Use `evenhand run\nsuites`, not `make` or `evenhand.toml`.\n```yaml\nmake: `make it`\n```\n<!-- `make x` -->"
    )
    assert [one.text for one in read("p.md", text).commands] == ["evenhand run suites"]


def test_markers_are_about_the_next_command_that_begins_so():
    text = (
        "<!-- walkthrough: skip `pip install vllm`, GPU -->\n"
        "<!-- walkthrough: instead of `evenhand run big`, `evenhand run big rows=1 DIR`, over ten minutes: 60 -->\n"
        "<!-- walkthrough: fill `DIR` with `$(mktemp)` -->\n"
        "`evenhand export KEY DIR`, `pip install vllm`, `evenhand run big`"
    )
    export, vllm, big = read("p.md", text).commands
    assert (export.run, export.reason) == ("evenhand export KEY $(mktemp)", "")
    assert unfilled(export) == ["KEY"]
    assert (vllm.run, vllm.reason) == (None, "GPU")
    assert (big.run, big.reason) == ("evenhand run big rows=1 $(mktemp)", "over ten minutes: 60")


@pytest.mark.parametrize(
    "text, words",
    [
        ("<!-- walkthrough: skip `make demo`, I am tired -->\n`make demo now`", "no reason"),
        ("<!-- walkthrough: skip `make demo`, GPU -->\n`make test now`", "nothing after it"),
        ("<!-- walkthrough: file `a` -->\n", "nothing after it"),
        ("<!-- walkthrough: pass `make demo` -->\n", "no marker"),
        ("```\nerror: something\n```\n", "no known program"),
    ],
)
def test_what_cannot_be_understood_is_said_with_its_page(text, words):
    with pytest.raises(PageError, match=rf"p\.md.*{words}"):
        read("p.md", text)


def test_servers_are_told_from_commands_that_end():
    assert server_of("X=1 prefect server start") == (4200, "/api/health")
    assert server_of("mlflow server --port 5001") == (5001, "/health")
    assert server_of("CUDA_VISIBLE_DEVICES=0 prefect worker start --pool gpu") == (None, "started!")
    assert server_of("prefect --no-prompt deploy --all") is None


def test_a_session_keeps_folder_and_variables_also_for_another_process(tmp_path):
    checkout, log = tmp_path / "checkout", tmp_path / "log"
    (checkout / "below").mkdir(parents=True)
    environment = {"PATH": "/usr/bin:/bin"}
    first = Session(checkout, tmp_path, environment)
    first.begin()
    first.run("export WORD='a b'", log, 60)
    first.run("cd below", log, 60)
    second = Session(checkout, tmp_path, environment, words={"PLACE": "here"})
    second.run('echo "$WORD PLACE $PWD"', log, 60)
    assert log.read_text() == f"a b here {checkout / 'below'}\n"
    with pytest.raises(WalkFailed, match="exit code 3"):
        second.run("(exit 3)", log, 60)
    with pytest.raises(WalkFailed, match="not done"):
        second.run("sleep 60", log, 0.2)


def test_a_record_knows_what_is_done_as_long_as_the_command_stands(tmp_path):
    (command,) = read("p.md", "`make demo now`").commands
    (changed,) = read("p.md", "`make demo later`").commands
    Record.at(tmp_path / "walk.json").note("p.md#0", Outcome(command.text, command.run, "ok"))
    record = Record.at(tmp_path / "walk.json")
    assert record.done("p.md#0", command)
    assert not record.done("p.md#0", changed)
    record.note("p.md#0", Outcome(command.text, command.run, "failed"))
    assert not record.done("p.md#0", command)


def test_two_walks_do_not_share_a_folder(tmp_path):
    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = subprocess.run(
            [sys.executable, "-m", "tests.walkthrough", "--here", "--match", "nothing", "--folder", str(tmp_path)],
            capture_output=True, text=True, check=False, cwd=ROOT, env={**os.environ, "EVENHAND_DATA": str(tmp_path)},
        )  # fmt: skip
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert f"another walk is under way in {tmp_path}" in done.stderr
