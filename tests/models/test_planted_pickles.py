"""A pickle that runs a command, planted wherever files are read: models, checkpoints, caches, data. It never runs.

Files of weights (`pytorch_model.bin`) of a base model: `test_foreign_folders.py`.
"""

import os
import pickle
from contextlib import suppress

import pyarrow as pa
import pytest
import torch

from pipeline_core.conformance.kit import tiny_model
from pipeline_core.data.files import read_chunks
from pipeline_core.data.table_cache import dataset_from, table_file
from pipeline_core.errors import BadInput, EvenhandError
from pipeline_core.files.sealed import seal
from pipeline_core.models.loading import load_model
from pipeline_core.models.tensor_cache import kept_tensors
from pipeline_core.plugin.checkpoints import Checkpoints
from pipeline_core.plugin.context import StageContext
from pipeline_core.plugin.events import EventLog
from pipeline_core.rewards.classifiers import open_classifier
from tests.rewards.worlds import pairs, tiny_bert


class Code:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


@pytest.fixture
def trace(tmp_path):
    """Folder that the planted code makes; the test fails if it is there."""
    folder = tmp_path / "was_run"
    pickle.loads(pickle.dumps(Code(folder)))
    folder.rmdir()  # it would run
    yield folder
    assert not folder.exists()


FORMS = {"pickle": lambda value, file: file.write_bytes(pickle.dumps(value)), "torch": torch.save}


@pytest.mark.parametrize("form", FORMS)
def test_as_a_checkpoint(form, tmp_path, trace, caplog):
    file = tmp_path / "kept" / "checkpoint.pt"
    file.parent.mkdir()
    FORMS[form]({"made_by": {}, "state": {"x": Code(trace)}}, file)
    seal(file)  # also with the right digest
    assert Checkpoints(tmp_path / "kept").load() is None
    assert "cannot be read and is left aside" in caplog.text


@pytest.mark.parametrize("form", FORMS)
def test_as_tensors_that_were_kept(form, tmp_path, trace):
    context = StageContext(0, "cpu", EventLog(), Checkpoints(None), 0, 1, tmp_path / "scratch")
    value = {"x": torch.arange(3.0)}
    kept_tensors("n", lambda: 1, lambda: value, context)
    (file,) = (tmp_path / "scratch").rglob("*.safetensors")
    FORMS[form]({"x": Code(trace)}, file)
    assert torch.equal(kept_tensors("n", lambda: 1, lambda: value, context)["x"], value["x"])


@pytest.mark.parametrize("form", FORMS)
def test_as_rows_that_were_kept(form, trace, home):
    table_file("planted").parent.mkdir(parents=True)
    FORMS[form]([Code(trace)], table_file("planted"))
    seal(table_file("planted"))
    with suppress(EvenhandError, pa.ArrowException, OSError):
        dataset_from("planted", [pa.table({"a": [1]})])[0]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("format_", ["jsonl", "json", "parquet", "csv", "text"])
def test_as_a_file_of_data(form, format_, tmp_path, trace):
    file = tmp_path / f"rows.{format_}"
    FORMS[form]([{"prompt": Code(trace)}], file)
    with pytest.raises(BadInput, match=r"mine: .*rows\."):
        list(read_chunks(file, format_, "mine"))


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.safetensors"])
@pytest.mark.parametrize("form", FORMS)
def test_as_the_weights_of_a_reward(form, name, tmp_path, trace):
    folder = tiny_bert(tmp_path / "bert", pairs(8), labels=1)
    (folder / "model.safetensors").unlink()
    FORMS[form]({"classifier.weight": Code(trace)}, folder / name)
    with pytest.raises(BadInput, match="bert"):
        open_classifier(folder, None, 16)


@pytest.mark.parametrize("form", FORMS)
def test_as_the_weights_of_an_artifact(form, tmp_path, trace):
    folder = tiny_model(tmp_path / "model")
    (folder / "model.safetensors").unlink()
    FORMS[form]({"lm_head.weight": Code(trace)}, folder / "pytorch_model.bin")
    with pytest.raises(Exception, match=r"(?i)weights_only|unsupported|invalid|load"):
        load_model(folder)
