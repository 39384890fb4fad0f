"""Bad input: a few hundred hostile cases of every kind end in a plan, or in exit code 2 and a short sentence."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.cases import Case, case_of
from tests.fuzz.trial import attempt

NUMBERS = st.integers(0, 2**32)


def some(count):
    """So many cases, the same ones in every run; `python -m tests.fuzz` tries others."""
    slow = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(max_examples=count, derandomize=True, database=None, deadline=None, suppress_health_check=slow)


def refuses_or_takes(number, kind):
    with tempfile.TemporaryDirectory() as folder:
        found = attempt(case_of(number, kind), Path(folder))
    assert not found.wrong, f"python -m tests.fuzz --only {number} --kind '{kind}'\n{found.wrong}\n{found.said[:2000]}"


@some(80)
@given(NUMBERS)
def test_hostile_configurations(number):
    refuses_or_takes(number, "configuration")


@some(240)
@given(NUMBERS)
def test_hostile_documents_of_a_server(number):
    refuses_or_takes(number, "mapping")


@some(100)
@given(NUMBERS)
def test_hostile_overrides(number):
    refuses_or_takes(number, "overrides")


@some(80)
@given(NUMBERS)
def test_hostile_catalog_entries(number):
    refuses_or_takes(number, "entry")


@some(80)
@given(NUMBERS)
def test_hostile_data_files(number):
    refuses_or_takes(number, "data file")


@pytest.mark.parametrize(
    ("case", "wrong"),
    [
        (Case("good", ("check", "smoke")), ""),
        (Case("bad", ("check", "smoke", "x=1")), ""),
        (Case("failed", ("run", "smoke", "--nonsense" + "x" * 5000)), "characters"),
        (Case("ours", ("check", "smoke"), {"catalog.yaml": b"\xff"}), ""),
    ],
)
def test_the_trial_itself_tells_right_from_wrong(case, wrong, tmp_path):
    found = attempt(case, tmp_path)
    assert wrong in found.wrong if wrong else not found.wrong
    assert found.code == (0 if case.kind == "good" else 2)


def test_the_trial_sees_a_traceback_and_a_long_answer(tmp_path, monkeypatch):
    def fails(*_, **__):
        raise RuntimeError("a defect")

    monkeypatch.setattr("pipeline_core.checks.whole.load_config", fails)
    assert "a defect" in attempt(Case("broken", ("check", "smoke")), tmp_path).wrong
    assert "a defect" in attempt(Case("broken", document={"base": "tiny_lm"}), tmp_path).wrong
