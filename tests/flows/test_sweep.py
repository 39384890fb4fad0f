"""Sweeps by the command line: here, over a work pool, and on a Ray cluster."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from tests.flows.conftest import ROOT
from tests.flows.serving import serving

SMALL = ["extend=null", "reward=null", "policy={name: dpo, learning_rate: 1.0e-3, steps: 2, batch_size: 8}",
         "base.steps=4", "runner.launch=in_process"]  # fmt: skip
"""A base, a policy and its evaluations in seconds."""


def test_a_dry_run_prints_the_grid_and_what_is_shared(evenhand):
    told = evenhand("sweep", "smoke", *SMALL, "policy.dpo.beta=.05,.1", "seeds=0..1", "--dry-run", "--json")
    assert told.returncode == 0, told.stderr
    plan = json.loads(told.stdout)
    # Every point has a base, a policy and two evaluations; the base and its evaluation are shared by all.
    assert plan["stage_runs"] == {"planned": 16, "distinct": 10, "stored": 0}
    assert [point["new"] for point in plan["points"]] == [4, 2, 2, 2]
    assert plan["points"][1] == {
        "point": 2, "policy.dpo.beta": ".05", "seeds": "1", "stages": 4, "in_store": 0, "new": 2
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["seeds=0"], "nothing is swept"),
        (["seeds=0,1", "--pool", "cpu", "--ray", "local"], "--pool and --ray exclude each other"),
        (["seeds=0,1", "--pool", "cpu"], "`evenhand up` starts one"),
        (["seeds=0,1", "--resource", "polisy=1"], "Did you mean 'policy'?"),
        (["seeds=0,1", "--resource", "policy=many"], "STAGE=CPUS"),
        (["seeds=0..9", "--limit", "5"], "10 points (10 of seeds), and the limit is 5"),
        (["policy.dpo.beat=1,2"], "point 1 (policy.dpo.beat=1)"),
    ],
)
def test_bad_input_is_told_before_anything_runs(evenhand, arguments, words):
    told = evenhand("sweep", "smoke", *arguments)
    assert (told.returncode, told.stdout) == (2, "")
    assert words in told.stderr


def pages_of(home):
    (folder,) = (home / "sweeps").iterdir()
    return folder, json.loads((folder / "report.json").read_text())


@pytest.mark.slow
def test_a_failed_point_loses_no_other_and_the_same_command_goes_on(evenhand, home, tmp_path):
    """One of two bases cannot be loaded; then it is there, and only that point runs."""
    model = tmp_path / "model"
    arguments = ["sweep", "smoke", *SMALL[:3], "runner.launch=in_process", f"base={{name: tiny_lm, steps: 2, data: {{entry: sandbox_corpus, rows: 50}}, vocab_size: 300, hidden_size: 16, layers: 1, heads: 2}},{{name: checkpoint, model: {model}}}"]  # fmt: skip # noqa: E501
    first = evenhand(*arguments, "--json", timeout=400)
    assert first.returncode == 2, first.stderr
    record = json.loads(first.stdout)
    assert [point["status"] for point in record["points"]] == ["completed", "failed"]
    assert "point 2" in first.stderr
    _, report = pages_of(home)
    assert [point["status"] for point in report["points"]] == ["completed", "failed"]
    assert {one["model"] for one in report["candidates"]} == {"base", "dpo"}
    made = evenhand("store", "ls", "--json")
    key = next(one["key"] for one in json.loads(made.stdout) if one["stage"] == "base")
    assert evenhand("export", key, str(model), timeout=200).returncode == 0
    second = evenhand(*arguments, "--json", timeout=400)
    assert second.returncode == 0, second.stderr
    record = json.loads(second.stdout)
    assert [(point["status"], point["reused"]) for point in record["points"]] == [
        ("completed", True),
        ("completed", False),
    ]


def digests(home):
    """Digest of every policy in a store by its key."""
    found = {}
    for manifest in (home / "store").glob("*/*/manifest.json"):
        read = json.loads(manifest.read_text())
        found[read["stage"], read["key"]] = read["digest"]
    return found


GRID = ["policy.dpo.beta=.05,.5", "seeds=0..1"]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The digests of a sweep that ran here."""
    home = tmp_path_factory.mktemp("undisturbed")
    run(home, "sweep", "smoke", *SMALL[:-1], *GRID)
    return digests(home)


def environment(home, **more):
    inherited = {name: value for name, value in os.environ.items() if name.lower() != "no_proxy"}
    return (
        inherited | {"PYTHONPATH": str(ROOT), "EVENHAND_HOME": str(home), "PREFECT_HOME": str(home / "prefect")} | more
    )


def run(home, *arguments, **more):
    done = subprocess.run([sys.executable, "-m", "flows.cli", *arguments], env=environment(home, **more),
                          capture_output=True, text=True, timeout=900, check=False)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.mark.slow
def test_an_interrupted_sweep_goes_on(home, undisturbed):
    command = [sys.executable, "-m", "flows.cli", "sweep", "smoke", *SMALL[:-1], *GRID, "--concurrency", "2"]
    process = subprocess.Popen(command, env=environment(home), stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if line.startswith("done"):  # the base, which both points wait for
            process.send_signal(signal.SIGINT)
            break
    told = process.stderr.read()
    assert process.wait(200) == 130, told
    (folder,) = (home / "sweeps").iterdir()
    ended = [point["status"] for point in json.loads((folder / "sweep.json").read_text())["points"].values()]
    assert "completed" not in ended
    assert "running" not in ended
    records = [json.loads(file.read_text()) for file in (home / "runs").glob("*/run.json")]
    assert {record["status"] for record in records} == {"killed"}
    run(home, "sweep", "smoke", *SMALL[:-1], *GRID)
    assert digests(home) == undisturbed


@pytest.mark.slow
def test_points_run_on_a_work_pool_and_are_not_started_twice(tmp_path, undisturbed):
    home = tmp_path / "home"
    with serving(tmp_path, home) as served:
        call = [sys.executable, "-m", "flows.cli", "sweep", "smoke", *SMALL[:-1], *GRID, "--pool", "cpu"]
        first = subprocess.Popen(call, env=served.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deployment = served.deployment("pipeline/on-demand")
        served.wait(lambda: served.runs(deployment, "RUNNING"), 200, "a point runs")
        first.kill()  # its points go on, and the next call finds them
        first.wait()
        assert (
            "4 of 4 points completed"
            in subprocess.run(
                call, env=served.environment, capture_output=True, text=True, timeout=900, check=True
            ).stderr
        )
        points = served.runs(deployment)
        assert len(points) == 4
        assert {point["state"]["type"] for point in points} == {"COMPLETED"}
        assert {tag for point in points for tag in point["tags"] if tag.startswith("sweep:")} != set()
    assert digests(home) == undisturbed


@pytest.fixture
def cluster(tmp_path):
    """A Ray cluster of two nodes on loopback."""
    pytest.importorskip("prefect_ray", reason="the extra evenhand[ray] is not installed")
    from tests.flows.serving import free_port

    port = free_port()
    command = [sys.executable, "-m", "benchmarks.ray_nodes", "--nodes", "2", "--port", str(port)]
    process = subprocess.Popen(command, env=environment(tmp_path), cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline().startswith("127.0.0.1")
    yield f"127.0.0.1:{port}"
    process.send_signal(signal.SIGTERM)
    process.wait(60)


@pytest.mark.slow
def test_stages_run_on_a_ray_cluster_and_survive_a_killed_worker(home, cluster, undisturbed):
    command = [sys.executable, "-m", "flows.cli", "sweep", "smoke", *SMALL[:-1], *GRID, "--ray", cluster]
    loopback = environment(home, RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0")
    process = subprocess.Popen(command, env=loopback, stderr=subprocess.PIPE, text=True)
    killed = _kill_a_worker(home)
    told = process.stderr.read()
    assert process.wait(900) == 0, told
    assert killed
    assert "4 of 4 points completed" in told
    assert digests(home) == undisturbed


def _kill_a_worker(home, seconds=300):
    """Kill a Ray worker that trains a policy; its process id."""
    import psutil

    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for process in psutil.process_iter(["cmdline"]):
            with contextlib.suppress(psutil.Error):
                parent = process.parent()
                words = " ".join(process.info["cmdline"] or [])
                if str(home) in words and parent and "ray::" in " ".join(parent.cmdline()):
                    parent.kill()
                    return parent.pid
        time.sleep(0.05)
    return None
