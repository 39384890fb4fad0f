"""Retention: what may go, and its removal from real stores, MLflow, Prefect and plain files; pins and aliases stay."""

import json
import os
import subprocess
import sys
import uuid

import pytest

from flows.nights import logs
from flows.nights.keep import GIGABYTE, Keep, choose
from flows.nights.pins import pin, pinned_keys, pins, unpin
from flows.nights.removal import remove_old_runs, then_remove_old_runs
from flows.records import RegisteredModel
from pipeline_core.errors import BadInput, EvenhandError
from pipeline_core.store.artifacts import Store
from pipeline_core.store.processes import Process
from tests.flows.planted import DAY, NOW, Planted, cell, row, stage


@pytest.fixture
def planted(home):
    return Planted()


def ids(records):
    return [record.run_id for record in records]


def test_the_newest_completed_runs_stay_and_as_many_others(planted):
    runs = [planted.run(f"c{days}", days) for days in range(1, 6)]
    runs += [planted.run(f"f{days}", days + 0.5, status="failed") for days in range(1, 5)]
    chosen = choose(runs, Keep(runs=2), {}, {})
    assert ids(chosen.old) == ["c5", "f4", "c4", "f3", "c3"], "oldest first"


def test_completed_runs_outlast_a_week_of_failures(planted):
    runs = [planted.run("c", 9), *(planted.run(f"f{days}", days, status="failed") for days in range(1, 8))]
    assert "c" not in ids(choose(runs, Keep(runs=1), {}, {}).old)


def test_a_run_that_goes_on_stays_and_one_that_was_killed_goes(planted):
    gone = Process(host=Process.current().host, space=Process.current().space, pid=2**22 + 1, started="1")
    running = planted.run("running", 50, status="running", process=Process.current())
    killed = planted.run("killed", 51, status="running", process=gone)
    elsewhere = planted.run("elsewhere", 52, status="running", process=Process("other", "x", 1, "1"))
    newer = [planted.run(f"c{days}", days) for days in (1, 2)]
    newer += [planted.run("f", 3, status="failed")]
    assert ids(choose([running, killed, elsewhere, *newer], Keep(runs=1), {}, {}).old) == ["killed", "c2"]


def test_gigabytes_count_each_artifact_once_and_spare_the_newest_completed_run(planted):
    sizes = dict.fromkeys("abcd", int(GIGABYTE)) | {"base": int(GIGABYTE)}
    runs = [
        planted.run(f"n{days}", days, stages=[stage("base", reused=True), stage(key)])
        for days, key in enumerate("abcd", start=1)
    ]
    assert ids(choose(runs, Keep(gb=3.5), {}, sizes).old) == ["n4", "n3"]
    assert ids(choose(runs, Keep(gb=0.001), {}, sizes).old) == ["n4", "n3", "n2"]
    assert ids(choose(runs, Keep(runs=3, gb=100), {}, sizes).old) == ["n4"]


def test_a_run_whose_artifacts_newer_ones_reuse_stays(planted):
    first = planted.run("first", 30, stages=[stage("base", stage="base", label="tiny_lm"), stage("p1")])
    second = planted.run("second", 20, stages=[stage("base", reused=True), stage("p2")])
    third = planted.run("third", 10, stages=[stage("base", reused=True), stage("p3")])
    chosen = choose([first, second, third], Keep(runs=1), {}, {})
    assert ids(chosen.old) == ["second"]
    assert chosen.stays == {"first": "other runs use what it has made (base:tiny_lm)"}


@pytest.mark.parametrize("limits", [{"runs": 0}, {"gb": 0}, {"gb": float("inf")}, {"days": 3}])
def test_limits_that_make_no_sense_are_refused(limits):
    with pytest.raises(ValueError, match="validation error"):
        Keep.model_validate(limits)


@pytest.fixture
def as_files(monkeypatch):
    monkeypatch.setenv("EVENHAND_TRACKING", "json-lines")


@pytest.mark.usefixtures("as_files")
def test_a_run_whose_artifacts_another_schedule_reuses_stays(planted):
    planted.artifact("shared", days=40)
    planted.run("old", 40, stages=[stage("shared")])
    planted.run("new", 1)
    planted.run("of another schedule", 39, deployment="weekly", stages=[stage("shared", reused=True)])
    planned = remove_old_runs(planted.places, "nightly", Keep(runs=1), dry_run=True)
    assert planned.stays == {"smoke-old": "other runs use what it has made (policy:dpo)"}


@pytest.mark.usefixtures("as_files")
def test_what_goes_and_what_stays_in_the_store(planted):
    for key in ("mine", "pinned", "used-later", "nobody-knows"):
        planted.artifact(key, days=40)
    log = planted.places.store / ".logs" / "mine.txt"
    log.parent.mkdir(exist_ok=True)
    log.write_text("log")
    os.utime(Store(planted.places.store).folder("model", "used-later"), (NOW - 5 * DAY,) * 2)
    made = [stage(key) for key in ("mine", "pinned", "used-later", "gone-already")]
    planted.run("old", 39, stages=made, rows=[row(cell("dpo", 5.0))])
    planted.run("new", 1)
    pin(planted.places, "pinned")
    before = sorted(path for path in planted.places.home.rglob("*") if path.is_file())
    planned = remove_old_runs(planted.places, "nightly", Keep(runs=1), dry_run=True)
    assert sorted(path for path in planted.places.home.rglob("*") if path.is_file() and path.suffix != ".lock") == [
        path for path in before if path.suffix != ".lock"
    ], "a dry run removes nothing"
    done = remove_old_runs(planted.places, "nightly", Keep(runs=1))
    assert ids(planned.runs) == ids(done.runs) == ["old"]
    assert [waste.path for waste in planned.artifacts] == [waste.path for waste in done.artifacts]
    assert planned.bytes == done.bytes > 100
    assert {manifest.key for manifest in Store(planted.places.store).ls()} == {"pinned", "used-later", "nobody-knows"}
    assert not log.exists()
    assert planted.left() == {"new"}
    kept = json.loads((planted.places.home / "history" / "old.json").read_text())
    assert kept["rows"][0]["cells"][0]["value"] == 5.0
    assert remove_old_runs(planted.places, "nightly", Keep(runs=1)).runs == [], "again is harmless"


@pytest.mark.usefixtures("as_files")
def test_the_tracked_folders_of_a_run_and_its_stages_go(planted):
    from pipeline_core.tracking.opening import open_tracking

    with open_tracking(planted.places) as tracking, tracking.start_run("old") as parent:
        with tracking.child(parent, "base") as child:
            child.log_metrics({"loss": 1.0})
        other = tracking.start_run("other")
        other.finish()
    planted.run(parent.id, 3)
    planted.run("new", 1)
    remove_old_runs(planted.places, "nightly", Keep(runs=1))
    assert [file.name for file in (planted.places.home / "tracking").iterdir()] == [other.id]


@pytest.mark.usefixtures("as_files")
def test_a_pinned_run_stays_with_its_artifacts_until_it_is_unpinned(planted, evenhand):
    for key in ("p1", "p2"):
        planted.artifact(key, days=40)
    planted.run("good-run", 39, stages=[stage("p1"), stage("p2")])
    planted.run("new", 1)
    assert evenhand("store", "pin", "good").returncode == 0
    assert "run\tsmoke-good-run\tgood-run\t2" in evenhand("store", "pins").stdout
    done = remove_old_runs(planted.places, "nightly", Keep(runs=1))
    assert (done.runs, done.stays) == ([], {"smoke-good-run": "it is pinned"})
    assert evenhand("store", "gc", "--keep-days", "0", "--keep-runs", "0").returncode == 0
    assert {manifest.key for manifest in Store(planted.places.store).ls()} == {"p1", "p2"}
    assert evenhand("store", "unpin", "good").returncode == 0
    assert ids(remove_old_runs(planted.places, "nightly", Keep(runs=1)).runs) == ["good-run"]
    assert list(Store(planted.places.store).ls()) == []


def test_a_damaged_pin_holds_up_every_cleanup_and_can_be_removed(planted, evenhand):
    planted.artifact("p1", days=40)
    pin(planted.places, "p1")
    file = planted.places.store / ".pins" / "p1.json"
    file.write_text("{")
    with pytest.raises(EvenhandError, match=r"the pin .*p1\.json cannot be read: .*; nothing is cleaned up"):
        remove_old_runs(planted.places, "nightly", Keep(runs=1))
    done = evenhand("store", "gc", "--keep-days", "0", "--keep-runs", "0")
    assert (done.returncode, "p1.json cannot be read" in done.stderr) == (1, True)
    assert unpin(planted.places, "p1") == "p1"
    assert (pins(Store(planted.places.store)), pinned_keys(Store(planted.places.store))) == ([], set())


def test_what_cannot_be_pinned_is_told(planted):
    for act in (pin, unpin):
        with pytest.raises(BadInput, match="0 (artifacts|pins) .*that starts with 'nothing'"):
            act(planted.places, "nothing")


def test_gigabytes_of_the_whole_store_go_by_last_use(planted, evenhand):
    for days, key in enumerate(("newest", "middle", "pinned", "oldest"), start=1):
        planted.artifact(key, days=days, size=400_000)
    pin(planted.places, "pinned")
    usual = ["store", "gc", "--keep-days", "100", "--max-gb"]
    planned = json.loads(evenhand(*usual, "0.001", "--dry-run", "--json").stdout)
    assert [entry["path"].rpartition("/")[2] for entry in planned["found"]] == ["oldest", "middle"]
    evenhand(*usual, "0.001")
    assert {manifest.key for manifest in Store(planted.places.store).ls()} == {"newest", "pinned"}
    assert "must not be negative" in evenhand(*usual, "-1").stderr


@pytest.mark.usefixtures("as_files")
def test_a_removal_that_fails_is_a_warning_and_is_tried_again(planted, monkeypatch, caplog):
    planted.run("old", 2)
    planted.run("new", 1)
    with monkeypatch.context() as patch:
        patch.setattr("pipeline_core.tracking.json_lines.Backend.delete_run", lambda *_: 1 / 0)
        with then_remove_old_runs("nightly", Keep(runs=1)):
            pass
    assert "the run smoke-old stays: division by zero" in caplog.text
    assert planted.left() == {"old", "new"}
    (planted.places.store / ".pins").mkdir(parents=True)
    (planted.places.store / ".pins" / "x.json").write_text("{")
    with then_remove_old_runs("nightly", Keep(runs=1)):
        pass
    assert "old runs of nightly stay: the pin" in caplog.text
    unpin(planted.places, "x")
    with pytest.raises(ZeroDivisionError), then_remove_old_runs("nightly", Keep(runs=1)):
        raise ZeroDivisionError
    assert planted.left() == {"new"}, "also after a run that failed"


def test_long_logs_of_processes_that_append_keep_their_end(tmp_path, monkeypatch):
    monkeypatch.setattr(logs, "LOG_BYTES", 1000)
    monkeypatch.setattr(logs, "LOG_END_BYTES", 100)
    file = tmp_path / "worker.log"
    code = "import sys; [print(f'line {i:04}', flush=True) for i in range(500)]; sys.stdin.read(1); print('after')"
    with file.open("ab") as stream:
        worker = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=stream)
    while "line 0499" not in file.read_text():
        pass
    logs.shorten_logs(tmp_path)
    worker.communicate(b"x", timeout=30)
    lines = file.read_text().splitlines()
    assert lines[-2:] == ["line 0499", "after"]
    assert lines == [f"line {number:04}" for number in range(500 - len(lines) + 1, 500)] + ["after"]
    assert len(lines) <= 11


@pytest.fixture
def client(planted):
    """MLflow's client of the home's database, with the experiment."""
    from pipeline_core.tracking.opening import open_tracking

    with open_tracking(planted.places):
        pass
    from mlflow import MlflowClient

    return MlflowClient(planted.places.tracking_uri)


def tracked_run(client, name="run", parent=None):
    """A run in MLflow with a file."""
    experiment = client.get_experiment_by_name("evenhand").experiment_id
    run = client.create_run(experiment, tags={"mlflow.parentRunId": parent} if parent else {}, run_name=name)
    client.log_text(run.info.run_id, "text", "report/report.md")
    client.set_terminated(run.info.run_id)
    return run.info.run_id


def flow_run_of(deployment, days):
    """A completed flow run in Prefect with a task and a log, of `days` ago."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import LogCreate
    from prefect.states import Completed
    from prefect.types._datetime import from_timestamp, now

    from flows.pipeline import pipeline

    when = from_timestamp(NOW - days * DAY)
    with get_client(sync_client=True) as api:
        made = api.create_deployment(api.create_flow(pipeline), name=deployment)
        run = api.create_flow_run_from_deployment(made, state=Completed(timestamp=when))
        log = LogCreate(name="x", level=20, message="hello", timestamp=now("UTC"), flow_run_id=run.id)
        api.create_logs([log])
    return str(run.id)


def cancelled_start(deployment, days):
    """A scheduled start of `days` ago that was cancelled, since another run went on."""
    from prefect.client.orchestration import get_client
    from prefect.states import Cancelled, Scheduled
    from prefect.types._datetime import from_timestamp

    with get_client(sync_client=True) as api:
        made = api.read_deployment_by_name(f"pipeline/{deployment}")
        due = Scheduled(scheduled_time=from_timestamp(NOW - days * DAY))
        run = api.create_flow_run_from_deployment(made.id, state=due)
        api.set_flow_run_state(run.id, Cancelled(), force=True)
    return str(run.id)


def flow_runs():
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.sorting import FlowRunSort

    found, offset = set(), 0
    with get_client(sync_client=True) as api:
        while page := api.read_flow_runs(limit=200, offset=offset, sort=FlowRunSort.START_TIME_DESC):
            found |= {str(run.id) for run in page}
            offset += 200
    return found


def night(planted, client, days, deployment, key, **facts):
    """A whole night: its record, artifact, runs in MLflow and Prefect."""
    from flows.server import server_name

    run_id = tracked_run(client, f"night-{days}")
    child = tracked_run(client, "policy:dpo", run_id)
    planted.artifact(key, days=days)
    flow_run = flow_run_of(deployment, days)
    usual = {"deployment": deployment, "flow_run_id": flow_run, "server": server_name(), "stages": [stage(key)]}
    planted.run(run_id, days, rows=[row(cell("dpo", 5.0 + days % 3))], **usual | facts)
    return run_id, child, flow_run


def a_year(planted, client, nights, keep):
    """Nights of a schedule, of which three of the oldest are pinned, registered with an alias, and going on."""
    deployment = f"nightly-{uuid.uuid4().hex[:8]}"
    made = {
        days: night(planted, client, days, deployment, f"k{days}", status="failed" if days % 7 == 3 else "completed")
        for days in range(nights, 0, -1)
    }
    client.create_registered_model("fair")
    source = Store(planted.places.store).folder("model", f"k{nights - 1}").as_uri()
    for days in (nights - 1, nights - 2):
        client.create_model_version("fair", source, run_id=made[days][0])
    client.set_registered_model_alias("fair", "champion", "1")
    pin(planted.places, made[nights][0])
    going_on = night(planted, client, nights - 4, deployment, "going-on", status="running", process=Process.current())
    stray = cancelled_start(deployment, nights - 4)
    planned = remove_old_runs(planted.places, deployment, Keep(runs=keep), dry_run=True)
    done = remove_old_runs(planted.places, deployment, Keep(runs=keep))
    assert ids(planned.runs) == ids(done.runs)
    assert planned.versions == done.versions == ["fair version 2"]
    newest = {status: [d for d in range(1, nights + 1) if (d % 7 == 3) == (status == "failed")][:keep]
              for status in ("failed", "completed")}  # fmt: skip
    stay = {*newest["failed"], *newest["completed"], nights, nights - 1}
    runs = {made[days] for days in stay} | {going_on}
    assert planted.left() == {run[0] for run in runs}
    assert done.stays == {f"smoke-{made[nights][0]}": "it is pinned",
                          f"smoke-{made[nights - 1][0]}": "fair version 1 has the alias champion"}  # fmt: skip
    assert {manifest.key for manifest in Store(planted.places.store).ls()} == {f"k{d}" for d in stay} | {"going-on"}
    active = client.search_runs([client.get_experiment_by_name("evenhand").experiment_id], max_results=5000)
    assert {run.info.run_id for run in active} == {one for run in runs for one in run[:2]}
    files = planted.places.home / "mlartifacts" / "evenhand"
    with_files = {path.parts[-4] for path in files.glob("*/artifacts/report/report.md")}
    assert with_files == {one for run in runs for one in run[:2]}
    left = flow_runs() & {run[2] for run in [*made.values(), going_on]} | (flow_runs() & {stray})
    assert left == {run[2] for run in runs}
    assert [int(version.version) for version in client.search_model_versions("name = 'fair'")] == [1]
    assert len(list((planted.places.home / "history").iterdir())) == len(done.runs) == nights + 1 - len(runs)
    return done


def test_a_fortnight_of_nights_is_kept_to_its_last_ones_everywhere(planted, client, prefect_server):
    a_year(planted, client, 14, 2)


@pytest.mark.slow
def test_a_year_of_nights_is_kept_to_its_last_month_everywhere(planted, client, prefect_server):
    from flows.nights.figures import all_figures
    from flows.nights.history import history

    done = a_year(planted, client, 365, 30)
    assert len(done.runs) > 250
    figures = history(all_figures(planted.places), "smoke", "sandbox/bias").models["dpo"]
    assert len([point for point in figures if point.value is not None]) == 366, "the year's figures are all there"


def test_a_version_that_a_newer_run_names_keeps_its_run(planted, client, prefect_server):
    first, second = tracked_run(client), tracked_run(client)
    client.create_registered_model("fair")
    client.create_model_version("fair", "file:///nowhere", run_id=first)
    facts = {
        "model": "dpo",
        "seed": 0,
        "key": "k",
        "name": "fair",
        "version": "1",
        "alias": "a",
        "uri": "",
        "in_store": True,
    }
    planted.run(first, 3, registered=[RegisteredModel(**facts, new=True)])
    planted.run(second, 1, registered=[RegisteredModel(**facts, new=False)])
    done = remove_old_runs(planted.places, "nightly", Keep(runs=1))
    assert done.stays == {f"smoke-{first}": "a newer run names fair version 1"}
    assert len(client.search_model_versions("name = 'fair'")) == 1


def test_logs_and_tasks_of_a_removed_flow_run_go_in_prefect(prefect_server):
    import time

    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId

    from flows.nights.removal import delete_flow_run

    flow_run = uuid.UUID(flow_run_of("logs", 1))
    of_run = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[flow_run]))
    with get_client(sync_client=True) as api:
        assert len(api.read_logs(of_run)) == 1
        delete_flow_run(api, flow_run)
        delete_flow_run(api, flow_run)
        end = time.monotonic() + 30
        while api.read_logs(of_run) and time.monotonic() < end:
            time.sleep(0.2)
        assert api.read_logs(of_run) == []
