"""The login of a stack: where it comes from, who may read it, what servers are told. Real servers: `test_secrets`."""

import os
import stat

import pytest

from flows.stack import auth
from flows.stack.auth import Login
from flows.stack.hosts import check_host, mlflow_host_environment
from flows.stack.services import Stack
from pipeline_core.errors import BadInput
from pipeline_core.files.private import private_file, private_folder, write_private

SECRET = "planted-secret-1"


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(autouse=True)
def no_login(monkeypatch):
    monkeypatch.delenv(auth.VARIABLE, raising=False)


def test_a_login_is_made_once_and_only_its_owner_reads_it(tmp_path):
    made = auth.find_or_make(tmp_path)
    assert auth.find_or_make(tmp_path) == made == auth.kept(tmp_path)
    assert mode(auth.login_file(tmp_path)) == 0o600
    assert len(made.secret) >= 32
    assert made.secret not in repr(made)


def test_a_given_login_is_used_and_written_nowhere(tmp_path, monkeypatch):
    monkeypatch.setenv(auth.VARIABLE, f"me:{SECRET}:with colon".replace(" ", "-"))
    login = auth.find_or_make(tmp_path)
    assert (login.user, login.secret) == ("me", f"{SECRET}:with-colon")
    login.mlflow_environment(tmp_path)
    assert not auth.login_file(tmp_path).exists()
    assert [file for file in tmp_path.iterdir() if SECRET in file.read_text()] == []


@pytest.mark.parametrize("text", ["me", f":{SECRET}", "me:short", f"me:{SECRET}ä", f"me:{SECRET} x", f"me:{SECRET}\n"])
def test_a_login_that_a_server_would_not_take_is_refused_without_it(text, monkeypatch):
    monkeypatch.setenv(auth.VARIABLE, text)
    with pytest.raises(BadInput, match="EVENHAND_AUTH: give user:secret") as error:
        auth.given()
    assert SECRET not in str(error.value)


def test_shell_lines_give_the_login_without_holding_it(tmp_path, monkeypatch):
    made = auth.find_or_make(tmp_path)
    lines = "\n".join(auth.exports(tmp_path, made))
    assert made.secret not in lines
    assert str(auth.login_file(tmp_path)) in lines
    monkeypatch.setenv(auth.VARIABLE, f"me:{SECRET}")
    assert SECRET not in "\n".join(auth.exports(tmp_path, auth.find_or_make(tmp_path)))


def test_an_address_that_others_reach_needs_a_login():
    for host in ("127.0.0.1", "localhost", "127.0.0.2"):
        check_host(host, False)
        assert mlflow_host_environment(host, 5000) == {}
    with pytest.raises(BadInput, match=r"others reach '192\.0\.2\.1', so the servers need a login: add --auth"):
        check_host("192.0.2.1", False)
    with pytest.raises(BadInput, match=r"'192\.0\.2\.1' is no address of this machine"):
        check_host("192.0.2.1", True)
    for host in ("0.0.0.0", "::", "::1"):
        with pytest.raises(BadInput, match="by which other machines reach this one"):
            check_host(host, True)
    assert mlflow_host_environment("gpu.example", 5000)["MLFLOW_SERVER_ALLOWED_HOSTS"] == "gpu.example,gpu.example:5000"


def test_files_of_a_stack_are_its_owners_also_those_of_before(tmp_path):
    before = os.umask(0o022)
    try:
        (tmp_path / "stack").mkdir()
        log = tmp_path / "stack" / "prefect.log"
        log.touch()
        stack = Stack(tmp_path)
        with stack.alone():
            stack.start("prefect", ["python", "-c", "open('made', 'w')"], {}, port=1)
            stack.write()
            while not (tmp_path / "stack" / "made").exists():
                pass
            stack.stop(stack.record.services[0])
        assert {mode(file) for file in (log, tmp_path / "stack" / "stack.json", tmp_path / "stack" / "made")} == {0o600}
        assert mode(tmp_path / "stack") == 0o700
    finally:
        os.umask(before)


def test_private_files_keep_their_content_and_lose_other_readers(tmp_path):
    file = tmp_path / "a"
    file.write_text("kept")
    file.chmod(0o644)
    private_file(file)
    assert (file.read_text(), mode(file)) == ("kept", 0o600)
    write_private(file, "new")
    assert (file.read_text(), mode(file)) == ("new", 0o600)
    tmp_path.chmod(0o755)
    private_folder(tmp_path)
    assert mode(tmp_path) == 0o700


def test_a_login_goes_to_the_servers_of_its_stack_alone(tmp_path, monkeypatch):
    """A command that is sent elsewhere by PREFECT_API_URL does not take the secret of this home along."""
    from flows import environment

    stack = Stack(tmp_path)
    with stack.alone():
        auth.find_or_make(stack.folder)
        stack.record.user = auth.USER
        for name, port in (("prefect", 1), ("mlflow", 2)):
            stack.start(name, ["python", "-c", "import time; time.sleep(600)"], {}, port=port)
        try:
            monkeypatch.setenv("EVENHAND_HOME", str(tmp_path))
            for name in ("PREFECT_API_AUTH_STRING", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
                monkeypatch.setenv(name, "")
                monkeypatch.delenv(name)
            monkeypatch.setenv("PREFECT_API_URL", "http://elsewhere.example/api")
            monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:2")
            environment.prepare()
            assert "PREFECT_API_AUTH_STRING" not in os.environ
            monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:1/api")
            environment.prepare()
            assert Login.of(os.environ["PREFECT_API_AUTH_STRING"], "") == auth.kept(stack.folder)
            assert os.environ["MLFLOW_TRACKING_USERNAME"] == auth.USER
        finally:
            for service in list(stack.record.services):
                stack.stop(service)
