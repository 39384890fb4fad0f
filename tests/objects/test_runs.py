"""`evenhand run` on two hosts that share a bucket: processes with homes of their own."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from tests.flows.conftest import ROOT
from tests.objects.test_store import objects

SHORT = ["smoke", "base.steps=2", "policy=[{name: dpo, steps: 2}]"]


@pytest.fixture
def run(tmp_path, address):
    """Run the command line in the home of a host; the store is the bucket unless another is given."""

    def call(home, *arguments, store=address, **changes):
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "EVENHAND_HOME": str(tmp_path / home), **changes}
        environment.pop("EVENHAND_STORE", None)
        if store:
            environment["EVENHAND_STORE"] = store
        return subprocess.run(
            [sys.executable, "-m", "flows.cli", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return call


def stages(done):
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["stages"]


def made(done):
    return [(stage["stage"], stage["label"], stage["key"], stage["digest"]) for stage in stages(done)]


@pytest.mark.slow
def test_a_second_host_reuses_all_and_digests_are_those_of_a_local_store(run, tmp_path):
    local = run("local", "run", *SHORT, "--json", store=None)
    first = run("a", "run", *SHORT, "--json")
    second = run("b", "run", *SHORT, "--json")
    assert made(first) == made(local) == made(second)
    assert not any(stage["reused"] for stage in stages(first))
    assert all(stage["reused"] for stage in stages(second))
    key = next(stage["key"] for stage in stages(second) if stage["stage"] == "policy")
    assert run("c", "show", key).returncode == 0
    exported = run("c", "export", key, str(tmp_path / "exported"))
    assert exported.returncode == 0, exported.stderr
    assert (tmp_path / "exported" / "README.md").exists()
    assert run("b", "compare", "last", "dpo", "base").returncode == 0
    kept = run("c", "store", "gc", "--keep-days", "0", "--keep-runs", "0", "--json")
    assert json.loads(kept.stdout)["bytes"] == 0 or "s3://" not in kept.stdout
    assert run("c", "store", "rm", key[:12]).returncode == 0
    listed = run("c", "store", "ls", "--json")
    assert key not in {row["key"] for row in json.loads(listed.stdout)}
    for file in tmp_path.rglob("*"):
        if file.is_file():
            assert b"planted-secret-of-a-bucket" not in file.read_bytes(), file


@pytest.mark.slow
def test_a_run_that_is_killed_while_it_sends_loses_nothing(run, tmp_path, address, server):
    """Files without a manifest are no artifact; the next run goes on, and a dead owner holds nothing up."""
    server.faults("500:100000:PUT:manifests/")
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "EVENHAND_HOME": str(tmp_path / "a"),
        "EVENHAND_STORE": address,
    }
    environment["EVENHAND_STORE_PATIENCE"] = "600"
    process = subprocess.Popen(
        [sys.executable, "-m", "flows.cli", "run", *SHORT], env=environment, stdout=subprocess.DEVNULL
    )
    for _ in range(1200):
        if any(name.startswith("files/") for name in objects(address)):
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    server.faults("none")
    assert not any(name.startswith("manifests/") for name in objects(address))
    assert made(run("a", "run", *SHORT, "--json")) == made(run("b", "run", *SHORT, "--json", store=None))


@pytest.mark.parametrize(
    ("changes", "words", "code"),
    [
        ({"store": "s3://no-such-bucket-here"}, "it has no bucket 'no-such-bucket-here'", 2),
        ({"store": "gs://bucket"}, "give a folder, or a bucket as s3://bucket/prefix", 2),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "EVENHAND_STORE_PATIENCE": "0.1"}, "cannot be reached", 1),
    ],
)
def test_a_wrong_setup_is_one_message_before_any_work(run, tmp_path, changes, words, code):
    done = run("a", "run", *SHORT, **changes)
    assert done.returncode == code
    assert words in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert not (tmp_path / "a" / "runs").exists()
