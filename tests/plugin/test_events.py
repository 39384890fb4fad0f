from pathlib import Path

import pytest

from pipeline_core.plugin.events import EventLog, EventReader


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no device that is always full")
def test_a_full_disk_costs_events_and_nothing_else(caplog):
    log = EventLog(Path("/dev/full"), flush_seconds=0)
    for step in range(1, 4):
        log.log({"loss": 1.0, "perf/seconds": 2.0}, step, 3)
    log.close()
    assert log.history == [{"step": step, "loss": 1.0} for step in (1, 2, 3)]
    assert caplog.text.count("could not be written") == 1


def test_a_folder_that_is_gone_costs_events_and_nothing_else(tmp_path):
    log = EventLog(tmp_path / "gone" / "events.jsonl")
    log.log({"loss": 1.0}, 1)
    log.close()
    assert log.history


def test_spoilt_lines_are_left_out_and_unfinished_ones_wait(tmp_path):
    file = tmp_path / "events.jsonl"
    reader = EventReader(file)
    assert reader.read() == []
    file.write_text('{"step": 1}\n{"step": 2, "me{"step": 3}\n7\n{"step"')
    assert reader.read() == [{"step": 1}]
    with file.open("a") as rest:
        rest.write(": 4}\n")
    assert reader.read() == [{"step": 4}]
