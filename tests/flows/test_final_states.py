"""Flow runs of processes that are gone, against Prefect's test server."""

from dataclasses import replace

import pytest
from prefect import flow, task
from prefect.client.orchestration import get_client
from prefect.states import Pending, Running

from flows.final_states import ELSEWHERE_SECONDS, GONE, close_abandoned
from flows.records import RunRecord, begun_runs
from flows.server import server_name
from pipeline_core.store.processes import Process

pytestmark = pytest.mark.usefixtures("prefect_server")


@flow
def some_flow():
    """Never run: its runs are made by the tests."""


@task
def some_task():
    """Likewise."""


def begun(runs, **facts):
    """The record of a run that goes on as far as anybody knows."""
    record = RunRecord.begin("a" * 32, "smoke", {}, **{"run_name": "smoke-1", "server": server_name()} | facts)
    record.write(runs)
    return record


def gone(record, runs):
    record.process = replace(Process.current(), pid=2**22 + 1)
    record.write(runs)


@pytest.fixture
def made():
    """A flow run with a task that runs and one that waits; a function gives their states."""
    with get_client(sync_client=True) as client:
        run = client.create_flow_run(some_flow, state=Running())
        tasks = [
            client.create_task_run(some_task, run.id, dynamic_key=str(number), state=state)
            for number, state in enumerate((Running(), Pending()))
        ]

        def states():
            current = client.read_flow_run(run.id).state
            return current, [client.read_task_run(one.id).state for one in tasks]

        yield str(run.id), states


def test_r6_a_run_of_a_live_process_is_left_alone(made, tmp_path):
    begun(tmp_path, flow_run_id=made[0])
    close_abandoned(tmp_path)
    state, tasks = made[1]()
    assert [one.type.value for one in (state, *tasks)] == ["RUNNING", "RUNNING", "PENDING"]
    assert len(begun_runs(tmp_path)) == 1


def test_r6_a_run_of_a_killed_process_is_crashed_with_its_tasks(made, tmp_path):
    record = begun(tmp_path, flow_run_id=made[0])
    gone(record, tmp_path)
    close_abandoned(tmp_path)
    state, tasks = made[1]()
    assert [one.type.value for one in (state, *tasks)] == ["CRASHED", "CRASHED", "CANCELLED"]
    assert state.message == GONE
    assert begun_runs(tmp_path) == []
    close_abandoned(tmp_path)


def test_no_task_of_a_large_run_is_left_over(made, tmp_path, monkeypatch):
    monkeypatch.setattr("flows.final_states.PAGE", 1)
    record = begun(tmp_path, flow_run_id=made[0])
    gone(record, tmp_path)
    close_abandoned(tmp_path)
    assert [one.type.value for one in made[1]()[1]] == ["CRASHED", "CANCELLED"]


def test_a_run_of_another_server_waits_for_that_server(made, tmp_path):
    record = begun(tmp_path, flow_run_id=made[0], server="http://elsewhere/api")
    gone(record, tmp_path)
    close_abandoned(tmp_path)
    assert made[1]()[0].type.value == "RUNNING"
    assert [one.run_id for one in begun_runs(tmp_path)] == [record.run_id]


def test_a_run_that_the_server_has_forgotten_is_closed_in_its_record(tmp_path):
    record = begun(tmp_path, flow_run_id="0195c6f0-0000-7000-8000-000000000000")
    gone(record, tmp_path)
    close_abandoned(tmp_path)
    assert begun_runs(tmp_path) == []


def test_a_record_without_a_flow_run_is_closed(tmp_path):
    gone(begun(tmp_path), tmp_path)
    close_abandoned(tmp_path)
    assert begun_runs(tmp_path) == []


def test_a_run_of_a_server_that_nobody_has_used_for_a_month_is_closed_here(made, tmp_path):
    record = begun(tmp_path, flow_run_id=made[0], server="http://elsewhere/api")
    record.started -= ELSEWHERE_SECONDS + 60
    gone(record, tmp_path)
    close_abandoned(tmp_path)
    assert begun_runs(tmp_path) == []
    assert made[1]()[0].type.value == "RUNNING"
