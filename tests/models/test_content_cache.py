"""What is computed once: found again for equal content, on every rank, and never worth a failure."""

import logging
import shutil
import threading
import time

import pytest
import torch
import torch.multiprocessing
from safetensors.torch import save_file

from pipeline_core.models.tensor_cache import arithmetic, kept_tensors, model_digests
from pipeline_core.plugin.checkpoints import Checkpoints
from pipeline_core.plugin.context import StageContext
from pipeline_core.plugin.events import EventLog
from plugins.evaluate.preference_gap._score_cache import cached_scores

VALUE = {"x": torch.arange(3.0)}


def never():
    raise AssertionError("it was computed again")


def at(scratch, rank=0, world_size=1):
    return StageContext(0, "cpu", EventLog(), Checkpoints(None), rank, world_size, scratch)


def test_equal_content_is_computed_once(context):
    kept_tensors("n", lambda: ["about", 1], lambda: VALUE, context)
    assert torch.equal(kept_tensors("n", lambda: ["about", 1], never, context)["x"], VALUE["x"])
    with pytest.raises(AssertionError):
        kept_tensors("n", lambda: ["about", 2], never, context)
    assert len(list((context.scratch / "n").iterdir())) == 1


def test_two_that_need_the_same_at_once_compute_it_once(context):
    computed, begun = [], threading.Event()

    def compute():
        computed.append(1)
        begun.set()
        time.sleep(0.3)
        return VALUE

    first = threading.Thread(target=kept_tensors, args=("n", lambda: 1, compute, context))
    first.start()
    begun.wait(10)
    assert torch.equal(kept_tensors("n", lambda: 1, compute, context)["x"], VALUE["x"])
    first.join()
    assert computed == [1]


def test_a_broken_file_is_made_again(context):
    kept_tensors("n", lambda: 1, lambda: VALUE, context)
    (file,) = (context.scratch / "n").iterdir()
    file.write_bytes(file.read_bytes()[:-4])
    assert kept_tensors("n", lambda: 1, lambda: VALUE, context) is VALUE
    assert torch.equal(kept_tensors("n", lambda: 1, never, context)["x"], VALUE["x"])


def test_r4_no_byte_can_change_unseen(context, caplog):
    kept_tensors("n", lambda: 1, lambda: VALUE, context)
    (file,) = (context.scratch / "n").iterdir()
    good = file.read_bytes()
    for place in range(len(good)):
        file.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        assert torch.equal(kept_tensors("n", lambda: 1, lambda: VALUE, context)["x"], VALUE["x"]), place
        assert file.read_bytes() == good, "it is written again"
    assert f"{file} has changed on the disk and is computed again" in caplog.text


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64, torch.bool])
def test_any_tensor_comes_back_as_it_was(context, dtype):
    made = {"matrix": torch.eye(3).to(dtype).T, "number": torch.ones(()).to(dtype), "none": torch.zeros(0, 2).to(dtype)}
    made["matrix"] = made["matrix"].contiguous()
    made["column"] = torch.ones(1, 2).to(dtype)[:, 0]  # contiguous by its size, whatever its stride is
    kept_tensors("n", lambda: 1, lambda: made, context)
    again = kept_tensors("n", lambda: 1, never, context)
    assert all(torch.equal(again[name], made[name]) and again[name].dtype == dtype for name in made)


def test_a_file_of_before_is_computed_again_without_a_word(context, caplog):
    kept_tensors("n", lambda: 1, lambda: VALUE, context)
    (file,) = (context.scratch / "n").iterdir()
    save_file({"x": torch.zeros(3)}, file)
    assert kept_tensors("n", lambda: 1, lambda: VALUE, context) is VALUE
    assert not caplog.text


def test_a_place_that_takes_no_files_costs_time_only(tmp_path, caplog):
    (tmp_path / "scratch").write_text("no folder")
    with caplog.at_level(logging.WARNING):
        assert kept_tensors("n", lambda: 1, lambda: VALUE, at(tmp_path / "scratch")) is VALUE
    assert "costs time only" in caplog.text


def test_gpus_of_one_kind_share_their_numbers():
    assert arithmetic("cuda:0", "auto", "auto") == arithmetic("cuda:1", "bfloat16", "bfloat16")
    assert (
        arithmetic("cuda", "float32", "auto") != arithmetic("cuda", "auto", "auto") != arithmetic("cpu", "auto", "auto")
    )
    assert arithmetic("cpu", "auto", "auto") == arithmetic("cpu", "float32", "float32")


def test_the_time_a_model_was_made_is_no_part_of_it(model_folder, tmp_path, context, monkeypatch):
    again = shutil.copytree(model_folder, tmp_path / "again")
    for folder, made in ((again, "today"), (other := shutil.copytree(again, tmp_path / "other"), "now")):
        (folder / "manifest.json").write_text(f'{{"created": "{made}"}}')
    assert model_digests(again) == model_digests(other)
    texts = ["the", "the"], ["nurse", "doctor"]  # of one text alone every tensor is contiguous
    first = cached_scores(again, *texts, context)
    monkeypatch.setattr("plugins.evaluate.preference_gap._score_cache.load_model", never)
    assert torch.equal(cached_scores(other, *texts, context).logps, first.logps)
    (other / "tokenizer.json").write_text((other / "tokenizer.json").read_text() + " ")
    assert model_digests(again) != model_digests(other)


def _in_two(rank, store, folder, queue):
    torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    made = kept_tensors("n", lambda: 1, lambda: {"x": torch.full((2,), 7.0)}, at(folder / "one", rank, 2))
    found = kept_tensors("n", lambda: 1, never, at(folder / ("one" if rank == 0 else "not there"), rank, 2))
    queue.put((made["x"].tolist(), found["x"].tolist()))
    torch.distributed.destroy_process_group()


def test_what_the_first_process_finds_all_have(tmp_path):
    spawning = torch.multiprocessing.get_context("spawn")
    queue = spawning.SimpleQueue()
    torch.multiprocessing.spawn(_in_two, (tmp_path / "store", tmp_path, queue), nprocs=2)
    assert [queue.get() for _ in range(2)] == [([7, 7], [7, 7])] * 2
    assert not (tmp_path / "not there").exists()
