"""R15, R22: names of flow runs tell repeats apart, and a name that was given stays."""

import re
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.flow_engine import run_flow

from flows.naming import run_name, tags_of
from pipeline_core.checks.whole import load_config

pytestmark = pytest.mark.usefixtures("prefect_server")


@flow(flow_run_name=run_name)
def named(preset: str | None = None, name: str | None = None):
    """A flow with the parameters that decide a name."""


def name_of(given=None, **parameters):
    """Name of a run after its end, made with the name `given`."""
    with get_client(sync_client=True) as client:
        made = client.create_flow_run(named, parameters=parameters, name=given)
        run_flow(named, flow_run=made, parameters=parameters)
        return client.read_flow_run(made.id).name


def today():
    return time.strftime("%Y-%m-%d")


def test_r15_repeats_are_counted_by_preset_and_day():
    assert [name_of(preset="first") for _ in range(3)] == [f"first-{today()}-{number}" for number in (1, 2, 3)]
    assert name_of(preset="second") == f"second-{today()}-1"
    assert name_of(name="policy:dpo") == f"policy:dpo-{today()}-1"
    assert name_of() == f"named-{today()}-1"


@pytest.mark.parametrize("given", ["my run", "nightly", "smoke-of-monday", "a-b", "crafty otter", "Crafty-Otter"])
def test_r22_a_given_name_stays(given):
    assert name_of(given, preset="given") == given


def test_r22_the_names_that_prefect_makes_up_are_replaced():
    assert re.fullmatch(rf"made-{today()}-\d+", name_of("crafty-otter", preset="made"))


def test_runs_that_begin_together_have_different_names():
    with ThreadPoolExecutor(8) as pool:
        names = list(pool.map(lambda _: name_of(preset="together"), range(8)))
    assert len(set(names)) == 8, names
    assert all(re.fullmatch(rf"together-{today()}-\d+", name) for name in names)


def test_a_server_that_gives_no_number_costs_the_number_alone(monkeypatch):
    def away(*_, **__):
        raise ConnectionError("server gone")

    monkeypatch.setattr("flows.naming._claimed", away)
    assert re.fullmatch(rf"alone-{today()}-\d{{6}}", name_of(preset="alone"))


def test_tags_name_what_one_looks_for():
    tags = tags_of(load_config("smoke", ["seeds=0,1"]))
    assert {"preset:smoke", "seeds:0,1", "policy:dpo", "policy:grpo", "suite:sandbox_bias"} <= set(tags)
    assert len(tags) == len(set(tags))
