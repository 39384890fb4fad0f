import pytest

from pipeline_core.plugin.checkpoints import Checkpoints
from pipeline_core.plugin.context import StageContext
from pipeline_core.plugin.events import EventLog
from tests.training.tiny import write_model


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture
def context(tmp_path):
    return StageContext(
        seed=5, device="cpu", events=EventLog(), checkpoints=Checkpoints(None), scratch=tmp_path / "scratch"
    )
