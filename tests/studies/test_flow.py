"""The study as a flow, without a server: what it hands on, and where it writes."""

import logging
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline_core.errors import BadInput


@pytest.fixture
def asked(monkeypatch):
    """What the flow asks the study for."""
    from flows import log_linear_study

    found = []

    def run(settings, out, say):
        found.append((settings, out))
        return SimpleNamespace(differences=[]), {}

    monkeypatch.setattr(log_linear_study, "run", run)
    monkeypatch.setattr(log_linear_study, "get_run_logger", lambda: logging.getLogger(__name__))
    monkeypatch.setattr(log_linear_study, "create_table_artifact", lambda *_, **__: None)

    def call(**given):
        log_linear_study.log_linear_study.fn(**given)
        return found[-1]

    return call


def test_every_setting_arrives(asked):
    given = {"features": ["same"], "scenarios": ["uneven-balanced"], "methods": ["gr_ipo"], "chi": [0.5]}
    numbers = {"seeds": 3, "iterations": 7, "algorithm_1": 100, "radius": 2.5}
    settings, _ = asked(**given, **numbers)
    assert settings.document() == given | numbers


def test_results_lie_in_an_absolute_folder(asked, home, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert asked()[1] == home / "studies" / "log-linear"
    assert asked(out="~/study")[1] == tmp_path / "study"
    assert asked(out="/data/study")[1] == Path("/data/study")
    with pytest.raises(BadInput, match="out: a worker needs an absolute folder, not 'study'"):
        asked(out="study")
