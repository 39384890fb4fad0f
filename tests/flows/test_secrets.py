"""Planted secrets: a stack with a login on PostgreSQL, runs that complete and that fail; then all is searched."""

import base64
import contextlib
import json
import socket
import stat
import subprocess
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.flows import serving
from tests.flows.postgres import NoPostgres, cluster, programs
from tests.flows.test_stack import SMALL, Command, wait

USER = "keeper"
PLANTED = {
    "database": "planted-database-secret",
    "login": "planted-login-secret",
    "OPENAI_API_KEY": "sk-planted-openai-key",
    "HF_TOKEN": "hf_planted_hub_token",
    "AWS_SECRET_ACCESS_KEY": "planted-aws-secret-key",
    "AWS_SESSION_TOKEN": "planted-aws-session-token",
    "address": "planted-address-token",
}
LOGIN = f"{USER}:{PLANTED['login']}"
FORMS = [
    form.encode()
    for secret in [*PLANTED.values(), LOGIN]
    for form in (secret, base64.b64encode(secret.encode()).decode().rstrip("="))
]
"""Secrets as they are and as basic authentication sends them."""
FAILING = ["policy.0.learning_rate=1.0e+30", "policy.0.max_grad_norm=1.0e+30", "policy.0.steps=20"]


class Watch(threading.Thread):
    """Looks at the command lines of all processes until it is told to stop."""

    def __init__(self):
        super().__init__(daemon=True)
        self.seen, self.found, self.over = set(), set(), threading.Event()

    def run(self):
        while not self.over.wait(0.2):
            for file in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    line = file.read_bytes()
                except OSError:
                    continue
                self.seen.add(line)
                if any(form in line for form in FORMS):
                    self.found.add(line)


def holds(data):
    return [form.decode() for form in FORMS if form in data]


def search(folder):
    """Files below a folder that hold a secret."""
    read = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file() and not file.is_symlink()}
    assert len(read) > 20, "there is something to search"
    return {str(file): found for file, data in read.items() if (found := holds(data))}


def status_of(url, login=None):
    headers = {"Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"} if login else {}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=60) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """A running stack with planted secrets in its environment, what `up` told, and the database's address."""
    home = tmp_path_factory.mktemp("guarded") / "home"
    keys = {name: value for name, value in PLANTED.items() if name.isupper()}
    watch = Watch()
    try:
        with cluster() as address:
            user, _, place = address.partition("@")
            database = f"postgresql://{user}:{PLANTED['database']}@{place}"
            command = Command(home, EVENHAND_DATABASE=database, EVENHAND_AUTH=LOGIN, AWS_ACCESS_KEY_ID="AKIA", **keys)
            watch.start()
            ports = "--port", str(serving.free_port()), "--mlflow-port", str(serving.free_port())
            told = command("up", "--auth", *ports, timeout=500)
            yield command, told, address, watch
            watch.over.set()
            command("down")
    except NoPostgres as error:
        pytest.skip(str(error))


@pytest.mark.slow
def test_strangers_get_401_and_commands_of_another_login_one_message(guarded):
    command, told, _, _ = guarded
    exports = command.exports(told)
    prefect = f"{exports['PREFECT_API_URL']}/admin/version"
    mlflow = f"{exports['MLFLOW_TRACKING_URI']}/api/2.0/mlflow/experiments/search?max_results=1"
    for url in (prefect, mlflow):
        assert [status_of(url), status_of(url, f"{USER}:wrong-wrong-wrong"), status_of(url, LOGIN)] == [401, 401, 200]
    stranger = Command(command.home, **(command.environment | {"EVENHAND_AUTH": "keeper:wrong-wrong-wrong"}))
    for words in (["run", *SMALL], ["schedule", "ls"]):
        message = stranger(*words, code=2).stderr
        assert "refuses this login: set EVENHAND_AUTH" in message
        assert "Traceback" not in message
    assert "refuses this login: set EVENHAND_AUTH" in stranger("track", code=2).stderr
    del stranger.environment["EVENHAND_AUTH"]
    message = stranger("run", *SMALL, code=2).stderr
    assert "asks for a login: set EVENHAND_AUTH" in message
    assert "Traceback" not in message


@pytest.mark.slow
def test_no_secret_is_found_anywhere_after_runs_that_complete_and_fail(guarded):
    command, told, address, watch = guarded
    exports = command.exports(told)
    outputs = [told]
    outputs.append(command("run", *SMALL, "evaluate=[]", "--json", timeout=500))
    outputs.append(command("run", *SMALL, "evaluate=[]", *FAILING, code=1, timeout=500))
    # The address of a tracking server may itself hold credentials and tokens; nobody answers at this one.
    tracking = f"http://{USER}:{PLANTED['address']}@127.0.0.1:1/?token={PLANTED['address']}"
    with_token = Command(command.home, **(command.environment | {"MLFLOW_TRACKING_URI": tracking}))
    outputs.append(with_token("run", *SMALL, code=2, timeout=500))
    outputs.append(with_token("doctor", "--json", code=None))
    command("schedule", "add", "soon", *SMALL, "evaluate=[]", *FAILING, "--interval", "20")

    def ended():
        records = [json.loads(file.read_text()) for file in (command.home / "runs").glob("*/run.json")]
        return len([record for record in records if record["status"] == "failed"]) >= 2

    wait(ended, 400, "a failed run of the worker")
    command("schedule", "rm", "soon")
    outputs += [command("status", "--json"), command("schedule", "ls", "--json"), command("show", "last")]
    dumps = {name: dump(address, name) for name in ("prefect", "mlflow")}
    assert b"flow_run" in dumps["prefect"] and b"learning_rate" in dumps["mlflow"]
    assert {name: found for name, data in dumps.items() if (found := holds(data))} == {}
    assert search(command.home) == {}
    assert [holds((done.stdout + done.stderr).encode()) for done in outputs] == [[]] * len(outputs)
    assert any(b"basic-auth" in line for line in watch.seen), "the server's own command line was looked at"
    assert watch.found == set()
    assert exports["PREFECT_API_AUTH_STRING"] == '"$EVENHAND_AUTH"'
    files = [file for file in (command.home / "stack").rglob("*") if file.is_file() and file.name != ".lock"]
    assert {file.name for file in files if stat.S_IMODE(file.stat().st_mode) & 0o077} == set()


def own_address():
    """An address of this machine that others reach, or loopback if it has none. Nothing is sent."""
    probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with contextlib.closing(probe), contextlib.suppress(OSError):
        probe.connect(("192.0.2.1", 9))
        return probe.getsockname()[0]
    return "127.0.0.1"


def dump(address, name):
    """All of a database as text."""
    user, _, place = address.partition("@")
    host, _, port = place.partition(":")
    program = programs() / "pg_dump"
    words = [program, "--host", host, "--port", port, "--username", user, name]
    return subprocess.run(words, capture_output=True, check=True, timeout=120).stdout


@pytest.mark.slow
def test_a_login_that_is_changed_between_two_starts_is_the_one_that_counts(tmp_path):
    """MLflow keeps its administrator's secret of the first start by itself."""
    command = Command(tmp_path / "home")
    ports = "--port", str(serving.free_port()), "--mlflow-port", str(serving.free_port())
    told = command("up", "--auth", *ports, timeout=500)
    first = (tmp_path / "home" / "stack" / "login").read_text().strip()
    assert first not in told.stdout + told.stderr
    message = command("up", "--no-auth", code=2).stderr
    assert "the stack runs with a login; `evenhand down` first" in message
    command("down")
    command.environment["EVENHAND_AUTH"] = "other:planted-login-secret"
    host = own_address()
    told = command("up", "--host", host, timeout=500)
    assert command.exports(told)["PREFECT_API_URL"].startswith(f"http://{host}:")
    assert status_of(f"{command.exports(told)['PREFECT_API_URL']}/admin/version", first) == 401
    command("run", *SMALL, "evaluate=[]", timeout=500)
    url = f"{command.exports(told)['MLFLOW_TRACKING_URI']}/api/2.0/mlflow/experiments/search?max_results=1"
    assert [status_of(url, first), status_of(url, "other:planted-login-secret")] == [401, 200]
    command("down")
    del command.environment["EVENHAND_AUTH"]
    if host != "127.0.0.1":
        assert "so the servers need a login: add --auth" in command("up", "--no-auth", "--host", host, code=2).stderr
    told = command("up", "--no-auth", timeout=500)
    url = f"{command.exports(told)['MLFLOW_TRACKING_URI']}/api/2.0/mlflow/experiments/search?max_results=1"
    assert status_of(url) == 200
    command("down")
