"""Slots of global concurrency limits on a real server: a holder that is killed gives its slot back by its lease."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from flows.limits import LEASE_SECONDS
from tests.flows.serving import serving

HOLD = """
import sys, time
from prefect import flow
from flows.limits import limits_held

@flow
def hold():
    with limits_held("policy:dpo"):
        print("held", flush=True)
        time.sleep(float(sys.argv[1]))

hold()
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp("limits")
    with serving(folder, folder / "home", deploy=False) as running:
        running.call("prefect", "--no-prompt", "gcl", "create", "licences", "--limit", "1")
        yield running


def hold(served, seconds, limits="licences"):
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, str(seconds)],
        env=served.environment | {"EVENHAND_LIMITS": limits},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def slots(served):
    return served.api("v2/concurrency_limits/licences")["active_slots"]


@pytest.mark.slow
def test_the_slot_of_a_killed_holder_is_free_after_its_lease(served):
    first = hold(served, 600)
    served.wait(lambda: slots(served) == 1, 60, "a slot that is held")
    second = hold(served, 0)
    time.sleep(3)
    assert second.poll() is None, "it waits for the slot"
    os.kill(first.pid, signal.SIGKILL)
    killed = time.monotonic()
    first.wait()
    out, err = second.communicate(timeout=LEASE_SECONDS + 120)
    assert (second.returncode, out.strip()) == (0, "held"), err
    print(json.dumps({"free after": time.monotonic() - killed}))
    served.wait(lambda: slots(served) == 0, 30, "no slot that is held")


@pytest.mark.slow
def test_a_limit_nobody_made_is_told(served):
    _, err = hold(served, 0, "licences, nothing").communicate(timeout=120)
    assert "EVENHAND_LIMITS: policy:dpo needs a slot of nothing" in err
    assert "prefect gcl create" in err
    assert slots(served) == 0
