import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory):
    """Prefect's own test harness: a private server and database for this test process."""
    os.environ.setdefault("PREFECT_HOME", str(tmp_path_factory.mktemp("prefect")))
    from flows.environment import prepare

    prepare()
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=600):
        yield


@pytest.fixture
def evenhand(home):
    """Run the command line in a process of its own, in a home of its own."""

    def call(*arguments, timeout=120, **environment):
        # A flow that ran in this process before has added this machine to both spellings.
        inherited = {name: value for name, value in os.environ.items() if name.lower() != "no_proxy"}
        return subprocess.run(
            [sys.executable, "-m", "flows.cli", *arguments],
            env=inherited | {"PYTHONPATH": str(ROOT), "EVENHAND_HOME": str(home)} | environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return call


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory):
    """Creating a tracking database takes seconds: one for all flow tests of this process."""
    return tmp_path_factory.mktemp("shared")


@pytest.fixture
def shared_tracking(shared_folder, monkeypatch, home):
    """Tracking in the shared database; artifacts stay in the test's own home."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{shared_folder / 'mlflow.db'}")


@pytest.fixture
def shared_store(shared_folder, monkeypatch, home):
    """A store in which other tests may have made the base model already."""
    monkeypatch.setenv("EVENHAND_STORE", str(shared_folder / "store"))
