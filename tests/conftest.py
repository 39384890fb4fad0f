"""Every test has a home of its own, no telemetry, no hub, and one processor thread per worker."""

import os

# Before torch is imported anywhere: two processes with default threads on two cores are many times slower.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["DO_NOT_TRACK"] = "true"
os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
os.environ["HF_HUB_OFFLINE"] = "1"

import pytest
from hypothesis import settings
from jaxtyping import install_import_hook

from tests import shapes

# Signatures of losses name the dimensions of their tensors; the tests check them, runs do not.
install_import_hook("pipeline_core.losses", f"{shapes.__name__}.checked")

# How long an example takes says nothing on a busy machine. With CI set the examples are the same in every run, so that
# a failure is one of the change; other runs look for new ones.
settings.register_profile("suite", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("suite")

# A distribution of its own: test_packaging.py installs it and runs its test.
collect_ignore = ["sample_plugin"]

LONG = ("tests/flows/test_processes.py", "tests/test_packaging.py")
"""Begin first: a long test that begins last leaves all other workers waiting for it."""


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: not item.nodeid.startswith(LONG))


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A fresh `EVENHAND_HOME`; nothing a test does reaches the user's own."""
    folder = tmp_path / "home"
    monkeypatch.setenv("EVENHAND_HOME", str(folder))
    for variable in ("EVENHAND_STORE", "EVENHAND_CATALOG", "EVENHAND_TRACKING", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(variable, raising=False)
    return folder


@pytest.fixture
def data_root():
    """The folder of real benchmark data, where there is one."""
    from pathlib import Path

    root = os.environ.get("EVENHAND_DATA")
    if not root or not Path(root).is_dir():
        pytest.skip("EVENHAND_DATA names no folder with the benchmark files")
    return Path(root)


@pytest.fixture
def root(tmp_path, monkeypatch):
    """An empty folder that EVENHAND_DATA names."""
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setenv("EVENHAND_DATA", str(folder))
    return folder


@pytest.fixture
def store(tmp_path):
    """An empty store."""
    from pipeline_core.store.artifacts import Store

    store = Store(tmp_path / "store")
    store.prepare()
    return store


@pytest.fixture
def registry():
    """Plugins that note what they are called with."""
    from tests.stage import probes

    probes.CALLS.clear()
    return probes.probe_registry()
