import pytest

from pipeline_core.store.artifacts import Store
from tests.core import probes


@pytest.fixture
def registry():
    probes.CALLS.clear()
    return probes.probe_registry()


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "store")
    store.prepare()
    return store
