"""`evenhand up` and its kin: records, ports and addresses; a real stack that is started, broken, mended and stopped."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from flows.stack.services import Stack, lives_on
from flows.stack.settings import Databases, free_port, mlflow_environment
from pipeline_core.errors import BadInput, EvenhandError
from pipeline_core.store.places import Places
from pipeline_core.store.processes import Process
from tests.flows import serving
from tests.flows.conftest import ROOT
from tests.flows.postgres import NoPostgres, cluster


@pytest.fixture
def stack(tmp_path):
    stack = Stack(tmp_path)
    with stack.alone():
        yield stack
        for service in stack.record.services:
            stack.stop(service)


SLEEPING = "import time; print('begun', flush=True); time.sleep(600)"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + SLEEPING


def begun(stack, name, code=SLEEPING, **facts):
    service = stack.start(name, ["python", "-c", code], {"EVENHAND_TEST": "secret"}, **facts)
    while "begun" not in stack.end_of_log(name):
        time.sleep(0.05)
    return service


def test_a_process_is_found_again_by_another_command(stack, tmp_path):
    service = begun(stack, "worker-cpu", pool="cpu")
    again = Stack(tmp_path).runs("worker-cpu")
    assert again == service
    assert (again.state(), again.process.lives()) == ("runs", True)
    assert os.getsid(again.process.pid) == again.process.pid, "Ctrl-C does not reach it"
    assert "secret" not in Path(f"/proc/{again.process.pid}/cmdline").read_text()
    assert "secret" not in (tmp_path / "stack" / "stack.json").read_text()
    stack.stop(service)
    assert service.process.lives() is False
    assert Stack(tmp_path).record.services == []


def test_a_process_that_does_not_heed_its_end_is_killed(stack, monkeypatch):
    monkeypatch.setattr("flows.stack.services.END_SECONDS", 0.5)
    service = begun(stack, "stubborn", STUBBORN)
    began = time.monotonic()
    stack.stop(service)
    assert service.process.lives() is False
    assert time.monotonic() - began < 20


WITH_A_CHILD = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {SLEEPING!r}]).wait()"


def test_what_a_killed_server_leaves_is_ended_and_what_a_worker_leaves_goes_on(stack):
    server = begun(stack, "mlflow", WITH_A_CHILD, port=1)
    worker = begun(stack, "worker-cpu", WITH_A_CHILD, pool="cpu")
    for service in (server, worker):
        os.kill(service.process.pid, signal.SIGKILL)
        while service.process.lives():
            time.sleep(0.02)
        os.killpg(service.process.pid, 0)  # the child is there
        os.waitpid(service.process.pid, 0)
        stack.end_rest(service)
    assert not lives_on(server.process.pid)
    assert lives_on(worker.process.pid)
    os.killpg(worker.process.pid, signal.SIGKILL)


def test_a_process_that_has_ended_is_told_from_one_with_its_number(stack, tmp_path):
    service = begun(stack, "prefect", port=1)
    os.kill(service.process.pid, signal.SIGKILL)
    while service.process.lives():
        time.sleep(0.02)
    assert (service.state(), stack.runs("prefect")) == ("ended", None)
    assert stack.record.service("prefect").port == 1, "its port is remembered"


def test_a_server_that_does_not_answer_is_told(stack):
    service = begun(stack, "mlflow", port=serving.free_port())
    assert service.state() == "does not answer"


def test_two_commands_at_once_do_not_mix(stack, tmp_path):
    with pytest.raises(BadInput, match="another command starts or stops the stack"), Stack(tmp_path).alone():
        pass


def test_a_damaged_record_is_named(tmp_path):
    (tmp_path / "stack").mkdir()
    (tmp_path / "stack" / "stack.json").write_text("{")
    with pytest.raises(EvenhandError, match=r"stack\.json cannot be read: .*; end the processes it names"):
        Stack(tmp_path)


def test_a_usual_port_in_use_gives_the_next_and_a_wanted_one_a_message():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert free_port(None, port, "--port") > port
        with pytest.raises(BadInput, match=rf"--port: port {port} is in use on 127\.0\.0\.1; give another one"):
            free_port(port, 4200, "--port")
    assert free_port(port, 4200, "--port") == port


def test_one_address_gives_the_databases_of_both_servers(tmp_path):
    found = Databases.of("postgresql://user:se%20cret@host:5433", tmp_path)
    assert found.prefect == "postgresql+asyncpg://user:se%20cret@host:5433/prefect"
    assert found.mlflow == "postgresql://user:se%20cret@host:5433/mlflow"
    assert found.shown == "postgresql://host:5433"
    files = Databases.of(None, tmp_path)
    assert files.shown is None
    assert files.mlflow == f"sqlite:///{tmp_path}/mlflow.db", "a home's runs of before stand in its pages"


def test_a_server_on_a_busy_machine_has_time_to_start(tmp_path, monkeypatch):
    from uvicorn.main import main

    def patience():
        return main.make_context("uvicorn", ["a:b"], auto_envvar_prefix="UVICORN").params["timeout_worker_healthcheck"]

    assert main.context_settings["auto_envvar_prefix"] == "UVICORN"
    assert patience() == 5
    places = Places(tmp_path, tmp_path, "", "", None)
    monkeypatch.setattr("os.environ", os.environ | mlflow_environment(Databases.of(None, tmp_path), places))
    assert patience() == 120


@pytest.mark.parametrize("address", ["mysql://host", "postgresql://", "host:5432", "postgresql://u:secret@h/name"])
def test_an_address_of_something_else_is_refused_without_its_password(address, tmp_path):
    with pytest.raises(BadInput, match="--database: .*such as postgresql://user:secret@host:5432") as error:
        Databases.of(address, tmp_path)
    assert "u:secret" not in str(error.value)


SMALL = ["smoke", "base.steps=2", "extend=null", "reward=null", "policy=[{name: dpo, steps: 2}]"]


class Command:
    """`evenhand` in a home of its own, with its stack on free ports."""

    def __init__(self, home, **environment):
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "MLFLOW_"))}
        self.home = home
        self.environment = inherited | {"PYTHONPATH": str(ROOT), "EVENHAND_HOME": str(home)} | environment

    def __call__(self, *words, code=0, timeout=300):
        done = subprocess.run(
            [sys.executable, "-m", "flows.cli", *words],
            env=self.environment,
            cwd=self.home.parent,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert code is None or done.returncode == code, done.stdout + done.stderr
        return done

    def status(self, code=0):
        """The stack's processes by name."""
        return {row["name"]: row for row in json.loads(self("status", "--json", code=code).stdout)}

    def exports(self, told):
        """Variables that `up` has printed."""
        lines = [line.removeprefix("export ") for line in told.stdout.splitlines()]
        return dict(line.split("=", 1) for line in lines)


@pytest.fixture(scope="module", params=["SQLite", "PostgreSQL"])
def running(request, tmp_path_factory):
    """A stack on either database, and what `up` told."""
    home = tmp_path_factory.mktemp("stack") / "a home"
    ports = "--port", str(serving.free_port()), "--mlflow-port", str(serving.free_port())
    if request.param == "SQLite":
        command = Command(home)
        told = command("up", *ports)
        yield command, told
        command("down")
        return
    try:
        with cluster() as address:
            command = Command(home, EVENHAND_DATABASE=f"postgresql://{address}")
            told = command("up", *ports)
            yield command, told
            command("down")
    except NoPostgres as error:
        pytest.skip(str(error))


def wait(found, seconds, what):
    end = time.monotonic() + seconds
    while not (result := found()):
        assert time.monotonic() < end, f"{what} within {seconds} seconds: no"
        time.sleep(0.5)
    return result


@pytest.mark.slow
def test_a_stack_answers_and_a_schedule_of_seconds_completes(running):
    """The path of a newcomer: up, a schedule, and its completed run; R15: two runs have two names."""
    command, told = running
    assert "ready in" in told.stderr
    assert "deployments: pipeline/nightly" in told.stderr
    exports = command.exports(told)
    assert {name: row["state"] for name, row in command.status().items()} == {
        "prefect": "answers",
        "mlflow": "answers",
        "worker-cpu": "runs",
    }
    command("schedule", "add", "every-minute", *SMALL, "--interval", "20")
    (listed,) = [one for one in schedules(command) if one["name"] == "every-minute"]
    assert listed["parameters"] == {"preset": "smoke", "overrides": SMALL[1:]}
    assert listed["active"]

    def completed():
        records = [json.loads(file.read_text()) for file in (command.home / "runs").glob("*/run.json")]
        return [record for record in records if record["status"] == "completed"]

    runs = wait(lambda: len(found := completed()) >= 2 and found, 400, "two completed runs")
    command("schedule", "pause", "every-minute")
    names = {run["run_name"] for run in runs}
    assert len(names) == len(runs)
    assert all(name.startswith("smoke-") for name in names)
    assert all(run["tracking"].startswith(exports["MLFLOW_TRACKING_URI"]) for run in runs)
    command("schedule", "resume", "every-minute")
    (resumed,) = [one for one in schedules(command) if one["name"] == "every-minute"]
    assert resumed["parameters"] == listed["parameters"], "R17"
    assert resumed["active"]
    assert resumed["next_run"]
    command("schedule", "rm", "every-minute")
    assert "every-minute" not in {one["name"] for one in schedules(command)}


def schedules(command):
    return json.loads(command("schedule", "ls", "--json").stdout)


@pytest.mark.slow
@pytest.mark.parametrize("running", ["SQLite"], indirect=True)
def test_what_has_ended_is_started_again_on_its_port_and_the_rest_is_left_alone(running):
    command, told = running
    before = command.status()
    again = command("up")
    assert command.exports(again) == command.exports(told)
    assert {name: row["pid"] for name, row in command.status().items()} == {n: row["pid"] for n, row in before.items()}
    assert "deployments: as before" in again.stderr
    os.killpg(before["mlflow"]["pid"], signal.SIGKILL)
    wait(lambda: Process.of(before["mlflow"]["pid"]).started == "", 20, "the end of the MLflow server")
    assert command.status(code=1)["mlflow"]["state"] == "ended"
    command("up")
    after = command.status()
    assert after["mlflow"]["address"] == before["mlflow"]["address"]
    assert after["mlflow"]["pid"] != before["mlflow"]["pid"]
    assert after["prefect"]["pid"] == before["prefect"]["pid"]


@pytest.mark.slow
@pytest.mark.parametrize("running", ["SQLite"], indirect=True)
def test_a_run_from_the_terminal_stands_in_the_stacks_pages(running):
    command, told = running
    done = json.loads(command("run", *SMALL, "evaluate=[]", "--json").stdout)
    record = json.loads((command.home / "runs" / done["run_id"] / "run.json").read_text())
    exports = command.exports(told)
    assert record["tracking"].startswith(exports["MLFLOW_TRACKING_URI"])
    assert record["server"] == exports["PREFECT_API_URL"]


@pytest.mark.slow
@pytest.mark.parametrize("running", ["SQLite"], indirect=True)
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["schedule", "add", "x", "smoke"], "give one of --cron, --interval and --rrule, and not 0 of them"),
        (["schedule", "add", "x", "smoke", "--cron", "every night"], "--cron: 'every night'"),
        (["schedule", "add", "x", "smoke", "--interval", "0"], "--interval: '0'"),
        (["schedule", "add", "x", "smoke", "--rrule", "FREQ=NEVER"], "--rrule: 'FREQ=NEVER'"),
        (["schedule", "add", "x", "smoke", "--cron", "0 2 * * *", "--timezone", "Mars"], "'Mars' is no time zone"),
        (["schedule", "add", "x", "smoke", "policy.0.betta=1", "--interval", "60"], "betta"),
        (["schedule", "add", "nightly", "smoke", "--interval", "60"], "a deployment 'nightly' is there already"),
        (["schedule", "pause", "nightlie"], "nightly"),
        (["up", "--port", "1"], "--port: prefect runs on port"),
    ],
)
def test_bad_input_is_one_message_and_changes_nothing(running, words, message):
    command, _ = running
    before = schedules(command)
    told = command(*words, code=2).stderr
    assert message in told
    assert "Traceback" not in told
    assert [one["name"] for one in schedules(command)] == [one["name"] for one in before]


def client(exports):
    """Asks the stack's Prefect server: a GET, or a POST where there is a body."""

    def api(path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"{exports['PREFECT_API_URL']}/{path}", data, {"Content-Type": "application/json"}
        )

        def answer():
            try:
                with urllib.request.urlopen(request, timeout=60) as response:
                    return response.read() or b"null"
            except urllib.error.HTTPError as error:
                if error.code != 503:  # with SQLite: the database is locked just now
                    raise
                return None

        return json.loads(wait(answer, 60, "an answer"))

    return api


SOONER = """
from flows.stack import unbegun_runs
unbegun_runs.NAME, unbegun_runs.BEGIN_SECONDS = "sooner", 15
unbegun_runs.create_automation()
"""


@pytest.mark.slow
@pytest.mark.parametrize("running", ["SQLite"], indirect=True)
def test_a_run_that_a_worker_has_taken_and_that_never_begins_ends_as_crashed(running):
    """As after a kill of worker and run at that moment; with a shorter time than the stack's automation has."""
    command, told = running
    api = client(command.exports(told))
    subprocess.run([sys.executable, "-c", SOONER], env=command.environment | command.exports(told), check=True)
    names = {one["name"] for one in api("automations/filter", {})}
    assert names >= {"sooner", "evenhand: runs that never began"}
    flow = api("flows/", {"name": "pipeline"})
    taken, begun = (api("flow_runs/", {"flow_id": flow["id"], "name": name}) for name in ("taken", "begun"))
    for run, states in ((taken, ["PENDING"]), (begun, ["PENDING", "RUNNING"])):
        for state in states:
            api(f"flow_runs/{run['id']}/set_state", {"state": {"type": state}})
    ended = wait(lambda: (s := api(f"flow_runs/{taken['id']}")["state"])["type"] == "CRASHED" and s, 200, "its end")
    assert "not begun within 15 seconds" in ended["message"]
    assert api(f"flow_runs/{begun['id']}")["state"]["type"] == "RUNNING"
    api(f"flow_runs/{begun['id']}/set_state", {"state": {"type": "COMPLETED"}, "force": True})


@pytest.mark.slow
@pytest.mark.parametrize("running", ["SQLite"], indirect=True)
def test_r18_a_run_that_was_killed_with_its_worker_ends_as_crashed(running):
    """Nobody is left who could say so; the server's automation notices that the heartbeat has stopped."""
    command, told = running
    exports = command.exports(told)

    api = client(exports)
    overrides = ["base.steps=5", "extend=null", "reward=null", "policy=[{name: dpo, steps: 40000}]", "evaluate=[]"]
    deployment = api("deployments/name/pipeline/on-demand")
    parameters = {"preset": "smoke", "overrides": overrides}
    run = api(f"deployments/{deployment['id']}/create_flow_run", {"name": "to be killed", "parameters": parameters})

    def heartbeats():
        wanted = {"event": {"name": ["prefect.flow-run.heartbeat"]}}
        resource = {"resource": {"id": [f"prefect.flow-run.{run['id']}"]}}
        return api("events/filter", {"filter": {"occurred": {"since": "2020-01-01T00:00:00Z"}, **wanted, **resource}})[
            "total"
        ]

    wait(heartbeats, 120, "a heartbeat")
    worker = command.status()["worker-cpu"]["pid"]
    os.killpg(worker, signal.SIGKILL)
    (folder,) = [file.parent for file in (command.home / "runs").glob("*/begun")]
    record = json.loads((folder / "run.json").read_text())
    with contextlib.suppress(ProcessLookupError):
        os.kill(record["process"]["pid"], signal.SIGKILL)
    ended = wait(lambda: (s := api(f"flow_runs/{run['id']}")["state"])["type"] == "CRASHED" and s, 400, "the run's end")
    assert "no heartbeat for 180 seconds" in ended["message"]
    assert command.status(code=1)["worker-cpu"]["state"] == "ended"
    command("up")
    assert command.status()["worker-cpu"]["state"] == "runs"


@pytest.mark.slow
def test_nothing_is_left_after_down(tmp_path):
    command = Command(tmp_path / "home")
    assert "no stack runs" in command("status", code=1).stderr
    assert "no stack runs" in command("down").stderr
    command("up", "--port", str(serving.free_port()), "--mlflow-port", str(serving.free_port()))
    pids = [row["pid"] for row in command.status().values()]
    told = command("down").stderr
    assert told.index("worker-cpu has ended") < told.index("mlflow has ended") < told.index("prefect has ended")
    marked = f"EVENHAND_HOME={tmp_path / 'home'}".encode()
    left = [folder.name for folder in Path("/proc").glob("[0-9]*") if marked in environment_of(folder)]
    assert left == []
    assert all(Process.of(pid).started == "" for pid in pids)
    assert "schedules need a Prefect server" in command("schedule", "ls", code=2).stderr


def environment_of(folder):
    try:
        return (folder / "environ").read_bytes()
    except OSError:
        return b""
