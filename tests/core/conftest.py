import pytest

from tests.core import probes


@pytest.fixture
def registry():
    probes.CALLS.clear()
    return probes.probe_registry()
